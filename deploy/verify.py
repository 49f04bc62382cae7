"""Folds the journal and holds what is live against it: rows, decisions, outcomes, and the tips that are served.

It shares `step` with the product, so it finds what was lost, doubled or torn on the way, and cannot see a wrong `step`.
It only reads.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import psycopg
from google.protobuf.message import Message
from psycopg import sql

from agents.fold import Partition, entry_of
from agents.reward import config_hash
from agents.rows import read_rows
from agents.step import InForce
from agents.versions import prior
from connectors.valkey import TipStore
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2, policy_pb2
from streams.frames import BadFrame, Schemas
from streams.reader import committed, end_offsets, read_partition, topic_ids
from streams.record import Record
from streams.security import PLAINTEXT, Security
from streams.topics import Topic, group, topics

SETTLE_S = 120.0
"""How long to wait for the workers to have taken what stands in the topics."""
TRIES = 5
"""A stack in use moves on while it is read; a difference counts only if the journal stood still."""
SHOWN_MAX = 50

READERS = {"journal": "core", "tips": "publish", "decisions": "record", "outcomes": "record"}


class NotSettled(Exception):
    """The workers are behind, or the journal kept growing: there is nothing to compare yet."""


@dataclass(frozen=True, slots=True)
class Live:
    """Where the running stack is."""

    bootstrap: str
    recommender_dsn: str
    valkey_url: str
    mac_key: bytes
    prefix: str = "oo."
    security: Security = PLAINTEXT


@dataclass(slots=True)
class Report:
    """What was compared, and where the two sides differ."""

    records: int = 0
    rows: int = 0
    decisions: int = 0
    outcomes: int = 0
    tips: int = 0
    differences: int = 0
    shown: list[str] = field(default_factory=list)

    def differ(self, what: str) -> None:
        """Count one difference; the first 50 are kept in words."""
        self.differences += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(what)


@dataclass(slots=True)
class _Expected:
    """What the fold says must be out there."""

    rows: dict[str, bytes] = field(default_factory=dict)
    decisions: dict[str, bytes] = field(default_factory=dict)
    outcomes: dict[str, bytes] = field(default_factory=dict)
    tips: dict[str, decision_pb2.Tip] = field(default_factory=dict)


async def verify(live: Live, *, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Report:
    """Compare, once the workers have caught up. `progress(done, total)` counts journal records.

    Raises NotSettled where they do not catch up, or the journal grows faster than it can be read.
    """
    table = topics(live.prefix)
    for _ in range(TRIES):
        ends = await _settled(live, table)
        report = await _compare(live, table, ends, progress)
        if (
            report.differences == 0
            or await end_offsets(live.bootstrap, table["journal"].name, security=live.security) == ends
        ):
            return report
    raise NotSettled("the journal kept growing while it was read: verify again when less is written")


async def _compare(
    live: Live, table: dict[str, Topic], ends: dict[int, int], progress: Callable[[int, int], None]
) -> Report:
    report, expected, schemas = Report(), _Expected(), Schemas.offline(live.prefix)
    journal_id = (await topic_ids(live.bootstrap, [table["journal"].name], security=live.security))[
        table["journal"].name
    ]
    versions = await _versions(live, table, schemas)
    total = sum(ends.values())
    for number, end in sorted(ends.items()):
        rows: dict[str, bytes] = {}
        state = Partition(partition=number, versions=versions, rows=rows)
        async for records in _read(live, table["journal"], number, end):
            for record in records:
                try:
                    journal = schemas.unframe("journal", record.value)
                    assert isinstance(journal, journal_pb2.JournalRecord)
                    entry = entry_of(record, journal, topic_id=journal_id)
                except (BadFrame, UnicodeDecodeError):
                    continue  # No journal record: the worker has made it a dead letter, and folds on.
                outputs = state.apply(entry)
                state.settle()
                if outputs.decision is not None and outputs.tip is not None:
                    expected.decisions[outputs.decision.decision_id] = _digest(outputs.decision)
                    expected.tips[outputs.tip.user_id] = outputs.tip
                for outcome in outputs.outcomes:
                    expected.outcomes[outcome.outcome_id] = _digest(outcome)
            report.records += len(records)
            progress(report.records, total)
            await asyncio.sleep(0)
        expected.rows |= rows
        await _compare_rows(live, table, number, rows, journal_id, report)
    report.rows, report.decisions = len(expected.rows), len(expected.decisions)
    report.outcomes, report.tips = len(expected.outcomes), len(expected.tips)
    await _compare_postgres(live, expected, report)
    await _compare_valkey(live, expected, report)
    return report


async def _compare_rows(
    live: Live,
    table: dict[str, Topic],
    number: int,
    expected: dict[str, bytes],
    journal_id: bytes,
    report: Report,
) -> None:
    found = await read_rows(_read(live, table["rows"], number, None), journal_id=journal_id)
    for user_id in sorted(expected.keys() | found.keys()):
        mine, theirs = expected.get(user_id), found.get(user_id)
        if mine == theirs:
            continue
        if mine is None or theirs is None:
            report.differ(f"row of {user_id}: only {'live' if mine is None else 'in the fold'}")
        else:
            report.differ(f"row of {user_id}: {len(mine)} bytes in the fold, {len(theirs)} live, not the same")


async def _compare_postgres(live: Live, expected: _Expected, report: Report) -> None:
    kinds: tuple[tuple[str, dict[str, bytes], type[Message]], ...] = (
        ("decision", expected.decisions, decision_pb2.Decision),
        ("outcome", expected.outcomes, outcome_pb2.Outcome),
    )
    async with await psycopg.AsyncConnection.connect(live.recommender_dsn) as connection:
        for name, ids, kind in kinds:
            seen = 0
            async with connection.cursor(name=f"verify_{name}") as cursor:
                await cursor.execute(_select(name, message=True))
                async for key, message in cursor:
                    if key not in ids:
                        report.differ(f"{name} {key}: in PostgreSQL, not in the fold")
                        continue
                    seen += 1
                    if _digest(kind.FromString(message)) != ids[key]:
                        report.differ(f"{name} {key}: not the same in PostgreSQL and in the fold")
            if seen < len(ids):
                async with connection.cursor() as cursor:
                    await cursor.execute(_select(name, message=False))
                    there = {key for (key,) in await cursor.fetchall()}
                for key in sorted(ids.keys() - there):
                    report.differ(f"{name} {key}: in the fold, missing in PostgreSQL")


def _select(name: str, *, message: bool) -> sql.Composed:
    columns = [sql.Identifier(f"{name}_id"), *([sql.Identifier("message")] if message else [])]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), sql.Identifier("recommender", f"{name}s"))


async def _compare_valkey(live: Live, expected: _Expected, report: Report) -> None:
    store = TipStore(live.valkey_url)
    try:
        for user_id, tip in sorted(expected.tips.items()):
            standing = await store.read(user_id)
            if standing is None:
                report.differ(f"tip of {user_id}: in the fold, missing in Valkey")
            elif _digest(standing.tip) != _digest(tip):
                report.differ(
                    f"tip of {user_id}: Valkey serves journal offset {standing.offset}, "
                    f"the fold says {tip.journal.offset}"
                )
    finally:
        await store.close()


async def _settled(live: Live, table: dict[str, Topic]) -> dict[int, int]:
    """The journal's ends, once every group has taken all that stands in its topics."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SETTLE_S
    while True:
        ends = await end_offsets(live.bootstrap, table["journal"].name, security=live.security)
        behind = [name for name, by in READERS.items() if await _lag(live, table[name], group(by, prefix=live.prefix))]
        if not behind and ends == await end_offsets(live.bootstrap, table["journal"].name, security=live.security):
            return ends
        if loop.time() > until_s:
            raise NotSettled(
                f"the workers have not taken all of {', '.join(behind) or 'the journal'} within {SETTLE_S:.0f} s: "
                "'oo status' shows which one is behind"
            )
        await asyncio.sleep(0.3)


async def _lag(live: Live, topic: Topic, reader: str) -> int:
    ends = await end_offsets(live.bootstrap, topic.name, security=live.security)
    taken = await committed(live.bootstrap, reader, topic.name, security=live.security)
    return sum(end - (taken.get(number) or 0) for number, end in ends.items())


async def _versions(live: Live, table: dict[str, Topic], schemas: Schemas) -> dict[str, InForce]:
    versions = {"": prior(mac_key=live.mac_key)}
    async for records in _read(live, table["policies"], 0, None):
        for record in records:
            if record.value is None:
                continue
            version = schemas.unframe("policies", record.value)
            assert isinstance(version, policy_pb2.PolicyVersion)
            versions[version.version_id] = InForce(
                version=version, mac_key=live.mac_key, config_hash=config_hash(version.config)
            )
    return versions


def _read(live: Live, topic: Topic, number: int, end: int | None) -> AsyncIterator[list[Record]]:
    return read_partition(live.bootstrap, topic.name, number, end=end, security=live.security)


def _digest(message: Message) -> bytes:
    return hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()
