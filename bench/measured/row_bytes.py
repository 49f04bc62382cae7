"""Bytes: of a person's row and of a decision by themselves, and of both in the log, as a core process writes them there.

For the log it starts a stack of servers and one core process, whose people have as many tasks as the typical person.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import uuid
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from agents.step import step
from bench.lives import LIVES
from bench.measured import older, turns
from bench.measured.older import cores, result, spelled_out
from bench.measured.step_cost import entries
from tests.agents.build import PRIOR

TOPICS = ("rows", "decisions")


def main(users: int, events: int) -> None:
    cores.TASKS = LIVES["typical"].tasks
    people = [f"bench-{uuid.uuid4().hex}" for _ in range(users)]
    with (
        tempfile.TemporaryDirectory(prefix="oo-bench-") as folder,
        result.Bench(Path(folder)).stack(servers_only=True) as stack,
        cores.cores(stack) as running,
    ):
        bootstrap, prefix, schemas = older.bootstrap(stack), older.prefix(stack), older.schemas(stack)
        asyncio.run(schemas.register())
        signals, numbers = f"{prefix}signals", itertools.count()
        running.start("core-0")
        cores.write(bootstrap, signals, cores.framed(schemas, cores.homes(people), run="homes"))
        running.until_folded()

        def turn() -> turns.Numbers:
            found = alone()
            before = {topic: _in_log(Path(folder), bootstrap, f"{prefix}{topic}") for topic in TOPICS}
            number = next(numbers)
            backlog = cores.backlog(people, events, seed=number)
            cores.write(bootstrap, signals, cores.framed(schemas, backlog, run=f"turn-{number}"))
            running.until_folded()
            for topic, (size_before, count_before) in before.items():
                size, count = _in_log(Path(folder), bootstrap, f"{prefix}{topic}")
                found[f"{topic} in the log"] = (size - size_before) / (count - count_before)
            return found

        turns.answer(turn)


def alone() -> dict[str, float]:
    """Bytes of each life's row, and of the decision that follows an urgent task, with how many candidates it has."""
    found: dict[str, float] = {}
    for name, life in LIVES.items():
        row, records = entries(life)
        decision = step(row, records["a decision"], PRIOR)[1].decision
        assert decision is not None
        found |= {
            f"row, {name}": row.ByteSize(),
            f"decision, {name}": decision.ByteSize(),
            f"candidates, {name}": len(spelled_out(decision)),
        }
    return found


def _in_log(folder: Path, bootstrap: str, topic: str) -> tuple[int, int]:
    """Bytes and records of a topic."""
    size = sum(file.stat().st_size for file in folder.rglob("*.log") if file.parent.name.rpartition("-")[0] == topic)
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench"})
    try:
        partitions = client.list_topics(topic, 30).topics[topic].partitions
        return size, sum(client.get_watermark_offsets(TopicPartition(topic, one), 30)[1] for one in partitions)
    finally:
        client.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
