"""Writes decisions, their slates and their outcomes into the recommender's tables, each once.

It never decides when to try again, and never skips a message in silence: what PostgreSQL cannot hold is handed back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import psycopg
from psycopg import errors, sql

from connectors.postgres import age, leavers
from oo.v1.decision_pb2 import Decision
from oo.v1.erased_pb2 import Erased
from oo.v1.outcome_pb2 import Outcome
from tables import slates

ID_BYTES_MAX: Final = 256
"""Of a decision's, an outcome's or a user's id; beyond it a message is refused."""

_DECISIONS: Final = (
    ("decision_id", "text"),
    ("user_id", "text"),
    ("decided_ms", "bigint"),
    ("valid_until_ms", "bigint"),
    ("journal_offset", "bigint"),
    ("topic_id", "bytea"),
    ("partition", "integer"),
    ("trigger", "text"),
    ("kind", "text"),
    ("policy_version", "text"),
    ("propensity", "double precision"),
    ("supersedes", "text"),
    ("message", "bytea"),
)
_TIP_SCORES: Final = (
    ("decision_id", "text"),
    ("position", "integer"),
    ("kind", "text"),
    ("eligible", "boolean"),
    ("propensity", "double precision"),
    ("score", "double precision"),
    ("prompt_version", "text"),
    ("llm_model", "text"),
)
_OUTCOMES: Final = (
    ("outcome_id", "text"),
    ("decision_id", "text"),
    ("user_id", "text"),
    ("kind", "text"),
    ("corrects", "text"),
    ("event_time_ms", "bigint"),
    ("journal_offset", "bigint"),
    ("topic_id", "bytea"),
    ("partition", "integer"),
    ("learned", "boolean"),
    ("reward", "double precision"),
    ("message", "bytea"),
)

_TAKEN: Final = {
    "decisions": f"NOT EXISTS (SELECT FROM recommender.erased known WHERE {leavers.is_of_before('decisions')})",
    "outcomes": f"NOT EXISTS (SELECT FROM recommender.erased known WHERE {leavers.is_of_before('outcomes')})",
    "tip_scores": "EXISTS (SELECT FROM recommender.decisions d WHERE d.decision_id = it.decision_id)",
}
"""By table, which rows are written: nothing of a life that ended (connectors/postgres/leavers.py)."""

Unreachable: Final = (psycopg.Error,)
"""What a call raises while PostgreSQL is down, slow or not as it should be: it is worth trying again later."""

_UNHOLDABLE = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)
"""The message is at fault and trying again cannot help; everything else is the server's state."""

