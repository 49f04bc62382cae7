"""Everything that is known of one person, as files in a zip: read from the log and from the history, given out as it is found.

It shows nobody else's record, writes nothing, and keeps one batch of records and the person's own list of tasks at a time.
`python -m serving.archive` makes one of the order on its standard input: the edge has it done so, in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from confluent_kafka import KafkaException
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from connectors import ical, todo_txt, written
from connectors.key_files import KeyFiles
from connectors.leaving import leavers_of
from connectors.postgres.history import PAGE_MAX, Cursor, History
from oo.v1 import audit_pb2, dead_letter_pb2, decision_pb2, journal_pb2, row_pb2, signal_pb2
from serving import beside
from serving.exports import Order
from streams.day_keys import NOBODYS
from streams.dead_letters import user_named
from streams.frames import Frames
from streams.keys import Keys, home
from streams.partitioner import partition_of
from streams.reader import bounds, read_partition
from streams.record import Record
from streams.sealing import KeyMissing, NotOpened, T, opened
from streams.topics import PARTITIONS
from streams.wire import BadFrame
from tables import backlog, row, slates

FILES: Final = {
    "journal": ("journal.json", "what came in about you, in its order: tasks, events, reactions, settings, consents"),
    "rows": ("known.json", "what is remembered: settings, open tasks, events, counts, and what you taught (sums)"),
    "tips": ("tip.json", "the tip that stands"),
    "settings": ("settings.json", "what you have set, and what your data may be used for"),
    "decisions": ("decisions.json", "each decision of the last 90 days: all candidates, why they were out, the choice"),
    "outcomes": ("outcomes.json", "what came of decisions in the last 90 days"),
    "candidate-requests": (
        "asked.json",
        "what a language model was to be asked for you in the last 7 days, with all that it was told",
    ),
    "shadow-candidates": (
        "tried.json",
        "what prompts that are being tried wrote for you in the last 7 days; nobody was shown it",
    ),
    "deliveries": ("said_unasked.json", "what was to be said to you while you did not look, in the last 7 days"),
    "shadows": ("shadows.json", "what other policies would have chosen, of the last 90 days"),
    "erasures": ("erasures.json", "that you left before, and began again"),
    "dead-letters": ("refused.json", "what was refused because it could not be used, of the last 30 days"),
    "audit": (
        "looked_at.json",
        "which commands of operators showed your texts or sent again what was refused, in the last 400 days, and when",
    ),
}
"""By topic: the file, and what is in it. A topic that is not here stands in ELSEWHERE."""
HISTORY_FILE: Final = (
    "history.json",
    "every tip that was chosen, with its last outcome; whole where decisions.json has it no more",
)
ELSEWHERE: Final = {
    "signals": "comes through the door into the journal, or is refused",
    "reactions": "likewise",
    "subject-requests": "likewise",
    "model-budget": "how often models were asked, over all people",
    "keys": "what your records are sealed with, itself sealed: noise",
    "set-aside": "positions in the journal, and nothing of what stands there",
    "policy-sums": "sums over all people of a partition",
    "policies": "what was fitted to everybody's sums",
    "estimates": "what policies would have earned, over all people",
    "promotions": "which policy decides, and who said so",
}
"""Topics that are in no file of their own, and why."""

NICENESS: Final = 10
"""Nobody waits for it as for a tip."""
_NEWEST: Final = ("rows", "tips", "settings")
"""Topics of which one record of a person stands."""
_NOBODYS_WORDS: Final = ("erasures", "audit")
"""Not sealed, and of every life of the person."""


class _Zip:
    """A zip whose bytes are taken away while it is written."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6)

    def write(self, name: str, text: str) -> bytes:
        self._zip.writestr(name, text)
        return self._sink.taken()

    async def stream(self, name: str, texts: AsyncIterator[str]) -> AsyncIterator[bytes]:
        """One file of many pieces."""
        entry = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(entry, "w", force_zip64=True) as file:
            async for text in texts:
                file.write(text.encode())
                if piece := self._sink.taken():
                    yield piece
        yield self._sink.taken()

    def end(self) -> bytes:
        self._zip.close()
        return self._sink.taken()

    def abandon(self) -> None:
        """Write no end: what was given out is to be no whole zip."""
        self._zip.fp = None


