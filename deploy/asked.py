"""What stands in a partition of `oo.candidate-requests` or `oo.deliveries`, to be held against a fold. It only reads, onwards, as far as it is asked for.

Who writes there begins below what it has not written, and goes on in the order of the journal: so each stands, the first time, behind
all of before it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from connectors.leaving import leavers_of
from deploy.differing import UNREADABLE, Kept, kept
from deploy.folding import Journal, read
from oo.v1.decision_pb2 import CandidateRequest, Delivery
from streams.frames import Frames
from streams.reader import bounds
from streams.record import Record
from streams.sealing import Keys, opened
from streams.wire import BadFrame
from tables.leavers import Leavers

TOPICS = {"request": "candidate-requests", "delivery": "deliveries"}
"""By what a difference calls them."""


class Asked:
    """One partition's, of this journal; of whom the fold passes over they are passed over too."""

    def __init__(
        self, journal: Journal, number: int, topic: str, records: AsyncIterator[Record], *, keys: Keys
    ) -> None:
        """`keys`: read before `journal` was."""
        self._topic = topic
        self._journal, self._number, self._records, self._keys = journal, number, records, keys
        self._frames = Frames()
        self._next: Kept | None = None

    async def begin(self) -> int:
        """Read the first; return the journal offset below which none need be there any more: Kafka has taken those."""
        await self._go_on()
        cluster = self._journal.cluster
        low, _ = await bounds(cluster, cluster.name(self._topic), self._number)
        if not low:
            return 0
        return sys.maxsize if self._next is None else self._next.offset

    async def between(self, name: str, low: int, high: int) -> list[Kept]:
        """Those of records in [low, high), each once; what was read before is not looked at again."""
        found = dict[str, Kept]()
        while (one := self._next) is not None and one.offset < high:
            if one.offset >= low:
                found.setdefault(one.id, one)
            await self._go_on()
        return list(found.values())

    async def excuses(self) -> tuple[Leavers, int]:
        """Who has left by now; no time."""
        return await leavers_of(self._journal.cluster), 0

    async def _go_on(self) -> None:
        self._next = None
        async for record in self._records:
            if (one := self._kept(record)) is not None:
                self._next = one
                return

    def _kept(self, record: Record) -> Kept | None:
        try:
            message = self._frames.unframe(self._topic, record.value)
            whose = (record.key or b"").decode()
        except (BadFrame, UnicodeDecodeError):
            return None
        assert isinstance(message, CandidateRequest | Delivery)
        at = message.journal
        if at.topic_id != self._journal.topic_id or self._journal.leavers.passes(record.key, at.offset):
            return None
        try:
            return kept(opened(message, whose=whose.encode(), keys=self._keys))
        except UNREADABLE:
            return Kept(f"of {whose} at {at.offset}", whose, at.offset, 0, b"")


@asynccontextmanager
async def asked(
    journal: Journal, number: int, *, keys: Keys, name: str = "request"
) -> AsyncIterator[tuple[Asked, int]]:
    """What stands there now, and what its `begin` says."""
    async with aclosing(_each(journal, number, TOPICS[name])) as records:
        found = Asked(journal, number, TOPICS[name], records, keys=keys)
        yield found, await found.begin()


async def _each(journal: Journal, number: int, topic: str) -> AsyncGenerator[Record]:
    async for records in read(journal, topic, number):
        for record in records:
            yield record
