"""A table over its changelog, with every store: what recovery finds, what may be passed over, what is put again.

The changelog here is a list, so that every order of events can be tried; tests/streams/test_table_on_kafka.py has a broker.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.producer import Delivered
from streams.record import Record
from tables.rocks import Rocks
from tables.store import MemoryStore, Store
from tables.table import Pairs, Recovery, Table


def head(value: bytes) -> bytes:
    return value[:4]


def value(order: int, text: str = "") -> bytes:
    return b"%04d" % order + text.encode()


class Changelog:
    """One partition of a compacted topic. Unless `held`, what is produced is acknowledged at once."""

    def __init__(self, *written: tuple[bytes, bytes | None]) -> None:
        self.records: list[Record] = []
        self.end = 0
        self.low = 0
        self.held = False
        self.waiting: list[tuple[asyncio.Future[Delivered], int]] = []
        for key, what in written:
            self.append(key, what)

    def append(self, key: bytes, what: bytes | None) -> int:
        self.records.append(Record("rows", 3, self.end, 0, key, what))
        self.end += 1
        return self.end - 1

    def produce(self, key: bytes, what: bytes) -> asyncio.Future[Delivered]:
        future: asyncio.Future[Delivered] = asyncio.get_running_loop().create_future()
        self.waiting.append((future, self.append(key, what)))
        if not self.held:
            self.acknowledge()
        return future

    def acknowledge(self) -> None:
        for future, offset in self.waiting:
            if not future.done():
                future.set_result(Delivered("rows", 3, offset))
        self.waiting.clear()

    async def read(self, start: int) -> AsyncIterator[Pairs]:
        """Two at a time, up to the end of now."""
        pairs = [(record.key, record.value) for record in self.since(start)]
        for at in range(0, len(pairs), 2):
            yield pairs[at : at + 2]

    def since(self, start: int) -> list[Record]:
        return [record for record in self.records if record.offset >= start]

    def compact(self, below: int) -> None:
        """Keep the last of each key, as Kafka does below its lag."""
        last = {record.key: record.offset for record in self.records if record.offset < below}
        self.records = [r for r in self.records if r.offset >= below or last[r.key] == r.offset]

    def kept(self) -> dict[bytes, bytes]:
        """What compaction would leave."""
        found = {record.key: record.value for record in self.records}
        return {key: what for key, what in found.items() if key is not None and what is not None}


@pytest.fixture(params=["memory", "rocksdb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the store; again: the same one, as a process started anew finds it (memory outlives its process here)."""
    made: list[Store] = []
    memory = MemoryStore(head=head)

    def again() -> Store:
        if request.param == "memory":
            return memory
        if made:
            made.pop().close()
        made.append(Rocks(tmp_path / "rows", identity=b"rows", head=head).open(3))
        return made[-1]

    yield again
    for store in made:
        store.close()


def over(store: Store, log: Changelog) -> Table:
    return Table(store, head=head, order=int, produce=log.produce)


async def recovered(store: Store, log: Changelog) -> tuple[Table, Recovery]:
    table = over(store, log)
    return table, await table.recover(low=log.low, end=log.end, read=log.read)


def found(store: Store) -> dict[bytes, bytes]:
    return dict(store.values())


Opened = Callable[[], Store]


def in_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))

    return run


# From an empty disk


def test_of_what_strangers_wrote_beside_ours_nothing_stands(opened: Opened) -> None:
    theirs = [(b"\xc3", value(8)), (b"\xa9", value(8)), (b"\xff", value(8)), (b"ada", b"no number")]
    store, log = opened(), Changelog(theirs[0], theirs[1], (b"bob", value(7)), theirs[2], (b"ada", value(5)), theirs[3])
    _, done = asyncio.run(recovered(store, log))
    assert found(store) == {b"bob": value(7), b"ada": value(5)}
    assert (done.records, done.put_again, log.kept()[b"ada"]) == (6, 1, value(5))


