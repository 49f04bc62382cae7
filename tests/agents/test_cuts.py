"""Rows put away at a cut: what is in the file, what a kill leaves, and that a fold from it gives what a fold of everything gives."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sealed import give, keys_in

from agents.assigned import Assigned
from agents.cuts import Cuts
from agents.fold import PartitionState
from agents.rows import MARKS_KEY, TableRows, head, order_in
from agents.set_aside import Aside
from agents.step import STEP_VERSION, Entry, Outputs
from deploy.folding import read_snapshot
from oo.v1 import erased_pb2, journal_pb2, row_pb2, snapshot_pb2
from streams.frames import Frames
from streams.keys import Keys
from streams.sealing import seal_row
from tables import snapshots
from tables.leavers import Leavers
from tables.rocks import Rocks
from tables.row import fence_of
from tables.snapshots import Damaged, Snapshot, Snapshots
from tables.store import MemoryStore, Store
from tables.table import Table
from tables.totals import Totals
from tests.agents.build import JOURNAL_ID, MONDAY_MS, PRIOR, Person, entry, erasure, task
from tests.golden.replay import golden, versions

FRAMES = Frames()
NOBODY = Leavers(JOURNAL_ID)


def header() -> bytes:
    return FRAMES.header("rows", row_pb2.UserRow)


def fold(entries: list[Entry], state: PartitionState) -> list[Outputs]:
    """Each record by itself settled."""
    found = []
    for one in entries:
        found.append(state.apply(one))
        state.acknowledge()
    return found


def put_away(folder: Snapshots, state: PartitionState, rows: dict[str, bytes], *, offset: int, keys: Keys) -> Snapshot:
    """As a cut does it."""
    place = journal_pb2.Position(topic_id=JOURNAL_ID, partition=state.partition, offset=offset)
    writer = folder.begin(snapshot_pb2.Snapshot(journal=place, step_version=STEP_VERSION, made_ms=offset + 1))
    for user_id in rows:
        if keys.lacks(user_id.encode()):
            give(keys, user_id.encode())
    sealed = {user_id.encode(): seal_row(row, whose=user_id.encode(), keys=keys) for user_id, row in rows.items()}
    writer.add([(key, header() + row) for key, row in sealed.items()])
    if state.marks.marks:
        writer.add([(MARKS_KEY, FRAMES.frame("rows", state.marks))])
    writer.finish()
    return folder.all(state.partition)[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots", prefix="oo.", journal_id=JOURNAL_ID)


@pytest.mark.parametrize("number", [0, 1])
def test_a_fold_from_a_snapshot_gives_rows_and_outputs_of_a_fold_of_everything(
    number: int, folder: Snapshots, tmp_path: Path
) -> None:
    known, keys = versions(), keys_in(tmp_path / "kek")
    # Each as it stands in the journal, and not as a worker meets some of them again.
    entries = list({one.offset: one for one in reversed(golden()) if one.partition == number}.values())[::-1]
    whole = PartitionState(partition=number, versions=known, rows={})
    outputs = fold(entries, whole)
    for place in sorted(random.Random(number).sample(range(1, len(entries)), 4)):
        rows: dict[str, bytes] = {}
        state = PartitionState(partition=number, versions=known, rows=rows)
        fold(entries[:place], state)
        one = put_away(folder, state, rows, offset=entries[place - 1].offset, keys=keys)
        about, begun, marks = read_snapshot(one.path, keys=keys, leavers=NOBODY)
        assert begun == rows
        assert max(fence_of(row).offset for row in begun.values()) <= about.journal.offset == one.offset
        state = PartitionState(partition=number, versions=known, rows=begun, marks=marks)
        assert fold(entries[place:], state) == outputs[place:]
        assert begun == whole.rows


def test_who_left_after_a_snapshot_is_absent_from_what_is_read_of_it_and_everybody_else_is_as_ever(
    folder: Snapshots, tmp_path: Path
) -> None:
    keys, people = keys_in(tmp_path / "kek"), {name: Person(user=name) for name in ("ada", "bob")}
    for number, (name, person) in enumerate(people.items()):
        person.offset = 10 * number
        for title in ("Buy secret flowers", "Water the plants"):
            person.take(task(title, title=title, user=name))
    rows = {name: person.now.SerializeToString(deterministic=True) for name, person in people.items()}
    state = PartitionState(partition=0, versions={"": PRIOR}, rows=dict(rows))
    one = put_away(folder, state, rows, offset=20, keys=keys)

    left = entry(erasure("receipt"), offset=30, time_ms=MONDAY_MS + 60_000)
    leavers = Leavers(JOURNAL_ID)
    place = journal_pb2.Position(topic_id=JOURNAL_ID, offset=30)
    leavers.add(erased_pb2.Erased(user_id="ada", receipt="receipt", journal=place))
    keys.forget(b"ada")
    _, begun, _ = read_snapshot(one.path, keys=keys, leavers=leavers)
    assert begun == {"bob": rows["bob"]}
    from_snapshot = PartitionState(partition=0, versions={"": PRIOR}, rows=begun)
    whole = PartitionState(partition=0, versions={"": PRIOR}, rows=dict(rows))
    later = entry(task("3", user="bob"), offset=31, time_ms=MONDAY_MS + 61_000, user="bob")
    assert fold([left, later], from_snapshot) == fold([left, later], whole)
    assert begun == whole.rows
    assert b"secret" not in begun["ada"]


class Partition:
    """One that is assigned, over a store; what it writes goes nowhere, and is acknowledged when the test says so."""

    def __init__(self, store: Store, keys: Keys) -> None:
        table = Table(store, head=head, order=order_in(JOURNAL_ID), produce=lambda *_: asyncio.Future())
        self.keys, rows = keys, TableRows(table, header=header(), keys=keys)
        totals = Totals(epochs={PRIOR.version.epoch: PRIOR.belief.epoch})
        state = PartitionState(partition=0, versions={"": PRIOR}, rows=rows, totals=totals)
        self.assigned = Assigned(state, table, rows, totals, journal_id=JOURNAL_ID, aside=Aside())
        self._offset = 0

    def cut(self, *users: str) -> dict[bytes, bytes]:
        """A task of each folded, and their rows on their way."""
        for user in users:
            if self.keys.lacks(user.encode()):
                give(self.keys, user.encode())
            self._offset += 1
            one = entry(task(f"t{self._offset}", user=user), offset=self._offset, time_ms=MONDAY_MS, user=user)
            self.assigned.state.apply(one)
            self.assigned.folding = self._offset
        return self.assigned.cut(FRAMES)  # type: ignore[arg-type]

    def settle(self, *users: str) -> None:
        self.assigned.commit(self.cut(*users))


async def _low(_: int) -> int:
    return 0


def cuts(folder: Snapshots) -> Cuts:
    """As at a start, with somebody who has asked for new ones."""
    time.sleep(0.002)  # what was made before is older
    folder.want()
    return Cuts(folder, every_s=0, spaced_ms=1000, low=_low)


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore(head=head)
        return
    store = Rocks(tmp_path / "rows", identity=b"of this test", head=head).open(0)
    yield store
    with suppress(AttributeError):  # it is closed
        store.close()


def offsets(one: Snapshot, keys: Keys) -> dict[str, int]:
    """Of its rows."""
    _, rows, _ = read_snapshot(one.path, keys=keys, leavers=NOBODY)
    return {user_id: fence_of(row).offset for user_id, row in rows.items()}


def test_a_cut_waits_for_the_rows_on_their_way_and_later_ones_do_not_reach_it(
    store: Store, folder: Snapshots, tmp_path: Path
) -> None:
    partition = Partition(store, keys_in(tmp_path / "kek"))

    async def story() -> None:
        making, all_of_them = cuts(folder), {0: partition.assigned}
        partition.settle("ada", "bob")
        values = partition.cut("ada", "eve")
        await making.look(all_of_them)
        assert folder.all() == [], "rows, totals and the last record are of different moments"
        partition.assigned.commit(values)
        # Seen as it was, though all of it is written over before it is copied.
        partition.settle("ada", "bob", "eve", "zoe")
        await making.look(all_of_them)

    asyncio.run(story())
    first, *_ = folder.all()
    assert first.offset == 4
    assert offsets(first, partition.keys) == {"ada": 3, "bob": 2, "eve": 4}


def test_no_cut_is_made_while_rows_are_ahead_of_the_fold_or_totals_are_not_counted(
    folder: Snapshots, tmp_path: Path
) -> None:
    partition = Partition(MemoryStore(head=head), keys_in(tmp_path / "kek"))

    async def story() -> None:
        making, all_of_them = cuts(folder), {0: partition.assigned}
        partition.settle("ada")
        partition.assigned.withheld_until = 2
        await making.look(all_of_them)
        partition.assigned.withheld_until, partition.assigned.counting = 0, asyncio.ensure_future(asyncio.sleep(9))
        await making.look(all_of_them)
        assert folder.all() == []
        partition.assigned.counting = None
        await making.look(all_of_them)

    asyncio.run(story())
    assert [one.offset for one in folder.all()] == [1]


def test_a_partition_that_goes_elsewhere_while_it_is_copied_leaves_nothing(
    store: Store, folder: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition, add = Partition(store, keys_in(tmp_path / "kek")), snapshots.Writer.add

    def adding(self: snapshots.Writer, rows: list[tuple[bytes, bytes]]) -> None:
        partition.assigned.close()
        add(self, rows)

    monkeypatch.setattr(snapshots.Writer, "add", adding)
    partition.settle(*(f"user-{number}" for number in range(50)))
    asyncio.run(cuts(folder).look({0: partition.assigned}))
    assert [path for path in tmp_path.rglob("*") if path.suffix in {".rows", ".part"}] == []


def test_what_is_of_a_journal_that_was_there_before_goes_and_another_prefix_stays(
    folder: Snapshots, tmp_path: Path
) -> None:
    root = tmp_path / "snapshots"
    before = Snapshots(root, prefix="oo.", journal_id=b"before".ljust(16))
    others = Snapshots(root, prefix="others.", journal_id=b"before".ljust(16))
    partition = Partition(MemoryStore(head=head), keys_in(tmp_path / "kek"))
    partition.settle("ada")
    for one in (before, others):
        asyncio.run(cuts(one).look({0: partition.assigned}))
        assert len(one.all()) == 1
    asyncio.run(cuts(folder).look({0: partition.assigned}))
    assert [len(one.all()) for one in (folder, before, others)] == [1, 0, 1]


def test_a_folder_that_cannot_be_written_ends_nothing_and_is_not_tried_at_every_look(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("not a folder")
    folder = Snapshots(tmp_path / "snapshots", prefix="oo.", journal_id=JOURNAL_ID)
    partition = Partition(MemoryStore(head=head), keys_in(tmp_path / "kek"))
    partition.settle("ada")
    making = Cuts(folder, every_s=0, spaced_ms=1000, low=_low)
    asyncio.run(making.look({0: partition.assigned}))
    (tmp_path / "snapshots").unlink()
    asyncio.run(making.look({0: partition.assigned}))
    assert folder.all() == []


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Callable[..., None]], None]] = {
    "begun": lambda patch, end: patch.setattr(snapshots.Writer, "add", end),
    "written": lambda patch, end: patch.setattr(os, "fsync", end),
    "on the disk": lambda patch, end: patch.setattr(Path, "rename", end),
    "in its place": lambda patch, end: patch.setattr(Snapshots, "drop", end),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_a_whole_snapshot_or_none_and_what_was_there_before(
    step: str, folder: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = Partition(MemoryStore(head=head), keys_in(tmp_path / "kek"))
    partition.settle("ada", "bob")
    asyncio.run(cuts(folder).look({0: partition.assigned}))
    [before] = folder.all()
    partition.settle("ada", "eve")
    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            STEPS[step](patch, lambda *_, **__: os._exit(9))
            asyncio.run(cuts(folder).look({0: partition.assigned}))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    there = folder.all()
    assert there[0] == before
    assert [one.offset for one in there] == ([2, 4] if step == "in its place" else [2])
    for one in there:
        assert len(offsets(one, partition.keys)) == (2 if one is there[0] else 3)
    # Whoever owns the partition next begins with what is whole, and clears away the rest.
    asyncio.run(cuts(folder).look({0: partition.assigned}))
    assert folder.all()[-1].offset == 4
    assert [path.suffix for path in tmp_path.rglob("*.part")] == []


def test_a_byte_that_changed_anywhere_or_an_end_that_is_missing_is_noticed(folder: Snapshots, tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "kek")
    partition = Partition(MemoryStore(head=head), keys)
    partition.settle("ada", "bob")
    asyncio.run(cuts(folder).look({0: partition.assigned}))
    [one] = folder.all()
    folder.note_verified(one)
    assert folder.all()[0].verified
    content = one.path.read_bytes()
    for place in range(0, len(content), 7):
        one.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Damaged):
            offsets(one, keys)
    one.path.write_bytes(content[:-1])
    with pytest.raises(Damaged):
        offsets(one, keys)
    assert not folder.all()[0].verified, "what was said of it was said of other bytes"
