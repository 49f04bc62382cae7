"""The peer: a bare three-hop loop, and nothing else. Run as a process of its own: `bare.py BOOTSTRAP A B C`.

Consumes A and produces to B, consumes B and produces to C: the hops that a signal takes to the journal and to its tip.
Whoever measures consumes C. One aiokafka consumer and producer a hop, no delay that can be turned off.
"""

from __future__ import annotations

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def hop(bootstrap: str, source: str, target: str) -> None:
    consumer = AIOKafkaConsumer(source, bootstrap_servers=bootstrap, fetch_max_wait_ms=50, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    await consumer.start()
    await producer.start()
    print(f"ready {source}", flush=True)
    async for record in consumer:
        await producer.send(target, record.value, key=record.key)


async def main() -> None:
    bootstrap, first, second, third = sys.argv[1:5]
    await asyncio.gather(hop(bootstrap, first, second), hop(bootstrap, second, third))


if __name__ == "__main__":
    asyncio.run(main())
