"""Rows put away by a running engine: what a fold makes of them, what may then leave the journal, and what is never there again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, TopicPartition

from deploy import snapshots as tending
from deploy.folding import BeginningGone
from deploy.journal import whole_journal
from deploy.refold import Part, compare_part
from deploy.stack.running import RunningStack
from deploy.stack.topics import admin
from streams.clock import clock_ms
from streams.reader import end_offsets
from streams.topics import PARTITIONS
from tables.leavers import Leavers
from tables.snapshots import Reading, Snapshot, Snapshots
from tests.agents.build import task
from tests.agents.process import AgentProcess, Topics, until
from tests.agents.test_leaving import HOME, ask, leaving, settled, words

OTHERS = [f"person-{number}" for number in range(24)]
PEOPLE = ["ada", *OTHERS]


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


class Engine:
    """A core over topics of its own, its snapshots, and an operator."""

    def __init__(self, servers: RunningStack, under: Topics, folder: Path, **told: str) -> None:
        self.under, self.folder = under, folder
        self.stack = replace(servers, cluster=under.cluster, snapshots_dir=folder / "snapshots")
        self.snapshots = Snapshots(folder / "snapshots", prefix=under.prefix, journal_id=under.topic_id("journal"))
        self.worker = AgentProcess("core", servers, under, folder, told)
        self._tasks = 0

    def tell(self, people: list[str] = PEOPLE) -> None:
        """A task of each, folded to its end."""
        self._tasks += 1
        self.under.produce("signals", [task(f"{self._tasks}", user=user) for user in people])
        until(lambda: settled(self.under), alive=self.worker)

    def cut(self) -> list[Snapshot]:
        """New ones of all partitions."""
        wanted_ms = self.snapshots.want()
        until(
            lambda: len([one for one in self.snapshots.all() if one.made_ms > wanted_ms]) >= PARTITIONS,
            alive=self.worker,
        )
        return [one for one in self.snapshots.all() if one.made_ms > wanted_ms]

    def verify(self) -> list[str]:
        """Why each is not what a fold gives; empty for one that is."""
        return [one.why_not for one in asyncio.run(self._verify())]

    async def _verify(self) -> list[tending.Verified]:
        return await tending.verify(self.stack, await whole_journal(self.stack))

    def trim(self) -> dict[int, int]:
        async def trim() -> dict[int, int]:
            return await tending.trim(self.stack, await whole_journal(self.stack), before_ms=clock_ms())

        return asyncio.run(trim())

    def trim_alone(self, number: int, to: int) -> None:
        client = admin(self.stack.as_admin.cluster)
        asked = client.delete_records([TopicPartition(self.under.cluster.name("journal"), number, to)])
        for answer in asked.values():
            answer.result(tending.TIMEOUT_S)

    def part(self, *, from_snapshot: bool = False) -> Part:
        """All partitions folded and compared with what is live, as `oo verify` does it."""

        async def compare() -> Part:
            whole, ends = Part(-1), await end_offsets(self.under.cluster, self.under.cluster.name("journal"))
            journal = await tending.begun(
                self.stack, await whole_journal(self.stack), ends, from_snapshot=from_snapshot
            )
            for number, end in ends.items():
                part = await compare_part(journal, number, end, lambda _: None)
                whole.rows, whole.decisions = whole.rows + part.rows, whole.decisions + part.decisions
                whole.differences.take(part.differences)
            return whole

        return asyncio.run(compare())

    def lows(self) -> list[int]:
        return list(asyncio.run(tending.begins(self.under.cluster, range(PARTITIONS))).values())


def test_what_is_put_away_is_what_a_fold_gives_and_what_it_stands_for_may_leave_the_journal(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    engine = Engine(servers, under, tmp_path)
    engine.worker.start()
    for _ in range(2):
        engine.tell()
        engine.cut()
    # Who leaves now stands in both, and is read of neither.
    ask(under, leaving(under))
    until(lambda: words(under) != [], alive=engine.worker)
    engine.tell(OTHERS)
    assert engine.verify() == [""] * 2 * PARTITIONS
    assert holders(engine, b"ada") == 2
    whole = engine.part()
    begun = engine.part(from_snapshot=True)
    assert whole.differences.n == begun.differences.n == 0
    assert whole.rows == begun.rows == len(PEOPLE)
    assert whole.decisions > begun.decisions > 0

    first = {one.partition: one.offset for one in engine.snapshots.all()[::-1]}
    # So it stands when who trims is killed between two partitions; the next one goes on with what is left.
    engine.trim_alone(HOME, first[HOME] + 1)
    assert engine.part().differences.n == 0
    assert engine.trim() == {number: offset + 1 for number, offset in first.items() if number != HOME}
    assert engine.lows() == [first[number] + 1 for number in range(PARTITIONS)]
    assert engine.part().differences.n == 0

    # Nothing is left of the worker, and its group is set back to where the journal no longer is.
    engine.worker.kill()
    shutil.rmtree(tmp_path / "core")
    until(lambda: _forgotten(under))
    engine.worker.start()
    engine.tell(OTHERS)
    assert engine.part().differences.n == 0

    # One that was verified and is damaged since holds up none that comes after it.
    damaged = engine.snapshots.all(HOME)[-1]
    content = bytearray(damaged.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.path.write_bytes(content)
    engine.cut()
    assert engine.verify() == [""] * PARTITIONS
    assert damaged.path not in {one.path for one in engine.snapshots.all()}

    # Nobody has verified what is left: that proves nothing.
    for mark in tmp_path.rglob(f"{HOME:03}-*.verified"):
        mark.unlink()
    for from_snapshot in (False, True):
        with pytest.raises(BeginningGone, match="no verified row snapshot"):
            engine.part(from_snapshot=from_snapshot)
    assert engine.worker.stop() == 0


def holders(engine: Engine, key: bytes) -> int:
    """How many snapshots have a row of theirs, for whoever reads it without asking who left."""
    found = 0
    for one in engine.snapshots.all(HOME):
        with Reading(one.path) as reading:
            found += key in dict(reading.rows(Leavers(b"")))
    return found


def _forgotten(under: Topics) -> bool:
    try:
        under.forget_commits("core", ["journal"])
    except KafkaException:  # the dead member is still in it
        return False
    return True
