"""The journal folded again in processes of its own: over real topics with a prefix of their own, no worker near."""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from agents.active_version import ActiveVersion
from agents.reward import interrupting
from deploy import refold
from deploy.asked import asked
from deploy.differing import Differences
from deploy.folding import Journal, folded
from deploy.refold import Live, Part, compare, compare_part, fold_rows, live_rows
from deploy.scratch import scratch
from deploy.shares import RefoldError, in_processes
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, erased_pb2, journal_pb2, row_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.reader import end_offsets, topic_ids
from streams.sealing import NO_KEYS
from streams.topics import PARTITIONS
from streams.units import HOUR_MS
from tables.leavers import Leavers
from tables.row import spelled_out
from tests.agents.build import MONDAY_MS, PRIOR, Person, active, asking, config, entry, erasure, granted, prior, task

USERS = tuple(f"user-{number}" for number in range(2 * PARTITIONS))
SCHEMAS = Frames()


@dataclass
class Topics:
    """A journal and its changelog."""

    cluster: Cluster

    @property
    def journal(self) -> Journal:
        name = self.cluster.name("journal")
        topic_id = asyncio.run(topic_ids(self.cluster, [name]))[name]
        return Journal(self.cluster, topic_id=topic_id, versions={"": PRIOR})

    def write(self, topic: str, *records: tuple[bytes | None, bytes | None, int]) -> None:
        """(key, value, partition) each."""
        client = Producer({"bootstrap.servers": self.cluster.bootstrap})
        for key, value, partition in records:
            client.produce(self.cluster.name(topic), value, key, partition)
        assert client.flush(30) == 0

    def trim(self, topic: str, *, below: int) -> None:
        """Its first partition, as Kafka does what is too old."""
        place = TopicPartition(self.cluster.name(topic), 0, below)
        admin = AdminClient({"bootstrap.servers": self.cluster.bootstrap})
        for deleted in admin.delete_records([place]).values():
            deleted.result()

    def live(self) -> None:
        """Some signals of each user."""
        for number, user in enumerate(USERS):
            somebody = Person(user=user)
            for external_id in "abc":
                somebody.take(task(external_id, user=user))
            self.write("journal", *(journaled(entry.record, user, number) for entry, _ in somebody.log))

    def compare(self, *, processes: int) -> list[Part]:
        """Each partition's."""
        return asyncio.run(self._compare(processes=processes))

    async def _compare(self, *, processes: int) -> list[Part]:
        journal, ends = await asyncio.to_thread(lambda: self.journal), await self.ends()
        async with aclosing(in_processes(compare_part, journal, ends, processes=processes, progress=_unheard)) as parts:
            return [part async for part in parts]

    async def ends(self) -> dict[int, int]:
        return await end_offsets(self.cluster, self.cluster.name("journal"))

    def rows(self) -> dict[str, bytes]:
        """What the fold makes of the journal."""

        async def fold(journal: Journal) -> dict[str, bytes]:
            rows: dict[str, bytes] = {}
            for number, end in (await self.ends()).items():
                rows |= await fold_rows(journal, number, end=end, keys=NO_KEYS, progress=_unheard)
            return rows

        return asyncio.run(fold(self.journal))


def journaled(record: journal_pb2.JournalRecord, user: str, number: int) -> tuple[bytes, bytes, int]:
    return user.encode(), SCHEMAS.frame("journal", record), number % PARTITIONS


def changed(user: str, row: bytes) -> tuple[bytes, bytes, int]:
    return user.encode(), SCHEMAS.frame("rows", row_pb2.UserRow.FromString(row)), partition_of_user(user)


def partition_of_user(user: str) -> int:
    return USERS.index(user) % PARTITIONS


def _unheard(_: int) -> None:
    pass


@pytest.fixture
def own(servers: RunningStack) -> Iterator[Topics]:
    own = Topics(replace(servers.cluster, prefix=f"{uuid.uuid4().hex[:8]}."))
    admin = AdminClient({"bootstrap.servers": own.cluster.bootstrap})
    names = [own.cluster.name(name) for name in ("journal", "rows", "candidate-requests", "deliveries", "erasures")]
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        created.result()
    yield own
    for deleted in admin.delete_topics(names).values():
        deleted.result()


