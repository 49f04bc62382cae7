"""One partition of a table: values by key in a store, and every change of one in a compacted changelog topic.

Stock Faust's table writes a record per change through a buffer that nobody waits for, keeps the last record at recovery
and not the greatest, and reads its whole changelog into one store per process (docs/adr/0014). Here the caller says
when: `publish` returns once the changelog has acknowledged the values, and only then `commit` writes them to the store,
all of a batch at once, with the place up to which the store has the changelog.

What makes one value greater than another is the caller's to say (`order`, read from the value's head). It never looks
into a value otherwise. What a stranger wrote into the changelog (no key, a key that is not UTF-8, a value without a head)
is smaller than anything: it is passed over, and where it stands last, the greatest value is put again behind it.

    table = Table(store, order=order, produce=produce)
    await table.recover(low=low, end=end, read=read)
    table.put(key, value)
    await table.flush()                 # or publish, commit
    table.check(record)                 # each record of the changelog from `end` on, as it comes
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from streams import heartbeat
from streams.metrics import SKIPPED
from streams.producer import Delivered
from streams.record import Record
from tables.store import NOTHING, Head, Store, StoreFailed

log = logging.getLogger(__name__)

LEAST = -(1 << 64)
"""Below every order."""
MERGED_AT_ONCE = 500
"""Records of the changelog taken at a time: less than 10 ms of work between two looks at anything else."""
AGAIN_AT_ONCE = 500
"""Values put again at a time."""
HELD_MAX = 10_000
"""Keys remembered for which the changelog has more than the store; past it the checkpoint stands still until the next
recovery."""

Produce = Callable[[bytes, bytes], "asyncio.Future[Delivered]"]
Pairs = Sequence["tuple[bytes | None, bytes | None]"]
"""Keys and values of some records, in their order."""
Read = Callable[[int], AsyncIterator[Pairs]]
Side = Callable[[Mapping[bytes, "bytes | None"]], Mapping[bytes, bytes]]
Orders = Callable[[Sequence["bytes | None"]], "list[int | None]"]
"""The orders of many values; None for what only a stranger writes, and where there is none."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery did."""

    start: int
    """The changelog offset from which it read: 0 where the store was empty."""
    records: int
    put_again: int
    rebuilt: bool
    """From an empty store."""


