"""Settles what was folded, one round for all partitions: outputs acknowledged, then rows, then the worker's own disk; of those who
left, then their keys.

The fold goes on meanwhile: it never waits here for Kafka, but where too much has not settled. Nothing here decides what is
folded, and no row is written before all that its records gave is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from google.protobuf.message import Message

from agents.assigned import Assigned
from agents.refuse import DeadLetters, Refusal
from streams.frames import Frames
from streams.metrics import SETTLE_S
from streams.producer import Producer
from streams.sealing import Sealing
from streams.topics import Topic

EVERY_S = 0.05
"""From one round to the next, at least. Nobody waits for a row, a decision or an outcome, and the broker is paid by the batch
of one partition: what comes within this time goes together. A tip is sent where it is decided: it waits for no round, only for the end of that turn
of the loop."""
UNSETTLED_MAX = 4_000
"""Records folded and not settled; then the fold waits."""


@dataclass(slots=True)
class _Folded:
    """What has been folded since the last round, of all partitions."""

    settled: asyncio.Future[None]
    records: int = 0
    later: dict[int, list[tuple[str, bytes, bytes]]] = field(default_factory=lambda: defaultdict(list))
    """By partition, so that what goes into one batch stands together: topic, key and value of outputs not sent yet."""
    refusals: list[Refusal] = field(default_factory=list)
    partitions: dict[int, Assigned] = field(default_factory=dict)


class Settling:
    """What the fold leaves to be settled; `run` settles it, for ever."""

    def __init__(
        self,
        *,
        topics: dict[str, Topic],
        schemas: Frames,
        sealing: Sealing,
        producer: Producer,
        dead_letters: DeadLetters,
        end_keys: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """`end_keys(whose)`: returns once nothing of this person can be opened any more."""
        self._end_keys = end_keys
        self._topics = topics
        self._schemas = schemas
        self._sealing = sealing
        self._producer = producer
        self._dead_letters = dead_letters
        self._folded = _Folded(asyncio.get_running_loop().create_future())
        self._wanted = asyncio.Event()

    def output(self, partition: int, name: str, key: bytes, message: Message) -> None:
        """An output for which nobody waits: it is sealed now, while it and the person's key are at hand, and sent with this round."""
        value = self._sealing.frame(name, message, whose=key)
        self._folded.later[partition].append((self._topics[name].name, key, value))

    def refuse(self, refusals: list[Refusal]) -> None:
        """What becomes dead letters with this round."""
        self._folded.refusals += refusals

    def folded(self, assigned: Assigned, records: int) -> asyncio.Future[None]:
        """So many more records have been folded, all that they gave was handed over or sent; done when that has settled."""
        self._folded.partitions[assigned.state.partition] = assigned
        self._folded.records += records
        self._wanted.set()
        return self._folded.settled

    async def room(self) -> None:
        """Wait until there is room for more."""
        if self._folded.records > UNSETTLED_MAX:
            await asyncio.wait([self._folded.settled])

    async def run(self) -> None:
        """Settle round after round; raises what keeps one from it, and then nothing of it may be committed."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            began_s = loop.time()
            await self._settle()
            SETTLE_S.add(loop.time() - began_s)
            # The first after a silence begins at once.
            await asyncio.sleep(max(0.0, began_s + EVERY_S - loop.time()))

    async def _settle(self) -> None:
        round_, self._folded = self._folded, _Folded(asyncio.get_running_loop().create_future())
        try:
            # Taken in the same moment as the outputs: the fold goes on behind both.
            rows = [(one, one.cut(self._schemas)) for one in round_.partitions.values() if not one.gone]
            for outputs in round_.later.values():
                for topic, key, value in outputs:
                    self._producer.produce(topic, key=key, value=value)
            # Tips that were sent before are among them.
            sent = self._producer.acknowledged()
            await self._dead_letters.refuse(round_.refusals)
            await sent
            rows = [(one, values) for one, values in rows if not one.gone]
            written = [(one, values, one.table.send(values)) for one, values in rows]
            await self._producer.acknowledged()
            for one, values, places in written:
                if not one.gone:
                    one.table.sent(values, [place.result() for place in places])
                    one.commit(values)
            for whose in [whose for one, _, _ in written if not one.gone for whose in one.left]:
                await self._end_keys(whose)
        except BaseException as error:
            if not round_.settled.done():
                round_.settled.set_exception(error)
                round_.settled.exception()
            raise
        round_.settled.set_result(None)
