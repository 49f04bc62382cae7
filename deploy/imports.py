"""Sends files to a running stack, and keeps what was sent of each in the state folder.

It never prints; the commands do. A file that cannot be used stops an import before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from connectors.delivery import deliver
from connectors.differences import Memory, Sent, differences, settled, waiting
from connectors.leaving import word_of
from connectors.source_file import Parsed, Problem, UnreadableFile, file_name, timestamp
from connectors.sources.file import parse_file
from connectors.sources.registry import FILES
from connectors.watch import NotDelivered, Snapshot, read_file
from deploy.stack.running import RunningStack
from deploy.writing import writing
from oo.v1.signal_pb2 import ProfileChanged, Signal
from oo.v1.subject_request_pb2 import SubjectRequest
from streams.producer import DeliveryFailed
from streams.reader import topic_id

TOPIC_ID_BYTES = 16
"""With which what tells a life begins."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What one file came to."""

    path: Path
    sent: Counter[str]
    """Signals by payload: "task_upserted" and the like."""
    unchanged: int
    """Tasks and events that stand there as they did the last time."""
    waiting: int
    no_room: int
    """Open tasks and events that were not sent, since a person's row is full of others of this file."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """What was sent of one file in one life of a person (`life_of`); the next one begins with none."""

    path: Path
    """In a folder of the life, in one of the person."""

    @classmethod
    def of(cls, folder: Path, *, life: bytes, user_id: str, subject: str) -> MemoryFile:
        """`subject` is the file's whole path, or what else is remembered. What is remembered of other lives of the person goes."""
        person = folder / _hash(life[:TOPIC_ID_BYTES], user_id.encode())
        here = person / _hash(life, user_id.encode())
        for other in person.glob("*"):
            if other != here:
                shutil.rmtree(other)
        file = cls(here / f"{_hash(life, user_id.encode(), subject.encode())}.json")
        # A build before kept all in one folder.
        for known in folder.glob(f"{file.path.stem}.*"):
            here.mkdir(parents=True, exist_ok=True)
            known.rename(file.path.with_suffix(known.suffix))
        return file

    @classmethod
    def of_file(cls, path: Path, *, stack: RunningStack, life: bytes, user_id: str) -> MemoryFile:
        """The memory of a file, which is known by where it really stands."""
        return cls.of(stack.sources, life=life, user_id=user_id, subject=str(path.resolve()))

    def load(self) -> Memory:
        """What is known; nothing if there is no such file or it is broken."""
        try:
            kept = json.loads(self.path.read_text())
            items = {key: Sent(**sent) for key, sent in kept["items"].items()}
            return Memory(kept["event_ms"], items)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Everything is sent once more then, under the ids it had at first.
            return Memory()

    def begin_watch(self, watched: Path) -> None:
        """Notes that this person's file is watched from now on: what it holds, another file's silence does not remove."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        mark = self.path.with_suffix(".watched")
        mark.touch(mode=0o600)
        mark.write_text(str(watched.resolve()))

    def held_elsewhere(self) -> AbstractSet[str]:
        """Keys of what stands in this person's other files that are or were watched, as long as they are there."""
        held: set[str] = set()
        for mark in self.path.parent.glob("*.watched"):
            other = MemoryFile(mark.with_suffix(".json"))
            if other.path != self.path and Path(mark.read_text()).exists():
                held.update(key for key, said in other.load().items.items() if not (said.gone or said.absent_ms))
        return held

    def save(self, memory: Memory) -> None:
        """Replaces it at once, readable by its owner only: it holds calendar ids and the texts of tasks."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new")
        unfinished.touch(mode=0o600)
        items = {key: asdict(sent) for key, sent in memory.items.items()}
        unfinished.write_text(json.dumps({"event_ms": memory.event_ms, "items": items}))
        unfinished.replace(self.path)


def forget(folder: Path, *, topic_id: bytes, user_id: str) -> None:
    """Drop all that is remembered of a person in this folder. `topic_id`: of the signals."""
    shutil.rmtree(folder / _hash(topic_id, user_id.encode()), ignore_errors=True)


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class PersonZone:
    """In which zone a person's files are read."""

    name: str
    """IANA; empty where nobody knows it, which reads as UTC."""
    given: bool
    """By the person, so that the machine's own does not take its place."""
    file: MemoryFile

    @property
    def info(self) -> ZoneInfo:
        """The zone itself."""
        return ZoneInfo(self.name or "UTC")

    @classmethod
    async def of(cls, given: str | None, *, machine: str | None, user_id: str, stack: RunningStack) -> PersonZone:
        """The zone given now, else given before, else this machine's, else the one used before."""
        life = await life_of(stack, user_id)
        file = MemoryFile.of(stack.sources, life=life, user_id=user_id, subject="profile")
        before = file.load().items.get("time_zone")
        if given:
            return cls(given, True, file)
        if before and (before.source == "given" or not machine):
            return cls(before.digest, before.source == "given", file)
        return cls(machine or "", False, file)


