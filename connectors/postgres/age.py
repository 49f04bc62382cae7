"""How old history may get: what is older goes, some rows at a time, and it is noted first how far. It never decides how old that is."""

from __future__ import annotations

from typing import Final

import psycopg

from connectors.postgres.leavers import TIMES

AT_ONCE: Final = 1_000
"""Rows of a table in one transaction."""

_NOTE: Final = b"""
INSERT INTO recommender.trimmed AS known (below_ms) VALUES (%s)
ON CONFLICT (one) DO UPDATE SET below_ms = excluded.below_ms WHERE known.below_ms < excluded.below_ms
"""


async def note(connection: psycopg.AsyncConnection, *, below_ms: int) -> None:
    """Say that rows older than this may be gone."""
    await connection.execute(_NOTE, (below_ms,))


async def trim(connection: psycopg.AsyncConnection, *, below_ms: int) -> int:
    """Delete some of what is older, in the transaction that is open; returns how many rows went, 0 when all have."""
    gone = 0
    for table, column in TIMES.items():
        one = table.removesuffix("s") + "_id"
        # Rows that somebody else deletes at this moment are theirs.
        some = f"SELECT {one} FROM recommender.{table} WHERE {column} < %s LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED"  # noqa: S608 - our own names
        statement = f"DELETE FROM recommender.{table} WHERE {one} IN ({some})"  # noqa: S608
        gone += (await connection.execute(statement.encode(), (below_ms,))).rowcount
    return gone


async def newest(connection: psycopg.AsyncConnection, *, above_ms: int) -> int | None:
    """When the newest decision was made; None where there is none after that time, which bounds what is looked through."""
    cursor = await connection.execute(
        b"SELECT max(decided_ms) FROM recommender.decisions WHERE decided_ms > %s", (above_ms,)
    )
    found = await cursor.fetchone()
    return found[0] if found else None


async def trimmed_below(connection: psycopg.AsyncConnection) -> int:
    """Below which time rows may be gone; 0 where none is."""
    cursor = await connection.execute(b"SELECT below_ms FROM recommender.trimmed")
    found = await cursor.fetchone()
    return found[0] if found else 0
