#!/usr/bin/env bash
# confluent-kafka 2.16.0 (librdkafka 2.16.0, on its own mock broker): a partition that is resumed is fetched again up to a second later.
#
# Expected: records stand there when `resume` is called, so they come at once, as they do where a partition was just assigned.
# Seen: they come when a timer of librdkafka's next goes off, which does so once a second, whatever `fetch.wait.max.ms` says (100 here); after
# `seek` to the very offset that would come next, called behind `resume`, they come within milliseconds. Nothing is missed or repeated in both.
# What helps: that `seek`.
#
# Needs python3 with venv; downloads some 4 MB. Exit status 0 while that is so, 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.0
cat >resumed.py <<'PY'
import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

PLACE = TopicPartition("numbers", 0)
PAUSED_S, READ_S, TIMES = 0.2, (0.7, 0.9, 1.1, 1.3, 1.5), 10

producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1, "linger.ms": 0, "log_level": 0})
(broker,) = producer.list_topics(timeout=10).brokers.values()


def write():
    while True:
        producer.produce("numbers", b"one", partition=0)
        producer.poll(0)
        time.sleep(0.01)


def waits(with_seek):
    """Seconds from `resume` to the next record, each time."""
    consumer = Consumer(
        {"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "none", "fetch.wait.max.ms": 100, "log_level": 0}
    )
    consumer.assign([TopicPartition("numbers", 0, 0)])
    following, found = 0, []

    def read(until):
        nonlocal following
        while not until():
            record = consumer.poll(0.01)
            if record is not None and not record.error():
                assert record.offset() == following, (record.offset(), following)
                following += 1

    for number in range(TIMES):
        ends_s = time.monotonic() + READ_S[number % len(READ_S)]
        read(lambda: time.monotonic() > ends_s)
        consumer.pause([PLACE])
        ends_s, before = time.monotonic() + PAUSED_S, following
        read(lambda: time.monotonic() > ends_s)
        assert following == before
        consumer.resume([PLACE])
        if with_seek:
            consumer.seek(TopicPartition("numbers", 0, following))
        began_s = time.monotonic()
        read(lambda: following > before)
        found.append(time.monotonic() - began_s)
    consumer.close()
    return found


producer.list_topics("numbers", timeout=10)
threading.Thread(target=write, daemon=True).start()
alone, sought = max(waits(False)), max(waits(True))
print("librdkafka", confluent_kafka.libversion()[0], f"longest wait {alone:.2f} s, with seek {sought:.3f} s", file=sys.stderr)
print("expected: both as short", file=sys.stderr)
sys.exit(not (alone > 0.4 and sought < alone / 4))
PY
venv/bin/python resumed.py
