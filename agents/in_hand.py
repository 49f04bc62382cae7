"""The record that is being handled at this moment, noted where the end of this process does not reach, and how often a
process ended so.

It never counts what ends a process from outside (a broker away, a full disk, an operator): an end counts only while one
record is being unpacked, checked or folded. What waits for Kafka or for a registry has nothing in hand.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple, Self

from streams.record import Record

SUSPECTS_MAX = 64
"""Records at which a process has ended and that were not handled since; the oldest is forgotten."""
ENDS = "ends.json"
"""Beside the rows, in a worker's folder."""
_PLACE = struct.Struct("<q16si")
_NOTHING = struct.Struct("<q").pack(-1)

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a record stands; a topic made anew has another id."""

    topic_id: bytes
    partition: int
    offset: int


class InHand:
    """One process's. A page of memory that stands for a file: writing it costs no call, and it outlives the process."""

    def __init__(self, folder: Path, *, ends_max: int) -> None:
        """Counts an end, if the process before this one had a record in hand. `ends_max` 0: nothing is set aside."""
        folder.mkdir(parents=True, exist_ok=True)
        self._counts = folder / ENDS
        self._ends_max = ends_max
        self._ends: dict[Place, int] = self._read()
        self._place = Place(b"", 0, -1)
        file = os.open(folder / "in-hand", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            found = os.pread(file, _PLACE.size, 0)
            if len(found) == _PLACE.size:
                offset, topic_id, partition = _PLACE.unpack(found)
                if offset >= 0:
                    self._count(Place(topic_id, partition, offset))
            # Written, not only made longer: then no later note needs room on the disk.
            os.pwrite(file, _PLACE.pack(-1, bytes(16), 0), 0)
            self._page = mmap.mmap(file, _PLACE.size)
        finally:
            os.close(file)

    def holding(self, topic_id: bytes, record: Record) -> Self:
        """`with` it: what is done inside is done to this record alone, and never waits. A block that raises leaves the note."""
        self._place = place = Place(topic_id, record.partition, record.offset)
        _PLACE.pack_into(self._page, 0, place.offset, topic_id, place.partition)
        return self

    def __enter__(self) -> None:
        """Noted by `holding`."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            return
        self.lay_down()
        if self._ends and self._ends.pop(self._place, 0):
            self._write()

    def lay_down(self) -> None:
        """Nothing is in hand while something is waited for."""
        self._page[: len(_NOTHING)] = _NOTHING

    def ends(self, topic_id: bytes, record: Record) -> int:
        """How many processes have ended over this record, one after the other, if they are enough to set it aside; else 0."""
        if not self._ends:
            return 0
        ends = self._ends.get(Place(topic_id, record.partition, record.offset), 0)
        return ends if 0 < self._ends_max <= ends else 0

    def suspects(self) -> list[tuple[Place, int]]:
        """Records over which a process has ended and that are still to be handled, with the number of ends."""
        return [(place, ends) for place, ends in self._ends.items() if not 0 < self._ends_max <= ends]

    def _count(self, place: Place) -> None:
        self._ends[place] = self._ends.pop(place, 0) + 1
        for oldest in list(self._ends)[:-SUSPECTS_MAX]:
            del self._ends[oldest]
        logger.error(
            "record.ended_a_process topic_id=%s partition=%d offset=%d ends=%d",
            place.topic_id.hex(),
            place.partition,
            place.offset,
            self._ends[place],
        )
        self._write()

    def _read(self) -> dict[Place, int]:
        try:
            told = json.loads(self._counts.read_text())
            return {Place(bytes.fromhex(topic), partition, offset): ends for topic, partition, offset, ends in told}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as torn:
            logger.warning("ends.unreadable error=%s", torn)
            return {}

    def _write(self) -> None:
        told = [(place.topic_id.hex(), place.partition, place.offset, ends) for place, ends in self._ends.items()]
        fresh = self._counts.with_suffix(".new")
        fresh.write_text(json.dumps(told))
        fresh.replace(self._counts)