@pytest.mark.parametrize("processes", [1, 3])
def test_every_planted_difference_is_found_in_any_number_of_processes(own: Topics, processes: int) -> None:
    own.live()
    rows = own.rows()
    torn = spelled_out(row_pb2.UserRow.FromString(rows["user-3"]))
    torn.tasks[0].title = "Something else"
    # As it was written before rows were kept in columns: it says the same.
    before = spelled_out(row_pb2.UserRow.FromString(rows["user-7"])).SerializeToString()
    assert before != rows["user-7"]
    live = {**rows, "user-3": torn.SerializeToString(), "user-7": before}
    del live["user-12"]
    own.write("rows", *(changed(user, row) for user, row in live.items()))
    ghost = row_pb2.UserRow.FromString(rows["user-5"])
    ghost.user_id = "ghost"
    own.write("rows", (b"ghost", SCHEMAS.frame("rows", ghost), 5))
    found = own.compare(processes=processes)
    assert sum(part.differences.n for part in found) == 3
    assert sorted(one for part in found for one in part.differences.shown) == [
        "row of ghost: live stands at 2, the fold has none there",
        "row of user-12: only in the fold",
        f"row of user-3: {len(rows['user-3'])} bytes in the fold, {len(live['user-3'])} live, not the same",
    ]
    assert sum(part.rows for part in found) == len(USERS)
    assert sum(part.decisions for part in found) >= len(USERS)


def test_a_fold_of_some_people_gives_what_a_fold_of_all_does_and_each_row_around_its_record(own: Topics) -> None:
    own.live()
    rows, some = own.rows(), {"user-3", "user-11"}
    assert partition_of_user("user-3") == partition_of_user("user-11")

    async def fold(journal: Journal) -> None:
        number = partition_of_user("user-3")
        state, last = journal.state(number), dict[str, row_pb2.UserRow | None]()
        end = (await own.ends())[number]
        async for one in folded(journal, number, keys=NO_KEYS, end=end, state=state, users=some):
            user = one.entry.user_id
            assert one.before == last.get(user)
            assert one.after is not None
            assert one.after.journal_offset == one.entry.offset
            last[user] = one.after
        assert {user: row.SerializeToString(deterministic=True) for user, row in last.items() if row} == state.rows
        assert state.rows == {user: rows[user] for user in some}

    asyncio.run(fold(own.journal))


@pytest.mark.parametrize("held", [refold.HELD_RECORDS_MAX, 0])
def test_a_row_ahead_of_the_cut_is_compared_at_its_own_place_and_one_behind_it_is_found(
    own: Topics, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refold, "HELD_RECORDS_MAX", held)
    own.live()
    last, user, other = own.rows(), "user-2", "user-10"
    number, before = partition_of_user(user), dict[str, bytes]()

    async def fold(journal: Journal) -> int:
        end = (await own.ends())[number]
        async for one in folded(journal, number, keys=NO_KEYS, end=end):
            if one.before is not None and one.entry.user_id == user:
                before[user] = one.before.SerializeToString(deterministic=True)
        return end

    end = asyncio.run(fold(own.journal))
    stood = row_pb2.UserRow.FromString(before[user]).journal_offset
    changed_at = row_pb2.UserRow.FromString(last[user]).journal_offset
    assert stood < changed_at < end

    def compared(cut: int) -> list[str]:
        return asyncio.run(compare_part(own.journal, number, cut, _unheard)).differences.shown

    # The person's row is on its way: it has not come behind the cut, and what there is stands at a place of before it.
    own.write("rows", changed(user, before[user]))
    assert compared(changed_at) == []
    assert compared(end) == [
        f"row of {other}: only in the fold",
        f"row of {user}: live stands at {stood}, the fold has it at {changed_at}",
    ]
    # Here it is, and ahead of most cuts; and another, which is wrong there.
    torn = spelled_out(row_pb2.UserRow.FromString(last[other]))
    torn.tasks[0].title = "Something else"
    own.write("rows", changed(user, last[user]))
    assert [compared(cut) for cut in (0, stood, changed_at)] == [[]] * 3
    own.write("rows", changed(other, torn.SerializeToString()))
    for cut in (0, stood, end):
        (found,) = compared(cut)
        assert found.startswith(f"row of {other}: ")


def test_what_is_no_journal_record_is_passed_over(own: Topics) -> None:
    own.live()
    before = own.rows()
    own.write(
        "journal",
        (b"user-0", b"no frame at all", 0),
        (b"user-1", None, 1),
        (b"user-2", SCHEMAS.frame("journal", journal_pb2.JournalRecord())[:6] + b"\x0a\xff", 2),
        (b"\xff\xfe", SCHEMAS.frame("journal", journal_pb2.JournalRecord()), 3),
        (b"user-4", SCHEMAS.frame("rows", row_pb2.UserRow()), 4),
    )
    assert own.rows() == before
    own.write("rows", *(changed(user, row) for user, row in before.items()))
    assert {part.partition: part.differences for part in own.compare(processes=2)} == dict.fromkeys(
        range(PARTITIONS), Differences()
    )


