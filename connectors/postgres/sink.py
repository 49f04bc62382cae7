"""Writes decisions, their slates and their outcomes into the recommender's tables, each once.

It never decides when to try again, and never skips a message in silence: what PostgreSQL cannot hold is handed back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import psycopg
from psycopg import errors, sql

from connectors.postgres import age, leavers
from connectors.postgres.arrays import packed
from oo.v1.decision_pb2 import Decision
from oo.v1.erased_pb2 import Erased
from oo.v1.outcome_pb2 import Outcome
from tables import slates

ID_BYTES_MAX: Final = 256
"""Of a decision's, an outcome's or a user's id; beyond it a message is refused."""

_COLUMNS: Final = {
    "decisions": {
        "decision_id": "text",
        "user_id": "text",
        "decided_ms": "bigint",
        "valid_until_ms": "bigint",
        "journal_offset": "bigint",
        "topic_id": "bytea",
        "partition": "integer",
        "trigger": "text",
        "kind": "text",
        "policy_version": "text",
        "propensity": "double precision",
        "supersedes": "text",
        "message": "bytea",
    },
    "tip_scores": {
        "decision_id": "text",
        "position": "integer",
        "kind": "text",
        "eligible": "boolean",
        "propensity": "double precision",
        "score": "double precision",
        "prompt_version": "text",
        "llm_model": "text",
    },
    "outcomes": {
        "outcome_id": "text",
        "decision_id": "text",
        "user_id": "text",
        "kind": "text",
        "corrects": "text",
        "event_time_ms": "bigint",
        "journal_offset": "bigint",
        "topic_id": "bytea",
        "partition": "integer",
        "learned": "boolean",
        "reward": "double precision",
        "message": "bytea",
    },
}

_TAKEN: Final = {
    "decisions": f"NOT EXISTS (SELECT FROM recommender.erased known WHERE {leavers.is_of_before('decisions')})",
    "outcomes": f"NOT EXISTS (SELECT FROM recommender.erased known WHERE {leavers.is_of_before('outcomes')})",
    "tip_scores": "EXISTS (SELECT FROM recommender.decisions d WHERE d.decision_id = it.decision_id)",
}
"""By table, which rows are written: nothing of a life that ended (connectors/postgres/leavers.py)."""

_STATEMENTS: Final = {
    table: sql.SQL(
        "INSERT INTO recommender.{table} ({names}) SELECT it.* FROM unnest({arrays}) AS it ({names}) WHERE {taken} "
        "ON CONFLICT DO NOTHING"
    )
    .format(
        table=sql.Identifier(table),
        names=sql.SQL(", ").join(map(sql.Identifier, columns)),
        arrays=sql.SQL(", ").join(sql.SQL("%b::{}[]").format(sql.SQL(kind)) for kind in columns.values()),
        taken=sql.SQL(_TAKEN[table]),
    )
    .as_bytes()
    for table, columns in _COLUMNS.items()
}

Unreachable: Final = (psycopg.Error,)
"""What a call raises while PostgreSQL is down, slow or not as it should be: it is worth trying again later."""

_UNHOLDABLE = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)
"""The message is at fault and trying again cannot help; everything else is the server's state."""

