"""What a person has connected, as the edge makes, shows and changes it: with the role `connections`, which sees no cursor and deletes nothing.

It never reads a source and opens no seal: a connection that is taken back is left to who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from connectors.postgres.leases import CHANNEL, SHARE, State
from connectors.postgres.pool import pool_of

MOST: Final = 50
"""Connections of one person."""
POSTED_MAX: Final = 500
"""Deliveries of one connection that wait."""
LOG_SHOWN: Final = 50

Unreachable: Final = (psycopg.Error,)
"""What a call raises while PostgreSQL is down or slow."""

_COLUMNS: Final = (
    "connection_id, user_id, source, service, kek_id, wrapped_key, settings, credentials, zone, state, trouble, created_ms, every_ms, "
    "due_ms, read_ms, failures"
)


@dataclass(frozen=True, slots=True)
class New:
    """A connection to be made; all bytes are sealed."""

    connection_id: str
    user_id: str
    source: str
    service: str
    kek_id: str
    wrapped_key: bytes = field(repr=False)
    settings: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    zone: bytes = field(repr=False)
    every_ms: int


@dataclass(frozen=True, slots=True)
class Connection:
    """One that stands."""

    connection_id: str
    user_id: str
    source: str
    service: str
    kek_id: str
    wrapped_key: bytes = field(repr=False)
    settings: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    zone: bytes = field(repr=False)
    state: State
    trouble: str
    created_ms: int
    every_ms: int
    due_ms: int
    read_ms: int | None
    failures: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Something that happened with a connection: numbers and fixed words."""

    at_ms: int
    what: str
    result: str
    number: int
    decision_id: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in at a service that is under way."""

    user_id: str
    source: str
    kek_id: str
    wrapped_key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


class Connections:
    """A small pool; `open` returns at once, with or without a server."""

    def __init__(self, dsn: str, *, connections_max: int = 4, timeout_s: float = 3.0) -> None:
        self._pool = pool_of(
            dsn, "connections", connections_max=connections_max, timeout_s=timeout_s, connections_min=0
        )

    async def open(self) -> None:
        """Begin; a connection is made when it is needed."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def add(self, new: New) -> Literal["added", "gone", "too-many"]:
        """Make a connection, which is read at once. `gone`: the person has left."""
        async with self._pool.connection() as connection:
            await connection.execute(SHARE)
            # Of one person one at a time, so that the bound holds.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (new.user_id,))
            row = await (
                await connection.execute(
                    "SELECT integrations.is_gone(%(who)s), (SELECT count(*) FROM integrations.connections WHERE user_id = %(who)s)",
                    {"who": new.user_id},
                )
            ).fetchone()
            assert row is not None
            if row[0]:
                return "gone"
            if row[1] >= MOST:
                return "too-many"
            await connection.execute(
                """INSERT INTO integrations.connections (connection_id, user_id, source, service, kek_id, wrapped_key, settings, credentials,
                     zone, state, created_ms, every_ms, due_ms)
                   VALUES (%s, %s, %s, %s, %s, %b, %b, %b, %b, 'active', integrations.now_ms(), %s, integrations.now_ms())""",
                (
                    new.connection_id,
                    new.user_id,
                    new.source,
                    new.service,
                    new.kek_id,
                    new.wrapped_key,
                    new.settings,
                    new.credentials,
                    new.zone,
                    new.every_ms,
                ),
            )
            await _stir(connection)
        return "added"

    async def of(self, user_id: str) -> list[Connection]:
        """All of a person's, the oldest first."""
        statement = sql.SQL(
            "SELECT {} FROM integrations.connections WHERE user_id = %s ORDER BY created_ms, connection_id"
        )
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(Connection)) as cursor,
        ):
            await cursor.execute(statement.format(sql.SQL(_COLUMNS)), (user_id,))
            return await cursor.fetchall()

    async def one(self, connection_id: str, *, user_id: str | None = None) -> Connection | None:
        """One of this person's; None where it is another's, or is not there. Without `user_id`: whoever's it is."""
        statement = sql.SQL(
            "SELECT {} FROM integrations.connections WHERE connection_id = %(id)s AND (%(who)s::text IS NULL OR user_id = %(who)s)"
        )
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(Connection)) as cursor,
        ):
            await cursor.execute(statement.format(sql.SQL(_COLUMNS)), {"id": connection_id, "who": user_id})
            return await cursor.fetchone()

    async def log(self, connection_id: str) -> list[LogEntry]:
        """What happened with it, the newest first."""
        statement = """SELECT at_ms, what, result, number, decision_id FROM integrations.log
          WHERE connection_id = %s ORDER BY entry_id DESC LIMIT %s"""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(LogEntry)) as cursor:
            await cursor.execute(statement, (connection_id, LOG_SHOWN))
            return await cursor.fetchall()

    async def withheld(self, user_id: str) -> list[str]:
        """Sources whose consent the person has withdrawn."""
        async with self._pool.connection() as connection:
            statement = "SELECT sources FROM integrations.withheld WHERE user_id = %s"
            row = await (await connection.execute(statement, (user_id,))).fetchone()
        return [] if row is None else list(row[0])

    async def change(
        self,
        connection_id: str,
        *,
        user_id: str,
        paused: bool | None = None,
        service: str | None = None,
        settings: bytes | None = None,
        credentials: bytes | None = None,
    ) -> bool:
        """Pause it or go on, or give it other settings or credentials, which mends one that is broken; False where it is not there."""
        mended = settings is not None or credentials is not None
        told: Mapping[str, Any] = {
            "id": connection_id,
            "who": user_id,
            "paused": paused,
            "mended": mended,
            "service": service,
            "settings": settings,
            "credentials": credentials,
        }
        statement = """UPDATE integrations.connections SET
            state = CASE WHEN %(paused)s::boolean THEN 'paused'
                         WHEN %(paused)s::boolean IS FALSE AND state = 'paused' THEN 'active'
                         WHEN %(mended)s AND state = 'broken' THEN 'active' ELSE state END,
            trouble = CASE WHEN %(mended)s THEN '' ELSE trouble END, failures = CASE WHEN %(mended)s THEN 0 ELSE failures END,
            died = CASE WHEN %(mended)s THEN 0 ELSE died END,
            service = coalesce(%(service)s, service), settings = coalesce(%(settings)b, settings),
            credentials = coalesce(%(credentials)b, credentials), asked = asked + 1, due_ms = integrations.now_ms()
          WHERE connection_id = %(id)s AND user_id = %(who)s AND state <> 'leaving'"""
        return await self._asked(statement, told)

    async def sync(self, connection_id: str, *, user_id: str) -> bool:
        """Have it read now; False where it is not there, or is not read."""
        statement = """UPDATE integrations.connections SET asked = asked + 1, due_ms = integrations.now_ms()
          WHERE connection_id = %(id)s AND user_id = %(who)s AND state = 'active'"""
        return await self._asked(statement, {"id": connection_id, "who": user_id})

    async def leave(self, connection_id: str, *, user_id: str) -> bool:
        """Have all that was told of it taken back, and then all of it gone; False where it is not there."""
        statement = """UPDATE integrations.connections SET state = 'leaving', asked = asked + 1, due_ms = integrations.now_ms()
          WHERE connection_id = %(id)s AND user_id = %(who)s"""
        return await self._asked(statement, {"id": connection_id, "who": user_id})

    async def post(self, connection_id: str, *, delivery: bytes) -> bool:
        """Keep what was posted to us, sealed, until it is read; False where too many wait, or nobody reads it."""
        async with self._pool.connection() as connection:
            done = await connection.execute(
                """INSERT INTO integrations.posted (connection_id, delivery, posted_ms)
                   SELECT connection_id, %(delivery)b, integrations.now_ms() FROM integrations.connections
                   WHERE connection_id = %(id)s AND state = 'active'
                     AND (SELECT count(*) FROM integrations.posted WHERE connection_id = %(id)s) < %(most)s""",
                {"id": connection_id, "delivery": delivery, "most": POSTED_MAX},
            )
            if done.rowcount:
                await connection.execute(
                    "UPDATE integrations.connections SET asked = asked + 1, due_ms = integrations.now_ms() WHERE connection_id = %s",
                    (connection_id,),
                )
                await _stir(connection)
            return done.rowcount > 0

    async def begin(self, state_mac: str, pending: Pending, *, expires_ms: int) -> bool:
        """Keep a sign-in that is under way; False for who has left."""
        async with self._pool.connection() as connection:
            await connection.execute(SHARE)
            done = await connection.execute(
                """INSERT INTO integrations.authorizations SELECT %(mac)s, %(who)s, %(source)s, %(kek_id)s, %(key)b, %(sealed)b, %(until)s
                   WHERE NOT integrations.is_gone(%(who)s)""",
                {
                    "mac": state_mac,
                    "who": pending.user_id,
                    "source": pending.source,
                    "kek_id": pending.kek_id,
                    "key": pending.wrapped_key,
                    "sealed": pending.sealed,
                    "until": expires_ms,
                },
            )
            return done.rowcount > 0

    async def finish(self, state_mac: str, *, user_id: str, source: str) -> Pending | None:
        """The sign-in that was begun so by this person, once; None for any other."""
        statement = """DELETE FROM integrations.authorizations
          WHERE state_mac = %s AND user_id = %s AND source = %s AND expires_ms > integrations.now_ms()
          RETURNING user_id, source, kek_id, wrapped_key, sealed"""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Pending)) as cursor:
            await cursor.execute(statement, (state_mac, user_id, source))
            return await cursor.fetchone()

    async def _asked(self, statement: str, told: Mapping[str, Any]) -> bool:
        async with self._pool.connection() as connection:
            done = await connection.execute(statement.encode(), told)
            if done.rowcount:
                await _stir(connection)
            return done.rowcount > 0


async def _stir(connection: psycopg.AsyncConnection) -> None:
    await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