def test_a_fold_that_cannot_go_on_is_said_and_not_passed_over(own: Topics) -> None:
    own.live()
    mark = journal_pb2.JournalRecord(mark=journal_pb2.Mark(sequence=1, version_id="one-that-nobody-published"))
    own.write("journal", journaled(mark, "", 6))
    with pytest.raises(RefoldError, match="one-that-nobody-published"):
        own.compare(processes=2)


def test_no_process_outlives_one_that_stops_waiting(own: Topics) -> None:
    own.live()

    async def stop_at_the_first(journal: Journal) -> int:
        async with aclosing(
            in_processes(compare_part, journal, await own.ends(), processes=2, progress=_unheard)
        ) as parts:
            async for _ in parts:
                return len(multiprocessing.active_children())
        return 0

    assert asyncio.run(stop_at_the_first(own.journal)) > 0
    assert multiprocessing.active_children() == []


def test_requests_are_held_against_those_that_the_fold_makes(own: Topics) -> None:
    policy, said = active(prior(config=asking(apart_ms=0, runs_out_ms=0))), list[decision_pb2.CandidateRequest]()
    for user in ("user-0", "user-8"):
        somebody = Person(user=user, policy=policy)
        for n in range(3):
            offset = len(said)
            told = entry(task(f"{n}", user=user), offset=offset, time_ms=MONDAY_MS + n * HOUR_MS, user=user)
            told.record.now_ms = told.time_ms
            request = somebody.take_entry(told).request
            assert request is not None
            said.append(request)
        own.write("journal", *(journaled(one.record, user, 0) for one, _ in somebody.log))
    journal = replace(own.journal, versions={"": policy})
    for one in said:
        one.journal.topic_id = journal.topic_id
    # A worker writes all, is killed before its rows are there, and the next begins again; then a word of another journal, and none at all.
    elsewhere = decision_pb2.CandidateRequest(request_id="x", user_id="user-0", journal=journal_pb2.Position(offset=1))
    own.write("candidate-requests", *map(written, [*said[:4], *said[1:], elsewhere]), (b"user-0", b"no frame", 0))
    found = asyncio.run(of_requests(own, journal))
    assert (found.requests, found.differences.shown) == (6, [])


@pytest.mark.parametrize("is_trimmed", [False, True])
def test_a_request_that_is_missing_torn_or_of_nothing_is_found(own: Topics, is_trimmed: bool) -> None:
    ada = Person(user="user-0", policy=active(prior(config=asking(apart_ms=0, runs_out_ms=0))))
    for n in range(4):
        told = entry(task(f"{n}", user="user-0"), offset=n, time_ms=MONDAY_MS + n * HOUR_MS, user="user-0")
        told.record.now_ms = told.time_ms
        ada.take_entry(told)
    own.write("journal", *(journaled(one.record, "user-0", 0) for one, _ in ada.log))
    journal = replace(own.journal, versions={"": ada.policy})
    first, torn, missing, last = (outputs.request for _, outputs in ada.log)
    assert first is not None and torn is not None and missing is not None and last is not None
    for one in (first, torn, missing, last):
        one.journal.topic_id = journal.topic_id
    torn.ask.tasks[0].title = "Something else"
    ghost = decision_pb2.CandidateRequest(request_id="ghost", user_id="user-0", journal=missing.journal)
    own.write("candidate-requests", *map(written, [first, torn, ghost, last]))
    if is_trimmed:
        own.trim("candidate-requests", below=1)
    found = asyncio.run(of_requests(own, journal))
    assert sorted(found.differences.shown) == sorted(
        [
            f"request {torn.request_id}: not the same in Kafka and in the fold",
            f"request {missing.request_id}: in the fold, missing in Kafka",
            "request ghost: in Kafka, not in the fold",
        ]
    )
    assert found.requests == 4 - is_trimmed