def test_the_greatest_value_stands(opened: Opened) -> None:
    store, log = opened(), Changelog((b"ada", value(5)), (b"bob", value(7)), (b"ada", value(9)))
    _, done = asyncio.run(recovered(store, log))
    assert found(store) == {b"ada": value(9), b"bob": value(7)}
    assert done == Recovery(start=0, records=3, put_again=0, rebuilt=True)


def test_a_smaller_value_written_after_a_greater_one_gives_way_and_the_greater_is_put_again(opened: Opened) -> None:
    store, log = opened(), Changelog((b"ada", value(9)), (b"bob", value(3)), (b"ada", value(5)), (b"bob", value(4)))
    _, done = asyncio.run(recovered(store, log))
    assert found(store) == log.kept() == {b"ada": value(9), b"bob": value(4)}
    assert done.put_again == 1


def test_a_greater_value_after_the_smaller_one_needs_nothing_put_again(opened: Opened) -> None:
    log = Changelog((b"ada", value(9)), (b"ada", value(5)), (b"eve", value(1)), (b"ada", value(9)))
    assert asyncio.run(recovered(opened(), log))[1].put_again == 0


def test_a_deleted_value_is_gone(opened: Opened) -> None:
    store = opened()
    asyncio.run(recovered(store, Changelog((b"ada", value(9)), (b"ada", value(5)), (b"ada", None))))
    assert found(store) == {}


def test_a_value_written_after_a_deletion_stands_whatever_was_before(opened: Opened) -> None:
    store = opened()
    asyncio.run(recovered(store, Changelog((b"ada", value(9)), (b"ada", None), (b"ada", value(2)))))
    assert found(store) == {b"ada": value(2)}


def test_after_compaction_the_last_of_each_stands(opened: Opened) -> None:
    store, log = opened(), Changelog((b"ada", value(5)), (b"bob", value(7)), (b"ada", value(9)))
    log.compact(below=log.end)
    asyncio.run(recovered(store, log))
    assert found(store) == {b"ada": value(9), b"bob": value(7)}


def test_an_empty_changelog_is_recovered_too(opened: Opened) -> None:
    store = opened()
    asyncio.run(recovered(store, Changelog()))
    assert (found(store), store.checkpoint) == ({}, 0)


# Changes


@in_a_loop
async def test_what_was_put_is_seen_here_and_nowhere_else_before_it_is_committed(opened: Opened) -> None:
    store, log = opened(), Changelog()
    table, _ = await recovered(store, log)
    table.put(b"ada", value(1))
    assert table.get(b"ada") == value(1)
    assert (store.get(b"ada"), log.end) == (None, 0)
    await table.flush()
    assert (table.get(b"ada"), store.get(b"ada"), log.end) == (value(1), value(1), 1)


@in_a_loop
async def test_a_batch_makes_one_record_per_key(opened: Opened) -> None:
    log = Changelog()
    table, _ = await recovered(opened(), log)
    for n in range(1, 50):
        table.put(b"ada", value(n))
        table.put(b"bob", value(n))
    await table.flush()
    assert [(r.key, r.value) for r in log.records] == [(b"ada", value(49)), (b"bob", value(49))]


@in_a_loop
async def test_the_store_has_a_value_only_after_the_changelog_has(opened: Opened) -> None:
    store, log = opened(), Changelog()
    table, _ = await recovered(store, log)
    log.held = True
    table.put(b"ada", value(1))
    flushing = asyncio.create_task(table.flush())
    await asyncio.sleep(0.01)
    assert (log.end, store.get(b"ada")) == (1, None)
    log.acknowledge()
    await flushing
    assert store.get(b"ada") == value(1)


@in_a_loop
async def test_a_failed_delivery_leaves_the_store_as_it_was(opened: Opened) -> None:
    store, log = opened(), Changelog()
    table, _ = await recovered(store, log)
    log.held = True
    table.put(b"ada", value(1))
    flushing = asyncio.create_task(table.flush())
    await asyncio.sleep(0)
    log.waiting[0][0].set_exception(OSError("not delivered"))
    with pytest.raises(OSError, match="not delivered"):
        await flushing
    assert found(store) == {}