_Message = TypeVar("_Message", Decision, Outcome)
_Number = TypeVar("_Number", bound=int)
_Row = tuple[object, ...]
_Rows = Mapping[str, Sequence[_Row]]
"""What a message comes to, by table; the first table's rows are counted."""


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
        return await self._record(decisions, _rows_of_decision)

    async def record_outcomes(self, outcomes: Sequence[Stored[Outcome]]) -> Written:
        """Write outcomes; their decisions may come later."""
        return await self._record(outcomes, _rows_of_outcome)

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
        self, messages: Sequence[Stored[_Message]], rows_of: Callable[[Stored[_Message]], _Rows]
    ) -> Written:
        good: list[tuple[int, _Rows]] = []
        refused: list[Refused] = []
        for index, message in enumerate(messages):
            try:
                good.append((index, rows_of(message)))
            except ValueError as fault:
                refused.append(Refused(index, str(fault)))
        if not good:
            return Written(0, tuple(refused))
        async with self._connection_alone() as connection:
            try:
                async with connection.transaction():
                    rows = await _insert_all(connection, [found for _, found in good])
            except _UNHOLDABLE:
                rows, more = await _one_by_one(connection, good)
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
    connection: psycopg.AsyncConnection, good: Sequence[tuple[int, _Rows]]
) -> tuple[int, list[Refused]]:
    """Write what can be written, still as one transaction, and name what cannot."""
    rows = 0
    refused = []
    async with connection.transaction():
        for index, found in good:
            try:
                async with connection.transaction():
                    rows += await _insert_all(connection, [found])
            except _UNHOLDABLE as error:
                refused.append(Refused(index, f"PostgreSQL cannot hold it: {error.diag.message_primary or error}"))
    return rows, refused


def _rows_of_decision(one: Stored[Decision]) -> _Rows:
    """Raises ValueError, in a sentence, for what keeps it out."""
    it, told = one.message, slates.told(one.message)
    size = len(told.kinds)
    if size and it.chosen >= size:
        raise ValueError(f"chosen is {it.chosen}, past the slate of {size}")
    _check_ids(decision_id=it.decision_id, user_id=it.user_id)
    kinds = [_name(Decision.TipKind.Name, kind) for kind in told.kinds]
    written_by = told.written_by
    if size and (it.prompt_version or it.model):
        # Of before step version 8 a decision says it of the chosen one alone.
        prompt_version, model = written_by[it.chosen]
        written_by[it.chosen] = prompt_version or it.prompt_version, model or it.model
    decision = (
        it.decision_id,
        it.user_id,
        it.decided_ms,
        it.valid_until_ms,
        it.journal.offset,
        it.journal.topic_id,
        it.journal.partition,
        _name(Decision.Trigger.Name, it.trigger),
        kinds[it.chosen] if size else "NONE",
        it.policy_version,
        it.propensity,
        it.supersedes,
        one.kept.SerializeToString(deterministic=True),
    )
    scores = [
        (it.decision_id, *those)
        for those in zip(
            range(size),
            kinds,
            told.eligible,
            told.propensities,
            told.scores,
            *(zip(*written_by, strict=True) if size else ((), ())),
            strict=True,
        )
    ]
    return {"decisions": [decision], "tip_scores": scores}


def _rows_of_outcome(one: Stored[Outcome]) -> _Rows:
    """Raises ValueError, in a sentence, for what keeps it out."""
    it = one.message
    _check_ids(outcome_id=it.outcome_id, decision_id=it.decision_id, user_id=it.user_id)
    outcome = (
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
    return {"outcomes": [outcome]}


async def _insert_all(connection: psycopg.AsyncConnection, found: Sequence[_Rows]) -> int:
    counts = [await _insert(connection, table, [row for rows in found for row in rows[table]]) for table in found[0]]
    return counts[0]


async def _insert(connection: psycopg.AsyncConnection, table: str, rows: Sequence[_Row]) -> int:
    """One statement for all rows: a parameter per column, in binary, so that bytes are sent as they are."""
    if not rows:
        return 0
    await leavers.share(connection)
    held = [
        packed(kind, column) for kind, column in zip(_COLUMNS[table].values(), zip(*rows, strict=True), strict=True)
    ]
    cursor = await connection.execute(_STATEMENTS[table], held)
    return cursor.rowcount


def _check_ids(**ids: str) -> None:
    for name, value in ids.items():
        if not value:
            raise ValueError(f"{name} is empty")
        if len(value.encode()) > ID_BYTES_MAX:
            raise ValueError(f"{name} is longer than {ID_BYTES_MAX} bytes")


@lru_cache(maxsize=256)
def _name(name_of: Callable[[_Number], str], number: _Number) -> str:
    """An enum value's name; its number where a newer writer knows more values than we do."""
    try:
        return name_of(number)
    except ValueError:
        return str(number)