class _Sink(io.RawIOBase):
    """Takes bytes, cannot go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class NotReadable(Exception):
    """Kafka or PostgreSQL cannot be read now; says which."""


async def archive(order: Order) -> AsyncIterator[bytes]:
    """The zip in pieces. Raises NotReadable before the first of them; what breaks off later raises what broke it."""
    mine = _Mine(order)
    try:
        await mine.begin()
    except (KafkaException, KeyError) as error:
        raise NotReadable(f"the log cannot be read: {error}") from None
    async with contextlib.AsyncExitStack() as until:
        kept = await _kept(order, mine, until)
        async for piece in _pieces(order, mine, kept):
            yield piece


async def _kept(order: Order, mine: _Mine, until: contextlib.AsyncExitStack) -> dict[str, beside.Entries]:
    """The entries of PostgreSQL's files. Raises NotReadable."""
    found = dict[str, beside.Entries]()
    if order.history_dsn:
        history = History(order.history_dsn, connections_max=1, timeout_s=30.0)
        await history.open()
        until.push_async_callback(history.close)
        if not await history.ready():
            raise NotReadable("PostgreSQL does not answer, which has the history")
        found[HISTORY_FILE[0]] = _history(history, order.pseudonym, mine)
    try:
        return found | await beside.read(order, opened=mine.opened, until=until)
    except beside.AWAY:
        raise NotReadable("PostgreSQL does not answer, which has devices, connections and sessions") from None


async def _pieces(order: Order, mine: _Mine, kept: dict[str, beside.Entries]) -> AsyncIterator[bytes]:
    out = _Zip()
    try:
        async for piece in _files(out, order, mine, kept):
            yield piece
    finally:
        out.abandon()


async def _files(out: _Zip, order: Order, mine: _Mine, kept: dict[str, beside.Entries]) -> AsyncIterator[bytes]:
    yield out.write("README.txt", _readme(order, kept, is_trimmed=mine.is_trimmed))
    for topic, (name, _) in FILES.items():
        async for piece in out.stream(name, _array(mine.of(topic))):
            yield piece
    for name, entries in kept.items():
        async for piece in out.stream(name, _array(entries)):
            yield piece
    yield out.write("todo.txt", written.todo_txt(mine.told.tasks(todo_txt.SOURCE), zone=mine.told.zone))
    yield out.write("calendar.ics", written.calendar(mine.told.events(ical.SOURCE), now=datetime.now(UTC)))
    yield out.end()


