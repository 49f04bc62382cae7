"""Writes one record with a header whose name is not UTF-8, as clients in C and Go may.

    python -m tests.faults.strange BOOTSTRAP TOPIC VALUE

Says its partition and offset. A process of its own: only aiokafka's producer in pure Python writes such a thing.
"""

from __future__ import annotations

import asyncio
import os
import sys

os.environ["AIOKAFKA_NO_EXTENSIONS"] = "1"

from aiokafka import AIOKafkaProducer


class _Name(str):
    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff" + super().encode(encoding, errors)


async def main(bootstrap: str, topic: str, value: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        headers = [("content-type", b"application/json"), (_Name("name"), b"value")]
        stands = await producer.send_and_wait(topic, value.encode(), partition=0, headers=headers)
    finally:
        await producer.stop()
    print(stands.partition, stands.offset)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
