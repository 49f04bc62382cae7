"""A process that writes numbers to a topic through our producer, to be stopped and woken from outside.

    python -m tests.faults.writer BOOTSTRAP TOPIC

It says "waiting" when Kafka has the first record: then Kafka is to be stopped. It stops itself once the oldest record has
waited nearly as long as it may, and younger ones for half of that; woken, it ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from streams.cluster import Cluster
from streams.producer import Producer

TIMEOUT_S = 3.0


async def main(bootstrap: str, topic: str) -> None:
    producer = Producer(Cluster(bootstrap), delivery_timeout_ms=int(1000 * TIMEOUT_S))
    await producer.produce(topic, key=None, value=b"first", partition=0)
    print("waiting", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for start in (0, 40):
        for number in range(start, start + 40):
            producer.produce(topic, key=None, value=b"%d" % number, partition=0)
            await asyncio.sleep(0.005)  # else one request takes them all, and none waits
        await asyncio.sleep(TIMEOUT_S / 2 - 0.4 if start == 0 else 0.3)
    os.kill(os.getpid(), signal.SIGSTOP)
    await producer.close()
    print("failed" if producer.failure is not None else "delivered", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
