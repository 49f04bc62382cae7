"""Record on real servers: each decision and outcome once in PostgreSQL, through its absence and through kills."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.record import _opened, trim
from connectors.postgres.sink import Sink, Stored
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.erased_pb2 import Erased
from oo.v1.outcome_pb2 import Outcome
from streams.frames import Frames
from streams.sealing import KeyMissing, seal
from streams.units import DAY_MS
from tables.leavers import Leaving
from tests.agents.process import AgentProcess, Topics, until
from tests.connectors.postgres_cluster import Cluster, Database, cluster
from tests.sealed import give, keys_in


@dataclass(frozen=True, slots=True)
class Line:
    """Topics, the process, and a PostgreSQL of its own behind it."""

    topics: Topics
    process: AgentProcess
    postgres: Cluster
    database: Database

    def ids(self, table: str, column: str) -> list[str]:
        with self.database.admin() as admin:
            rows = admin.execute(f"SELECT {column} FROM recommender.{table} ORDER BY 1".encode()).fetchall()
        return [value for (value,) in rows]

    def until_recorded(self, decisions: int) -> None:
        until(lambda: len(self.ids("decisions", "decision_id")) >= decisions, alive=self.process)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("record")) as running:
        yield running


@pytest.fixture
def line(servers: RunningStack, postgres: Cluster, tmp_path: Path) -> Iterator[Line]:
    topics, database = Topics(servers), postgres.migrated()
    process = AgentProcess("record", servers, topics, tmp_path, {"OO_RECOMMENDER_DSN": database.dsn("recommender")})
    process.start()
    try:
        yield Line(topics, process, postgres, database)
    finally:
        if process.running():
            process.kill()
        topics.close()


async def nowhere() -> dict[int, int]:
    """Where the topic of erasures ends."""
    return {}


def decision(number: int) -> Decision:
    made = Decision(decision_id=f"d{number:05}", user_id="alice", decided_ms=number, chosen=0)
    made.slate.add(id="none", kind=Decision.NONE, propensity=1.0)
    return made


def outcome(number: int) -> Outcome:
    return Outcome(outcome_id=f"o{number:05}", decision_id=f"d{number:05}", user_id="alice", kind=Outcome.DONE)


def names(letter: str, count: int) -> list[str]:
    return [f"{letter}{number:05}" for number in range(count)]


def test_what_cannot_be_read_or_held_becomes_a_dead_letter_and_the_next_good_event_goes_through(line: Line) -> None:
    nameless = decision(0)
    nameless.decision_id = ""
    line.topics.produce("decisions", [decision(0), b"garbage", nameless, decision(1)])
    line.topics.produce("outcomes", [outcome(0), b"\0\0\0\0\0"])
    line.until_recorded(2)
    until(lambda: len(line.topics.dead_letters()) == 3, alive=line.process)
    assert line.ids("decisions", "decision_id") == names("d", 2)
    assert line.ids("tip_scores", "decision_id") == names("d", 2)
    assert line.ids("outcomes", "outcome_id") == names("o", 1)
    letters = {
        (letter.topic.removeprefix(line.topics.prefix), letter.offset): letter for letter in line.topics.dead_letters()
    }
    assert {place: letter.reason for place, letter in letters.items()} == {
        ("decisions", 1): "no-frame",
        ("decisions", 2): "unstorable",
        ("outcomes", 1): "truncated",
    }
    garbage = letters["decisions", 1]
    # It makes no keys, so it keeps no bytes: they stand where they stood.
    assert (garbage.original, garbage.original_key, garbage.partition) == (b"", b"", 0)
    assert garbage.topic_id == line.topics.topic_id("decisions")
    assert letters["decisions", 2].detail == "decision_id is empty"


def test_with_postgresql_down_nothing_is_committed_and_all_of_it_is_there_afterwards(line: Line) -> None:
    line.topics.produce("decisions", [decision(0)])
    line.until_recorded(1)
    until(lambda: line.topics.committed("record", "decisions") == 1, alive=line.process)
    line.postgres.stop()
    try:
        for start in range(1, 3000, 500):
            line.topics.produce("decisions", [decision(number) for number in range(start, min(start + 500, 3000))])
        line.topics.produce("outcomes", [outcome(number) for number in range(500)])
        until(lambda: "postgres.unavailable" in line.process.log(), alive=line.process)
        assert line.topics.committed("record", "decisions") == 1
        assert line.topics.committed("record", "outcomes") == 0
    finally:
        line.postgres.start()
    line.until_recorded(3000)
    until(lambda: line.topics.committed("record", "decisions") == 3000, alive=line.process)
    until(lambda: line.topics.committed("record", "outcomes") == 500, alive=line.process)
    assert line.process.running()
    assert line.ids("decisions", "decision_id") == names("d", 3000)
    assert line.ids("outcomes", "outcome_id") == names("o", 500)


def test_who_left_while_postgresql_was_away_is_gone_and_stays_so_when_all_comes_again_from_the_beginning(
    line: Line,
) -> None:
    def of(user: str, number: int) -> Decision:
        made = decision(number)
        made.user_id, made.journal.topic_id, made.journal.offset = user, b"j" * 16, number
        return made

    line.topics.produce("decisions", [of("alice", 0), of("bob", 1)])
    line.until_recorded(2)
    line.postgres.stop()
    try:
        word = Erased(user_id="alice", receipt="receipt-of-leaving", erased_ms=5)
        word.journal.topic_id, word.journal.offset = b"j" * 16, 3
        line.topics.produce("erasures", [b"garbage", word])
        line.topics.produce("decisions", [of("alice", 2), of("alice", 4)])
        until(lambda: "postgres.unavailable" in line.process.log(), alive=line.process)
    finally:
        line.postgres.start()
    until(lambda: line.topics.committed("record", "decisions") == 4, alive=line.process)
    until(lambda: line.topics.committed("record", "erasures") == 2, alive=line.process)
    assert line.ids("decisions", "decision_id") == ["d00001", "d00004"]

    assert line.process.stop() == 0
    line.topics.forget_commits("record", ["decisions", "outcomes"])
    line.process.start()
    until(lambda: line.topics.committed("record", "decisions") == 4, alive=line.process)
    assert line.ids("decisions", "decision_id") == ["d00001", "d00004"]
    assert line.ids("tip_scores", "decision_id") == ["d00001", "d00004"]


def test_a_clock_that_runs_ahead_deletes_nothing_that_is_not_old_beside_the_newest_decision(postgres: Cluster) -> None:
    database, now_ms, history_ms = postgres.migrated(), 900 * DAY_MS, 365 * DAY_MS

    async def kept(*, clock_ms: int) -> list[int]:
        async with Sink(database.dsn("recommender")) as sink:
            made = [decision(now_ms - days * DAY_MS) for days in (400, 300, 1)]
            await sink.record_decisions([Stored(one, one) for one in made])
            await trim(sink, history_ms=history_ms, now_ms=clock_ms)
        with database.admin() as admin:
            found = admin.execute(b"SELECT decided_ms FROM recommender.decisions ORDER BY 1").fetchall()
        return [(now_ms - decided_ms) // DAY_MS for (decided_ms,) in found]

    assert asyncio.run(kept(clock_ms=now_ms + 365 * DAY_MS)) == [400, 300, 1]
    # Or one that runs behind, beside decisions of a machine whose clock is right.
    assert asyncio.run(kept(clock_ms=now_ms - 50 * DAY_MS)) == [400, 300, 1]
    assert asyncio.run(kept(clock_ms=now_ms + 5 * DAY_MS)) == [300, 1]


def test_it_ends_when_it_is_told_to_although_postgresql_is_down(line: Line) -> None:
    line.topics.produce("decisions", [decision(0)])
    line.until_recorded(1)
    line.postgres.stop()
    try:
        line.topics.produce("decisions", [decision(1)])
        until(lambda: "postgres.unavailable" in line.process.log(), alive=line.process)
        line.process.stop()
    finally:
        line.postgres.start()
    line.process.start()
    line.until_recorded(2)


@pytest.mark.long(
    "tests/agents/test_record.py::test_with_postgresql_down_nothing_is_committed_and_all_of_it_is_there_afterwards"
)
def test_three_kills_among_4000_decisions_lose_none_and_record_none_twice(line: Line) -> None:
    for part in range(4):
        line.topics.produce("decisions", [decision(number) for number in range(part * 1000, part * 1000 + 1000)])
        if part < 3:
            line.until_recorded(part * 1000 + 1)
            line.process.kill()
            line.process.start()
    line.until_recorded(4000)
    assert line.ids("decisions", "decision_id") == names("d", 4000)
    assert len(line.ids("tip_scores", "decision_id")) == 4000


def test_what_is_of_somebody_who_left_is_passed_over_once_their_key_is_gone_and_nobody_elses_is(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    give(keys, b"alice")
    leaving = Leaving(journal_id=b"j" * 16, schemas=Frames(), ends=nowhere)
    made = decision(4)
    made.journal.topic_id, made.journal.offset = b"j" * 16, 4
    sealed = seal(made, whose=b"alice", keys=keys)
    keys.forget(b"alice")

    def opened() -> Decision | None:
        return asyncio.run(_opened(keys, leaving, sealed, whose=b"alice"))

    with pytest.raises(KeyMissing):
        opened()
    word = Erased(user_id="alice", receipt="receipt-of-leaving")
    for offset, is_passed in ((4, False), (5, True)):
        word.journal.topic_id, word.journal.offset = b"j" * 16, offset
        leaving.leavers.add(word)
        if is_passed:
            assert opened() is None
        else:
            with pytest.raises(KeyMissing):
                opened()