@in_a_loop
async def test_what_is_committed_beside_the_values_comes_with_them(opened: Opened) -> None:
    store = opened()
    table, _ = await recovered(store, Changelog())
    table.put(b"ada", value(1))
    await table.publish({b"ada": value(1)})
    table.commit({b"sums": b"15"})
    assert (store.get(b"ada"), store.side(b"sums")) == (value(1), b"15")


# From an old disk


def left(store: Store, *written: tuple[bytes, bytes | None]) -> Changelog:
    """A store that has all of this changelog, whose process then ended."""
    log = Changelog(*written)
    asyncio.run(recovered(store, log))
    return log


def test_an_old_disk_reads_only_what_came_since(opened: Opened) -> None:
    log = left(opened(), (b"ada", value(5)), (b"bob", value(7)))
    log.append(b"ada", value(9))
    store = opened()
    _, done = asyncio.run(recovered(store, log))
    assert done == Recovery(start=2, records=1, put_again=0, rebuilt=False)
    assert found(store) == {b"ada": value(9), b"bob": value(7)}
    assert store.checkpoint == 3


def test_a_smaller_value_that_came_since_gives_way_to_the_disks_and_that_is_put_again(opened: Opened) -> None:
    log = left(opened(), (b"ada", value(9)))
    log.append(b"ada", value(5))
    log.compact(below=log.end)
    store = opened()
    _, done = asyncio.run(recovered(store, log))
    assert found(store) == log.kept() == {b"ada": value(9)}
    assert done.put_again == 1


def test_a_deletion_that_came_since_reaches_the_disk(opened: Opened) -> None:
    log = left(opened(), (b"ada", value(9)), (b"bob", value(7)))
    log.append(b"ada", None)
    store = opened()
    asyncio.run(recovered(store, log))
    assert found(store) == {b"bob": value(7)}


@pytest.mark.parametrize(("low", "end"), [(3, 9), (0, 1)], ids=["log begins later", "log is shorter"])
def test_a_disk_whose_place_is_not_in_the_log_is_rebuilt(opened: Opened, low: int, end: int) -> None:
    left(opened(), (b"ada", value(5)), (b"gone", value(7)))
    log = Changelog()
    log.low = log.end = low
    while log.end < end:
        log.append(b"ada", value(log.end))
    store = opened()
    _, done = asyncio.run(recovered(store, log))
    assert done.rebuilt
    assert found(store) == {b"ada": value(end - 1)}


def test_what_stands_beside_the_values_is_written_with_every_change(opened: Opened) -> None:
    log = left(opened(), (b"ada", value(5)))
    for n in (6, 7, 8):
        log.append(b"ada", value(n))
    store = opened()
    seen: list[tuple[bytes | None, bytes | None]] = []

    def side(changes: object) -> dict[bytes, bytes]:
        assert isinstance(changes, dict)
        seen.append((store.get(b"ada"), changes[b"ada"]))
        return {b"sums": changes[b"ada"]}

    table = over(store, log)
    asyncio.run(table.recover(low=0, end=log.end, read=log.read, side=side))
    assert seen == [(value(5), value(7)), (value(7), value(8))]
    assert store.side(b"sums") == value(8)


def test_a_recovery_that_ended_halfway_is_done_again(opened: Opened) -> None:
    log = left(opened(), (b"ada", value(9)))
    log.append(b"bob", value(1))
    log.append(b"ada", value(5))

    async def cut(start: int) -> AsyncIterator[Pairs]:
        async for pairs in log.read(start):
            yield pairs
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        asyncio.run(over(opened(), log).recover(low=0, end=log.end, read=cut))
    store = opened()
    assert asyncio.run(recovered(store, log))[1].put_again == 1
    assert found(store) == log.kept() == {b"ada": value(9), b"bob": value(1)}


# While it is followed


