# What the scripts of this folder share. They set "here" to it before.
# shellcheck shell=bash
. "$here/versions.env"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace-kafka

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: a port that is free together with the next one, below those that the
# kernel gives to outgoing connections, and above those that tests keep to
# themselves while their servers are dead.
free_port() {
  local port
  while port=$((28000 + RANDOM % 4766)); do
    listening "$port" || listening $((port + 1)) || break
  done
  echo "$port"
}

# usual_port VERSION: where make kafka-up puts it.
usual_port() { [ "$1" = "$KAFKA_OLD" ] && echo "$KAFKA_OLD_PORT" || echo "$KAFKA_PORT"; }

# new_folder: for a broker's data and log.
new_folder() { mktemp -d "${TMPDIR:-/tmp}/millrace-kafka-XXXXXX"; }

# await PID PORT FOLDER: waits until the broker, a child of this shell, serves.
# Where it does not its log is shown.
await() {
  local _
  for _ in $(seq 900); do
    ! grep -qs 'Kafka Server started' "$3/broker.log" || ! listening "$2" || return 0
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$3/broker.log" >&2 || true
  echo "Apache Kafka did not start on port $2: see above what it said" >&2
  return 1
}

# alive PID FOLDER: is the process with that id still the broker of the folder?
# The command line is asked, not kill -0: a process that has ended but that its
# parent has not noticed yet has an id, and an id may come to mean another one.
alive() {
  if [ -d /proc/self ]; then
    grep -aqsF -- "$2" "/proc/$1/cmdline"
  else
    ps -p "$1" -o args= | grep -qF -- "$2"
  fi
}