class Table:
    """One partition. Its methods belong to one event loop; only `publish`, `flush` and `recover` wait."""

    def __init__(
        self,
        store: Store,
        *,
        head: Head,
        order: Callable[[bytes], int],
        produce: Produce,
        orders: Orders | None = None,
        name: str = "",
    ) -> None:
        """`head(value)`: the store's own; `order(head)`: the greater stands; `produce(key, value)`: to its changelog. `orders`: of many
        values sooner than by `head` and `order`, and the same."""
        self.store = store
        self._head = head
        self._order = order
        self._orders = orders or _one_by_one(head, order)
        self._produce = produce
        self._name = name
        self._staged: dict[bytes, bytes | None] = {}
        self._followed = 0
        self._ours: dict[bytes, tuple[int, int]] = {}
        """Changelog offset and order of our last write of a key, until `check` has come past it."""
        self._held: dict[bytes, tuple[int, int]] = {}
        """Changelog offset and order of a record that is greater than what the store has: the checkpoint stays below
        it. Mostly our own, read before their acknowledgement was; else another worker's."""
        self._held_for_good: int | None = None
        self._answers: dict[int, asyncio.Future[Delivered]] = {}
        """By the changelog offset of a smaller record: our own value, put again and not yet acknowledged."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of this key, with what was put and is not committed."""
        if key in self._staged:
            return self._staged[key]
        return self.store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Change it here. It is in no topic and in no store yet."""
        self._staged[key] = value

    async def publish(self, values: Mapping[bytes, bytes]) -> None:
        """Write these values to the changelog, one record each; returns when they are acknowledged."""
        self.sent(values, await asyncio.gather(*self.send(values)))

    def send(self, values: Mapping[bytes, bytes]) -> list[asyncio.Future[Delivered]]:
        """Begin to write these values to the changelog. Once all are acknowledged, say where they stand: `sent`."""
        return [self._produce(key, value) for key, value in values.items()]

    def sent(self, values: Mapping[bytes, bytes], places: Sequence[Delivered]) -> None:
        """The changelog has these values, each at its place."""
        for (key, value), place in zip(values.items(), places, strict=True):
            if place.offset >= self._followed:
                self._ours[key] = (place.offset, self._order(self._head(value)))

    def commit(self, side: Mapping[bytes, bytes] = NOTHING) -> None:
        """Write what was put to the store, with `side` and the checkpoint, at once; all of it was published."""
        for key, value in self._staged.items() if self._held else ():
            held = self._held.get(key)
            if held is not None and value is not None and self._order(self._head(value)) >= held[1]:
                del self._held[key]
        self.store.write(self._staged, side=side, checkpoint=self.checkpoint)
        self._staged = {}

    async def flush(self) -> None:
        """Publish all that was put, then commit it."""
        await self.publish({key: value for key, value in self._staged.items() if value is not None})
        self.commit()

    @property
    def checkpoint(self) -> int:
        """The changelog offset below which the store has everything, and nothing smaller stands last."""
        places = [self._followed, *(offset for offset, _ in self._held.values())]
        places += [offset for offset, answer in self._answers.items() if not _acknowledged(answer)]
        if self._held_for_good is not None:
            places.append(self._held_for_good)
        return min(places)

    def check(self, record: Record) -> None:
        """Look at one record of our changelog; where a smaller value stands behind our own, put our own again.

        A worker that was stopped and woke up may still write such a value, and compaction keeps the last one.
        """
        self._followed = record.offset + 1
        key = record.key
        if key is None:
            _pass_over(self._name, key)
            return
        if key == heartbeat.KEY:
            return
        ours = self._ours.get(key)
        if ours is not None and record.offset == ours[0]:
            del self._ours[key]
            return
        if record.value is None:
            self._hold(record.offset)
            return
        [order] = _orders_of([(key, record.value)], self._orders)
        if order is None:
            _pass_over(self._name, key)
            order = LEAST
        if ours is not None and record.offset < ours[0] and order <= ours[1]:
            return  # Our own write stands behind it.
        [head] = self.store.heads([key])
        own = None if head is None else self._order(head)
        if own is None and order == LEAST:
            return
        if own is None or order > own:
            self._hold(record.offset, key, order)
        elif order < own:
            value = self.store.get(key)
            assert value is not None
            log.warning("row.put_again table=%s offset=%d order=%d", self._name, record.offset, own)
            self._answers = {at: answer for at, answer in self._answers.items() if not _acknowledged(answer)}
            # Not awaited: a delivery that fails ends the process, and the checkpoint is below this record still.
            self._answers[record.offset] = self._produce(key, value)

    async def recover(self, *, low: int, end: int, read: Read, side: Side = lambda _: NOTHING) -> Recovery:
        """Bring the store up to the changelog's `end`, which is then followed with `check`.

        `low`: the oldest offset that the log still has; `read(start)` gives its records in [start, end). A store whose
        place is not in the log any more is emptied first. Of each key the greatest value stands, never merely the last;
        where a smaller one stands last, the greatest is put again before this returns. `side(changes)` is asked before
        each write of changes to a store that had something: what it gives is written at once with them.
        """
        start = self.store.checkpoint
        if start is not None and not low <= start <= end:
            log.warning("table.thrown_away table=%s checkpoint=%d low=%d end=%d", self._name, start, low, end)
            start = None
        if start is None:
            self.store.reset()
        changelog = read(start or 0)
        records, behind = await merge(
            changelog, self.store, head=self._head, order=self._order, orders=self._orders, side=side
        )
        await self._put_again(sorted(behind))
        self._followed = end
        self.store.write({}, checkpoint=end)
        return Recovery(start or 0, records, len(behind), rebuilt=start is None)

    def close(self) -> None:
        """Note the place in the store, and close it; what was put and not committed is forgotten."""
        self._staged = {}
        # A disk that is full keeps the place that it noted before.
        with contextlib.suppress(StoreFailed):
            self.store.write({}, checkpoint=self.checkpoint)
        self.store.close()

    def _hold(self, offset: int, key: bytes | None = None, order: int = 0) -> None:
        if key is None or len(self._held) >= HELD_MAX:
            if self._held_for_good is None:
                self._held_for_good = offset
            return
        first, greatest = self._held.get(key, (offset, order))
        self._held[key] = (first, max(greatest, order))

    async def _put_again(self, keys: Sequence[bytes]) -> None:
        for at in range(0, len(keys), AGAIN_AT_ONCE):
            values = [(key, self.store.get(key)) for key in keys[at : at + AGAIN_AT_ONCE]]
            await asyncio.gather(*[self._produce(key, value) for key, value in values if value is not None])


async def merge(
    changelog: AsyncIterator[Pairs],
    store: Store,
    *,
    head: Head,
    order: Callable[[bytes], int],
    orders: Orders | None = None,
    side: Side = lambda _: NOTHING,
) -> tuple[int, set[bytes]]:
    """Take the greatest value of each key into the store; `orders` as for a `Table`, `side` as for `Table.recover`.

    Returns how many records were read, and the keys whose last record is not their greatest.
    """
    orders = orders or _one_by_one(head, order)
    behind: set[bytes] = set()
    count, new = 0, store.checkpoint is None
    known: dict[bytes, int] = {}
    """Orders of what is in a new store: cheaper for a while than to ask it about every key."""
    async for records in changelog:
        count += len(records)
        for at in range(0, len(records), MERGED_AT_ONCE):
            some = records[at : at + MERGED_AT_ONCE]
            if not new:
                keys = [key for key, _ in some if key is not None]
                fronts = zip(keys, store.heads(keys), strict=True)
                known = {key: order(front) for key, front in fronts if front is not None}
            changes = _greatest(some, known, behind, orders=orders)
            if new:
                store.load(changes)
            elif changes:
                store.write(changes, side=side(changes))
            await asyncio.sleep(0)
    return count, behind


def _greatest(
    records: Pairs, known: dict[bytes, int], behind: set[bytes], *, orders: Orders
) -> dict[bytes, bytes | None]:
    """Return what these records change where orders are as `known`, which is kept up; `behind` as `merge` returns
    it."""
    changes: dict[bytes, bytes | None] = {}
    for (key, value), its in zip(records, _orders_of(records, orders), strict=True):
        if key is None:
            _pass_over("", key)
            continue
        if its is None:
            if value is None:
                changes[key] = None
                known.pop(key, None)
                behind.discard(key)
            else:
                _pass_over("", key)
                if key in known:
                    behind.add(key)
            continue
        standing = known.get(key)
        if standing is None or its > standing:
            changes[key], known[key] = value, its
        elif its < standing:
            behind.add(key)
            continue
        if behind:
            behind.discard(key)
    return changes


def _orders_of(records: Pairs, orders: Orders) -> list[int | None]:
    """The orders of some records' values; None for what only a stranger writes, and for a deletion."""
    found, keys = orders([value for _, value in records]), [key or b"" for key, _ in records]
    # All at once, as none but a stranger's is no text: what UTF-8 writes in several bytes spans no line's end.
    if _is_text(b"\n".join(keys)):
        return found
    return [its if _is_text(key) else None for key, its in zip(keys, found, strict=True)]


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _one_by_one(head: Head, order: Callable[[bytes], int]) -> Orders:
    def its(value: bytes | None) -> int | None:
        try:
            return None if value is None else order(head(value))
        except ValueError:
            return None

    return lambda values: [its(value) for value in values]


def _pass_over(name: str, key: bytes | None) -> None:
    SKIPPED["rows",] += 1
    log.warning("record.skipped table=%s reason=%s", name, "no-key" if key is None else "not-ours")


def _acknowledged(answer: asyncio.Future[Delivered]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None