async def followed(store: Store) -> tuple[Table, Changelog]:
    """With 9 for ada, which it wrote itself and has read back."""
    log = Changelog()
    table, _ = await recovered(store, log)
    table.put(b"ada", value(9))
    await table.flush()
    table.check(log.records[-1])
    return table, log


@in_a_loop
async def test_a_smaller_value_behind_ours_is_answered_with_ours(opened: Opened) -> None:
    table, log = await followed(opened())
    table.check(log.records[log.append(b"ada", value(5))])
    assert log.kept() == {b"ada": value(9)}
    await table.flush()
    assert table.store.checkpoint == 2


@in_a_loop
async def test_our_own_values_are_never_answered(opened: Opened) -> None:
    table, log = await followed(opened())
    for n in (10, 11, 12):
        table.put(b"ada", value(n))
        await table.flush()
    for record in log.since(1):
        table.check(record)
    assert log.end == 4
    assert not table._ours
    assert table.checkpoint == 4


@in_a_loop
async def test_a_smaller_value_before_our_last_write_needs_no_answer(opened: Opened) -> None:
    table, log = await followed(opened())
    log.append(b"ada", value(5))
    table.put(b"ada", value(10))
    await table.flush()
    for record in log.since(1):
        table.check(record)
    assert log.end == 3


@in_a_loop
async def test_the_checkpoint_stays_below_a_smaller_value_until_the_answer_is_acknowledged(opened: Opened) -> None:
    table, log = await followed(opened())
    log.held = True
    table.check(log.records[log.append(b"ada", value(5))])
    assert table.checkpoint == 1
    log.acknowledge()
    assert table.checkpoint == 2


@in_a_loop
async def test_the_checkpoint_stays_below_what_was_read_before_it_is_stored(opened: Opened) -> None:
    table, log = await followed(opened())
    log.held = True
    table.put(b"ada", value(10))
    flushing = asyncio.create_task(table.flush())
    await asyncio.sleep(0)
    table.check(log.records[-1])
    assert table.checkpoint == 1
    log.acknowledge()
    await flushing
    assert table.store.checkpoint == 2


@pytest.mark.parametrize("key", [b"ada", b"somebody new"])
def test_the_checkpoint_stays_below_what_another_worker_wrote_and_the_next_start_takes_it(
    opened: Opened, key: bytes
) -> None:
    async def story() -> Changelog:
        table, log = await followed(opened())
        log.append(key, value(50))
        table.check(log.records[-1])
        table.put(b"ada", value(10))
        await table.flush()
        table.check(log.records[-1])
        assert table.store.checkpoint == 1
        return log

    log = asyncio.run(story())
    store = opened()
    asyncio.run(recovered(store, log))
    assert found(store)[key] == value(50)
    assert log.kept()[key] == value(50)


@in_a_loop
async def test_a_greater_value_before_our_own_later_but_smaller_one_is_not_passed_over(opened: Opened) -> None:
    table, log = await followed(opened())
    log.append(b"ada", value(50))
    table.put(b"ada", value(10))
    await table.flush()
    for record in log.since(1):
        table.check(record)
    assert table.checkpoint == 1
    table.put(b"ada", value(50))
    await table.flush()
    assert table.checkpoint == 3


@in_a_loop
async def test_the_checkpoint_stays_below_a_deletion(opened: Opened) -> None:
    table, log = await followed(opened())
    table.check(log.records[log.append(b"ada", None)])
    table.put(b"ada", value(10))
    await table.flush()
    assert table.store.checkpoint == 1


