#!/usr/bin/env bash
# jars.sh [VERSION]: prints the folder that holds the jars of that version of
# Apache Kafka. Where they are missing Maven fetches them first (43 MB).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
version=${1:-$KAFKA}
jars=$cache/jars-$version

# fetch FOLDER: has Maven copy all jars there.
fetch() {
  local logging=log4j
  [[ $version != 3.* ]] || logging=reload4j
  mvn -q -B -U -Dstyle.color=never -f "$here/pom.xml" -P "$logging" \
    -Dkafka="$version" -Dlog4j="$LOG4J" -Dreload4j="$RELOAD4J" \
    "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$1/jars" >"$1/mvn.log" 2>&1 </dev/null || {
    echo "Apache Kafka $version cannot be fetched by Maven: $(sed -n 's|^.*\[ERROR\] ||p' "$1/mvn.log" | head -n 1)" >&2
    return 1
  }
}

# archive FOLDER: runs a broker once to keep the classes as Java has them in
# memory, so that those after it start in half the time. It does no harm when
# that fails.
archive() {
  mkdir "$1/broker"
  local port pid
  port=$(free_port)
  KAFKA_JAVA="-XX:ArchiveClassesAtExit=$1/classes.jsa" \
    "$here/serve.sh" "$version" "$port" "$1/broker" >"$1/broker/broker.log" 2>&1 9>&- &
  pid=$!
  if await "$pid" "$port" "$1/broker" 2>/dev/null; then
    kill -TERM "$pid"
    wait "$pid" || true # Java says 143 after SIGTERM
    mv "$1/classes.jsa" "$jars/" || true
  else
    kill -KILL "$pid" || true
  fi
} 2>/dev/null

if [ ! -d "$jars" ]; then
  for program in java mvn; do
    command -v "$program" >/dev/null || {
      echo "Apache Kafka $version cannot be fetched: $program is missing: install Java 17 and Maven" >&2
      exit 1
    }
  done
  mkdir -p "$cache"
  # One at a time: Maven's own store is not made for two.
  exec 9>"$cache/fetch.lock"
  ! command -v flock >/dev/null || flock 9
fi
if [ ! -d "$jars" ]; then
  # The folder gets its name when all is in it, so that it is never half full.
  fresh=$(mktemp -d "$cache/fetch-XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  fetch "$fresh"
  mv "$fresh/jars" "$jars"
  archive "$fresh"
fi
echo "$jars"
