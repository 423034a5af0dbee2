#!/usr/bin/env bash
# jars.sh [VERSION]: prints the folder that holds the jars of that version of
# Apache Kafka. Where they are missing Maven fetches them first (43 MB).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.env"
version=${1:-$KAFKA}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace-kafka
jars=$cache/jars-$version

if [ ! -d "$jars" ]; then
  for program in java mvn; do
    command -v "$program" >/dev/null || {
      echo "Apache Kafka $version cannot be fetched: $program is missing; install Java 17 and Maven" >&2
      exit 1
    }
  done
  mkdir -p "$cache"
  # One at a time: Maven's own store is not made for two.
  exec 9>"$cache/fetch.lock"
  ! command -v flock >/dev/null || flock 9
fi
if [ ! -d "$jars" ]; then
  logging=log4j
  [[ $version != 3.* ]] || logging=reload4j
  # The folder gets its name when all is in it, so that it is never half full.
  fresh=$(mktemp -d "$cache/fetch-XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  mvn -q -B -f "$here/pom.xml" -P "$logging" \
    -Dkafka="$version" -Dlog4j="$LOG4J" -Dreload4j="$RELOAD4J" \
    "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$fresh/jars" >"$fresh/mvn.log" 2>&1 </dev/null || {
    tail -n 20 "$fresh/mvn.log" >&2
    echo "Apache Kafka $version cannot be fetched: see above what Maven says" >&2
    exit 1
  }
  [ -d "$jars" ] || mv "$fresh/jars" "$jars"
fi
echo "$jars"