class _Mine:
    """The person's records, topic by topic."""

    def __init__(self, order: Order) -> None:
        self._user_id = order.user_id
        self._pseudonym = order.pseudonym
        self._whose = order.pseudonym.encode()
        self._cluster = order.cluster
        self._frames = Frames()
        self._partition = partition_of(self._whose, PARTITIONS)
        self._keys = Keys.of(order.cluster, KeyFiles(Path(order.kek_dir)))
        self.told = _Told()
        self.is_trimmed = False
        """Whether the journal's beginning is gone."""
        self.decided: set[str] = set()
        """Ids of the decisions that were shown whole."""

    async def begin(self) -> None:
        """Learn which journal it is, and whether the person left and began again."""
        self._leavers = await leavers_of(self._cluster, only=self._partition)
        for number in {self._partition, home(NOBODYS)}:
            await self._keys.take_partition(number)
        low, _ = await bounds(self._cluster, self._cluster.name("journal"), self._partition)
        self.is_trimmed = low > 0

    async def of(self, topic: str) -> AsyncIterator[dict[str, Any]]:
        """What is shown of each record."""
        newest: tuple[tuple[bool, int], Message] | None = None
        async for record in self._records(topic):
            message = self._read(topic, record)
            if message is None:
                continue
            if topic in _NEWEST:
                if newest is None or self._order(message) >= newest[0]:
                    newest = self._order(message), message
                continue
            if isinstance(message, journal_pb2.JournalRecord):
                self.told.hear(message)
            if isinstance(message, audit_pb2.AuditEntry):
                # Who it was is the operator's own.
                redrive = {"redrive": _shown(message.redrive)} if message.HasField("redrive") else {}
                yield {"command": message.command, "noted_ms": record.timestamp_ms, **redrive}
                continue
            if isinstance(message, decision_pb2.Decision):
                self.decided.add(message.decision_id)
            yield self.shown(message)
        if newest is not None:
            yield self.shown(newest[1])

    def shown(self, message: Message) -> dict[str, Any]:
        """As it is shown: under the name that its person knows."""
        shown = _shown(message)
        if shown.get("user_id") == self._pseudonym:
            shown["user_id"] = self._user_id
        return shown

    async def _records(self, topic: str) -> AsyncIterator[Record]:
        number = self._partition if self._cluster.topics[topic].key == "user" else 0
        async for records in read_partition(self._cluster, self._cluster.name(topic), number, ours=topic == "rows"):
            for record in records:
                if topic == "dead-letters" or record.key == self._whose:
                    yield record

    def _read(self, topic: str, record: Record) -> Message | None:
        """None for what is not this person's, or of the life that they left behind."""
        try:
            message = self._frames.unframe(topic, record.value)
        except BadFrame:
            return None
        if isinstance(message, dead_letter_pb2.DeadLetter):
            return self._letter(message)
        if topic in _NOBODYS_WORDS:
            return message
        at = record.offset if topic == "journal" else _position(message).offset
        return None if self.left_behind(at) else self.opened(message)

    def _letter(self, kept: dead_letter_pb2.DeadLetter) -> dead_letter_pb2.DeadLetter | None:
        """None for another's, and for one that nothing opens any more: of a life that was left, or of a day whose key is gone."""
        is_mine = kept.whose == self._whose
        if kept.sealed and not (is_mine or kept.whose.startswith(NOBODYS)):
            return None
        try:
            letter = opened(kept, whose=kept.whose, keys=self._keys)
        except (KeyMissing, NotOpened):
            return None
        return letter if is_mine or names(letter, self._user_id, self._frames, whose=self._whose) else None

    def opened(self, message: T) -> T | None:
        """What was sealed; None for what nobody of ours sealed. Raises KeyMissing."""
        try:
            return opened(message, whose=self._whose, keys=self._keys)
        except NotOpened:
            return None

    def left_behind(self, offset: int) -> bool:
        """Whether what came of this journal offset is of the life that the person left."""
        return self._leavers.passes(self._whose, offset)

    def _order(self, message: Message) -> tuple[bool, int]:
        at = _position(message)
        return at.topic_id == self._leavers.journal_id, at.offset


