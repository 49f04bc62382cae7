"""Reads a person's past tips from the recommender's history view, a page at a time.

It never serves the tip of now: that is Valkey's, and it is there when PostgreSQL is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import class_row

from connectors.postgres.pool import pool_of

PAGE_MAX: Final = 100
"""Entries of one page; a greater limit is cut to it."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: the next one holds what is older."""

    decided_ms: int
    decision_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A tip that was chosen, and what became of it last (None for nothing yet).

    `message` is the serialized oo.v1.Decision, sealed as it was recorded.
    """

    decision_id: str
    decided_ms: int
    valid_until_ms: int
    kind: str
    message: bytes
    outcome: str | None
    outcome_ms: int | None

    @property
    def cursor(self) -> Cursor:
        """For the page after this entry."""
        return Cursor(self.decided_ms, self.decision_id)


_COLUMNS = "decision_id, decided_ms, valid_until_ms, kind, message, outcome, outcome_ms"
_PAGE = "SELECT {} FROM recommender.history WHERE {} ORDER BY decided_ms DESC, decision_id DESC LIMIT %s"
_OLDER, _SEEN = " AND (decided_ms, decision_id) < (%s, %s)", " AND outcome IS NOT NULL"


class History:
    """A small pool of read-only connections as the role history; `open` returns at once, with or without a server."""

    def __init__(self, dsn: str, *, connections_max: int = 4, timeout_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        self._pool = pool_of(
            dsn,
            "history",
            connections_max=connections_max,
            timeout_s=timeout_s,
            autocommit=True,
            options="-c default_transaction_read_only=on",
        )

    async def open(self) -> None:
        """Start connecting in the background."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def ready(self) -> bool:
        """Whether a connection can be had and answers now."""
        try:
            async with self._pool.connection() as connection:
                await connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    async def page(
        self, user_id: str, *, limit: int = 20, before: Cursor | None = None, seen: bool = False
    ) -> list[Entry]:
        """Return up to `limit` tips, newest first, older than `before`, or those of them alone that were `seen`; fewer than `limit` means the end.

        Raises psycopg.Error, psycopg_pool.PoolTimeout among them, when PostgreSQL cannot answer within the timeout.
        """
        limit = max(1, min(limit, PAGE_MAX))
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Entry)) as cursor:
            where = "user_id = %s" + (_OLDER if before else "") + (_SEEN if seen else "")
            place = (before.decided_ms, before.decision_id) if before else ()
            await cursor.execute(_PAGE.format(_COLUMNS, where), (user_id, *place, limit))
            return await cursor.fetchall()
