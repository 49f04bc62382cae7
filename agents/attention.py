"""What a process does not get on with: partitions that stand, and such as nobody reads yet. For its /readyz.

It mends two things. A topic that was made anew under the name of one that is read ends the process, which then starts with
the new one: its offsets begin again, so under the old id a person's row would take them for copies. And a partition that no
member of the group holds has the group assigned anew: one that comes back within the session gets what it had before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException

from agents.process import Process
from streams.partitions import Partitions
from streams.reader import Described, described, held
from streams.stall import Stall

LOOK_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class MadeAnew(Exception):
    """A topic that this process reads is another one than at its start."""


class Attention:
    """What stands, of one process's partitions."""

    def __init__(self, process: Process, streams: Sequence[Partitions]) -> None:
        self._process = process
        self._streams = streams
        self._unread: list[Stall] = []

    def stalled(self) -> list[Stall]:
        """All that stands now; empty where everything moves."""
        moving = (stall for stream in self._streams for stall in stream.stalled())
        return [*self._suspects(), *self._unread, *moving]

    def _suspects(self) -> list[Stall]:
        names = {topic_id: name for name, topic_id in self._process.ids.items()}
        after = self._process.settings.set_aside_after
        then = f"it is set aside after {after}" if after else "OO_SET_ASIDE_AFTER is 0, so it is tried for ever"
        return [
            Stall(names[place.topic_id], place.partition, place.offset, f"{ends} processes ended over it; {then}")
            for place, ends in self._process.in_hand.suspects()
            if place.topic_id in names
        ]

    async def follow(self, fail: Callable[[MadeAnew], None], rejoin: Callable[[], None]) -> None:
        """Look at Kafka's topics until cancelled; `fail` hears of one that was made anew.

        `rejoin` has the group assigned anew: called where nobody read a partition at two looks in a row, since the
        client sees by itself what is added while it runs.
        """
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                unread = await self._look(fail, rejoin)
            except KafkaException as error:
                # That Kafka is away shows elsewhere; what was unread still is.
                logger.info("topics.unseen error=%s", error)
                continue
            for stall in unread:
                if stall not in self._unread:
                    logger.warning("partition.unread topic=%s partition=%d", stall.topic, stall.partition)
            self._unread = unread

    async def _look(self, fail: Callable[[MadeAnew], None], rejoin: Callable[[], None]) -> list[Stall]:
        cluster = self._process.cluster
        streams = {stream.topic: stream for stream in self._streams}
        gone: list[Stall] = []
        found: dict[str, Described] = {}
        while streams:
            try:
                found = await described(cluster, list(streams))
                break
            except KeyError as missing:
                name = missing.args[0]
                del streams[name]
                gone.append(Stall(name, 0, None, "the topic is gone: make it again, or 'oo up' does"))
        for name in streams:
            if found[name].topic_id != self._process.ids[name]:
                fail(MadeAnew(f"topic {name} was made anew: starting again with it"))
        read = await held(cluster, self._process.app.conf.id)
        if read is None:
            return gone
        every = ((name, number) for name in streams for number in range(found[name].partitions))
        unread = [Stall(*place, 0, "no worker reads it yet") for place in every if place not in read]
        if any(stall in self._unread for stall in unread):
            logger.warning("group.incomplete unread=%d: joining it anew", len(unread))
            rejoin()
        return gone + unread
