#!/usr/bin/env bash
# up.sh [VERSION] [PORT]: starts one Apache Kafka on 127.0.0.1:PORT, unless it
# runs already, and prints its address when it serves. In a container where a
# Docker engine runs, else from the published jars (Java 17 and Maven). Its data
# is in a temporary folder, until down.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
version=${1:-$KAFKA}
port=${2:-$(usual_port "$version")}
run=$cache/run-$port # what runs on that port: id of the process or "docker", folder, version

mkdir -p "$cache"
# Two at once would both see a free port.
exec 9>"$cache/up.lock"
! command -v flock >/dev/null || flock 9

if [ -f "$run" ]; then
  read -r pid folder running <"$run"
  if listening "$port" && { [ "$pid" = docker ] || alive "$pid" "$folder"; }; then
    [ "$running" = "$version" ] || {
      echo "127.0.0.1:$port is Apache Kafka $running already: give another PORT, or stop it with make kafka-down PORT=$port" >&2
      exit 1
    }
    echo "127.0.0.1:$port"
    exit
  fi
  "$here/down.sh" "$version" "$port" 9>&- # what is left of one that died
fi
if listening "$port"; then
  echo "port $port is taken by a program that is not ours: give another PORT" >&2
  exit 1
fi

if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
  echo "docker - $version" >"$run"
  VERSION=$version PORT=$port docker compose -p "millrace-kafka-$port" -f "$here/compose.yaml" \
    up -d --wait --quiet-pull >&2 9>&- || {
    "$here/down.sh" "$version" "$port" 9>&-
    exit 1
  }
  echo "127.0.0.1:$port"
  exit
fi

"$here/jars.sh" "$version" >/dev/null 9>&-
folder=$(new_folder)
# It outlives this script and its terminal.
set -m
nohup "$here/serve.sh" "$version" "$port" "$folder" >"$folder/broker.log" 2>&1 </dev/null 9>&- &
set +m
echo "$! $folder $version" >"$run"
await $! "$port" "$folder" || {
  "$here/down.sh" "$version" "$port" 9>&-
  exit 1
}
echo "127.0.0.1:$port"