@in_a_loop
async def test_what_is_remembered_of_other_workers_has_a_bound(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tables.table.HELD_MAX", 3)
    table, log = await followed(opened())
    for n in range(10):
        table.check(log.records[log.append(b"u%d" % n, value(50))])
    assert len(table._held) == 3
    assert table.checkpoint == 1
    for n in range(3):
        table.put(b"u%d" % n, value(50))
    table.commit()
    assert table.checkpoint == 4


@in_a_loop
async def test_closing_notes_the_place_and_forgets_what_was_not_published(tmp_path: Path) -> None:
    disks = Rocks(tmp_path, identity=b"rows", head=head)
    table, _ = await followed(disks.open(3))
    table.put(b"ada", value(10))
    table.close()
    again = disks.open(3)
    assert (again.checkpoint, again.get(b"ada")) == (1, value(9))
    again.close()


# Two workers, one of them a zombie now and then, whose disks stay


class Worker:
    """Folds a journal: the event at offset n changes its key's value to n. It may not know that it is no owner."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.table: Table | None = None
        self.position = 0

    async def start(self, log: Changelog, committed: int) -> None:
        self.table, _ = await recovered(self.store, log)
        self.position = committed

    async def fold(self, journal: list[bytes], upto: int) -> None:
        assert self.table is not None
        for offset in range(self.position, min(upto, len(journal))):
            key = journal[offset]
            standing = self.table.get(key)
            if standing is None or int(standing[:4]) < offset:
                self.table.put(key, value(offset))
        await self.table.flush()
        self.position = max(self.position, min(upto, len(journal)))

    def follow(self, log: Changelog, upto: int) -> None:
        assert self.table is not None
        for record in log.since(self.table._followed):
            if record.offset < upto:
                self.table.check(record)


def check_all_there(worker: Worker, journal: list[bytes], committed: int, log: Changelog) -> None:
    """Nothing below the commit is missing, and nothing is there that the journal does not have."""
    last = {key: offset for offset, key in enumerate(journal[:committed])}
    rows = found(worker.store)
    for key, offset in last.items():
        assert int(rows[key][:4]) >= offset
    for key, row in rows.items():
        assert journal[int(row[:4])] == key
    assert log.kept() == rows


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4)),
        st.tuples(st.just("fold"), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just("follow"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("commit")),
        st.tuples(st.just("move"), st.integers(0, 1)),
        st.tuples(st.just("erase disk"), st.integers(0, 1)),
        st.tuples(st.just("compact")),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_two_workers_do_a_start_finds_all_that_was_committed(steps: list[tuple[object, ...]]) -> None:
    asyncio.run(two_workers(steps, [MemoryStore(head=head), MemoryStore(head=head)]))


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_the_same_with_disks(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = [Rocks(Path(folder) / str(n), identity=b"rows", head=head).open(3) for n in range(2)]
        try:
            asyncio.run(two_workers(steps, list(stores)))
        finally:
            for store in stores:
                store.close()


async def two_workers(steps: list[tuple[object, ...]], stores: list[Store]) -> None:
    journal: list[bytes] = []
    log, committed, owner = Changelog(), 0, 0
    workers = [Worker(store) for store in stores]
    await workers[owner].start(log, committed)
    for step in steps:
        match step:
            case ("events", list() as keys):
                journal += keys
            case ("fold", int() as n, int() as count):
                if workers[n].table is not None:
                    await workers[n].fold(journal, workers[n].position + count)
            case ("follow", int() as n, int() as count):
                table = workers[n].table
                if table is not None:
                    workers[n].follow(log, table._followed + count)
            case ("commit",):
                committed = max(committed, workers[owner].position)
            case ("move", int() as n):
                # What it was before, it is no more; the other one does not hear of it.
                owner = n
                await workers[owner].start(log, committed)
                check_all_there(workers[owner], journal, committed, log)
            case ("erase disk", int() as n):
                if n != owner:
                    workers[n].table = None
                    workers[n].store.reset()
            case ("compact",):
                # A day has passed: whoever is the owner has read all, and nobody else writes any more.
                for n, worker in enumerate(workers):
                    if n != owner:
                        worker.table = None
                workers[owner].follow(log, log.end)
                log.compact(below=log.end)
            case _:
                raise AssertionError(step)
    for n in (0, 1, owner):
        await workers[n].start(log, committed)
        check_all_there(workers[n], journal, committed, log)
