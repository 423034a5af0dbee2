#!/usr/bin/env bash
# down.sh [VERSION] [PORT]: stops what up.sh started on that port and removes its
# data. That there is nothing to stop is no error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
version=${1:-$KAFKA}
port=${2:-$(usual_port "$version")}
run=$cache/run-$port

[ -f "$run" ] || exit 0
read -r pid folder version <"$run"
if [ "$pid" = docker ]; then
  VERSION=$version PORT=$port docker compose -p "millrace-kafka-$port" -f "$here/compose.yaml" down -v >&2
else
  if alive "$pid" "$folder"; then kill -TERM "$pid"; fi
  for _ in $(seq 200); do
    alive "$pid" "$folder" || break
    sleep 0.1
  done
  if alive "$pid" "$folder"; then kill -KILL "$pid"; fi
  until rm -rf "$folder"; do sleep 0.1; done # while it dies it may still write
fi
rm -f "$run"
