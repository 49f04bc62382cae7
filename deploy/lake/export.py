"""Brings a range of the log into a lake: what is not in it yet, a file at a time, each of which counts once the manifest names it.

Killed at any moment it goes on where the manifest ends, and comes to the same files: where one ends depends on offsets and days alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec
from google.protobuf.message import Message

from connectors.key_files import KeyFiles
from connectors.leaving import leavers_of
from deploy.lake.datasets import DATASETS, SIGNALS, Dataset, People
from deploy.lake.files import Part
from deploy.lake.manifest import Lake, LakeError, Manifest
from deploy.lake.schema import Row, time_of
from deploy.stack.running import RunningStack
from deploy.stack.topics import admin
from oo.v1.journal_pb2 import JournalRecord
from oo.v1.settings_pb2 import Settings
from oo.v1.subject_request_pb2 import PURPOSE_LEARNING
from streams.frames import Frames
from streams.keys import Keys
from streams.messages import messages
from streams.reader import bounds, end_offsets, read_partition, topic_ids
from streams.record import Record
from streams.sealing import KeyMissing, NotOpened, opened
from streams.wire import BadFrame
from tables import consents
from tables.leavers import Leavers

CHUNK: Final = 50_000
"""A file ends where an offset is a multiple of this, or the day ends."""
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets of a partition that are not in the lake."""

    dataset: Dataset
    partition: int
    start: int
    end: int


@dataclass(slots=True)
class _Current:
    """The file that is being filled, from `start` on."""

    start: int
    day: str
    part: Part | None = None
    left_out: Counter[str] = field(default_factory=Counter)


class Export:
    """Of one stack into one lake, which the caller holds."""

    def __init__(self, stack: RunningStack, lake: Lake, manifest: Manifest, *, progress: Callable[[int], None]) -> None:
        """`progress` is told of records as they are read."""
        self._stack, self._lake, self.manifest = stack, lake, manifest
        self._people = People(manifest.people)
        self._keys = Keys.of(stack.cluster, KeyFiles(stack.kek_dir))
        self._leavers = Leavers(b"")
        self._progress = progress
        self._frames = Frames()

    async def gaps(self, *, since_ms: int | None, until_ms: int | None) -> list[Gap]:
        """What of this time, by Kafka's, is not in it: partition by partition, from the oldest record that is left to the newest now."""
        cluster, found = self._stack.cluster, list[Gap]()
        for dataset in DATASETS:
            topic = cluster.name(dataset.topic)
            numbers = range(cluster.topics[dataset.topic].partitions)
            first = await self._offsets(topic, since_ms, len(numbers))
            last = await self._offsets(topic, until_ms, len(numbers))
            for number in numbers:
                low, high = await bounds(cluster, topic, number)
                start, end = (
                    max(first.get(number, low if since_ms is None else high), low),
                    min(last.get(number, high), high),
                )
                found += [Gap(dataset, number, *one) for one in self.manifest.gaps(dataset.name, number, start, end)]
        return sorted(found, key=lambda one: one.partition)

    async def _offsets(self, topic: str, at_ms: int | None, partitions: int) -> Mapping[int, int]:
        """By partition the first offset of this time; those that have nothing so late are not in it."""
        if at_ms is None:
            return {}
        client = admin(self._stack.cluster)
        places = [TopicPartition(topic, number) for number in range(partitions)]
        asked = client.list_offsets(dict.fromkeys(places, OffsetSpec.for_timestamp(at_ms)))
        found = {
            place.partition: (await asyncio.to_thread(one.result, TIMEOUT_S)).offset for place, one in asked.items()
        }
        return {number: offset for number, offset in found.items() if offset >= 0}

    async def bring(self, gaps: list[Gap]) -> None:
        """Write these. Raises LakeError for the lost key of somebody who is here, and where the log cannot be read."""
        at, withdrawn = -1, frozenset[bytes]()
        for gap in gaps:
            if gap.partition != at:
                at = gap.partition
                # Keys first: of who left meanwhile the word stands before the key is gone.
                if self._people is not People.SEALED:
                    await self._keys.take_partition(at)
                    withdrawn = await withdrawn_in(self._stack, self._keys, at)
                self._leavers = await leavers_of(self._stack.cluster)
            await self._write(gap, withdrawn)

    async def _write(self, gap: Gap, withdrawn: frozenset[bytes]) -> None:
        topic, row_of = self._stack.cluster.name(gap.dataset.topic), gap.dataset.rows(self._people)
        now: _Current | None = None
        try:
            async for records in read_partition(
                self._stack.cluster, topic, gap.partition, start=gap.start, end=gap.end, ours=True
            ):
                for record in records:
                    day = f"{time_of(record.timestamp_ms):%Y-%m-%d}"
                    if now is None:
                        now = _Current(gap.start, day)
                    elif day != now.day or record.offset // CHUNK != now.start // CHUNK:
                        self._finish(gap, now, record.offset)
                        now = _Current(record.offset, day)
                    message, why = await self._message(gap.dataset, record, withdrawn)
                    if message is None:
                        now.left_out[why] += 1
                        continue
                    row = row_of(record, message, _journal_offset(gap.dataset, record, message))
                    self._add(gap, now, row, len(record.value or b""))
                self._progress(len(records))
            self._finish(gap, now or _Current(gap.start, ""), gap.end)
        finally:
            if now is not None and now.part is not None:
                now.part.abandon()

    def _add(self, gap: Gap, now: _Current, row: Row, size: int) -> None:
        if now.part is None:
            columns, name = gap.dataset.columns(self._people), f"{gap.partition:03}-{now.start:012}"
            now.part = Part(
                self._lake.root, self.manifest.formats, columns, dataset=gap.dataset.name, day=now.day, name=name
            )
        now.part.add(row, size)

    def _finish(self, gap: Gap, now: _Current, end: int) -> None:
        """Name the file, then have the manifest name it and all that is below `end`."""
        if now.part is not None:
            self.manifest.files.append(now.part.finish(f"{gap.partition:03}-{now.start:012}-{end:012}"))
            now.part = None
        counts = self.manifest.left_out.setdefault(gap.dataset.name, {})
        for why, many in now.left_out.items():
            counts[why] = counts.get(why, 0) + many
        self.manifest.cover(gap.dataset.name, gap.partition, now.start, end)
        self._lake.write(self.manifest)

    async def _message(
        self, dataset: Dataset, record: Record, withdrawn: frozenset[bytes]
    ) -> tuple[Message | None, str]:
        """What is written of a record; else None, and why."""
        whose = record.key or b""
        try:
            message = self._frames.unframe(dataset.topic, record.value)
            is_sealed = bool(message.sealed)  # type: ignore[attr-defined]
            if not whose:
                return None, "nobody's"
            if self._is_before(dataset, record, message):
                return None, "left"
            if self._people is People.SEALED:
                return (message, "") if is_sealed else (None, "not sealed")
            if whose in withdrawn:
                return None, "withdrawn"
            message = opened(message, whose=whose, keys=self._keys)
        except KeyMissing as missing:
            self._leavers = await leavers_of(self._stack.cluster)
            if self._is_before(dataset, record, self._frames.unframe(dataset.topic, record.value)):
                return None, "left"
            raise LakeError(f"record {record.offset} of {record.topic}-{record.partition}: {missing}") from None
        except (BadFrame, NotOpened):
            return None, "unreadable"
        if getattr(message, "unshared", False):
            return None, "withdrawn"
        if isinstance(message, JournalRecord) and message.WhichOneof("payload") != "signal":
            return None, "no signal"
        return message, ""

    def _is_before(self, dataset: Dataset, record: Record, message: Message) -> bool:
        return self._leavers.passes(record.key, _journal_offset(dataset, record, message))


