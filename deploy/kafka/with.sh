#!/usr/bin/env bash
# with.sh VERSION COMMAND [ARGUMENT...]: runs a command with Apache Kafka beside
# it, and says in a line which: the one that MILLRACE_TEST_KAFKA names ("off" for
# none), else the one of make kafka-up, else one started from the jars, which
# ends with the command. Where there can be none the command runs without; with
# CI set that is a failure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
version=$1
shift

# without WHY COMMAND...: runs the command without Kafka. The last line of WHY
# is the reason, what is before it are details.
without() {
  local details=${1%"${1##*$'\n'}"} reason=${1##*$'\n'}
  [ -z "$details" ] || printf %s "$details" >&2
  if [ -n "${CI:-}" ]; then
    echo "Kafka: none ($reason), but CI needs it" >&2
    exit 1
  fi
  echo "Kafka: NONE ($reason): the tests that need it are skipped"
  shift
  export MILLRACE_TEST_KAFKA=off
  exec "$@"
}

# found ADDRESS VERSION COMMAND...: runs the command with a Kafka that is there.
found() {
  echo "Kafka: $1${2:+, version $2}, which is there already"
  export MILLRACE_TEST_KAFKA=$1 ${2:+MILLRACE_TEST_KAFKA_VERSION="$2"}
  shift 2
  exec "$@"
}

case ${MILLRACE_TEST_KAFKA:-} in
off) without "MILLRACE_TEST_KAFKA is off" "$@" ;;
?*) found "$MILLRACE_TEST_KAFKA" "${MILLRACE_TEST_KAFKA_VERSION:-}" "$@" ;;
esac
port=$(usual_port "$version")
if [ -f "$cache/run-$port" ]; then
  read -r pid folder running <"$cache/run-$port"
  if [ "$running" = "$version" ] && listening "$port" && { [ "$pid" = docker ] || alive "$pid" "$folder"; }; then
    found "127.0.0.1:$port" "$version" "$@"
  fi
fi

folder=$(new_folder)
pid=

# stop: ends the broker, if there is one, and removes what it left.
stop() {
  if [ -n "$pid" ]; then
    kill -KILL "$pid" || true # its data goes too
    wait "$pid" || true
    # Nobody need kill it any more; where nobody would, nobody reads that.
    (trap '' PIPE; echo ended >&8) || true
    exec 8>&-
    pid=
  fi
  rm -rf "$folder"
} 2>/dev/null
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# start: starts a broker at $port, or says why not in $why.
start() {
  mkdir -p "$folder"
  port=$(free_port)
  mkfifo "$folder/stdin"
  KAFKA_UNTIL_EOF=1 "$here/serve.sh" "$version" "$port" "$folder" <"$folder/stdin" >"$folder/broker.log" 2>&1 &
  pid=$!
  exec 8>"$folder/stdin" # when this process ends in any way, so does the broker
  why=$(await "$pid" "$port" "$folder" 2>&1) && return
  stop
  return 1
}

if ! why=$("$here/jars.sh" "$version" 2>&1 >/dev/null); then
  stop
  without "$why" "$@"
fi
# Twice, as the port that was free may be taken by now.
if start || start; then
  echo "Kafka: 127.0.0.1:$port, version $version, started for this run"
  MILLRACE_TEST_KAFKA=127.0.0.1:$port MILLRACE_TEST_KAFKA_VERSION=$version "$@" 8>&-
else
  without "$why" "$@"
fi
