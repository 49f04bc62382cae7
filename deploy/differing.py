"""What one partition's fold says holds against what is live, each thing at its own place of the journal: it needs nothing to stand still.

Rows, tips and settings are of people, and one of each stands: the live one may be ahead of the cut, and is held against what the fold had at that very
record. Decisions, outcomes and requests below the cut are compared some at a time, in the order of the journal. It reads nothing itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from agents.rows import MARKS_KEY, order_in
from oo.v1 import decision_pb2, outcome_pb2, row_pb2, settings_pb2
from streams.sealing import KeyMissing, Keys, open_row, opened
from streams.wire import BadFrame, payload
from tables.leavers import Leavers
from tables.row import spelled_out
from tables.store import Store

SHOWN_MAX = 50


@dataclass(slots=True)
class Differences:
    """How many there are; the first 50 are kept in words."""

    n: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, what: str) -> None:
        """Counts one."""
        self.n += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(what)

    def take(self, others: Differences) -> None:
        """Counts these too."""
        self.n += others.n
        self.shown = [*self.shown, *others.shown][:SHOWN_MAX]


def digest(message: Message) -> bytes:
    """Sixteen bytes over a message's deterministic bytes."""
    return hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()


UNREADABLE = (BadFrame, DecodeError, KeyMissing)
"""What opening something raises that is not what was sealed there."""


def opened_digest(message: Message, *, whose: str, keys: Keys) -> bytes:
    """The digest of what was sealed; empty, which no digest is, where it cannot be opened."""
    try:
        return digest(opened(message, whose=whose.encode(), keys=keys))
    except UNREADABLE:
        return b""


def same(mine: bytes, live: bytes) -> bool:
    """Whether two rows say the same, of which one may have been written before rows were kept in columns."""
    if mine == live:
        return True
    try:
        return digest(spelled_out(row_pb2.UserRow.FromString(mine))) == digest(
            spelled_out(row_pb2.UserRow.FromString(live))
        )
    except (DecodeError, ValueError):
        return False


class LiveRows:
    """A partition's live rows, sealed as they are, of which the fold is to have each at its own place."""

    def __init__(self, store: Store, *, journal_id: bytes) -> None:
        """`store`: what the changelog makes of them."""
        order = order_in(journal_id)
        self._store = store
        self._places = {key.decode(): order(head) for key, head in store.scan() if key != MARKS_KEY}
        self._unmet = set(self._places)
        self._journal_id = journal_id
        self._wrong: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._places

    @property
    def end(self) -> int:
        """Behind the last record that one of them has."""
        return max(self._places.values(), default=-1) + 1

    def see(self, user_id: str, row: row_pb2.UserRow | None, *, cut: int, keys: Keys) -> None:
        """Hold a row that the fold has, or had before a record, against the live one."""
        if row is None or row.topic_id != self._journal_id:
            return
        at, live_at = row.journal_offset, self._places.get(user_id)
        if at == live_at:
            if user_id in self._unmet:
                self._unmet.discard(user_id)
                self._compare(user_id, row.SerializeToString(deterministic=True), keys)
        elif at < cut and (live_at is None or live_at < at):
            said = (
                "only in the fold" if live_at is None else f"live stands at {_place(live_at)}, the fold has it at {at}"
            )
            self._wrong.setdefault(user_id, said)

    def differences(self, *, leavers: Leavers) -> Differences:
        """What differs, once the fold has been at every place."""
        for user_id in self._unmet:
            at = self._places[user_id]
            if not leavers.passes(user_id.encode(), at):
                self._wrong.setdefault(
                    user_id, "only live" if at < 0 else f"live stands at {at}, the fold has none there"
                )
        found = Differences()
        for user_id, what in sorted(self._wrong.items()):
            found.add(f"row of {user_id}: {what}")
        return found

    def _compare(self, user_id: str, mine: bytes, keys: Keys) -> None:
        whose = user_id.encode()
        framed = self._store.get(whose)
        assert framed is not None, "it has a head"
        try:
            live = open_row(payload(framed), whose=whose, keys=keys)
        except UNREADABLE:
            self._wrong[user_id] = "live cannot be opened"
            return
        if not same(mine, live):
            self._wrong[user_id] = f"{len(mine)} bytes in the fold, {len(live)} live, not the same"