def _journal_offset(dataset: Dataset, record: Record, message: Message) -> int:
    return record.offset if dataset is SIGNALS else message.journal.offset  # type: ignore[attr-defined]


async def withdrawn_in(stack: RunningStack, keys: Keys, partition: int) -> frozenset[bytes]:
    """Who of a partition has withdrawn that others learn from them, as their settings stand now."""
    found, frames, topic = dict[bytes, bool](), Frames(), stack.cluster.name("settings")
    records = read_partition(stack.cluster, topic, partition, ours=True)
    async for record, message in messages(frames, "settings", records):
        whose = record.key or b""
        try:
            said = opened(message, whose=whose, keys=keys)
        except (KeyMissing, NotOpened):  # Of who left, whom erasures name.
            continue
        if isinstance(said, Settings):
            found[whose] = not consents.grants(said.consents, PURPOSE_LEARNING)
    return frozenset(whose for whose, is_withdrawn in found.items() if is_withdrawn)


async def withdrawn(stack: RunningStack) -> frozenset[bytes]:
    """The same, of all partitions."""
    keys, found = Keys.of(stack.cluster, KeyFiles(stack.kek_dir)), frozenset[bytes]()
    await keys.catch_up()
    for number in range(stack.cluster.topics["settings"].partitions):
        found |= await withdrawn_in(stack, keys, number)
    return found


async def begun(stack: RunningStack, lake: Lake, *, people: People, formats: list[str]) -> Manifest:
    """The manifest of a lake that the caller holds, swept of what was left behind; a new one where there is none.

    Raises LakeError where the lake is another one than is asked for, and for a folder with something else in it.
    """
    names = {one.name: stack.cluster.name(one.topic) for one in DATASETS}
    ids = await topic_ids(stack.cluster, list(names.values()))
    topics = {name: ids[topic].hex() for name, topic in names.items()}
    found = lake.manifest()
    if found is None:
        if others := sorted(one.name for one in lake.root.iterdir() if one.name not in ("lock", ".manifest.json.part")):
            raise LakeError(
                f"{lake.root} has something else in it, {others[0]}: name a folder that is empty or not there"
            )
        heard = {
            str(number): end
            for number, end in (await end_offsets(stack.cluster, stack.cluster.name("erasures"))).items()
        }
        found = Manifest(people.value, formats, topics, heard=heard)
        lake.write(found)
    if found.topics != topics:
        raise LakeError(f"{lake.root} is of other topics than this stack has now: name another folder")
    if found.people != people.value or found.formats != formats:
        raise LakeError(
            f"{lake.root} was begun with --people {found.people} --format {as_asked(found.formats)}: say the same, or name another folder"
        )
    lake.sweep(found)
    return found


def as_asked(formats: list[str]) -> str:
    """How these formats are spelled on the command line."""
    return "both" if len(formats) > 1 else formats[0]
