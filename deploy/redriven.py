"""What became of dead letters that were sent again: read from oo.audit, from the letters themselves, and from how far the door has read.

It only reads, and keeps nothing of its own: what it says follows from the topics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from deploy.letters import Letter, letters, once
from oo.v1 import audit_pb2, journal_pb2
from streams.cluster import Cluster
from streams.dead_letters import named
from streams.frames import Frames
from streams.messages import messages
from streams.reader import committed, read_partition, topic_ids

State = Literal["open", "sending", "redriven", "taken", "failed again"]
"""`sending`: a redrive began and did not say that it ended. `redriven`: the door has not come to it yet."""
OPEN: tuple[State, ...] = ("open", "sending")


class Redrive(NamedTuple):
    """One word of oo.audit about a letter."""

    noted_ms: int
    word: audit_pb2.Redrive


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one letter."""

    state: State
    redrive: Redrive | None = None
    """The newest."""
    became: Letter | None = None
    """The letter that it got when it failed again."""
    first: Letter | None = None
    """The letter of its first failure, where it was sent again before."""

    @property
    def is_open(self) -> bool:
        """Whether somebody has to look at it still."""
        return self.state in OPEN


def place_of(position: journal_pb2.Position) -> str:
    """As `named` spells it."""
    return named(position.topic_id, partition=position.partition, offset=position.offset)


def fates(
    found: Iterable[Letter], redrives: Sequence[Redrive], *, passed: Mapping[tuple[bytes, int], int]
) -> dict[str, Fate]:
    """What became of each of these letters, by its name. Pure.

    `redrives`: oldest first. `passed`: by topic id and partition, below which offset the door has taken or refused everything.
    """
    found = list(found)
    newest = {place_of(one.word.letter): one for one in redrives}
    by_place, by_name = {one.said_at: one for one in found}, {one.name: one for one in found}
    sent = [one.word for one in redrives if one.word.is_sent]
    # Each letter that such a record got, with the one that it had before.
    before = {
        by_place[place_of(word.place)].name: by_name[place_of(word.letter)]
        for word in sent
        if place_of(word.place) in by_place and place_of(word.letter) in by_name
    }
    fate = {}
    for letter in found:
        first, seen = letter, set[str]()
        while first.name in before and first.name not in seen:
            seen.add(first.name)
            first = before[first.name]
        redrive = newest.get(letter.name)
        became = None if redrive is None or not redrive.word.is_sent else by_place.get(place_of(redrive.word.place))
        state = _state(redrive, became, passed)
        fate[letter.name] = Fate(state, redrive, became, None if first is letter else first)
    return fate


def _state(redrive: Redrive | None, became: Letter | None, passed: Mapping[tuple[bytes, int], int]) -> State:
    if redrive is None:
        return "open"
    if not redrive.word.is_sent:
        return "sending"
    if became is not None:
        return "failed again"
    place = redrive.word.place
    return "taken" if passed.get((place.topic_id, place.partition), 0) > place.offset else "redriven"


async def redrives(cluster: Cluster) -> list[Redrive]:
    """Every redrive that oo.audit tells of, oldest first; of each that ended, its end comes after its beginning."""
    topic, frames = cluster.topics["audit"], Frames()

    async def of(number: int) -> list[Redrive]:
        records = read_partition(cluster, topic.name, number)
        return [
            Redrive(record.timestamp_ms, entry.redrive)
            async for record, entry in messages(frames, "audit", records)
            if isinstance(entry, audit_pb2.AuditEntry) and entry.HasField("redrive")
        ]

    # Words on one letter stand in one partition, in order: that of its person, or where it names nobody, of its name.
    parts = await asyncio.gather(*(of(number) for number in range(topic.partitions)))
    return sorted((one for part in parts for one in part), key=lambda one: one.noted_ms)


async def passed(cluster: Cluster, redrives: Iterable[Redrive]) -> dict[tuple[bytes, int], int]:
    """How far the door has read the topics that these went to."""
    topics = sorted(
        {one.word.topic for one in redrives if one.word.is_sent} & {t.name for t in cluster.topics.values()}
    )
    if not topics:
        return {}
    ids = await topic_ids(cluster, topics)
    read = await asyncio.gather(*(committed(cluster, cluster.group("core"), topic) for topic in topics))
    return {
        (ids[topic], partition): offset or 0
        for topic, offsets in zip(topics, read, strict=True)
        for partition, offset in offsets.items()
    }


async def all_letters(cluster: Cluster, kek_dir: Path) -> tuple[list[Letter], dict[str, Fate]]:
    """Every letter, oldest first, and what became of it by its name."""
    told = await redrives(cluster)
    # How far the door is, before the letters are read: what it had refused by then stands among them.
    read = await passed(cluster, told)
    found = once(await letters(cluster, kek_dir))
    return found, fates(found, told, passed=read)