def _place(at: int) -> str:
    return f"{at}" if at >= 0 else "a place of another journal"


Shown = decision_pb2.Tip | settings_pb2.Settings


class Served:
    """The tips, or settings, that Valkey has of some people."""

    def __init__(self, name: str, standing: Mapping[str, Shown | None], *, journal_id: bytes) -> None:
        """`standing`: of those who were asked for; None where there is nothing."""
        self._name = name
        self._standing = {
            user_id: None if one is None else (one.journal.offset if one.journal.topic_id == journal_id else -1, one)
            for user_id, one in standing.items()
        }
        self._unmet = {user_id for user_id, found in self._standing.items() if found is not None}
        self._wrong: dict[str, str] = {}
        self.met = 0

    @property
    def end(self) -> int:
        """Behind the last record that one of them is of."""
        return max((found[0] for found in self._standing.values() if found is not None), default=-1) + 1

    def see(self, mine: Shown, *, below_cut: bool, keys: Keys) -> None:
        """Hold what followed from a record of the fold against what is served."""
        user_id, at = mine.user_id, mine.journal.offset
        if user_id not in self._standing:
            return  # Of somebody without a live row: that is said already, or they came behind the cut.
        found = self._standing[user_id]
        if found is not None and found[0] == at:
            if user_id in self._unmet:
                self._unmet.discard(user_id)
                self.met += 1
                if opened_digest(found[1], whose=user_id, keys=keys) != digest(mine):
                    self._wrong[user_id] = f"not the same in Valkey and in the fold, of journal offset {at}"
        elif below_cut and found is None:
            self._wrong.setdefault(user_id, "in the fold, missing in Valkey")
        elif below_cut and found is not None and found[0] < at:
            self._wrong[user_id] = f"Valkey serves journal offset {found[0]}, the fold says {at}"

    def differences(self, *, start: int, leavers: Leavers) -> Differences:
        """What differs, once the fold has been at every place from `start` on."""
        for user_id in self._unmet:
            found = self._standing[user_id]
            assert found is not None
            if found[0] >= start and not leavers.passes(user_id.encode(), found[0]):
                self._wrong.setdefault(user_id, f"Valkey serves journal offset {found[0]}, where the fold has none")
        said = Differences()
        for user_id, what in sorted(self._wrong.items()):
            said.add(f"{self._name} of {user_id}: {what}")
        return said


class Kept(NamedTuple):
    """A decision, an outcome or a request, as it is kept or comes out of the fold."""

    id: str
    user_id: str
    offset: int
    time_ms: int
    digest: bytes


class Suspect(NamedTuple):
    """What is on one side only: a difference, if it is neither of somebody who has left meanwhile nor trimmed."""

    user_id: str
    offset: int
    time_ms: int
    what: str


def kept(
    message: decision_pb2.Decision | decision_pb2.CandidateRequest | decision_pb2.Delivery | outcome_pb2.Outcome,
) -> Kept:
    """What of a message history is held against."""
    if isinstance(message, decision_pb2.Decision):
        one, time_ms = message.decision_id, message.decided_ms
    elif isinstance(message, decision_pb2.CandidateRequest):
        one, time_ms = message.request_id, message.requested_ms
    elif isinstance(message, decision_pb2.Delivery):
        one, time_ms = message.delivery_id, message.decided_ms
    else:
        one, time_ms = message.outcome_id, message.event_time_ms
    return Kept(one, message.user_id, message.journal.offset, time_ms, digest(message))


def compare_history(
    name: str, mine: Mapping[str, Kept], theirs: Sequence[Kept], found: Differences, *, where: str
) -> Iterator[Suspect]:
    """Add those of one stretch of the journal that are not the same; yield those that one side has not."""
    there = set()
    for one in theirs:
        there.add(one.id)
        if one.id not in mine:
            yield Suspect(one.user_id, one.offset, one.time_ms, f"{name} {one.id}: in {where}, not in the fold")
        elif one.digest != mine[one.id].digest:
            found.add(f"{name} {one.id}: not the same in {where} and in the fold")
    for key in mine.keys() - there:
        one = mine[key]
        yield Suspect(one.user_id, one.offset, one.time_ms, f"{name} {key}: in the fold, missing in {where}")
