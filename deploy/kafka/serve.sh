#!/usr/bin/env bash
# serve.sh VERSION PORT FOLDER [ARGUMENT...]: is a broker on 127.0.0.1:PORT, in
# the foreground, in this very process. Its controller listens on the next port.
# FOLDER, an absolute path, keeps the data; one without data is formatted first,
# with the arguments. FOLDER/more.properties, where there, outranks our settings,
# and KAFKA_JAVA our options of Java.
#
# With KAFKA_UNTIL_EOF set the broker is killed and FOLDER removed when stdin
# ends, however the process behind it died. A line on stdin calls that off.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$1 port=$2 folder=$3
shift 3

if [ -n "${KAFKA_UNTIL_EOF:-}" ]; then
  (
    trap "" INT TERM HUP # Ctrl-C is meant for the one whose end we wait for
    read -r && exit
    kill -KILL $$
    until rm -rf "$folder"; do sleep 0.1; done # while it dies it may still write
  ) <&0 >/dev/null 2>&1 3>&- &
fi
exec </dev/null
cd "$folder" # a Java that crashes writes where it is

jars=$("$here/jars.sh" "$version")
{
  cat "$here/server.properties"
  echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))"
  echo "controller.quorum.voters=1@127.0.0.1:$((port + 1))"
  echo "log.dirs=$folder/data"
  [ ! -f "$folder/more.properties" ] || cat "$folder/more.properties"
} >"$folder/server.properties"

# Made for a quick start, not for throughput.
java=(java -Xms64m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true
  -Dlog4j2.configurationFile="file:$here/log4j2.properties" -Dlog4j.configuration="file:$here/log4j.properties"
  -cp "$jars/*")
[ ! -f "$jars/classes.jsa" ] || java+=(-XX:SharedArchiveFile="$jars/classes.jsa" -Xlog:cds=off -Xlog:cds+dynamic=off)
if [ ! -f "$folder/data/meta.properties" ]; then
  # 128 bits as Kafka writes them; the A because "-" in front would be an option.
  cluster=A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-21)
  "${java[@]}" kafka.tools.StorageTool format -t "$cluster" -c "$folder/server.properties" "$@" >/dev/null
fi
# shellcheck disable=SC2086 # several options are several words
exec "${java[@]}" ${KAFKA_JAVA:-} kafka.Kafka "$folder/server.properties"