def test_of_who_left_the_word_that_takes_back_is_compared_and_nothing_before(own: Topics) -> None:
    ada = Person(user="user-0", policy=active(prior(config=asking(apart_ms=0, runs_out_ms=0))))
    for n, payload in enumerate([*(task(f"{n}", user="user-0") for n in range(3)), erasure("r", user="user-0")]):
        told = entry(payload, offset=n, time_ms=MONDAY_MS + n * HOUR_MS, user="user-0")
        told.record.now_ms = told.time_ms
        ada.take_entry(told)
    own.write("journal", *(journaled(one.record, "user-0", 0) for one, _ in ada.log))
    journal = replace(own.journal, versions={"": ada.policy})
    said = [outputs.request for _, outputs in ada.log if outputs.request is not None]
    assert len(said) == 4
    for one in said:
        one.journal.topic_id = journal.topic_id
    left = erased_pb2.Erased(user_id="user-0", receipt="r", journal=said[-1].journal)
    leavers = Leavers(journal.topic_id)
    leavers.add(left)
    own.write("candidate-requests", *map(written, said))
    found = asyncio.run(of_requests(own, replace(journal, leavers=leavers)))
    assert (found.requests, found.differences.shown) == (1, [])


def test_a_delivery_that_is_missing_torn_or_of_nothing_is_found(own: Topics) -> None:
    ada = Person(user="user-0", policy=always_interrupting())
    payloads = [task("first"), granted("notifications", word="g"), *(task(f"{n}", priority=1) for n in range(3))]
    for n, payload in enumerate(payloads):
        told = entry(payload, offset=n, time_ms=MONDAY_MS + n * HOUR_MS, user="user-0")
        told.record.now_ms = told.time_ms
        ada.take_entry(told)
    own.write("journal", *(journaled(one.record, "user-0", 0) for one, _ in ada.log))
    journal = replace(own.journal, versions={"": ada.policy})
    first, torn, missing = (outputs.delivery for _, outputs in ada.log if outputs.delivery is not None)
    for one in (first, torn, missing):
        one.journal.topic_id = journal.topic_id
        one.tip.journal.topic_id = journal.topic_id
    torn.tip.title = "Something else"
    ghost = decision_pb2.Delivery(delivery_id="ghost", user_id="user-0", journal=missing.journal)
    own.write("deliveries", *((b"user-0", SCHEMAS.frame("deliveries", one), 0) for one in (first, torn, ghost)))
    found = asyncio.run(of_requests(own, journal))
    assert sorted(found.differences.shown) == sorted(
        [
            f"delivery {torn.delivery_id}: not the same in Kafka and in the fold",
            f"delivery {missing.delivery_id}: in the fold, missing in Kafka",
            "delivery ghost: in Kafka, not in the fold",
        ]
    )
    assert found.deliveries == 3


def always_interrupting() -> ActiveVersion:
    made = interrupting(config())
    made.interrupting.cost, made.interrupting.floor_permille = -64, 0
    made.interrupting.apart_ms = made.interrupting.same_apart_ms = made.interrupting.again_ms = 0
    return active(prior(config=made))


def written(one: decision_pb2.CandidateRequest) -> tuple[bytes, bytes, int]:
    return one.user_id.encode(), SCHEMAS.frame("candidate-requests", one), 0


async def of_requests(own: Topics, journal: Journal) -> Part:
    """The first partition, where the live rows are those of the fold."""
    with scratch() as made:
        rows = await fold_rows(journal, 0, end=(await own.ends())[0], keys=NO_KEYS, progress=_unheard)
        await asyncio.to_thread(own.write, "rows", *(changed(user, row) for user, row in rows.items()))
        live = await live_rows(journal, 0, made)
        async with (
            asked(journal, 0, keys=NO_KEYS) as requests,
            asked(journal, 0, keys=NO_KEYS, name="delivery") as deliveries,
        ):
            held = Live(live, outputs={"request": requests, "delivery": deliveries})
            end = (await own.ends())[0]
            return await compare(journal, 0, held, cut=end, keys=NO_KEYS, scratch=made, progress=_unheard)


async def _put_aside(_journal: Journal, number: int, _end: int, _progress: Callable[[int], None]) -> int:
    tempfile.mkdtemp(prefix="left-")
    return number


def test_what_a_process_puts_aside_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    nowhere = Journal(Cluster("127.0.0.1:1"), topic_id=b"", versions={})

    async def done() -> list[int]:
        parts = in_processes(_put_aside, nowhere, {0: 1, 1: 1}, processes=2, progress=_unheard)
        return [part async for part in parts]

    assert sorted(asyncio.run(done())) == [0, 1]
    assert list(tmp_path.iterdir()) == []
