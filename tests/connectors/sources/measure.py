"""Reads 10,000 items of each source that can have them here, and says what that costs: python -m tests.connectors.sources.measure."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tests.connectors.sources.world import NOW, Reader, World
from tests.connectors.sources.worlds import WORLDS


async def measure(world: World) -> str:
    async with world.running():
        await world.put_many(world.many)
        reader = world.reader()
        first = await _read(reader, minutes=0)
        await world.put("n00001", "changed")
        again = await _read(reader, minutes=5)
        sizes = f"cursor {len(reader.cursor) / 1024:.0f} KiB, {len(world.service.asked)} requests"
        return f"{world.name}: first read {first}, after one change {again}, {sizes}"


async def _read(reader: Reader, *, minutes: int) -> str:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    assert await reader.read(now=NOW + timedelta(minutes=minutes)) is None
    return f"{time.process_time() - cpu_s:.2f} CPU s ({time.perf_counter() - wall_s:.2f} s)"


if __name__ == "__main__":
    for kind in WORLDS:
        if not kind.needs and "ten-thousand" not in kind.not_said:
            print(asyncio.run(measure(kind(Path(tempfile.mkdtemp())))))