async def import_files(
    paths: Sequence[Path],
    *,
    user_id: str,
    stack: RunningStack,
    zone: PersonZone,
    now: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Imported]:
    """Reads all files, then sends what was not sent before; what is absent from a file is left as it is.

    `on_progress` hears (acknowledged, total). Raises UnreadableFile, before anything was sent, NotDelivered, and the
    registry's errors.
    """
    read: list[tuple[Path, Snapshot, Parsed]] = []
    for path in paths:
        try:
            snapshot = read_file(path)
            read.append(
                (path, snapshot, parse_file(FILES, snapshot, path=path, user_id=user_id, zone=zone.info, now=now))
            )
        except FileNotFoundError:
            raise UnreadableFile(f"{path}: there is no such file") from None
        except (OSError, UnreadableFile) as error:
            raise UnreadableFile(f"{path}: {error}") from error

    life = await life_of(stack, user_id)
    plan = [_profile(zone, now=now, user_id=user_id)] if zone.name else []
    results: list[Imported] = []
    for path, snapshot, parsed in read:
        file = MemoryFile.of_file(path, stack=stack, life=life, user_id=user_id)
        signals, memory = differences(
            file.load(),
            parsed,
            user_id=user_id,
            modified_ms=int(snapshot.modified.timestamp() * 1000),
            now_ms=int(now.timestamp() * 1000),
            removals=False,
        )
        plan.append((file_name(path.name), signals, file, memory))
        no_room = waiting(parsed, memory)
        results.append(
            Imported(
                path=path,
                sent=Counter[str](signal.WhichOneof("payload") or "" for signal in signals),
                unchanged=max(len(parsed.signals) - len(signals) - no_room, 0),
                waiting=parsed.waiting,
                no_room=no_room,
                problems=parsed.problems,
            )
        )

    total, acknowledged = sum(len(signals) for _, signals, _, _ in plan), 0

    def advance(number: int) -> None:
        nonlocal acknowledged
        acknowledged += number
        if on_progress is not None:
            on_progress(acknowledged, total)

    if total:
        async with Connection(stack) as connection:
            for name, signals, file, memory in plan:
                if signals:
                    file.save(memory)
                    await connection.send(signals, event_source=name, on_acknowledged=advance)
                    file.save(settled(memory))
    return results


class Connection:
    """A producer and the schemas of one stack, for as long as a command runs."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack

    async def __aenter__(self) -> Self:
        self._ends = AsyncExitStack()
        self._producer, self._schemas = await self._ends.enter_async_context(
            writing(self._stack, client_id="oo-import")
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ends.aclose()

    async def send(
        self,
        signals: Sequence[Signal],
        *,
        event_source: str,
        on_acknowledged: Callable[[int], None] | None = None,
    ) -> None:
        """Returns once all are acknowledged; raises NotDelivered."""
        await deliver(
            signals,
            producer=self._producer,
            schemas=self._schemas,
            cluster=self._stack.cluster,
            event_source=event_source,
            on_acknowledged=on_acknowledged,
        )


async def ask(stack: RunningStack, requests: Sequence[SubjectRequest]) -> None:
    """Say for a person what only they may say; returns once all are acknowledged. Raises NotDelivered."""
    topic = stack.cluster.name("subject-requests")
    try:
        async with writing(stack, client_id="oo-ask") as (producer, schemas):
            for one in requests:
                producer.produce(topic, key=one.user_id.encode(), value=schemas.frame("subject-requests", one))
            await producer.acknowledged()
    except DeliveryFailed as error:
        raise NotDelivered(f"Kafka did not take it ({error})") from error


async def life_of(stack: RunningStack, user_id: str) -> bytes:
    """What tells one life of a person on this stack from every other: what was sent in one is not known in the next.

    The signals topic's id, which another of the same name has not; and of somebody who left, that they did, and that they have begun
    again: what a watcher sends in between is refused.
    """
    signals_id = await topic_id(stack.cluster, "signals")
    word = await word_of(stack.cluster, stack.pseudonym(user_id))
    return signals_id if word is None else signals_id + word.receipt.encode() + word.began_again.SerializeToString()


def _profile(zone: PersonZone, *, now: datetime, user_id: str) -> tuple[str, list[Signal], MemoryFile, Memory]:
    """The person's time zone as a signal, if it is another than the one last sent."""
    memory = zone.file.load()
    known = memory.items.get("time_zone")
    if known is not None and known.digest == zone.name and known.sure:
        return "profile", [], zone.file, memory
    change = 0 if known is None else known.change + (known.digest != zone.name)
    now_ms = max(int(now.timestamp() * 1000), memory.event_ms)
    signal = Signal(
        event_id=f"time-zone@{zone.name}.{change}",
        user_id=user_id,
        source="oo",
        event_time=timestamp(now_ms),
        profile_changed=ProfileChanged(time_zone=zone.name),
    )
    sent = Sent(zone.name, change, source="given" if zone.given else "machine", sure=False)
    return "profile", [signal], zone.file, Memory(now_ms, {"time_zone": sent})


def now_utc() -> datetime:
    """The clock of the commands."""
    return datetime.now(UTC)