_Message = TypeVar("_Message", Decision, Outcome)
_Number = TypeVar("_Number", bound=int)
_Insert = Callable[[psycopg.AsyncConnection, "Sequence[Stored[_Message]]"], Awaitable[int]]
_Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Stored(Generic[_Message]):
    """A message, and how it is kept: sealed as it came, so that beside it only columns of numbers and kinds stand open."""

    message: _Message
    kept: _Message


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that PostgreSQL cannot hold: its place in the batch, and why."""

    index: int
    detail: str


@dataclass(frozen=True, slots=True)
class Written:
    """What one call did: `rows` are new decisions or outcomes, the others were there already."""

    rows: int
    refused: tuple[Refused, ...] = ()


class Sink:
    """One connection as the role recommender, made when needed and again after a failure.

    A call returns once PostgreSQL has committed the batch as one transaction, or raises psycopg.Error and has
    written nothing; repeating it is harmless. Give it `async with`, or `close()`.
    """

    def __init__(self, dsn: str, *, connect_timeout_s: int = 5, statement_timeout_s: int = 30) -> None:
        self._dsn = dsn
        self._connect_timeout_s = connect_timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._connection: psycopg.AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def record_decisions(self, decisions: Sequence[Stored[Decision]]) -> Written:
        """Write decisions with their whole slates."""
        return await self._record(decisions, _insert_decisions, _decision_fault)

    async def record_outcomes(self, outcomes: Sequence[Stored[Outcome]]) -> Written:
        """Write outcomes; their decisions may come later."""
        return await self._record(outcomes, _insert_outcomes, _outcome_fault)

    async def forget(self, words: Sequence[Erased]) -> int:
        """Delete what is of people who left, and take nothing of it any more; returns how many rows went."""
        async with self._connection_alone() as connection, connection.transaction():
            return await leavers.forget(connection, words)

    async def newest(self, *, above_ms: int) -> int | None:
        """When the newest decision was made that is there; None where none was after that time."""
        async with self._connection_alone() as connection:
            return await age.newest(connection, above_ms=above_ms)

    async def trim(self, *, below_ms: int) -> int:
        """Delete some of what is older; returns how many rows went, 0 when all have."""
        async with self._connection_alone() as connection:
            await age.note(connection, below_ms=below_ms)
            async with connection.transaction():
                return await age.trim(connection, below_ms=below_ms)

    async def _record(
        self,
        messages: Sequence[Stored[_Message]],
        insert: _Insert[_Message],
        fault_of: Callable[[_Message], str],
    ) -> Written:
        faults = [fault_of(one.message) for one in messages]
        refused = [Refused(index, fault) for index, fault in enumerate(faults) if fault]
        good = [(index, message) for index, message in enumerate(messages) if not faults[index]]
        if not good:
            return Written(0, tuple(refused))
        async with self._connection_alone() as connection:
            try:
                async with connection.transaction():
                    rows = await insert(connection, [message for _, message in good])
            except _UNHOLDABLE:
                rows, more = await _one_by_one(connection, good, insert)
                refused += more
        return Written(rows, tuple(sorted(refused, key=lambda item: item.index)))

    @asynccontextmanager
    async def _connection_alone(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """The connection, for one call at a time. One that fails or is cancelled leaves it in no state worth knowing."""
        async with self._turn:
            try:
                yield await self._connected()
            except BaseException:
                await self.close()
                raise

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=self._connect_timeout_s,
                application_name="oo record",
                options=f"-c statement_timeout={self._statement_timeout_s * 1000}",
                # A peer that vanished without a word is noticed by TCP, whatever the statement timeout.
                tcp_user_timeout=self._statement_timeout_s * 1000,
            )
        return self._connection


async def _one_by_one(
    connection: psycopg.AsyncConnection, good: Sequence[tuple[int, Stored[_Message]]], insert: _Insert[_Message]
) -> tuple[int, list[Refused]]:
    """Write what can be written, still as one transaction, and name what cannot."""
    rows = 0
    refused = []
    async with connection.transaction():
        for index, message in good:
            try:
                async with connection.transaction():
                    rows += await insert(connection, [message])
            except _UNHOLDABLE as error:
                refused.append(Refused(index, f"PostgreSQL cannot hold it: {error.diag.message_primary or error}"))
    return rows, refused


async def _insert_decisions(connection: psycopg.AsyncConnection, decisions: Sequence[Stored[Decision]]) -> int:
    rows = [
        (
            it.decision_id,
            it.user_id,
            it.decided_ms,
            it.valid_until_ms,
            it.journal.offset,
            it.journal.topic_id,
            it.journal.partition,
            _name(Decision.Trigger.Name, it.trigger),
            _kind(it),
            it.policy_version,
            it.propensity,
            it.supersedes,
            one.kept.SerializeToString(deterministic=True),
        )
        for one in decisions
        for it in (one.message,)
    ]
    written = await _insert(connection, "decisions", _DECISIONS, rows)
    scores = [
        (
            it.decision_id,
            position,
            _name(Decision.TipKind.Name, candidate.kind),
            not candidate.ineligible,
            candidate.propensity,
            candidate.score,
            # Of before step version 8 a decision says it of the chosen one alone.
            candidate.prompt_version or (it.prompt_version if position == it.chosen else ""),
            candidate.model or (it.model if position == it.chosen else ""),
        )
        for it in (one.message for one in decisions)
        for position, candidate in enumerate(slates.spelled_out(it))
    ]
    await _insert(connection, "tip_scores", _TIP_SCORES, scores)
    return written


async def _insert_outcomes(connection: psycopg.AsyncConnection, outcomes: Sequence[Stored[Outcome]]) -> int:
    rows = [
        (
            it.outcome_id,
            it.decision_id,
            it.user_id,
            _name(Outcome.Kind.Name, it.kind),
            _name(Outcome.Kind.Name, it.corrects),
            it.event_time_ms,
            it.journal.offset,
            it.journal.topic_id,
            it.journal.partition,
            it.learned,
            it.reward,
            one.kept.SerializeToString(deterministic=True),
        )
        for one in outcomes
        for it in (one.message,)
    ]
    return await _insert(connection, "outcomes", _OUTCOMES, rows)


async def _insert(
    connection: psycopg.AsyncConnection, table: str, columns: Sequence[tuple[str, str]], rows: Sequence[_Row]
) -> int:
    """One statement for all rows: a parameter per column, in binary, so that bytes are sent as they are."""
    if not rows:
        return 0
    await leavers.share(connection)
    statement = sql.SQL(
        "INSERT INTO recommender.{table} ({names}) SELECT it.* FROM unnest({arrays}) AS it ({names}) WHERE {taken} "
        "ON CONFLICT DO NOTHING"
    ).format(
        table=sql.Identifier(table),
        names=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        arrays=sql.SQL(", ").join(sql.SQL("%b::{}[]").format(sql.SQL(kind)) for _, kind in columns),
        taken=sql.SQL(_TAKEN[table]),
    )
    held = [
        [_text(value) for value in column] if kind == "text" else list(column)
        for (_, kind), column in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    cursor = await connection.execute(statement, held)
    return cursor.rowcount


def _text(value: object) -> object:
    """A text as PostgreSQL can hold it: it has no NUL, which old journals may bring; the message beside has all of it."""
    return value.replace("\x00", "\\x00") if isinstance(value, str) else value


def _kind(decision: Decision) -> str:
    """The chosen candidate's kind; NONE where the slate is empty."""
    slate = slates.spelled_out(decision)
    return _name(Decision.TipKind.Name, slate[decision.chosen].kind) if slate else "NONE"


def _decision_fault(decision: Decision) -> str:
    """What keeps a decision out, in a sentence; empty for nothing."""
    try:
        slate = slates.spelled_out(decision)
    except ValueError as error:
        return str(error)
    if slate and decision.chosen >= len(slate):
        return f"chosen is {decision.chosen}, past the slate of {len(slate)}"
    return _id_fault(decision_id=decision.decision_id, user_id=decision.user_id)


def _outcome_fault(outcome: Outcome) -> str:
    return _id_fault(outcome_id=outcome.outcome_id, decision_id=outcome.decision_id, user_id=outcome.user_id)


def _id_fault(**ids: str) -> str:
    for name, value in ids.items():
        if not value:
            return f"{name} is empty"
        if len(value.encode()) > ID_BYTES_MAX:
            return f"{name} is longer than {ID_BYTES_MAX} bytes"
    return ""


def _name(name_of: Callable[[_Number], str], number: _Number) -> str:
    """An enum value's name; its number where a newer writer knows more values than we do."""
    try:
        return name_of(number)
    except ValueError:
        return str(number)