class _Told:
    """Every task and event as it was last told: what their files are written from."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], tuple[int, signal_pb2.TaskUpserted, bool]] = {}
        self._events: dict[tuple[str, str], tuple[int, signal_pb2.CalendarEventUpserted]] = {}
        self.zone = ZoneInfo("UTC")

    def hear(self, record: journal_pb2.JournalRecord) -> None:
        """Take in one record; the later word stands. With a row that was moved stands what was told before."""
        if record.HasField("moved"):
            with contextlib.suppress(DecodeError, ValueError):  # nobody of ours wrote it
                moved = row.spelled_out(row_pb2.UserRow.FromString(record.moved.row))
                for signal in backlog.signals_of(moved):
                    self._take(signal, backlog.to_ms(signal.event_time))
                self._be_in(moved.time_zone)
        else:
            self._take(record.signal, record.event_time_ms)

    def _take(self, signal: signal_pb2.Signal, at_ms: int) -> None:
        kind = signal.WhichOneof("payload")
        if kind is None:
            return
        key = signal.source, getattr(getattr(signal, kind), "external_id", "")
        if kind == "task_upserted" and at_ms >= self._tasks.get(key, (0,))[0]:
            self._tasks[key] = at_ms, signal.task_upserted, False
        elif kind == "task_completed" and key in self._tasks and at_ms >= self._tasks[key][0]:
            self._tasks[key] = at_ms, self._tasks[key][1], True
        elif kind == "task_removed":
            self._tasks.pop(key, None)
        elif kind == "calendar_event_upserted" and at_ms >= self._events.get(key, (0,))[0]:
            self._events[key] = at_ms, signal.calendar_event_upserted
        elif kind == "calendar_event_removed":
            self._events.pop(key, None)
        elif kind == "profile_changed" and signal.profile_changed.time_zone:
            self._be_in(signal.profile_changed.time_zone)

    def _be_in(self, zone: str) -> None:
        with contextlib.suppress(KeyError, ValueError):  # one that this build does not know
            self.zone = ZoneInfo(zone)

    def tasks(self, source: str) -> Iterator[tuple[signal_pb2.TaskUpserted, bool]]:
        """Those that came from there, with whether they are done."""
        return ((task, done) for (where, _), (_, task, done) in self._tasks.items() if where == source)

    def events(self, source: str) -> Iterator[signal_pb2.CalendarEventUpserted]:
        """Those that came from there."""
        return (event for (where, _), (_, event) in self._events.items() if where == source)


def names(letter: dead_letter_pb2.DeadLetter, user_id: str, frames: Frames, *, whose: bytes = b"") -> bool:
    """Whether a letter is this person's: what it holds says so, or its key where it does not say.

    A value that was cut, or that nobody can read, is known by its key alone: behind the door that is the pseudonym, `whose`.

    >>> letter = dead_letter_pb2.DeadLetter(original=b'{"user_id": "ada"}', original_key=b"bob")
    >>> names(letter, "ada", Frames()), names(letter, "bob", Frames())
    (True, False)
    """
    said = user_named(letter.original, frames)
    return user_id == said if said else letter.original_key in (user_id.encode(), whose or user_id.encode())


def _position(message: Message) -> journal_pb2.Position:
    if isinstance(message, row_pb2.UserRow):
        return journal_pb2.Position(topic_id=message.topic_id, offset=message.journal_offset)
    found: journal_pb2.Position = getattr(message, "journal", journal_pb2.Position())
    return found


def _shown(message: Message) -> dict[str, Any]:
    if isinstance(message, row_pb2.UserRow):
        shown = MessageToDict(row.spelled_out(message), preserving_proto_field_name=True)
        return {name: value for name, value in shown.items() if name not in row.BLOCKS}  # spelled out in other fields
    if isinstance(message, decision_pb2.Decision) and message.HasField("packed"):
        message.slate.extend(slates.spelled_out(message))
        message.ClearField("packed")
    return dict(MessageToDict(message, preserving_proto_field_name=True))


async def _history(history: History, pseudonym: str, mine: _Mine) -> AsyncIterator[dict[str, Any]]:
    before: Cursor | None = None
    while True:
        page = await history.page(pseudonym, limit=PAGE_MAX, before=before)
        for entry in page:
            kept = decision_pb2.Decision.FromString(entry.message)
            if not mine.left_behind(kept.journal.offset) and (decision := mine.opened(kept)) is not None:
                shown = {
                    "decision_id": decision.decision_id,
                    "title": decision.title,
                    "decided_ms": decision.decided_ms,
                }
                # Whole where the log has it no more: else it would be twice in here.
                whole = {} if decision.decision_id in mine.decided else {"decision": mine.shown(decision)}
                yield {**shown, "outcome": entry.outcome, "outcome_ms": entry.outcome_ms, **whole}
        if len(page) < PAGE_MAX:
            return
        before = page[-1].cursor


async def _array(found: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """A JSON array, an entry a line."""
    between = "[\n"
    async for one in found:
        yield between + json.dumps(one, ensure_ascii=False)
        between = ",\n"
    yield "[]\n" if between == "[\n" else "\n]\n"


def _readme(order: Order, kept: Iterable[str], *, is_trimmed: bool) -> str:
    of_postgres = dict([HISTORY_FILE]) | beside.FILES
    what = dict(FILES.values()) | {name: of_postgres[name] for name in kept}
    what |= {
        "todo.txt": "tasks that came from a todo.txt, as they were last told; those that are done begin with x",
        "calendar.ics": "events that came from a calendar",
    }
    lines = "".join(f"{name:<16}{text}\n" for name, text in what.items())
    trimmed = (
        "What came in is kept for a time: the beginning of journal.json is gone, and what it said is in known.json as it stands;\n"
        "todo.txt and calendar.ics have what was told since.\n\n"
    )
    return (
        f"What oO knows of {order.user_id}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.\n\n{lines}\n"
        f"{trimmed if is_trimmed else ''}"
        "JSON is UTF-8, an entry a line, in protobuf's mapping of the messages in proto/oo/v1; bytes are in base64, times that\n"
        "end in _ms are milliseconds since 1970. Features, scores and sums are described in docs/features.md.\n"
    )


async def _main() -> None:
    order = Order.heard(sys.stdin.buffer.read())
    out = sys.stdout.buffer
    async for piece in archive(order):
        out.write(piece)
        out.flush()


def main() -> None:
    """Make one; status 1 and a line on standard error where nothing can be read. Others go first."""
    os.nice(NICENESS)
    try:
        asyncio.run(_main())
    except NotReadable as error:
        sys.exit(f"archive.not_readable {error}")


if __name__ == "__main__":
    main()
