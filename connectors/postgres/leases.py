"""Who reads which connection, decided by PostgreSQL: what is due is leased to one worker at a time (SKIP LOCKED), by PostgreSQL's own clock.

Whatever a worker writes of a connection it writes under its lease: who has lost it writes nothing, and hears of it (LeaseLost). A dead
worker's lease runs out, and whoever comes next counts that. It opens no seal, and knows neither sources nor Kafka.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import psycopg
from psycopg.rows import class_row, dict_row

from connectors.postgres.pool import pool_of
from oo.v1.erased_pb2 import Erased

logger = logging.getLogger(__name__)

CHANNEL: Final = "oo_connections"
"""Hears when something became due before its time."""
LOG_MAX: Final = 200
"""Entries kept of one connection."""
OF_ONE_MAX: Final = 2
"""Connections of one person that are read at a time, by all workers together."""
DEATHS_MAX: Final = 5
"""Workers in a row that died with it in hand: then it is read no more before the person changes it."""
BREAKS_READER: Final = "breaks-reader"
"""The trouble of such a one."""
DIED_MS: Final = 60_000
"""How long it waits after the second worker; twice as long after each that follows, an hour at most."""

Unreachable: Final = (psycopg.Error,)
"""What a call raises while PostgreSQL is down or slow: it is worth trying again later."""

State = Literal["active", "paused", "broken", "leaving"]

_LOCK: Final = 0x6F4F_636F_6E6E
"""Advisory lock: who connects or is told of an outcome shares it, whoever notes that somebody left has it alone."""

SHARE: Final = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"

_CLAIMING: Final = 0x6F4F_636C_6169
"""Advisory lock: one claims at a time, so that the bound of one person holds."""

# What this statement takes for the time, and since when PostgreSQL has been there to be told of anything.
_NOW: Final = """now AS MATERIALIZED (
  SELECT integrations.now_ms() AS ms, (extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint AS began_ms)"""


_DIED: Final = "({0}.died + ({0}.leased_until_ms > 0 AND {0}.renewed_ms > (SELECT began_ms FROM now))::integer)"
"""Workers that died with it in hand: a lease that ran out counts, unless PostgreSQL went away after it was last renewed."""

_SUSPECT: Final = f"({{0}}.died > 0 OR {{0}}.leased_until_ms > 0) AND {_DIED} > 0"
"""As the index says it, and then exactly."""

_READY: Final = """{0}.state IN ('active', 'leaving') AND {0}.due_ms <= (SELECT ms FROM now) AND {0}.leased_until_ms < (SELECT ms FROM now)
      AND NOT {0}.service = ANY(%(held)s) AND ({0}.state = 'leaving' OR NOT EXISTS (
        SELECT FROM integrations.withheld w WHERE w.user_id = {0}.user_id
          AND w.sources && ARRAY[{0}.source, {0}.source || ':' || {0}.connection_id]))"""


def _claim(kind: str) -> str:
    """Lease those of this kind that are ready; one over which another worker has died again waits instead."""
    ready = f"{_READY} AND {kind}"
    return f"""
WITH {_NOW},
due AS (
  SELECT c.connection_id, {_DIED.format("c")} AS died, {_DIED.format("c")} > c.died AS counted FROM integrations.connections c
  WHERE {ready.format("c")} AND (
    SELECT count(*) FROM integrations.connections o WHERE o.user_id = c.user_id
      AND (o.leased_until_ms >= (SELECT ms FROM now)
        OR ((o.due_ms, o.connection_id) < (c.due_ms, c.connection_id) AND {ready.format("o")}))) < {OF_ONE_MAX}
  ORDER BY c.due_ms, c.connection_id LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED),
seen AS (
  SELECT connection_id, died, counted AND died >= {DEATHS_MAX} AS over,
    CASE WHEN counted AND died > 1 THEN least({DIED_MS} * 2 ^ least(died - 2, 30), 3600000)::bigint ELSE 0 END AS wait_ms FROM due)
UPDATE integrations.connections c SET died = seen.died, lease = lease + 1,
  leased_until_ms = CASE WHEN wait_ms > 0 THEN 0 ELSE now.ms + %(lease_ms)s END, renewed_ms = now.ms,
  due_ms = CASE WHEN wait_ms > 0 THEN now.ms + wait_ms ELSE due_ms END,
  state = CASE WHEN over AND state = 'active' THEN 'broken' ELSE state END,
  trouble = CASE WHEN over AND state = 'active' THEN '{BREAKS_READER}' ELSE trouble END
FROM seen, now WHERE c.connection_id = seen.connection_id
RETURNING c.connection_id, user_id, source, service, kek_id, wrapped_key, settings, credentials, zone, cursor, state, trouble, every_ms,
  asked, failures, c.died, lease, wait_ms
"""  # noqa: S608 - our own names


_CLAIM_SUSPECT: Final = _claim(_SUSPECT)
_CLAIM: Final = _claim(f"{_DIED} = 0")

_HOLDER: Final = "connection_id, user_id, kek_id, wrapped_key, created_ms"

_RELEASE: Final = """
UPDATE integrations.connections c SET leased_until_ms = 0, died = %(died)s,
  trouble = CASE WHEN asked = %(asked)s OR NOT %(broken)s THEN %(trouble)s ELSE trouble END,
  failures = CASE WHEN asked = %(asked)s OR NOT %(broken)s THEN %(failures)s ELSE failures END,
  state = CASE WHEN state = 'active' AND %(broken)s AND asked = %(asked)s THEN 'broken' ELSE state END,
  read_ms = CASE WHEN %(read)s THEN integrations.now_ms() ELSE read_ms END,
  due_ms = CASE WHEN asked = %(asked)s OR %(hold)s THEN least(integrations.now_ms() + %(pause_ms)s, CASE WHEN %(read)s THEN (
    SELECT min(w.due_ms) FROM integrations.write_backs w WHERE w.connection_id = c.connection_id AND w.result = '') END) ELSE due_ms END
WHERE connection_id = %(connection_id)s AND lease = %(lease)s
"""


class LeaseLost(Exception):
    """Another worker has the connection, or it is no more: nothing was written."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A connection, for as long as its lease lasts. `lease` tells it from any other lease of the same connection."""

    connection_id: str
    user_id: str
    source: str
    service: str
    kek_id: str
    wrapped_key: bytes = field(repr=False)
    settings: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    zone: bytes = field(repr=False)
    cursor: bytes | None = field(repr=False)
    state: State
    trouble: str
    every_ms: int
    asked: int
    failures: int
    died: int
    lease: int


@dataclass(frozen=True, slots=True)
class Open:
    """A done task that its source is to be told of; `item` is sealed."""

    outcome_id: str
    decision_id: str
    item: bytes
    done_ms: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a connection is, and what opens its seals."""

    connection_id: str
    user_id: str
    kek_id: str
    wrapped_key: bytes = field(repr=False)
    created_ms: int


class Leases:
    """A small pool as the role integrations. Each call is one transaction: all of it happens or nothing. Give it `async with`."""

    def __init__(self, dsn: str, *, connections_max: int = 4, timeout_s: float = 10.0) -> None:
        self.dsn = dsn
        # Whoever stands still while it claims holds up all others.
        idle = f"-c idle_in_transaction_session_timeout={int(timeout_s * 1000)}"
        self._pool = pool_of(
            dsn, "connect", connections_max=connections_max, timeout_s=timeout_s, waiting_max=0, options=idle
        )

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def claim(
        self, *, limit: int, lease_ms: int, held: Collection[str] = (), suspected: bool = True
    ) -> list[Leased]:
        """Lease up to `limit` connections that are due, the longest due first, but none of the services `held`, and of one person
        OF_ONE_MAX. Of those over which a worker died it is one at most, and none unless `suspected`: the next death is then that one's.
        """
        found: list[Leased] = []
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(f"SELECT pg_advisory_xact_lock({_CLAIMING})")
            for statement in (_CLAIM_SUSPECT, _CLAIM):
                most = limit - len(found) if statement is _CLAIM else int(suspected)
                await cursor.execute(statement, {"held": [*held], "limit": most, "lease_ms": lease_ms})
                for row in await cursor.fetchall():
                    if not row.pop("wait_ms"):
                        found.append(Leased(**row))
                    elif row["state"] == "broken":
                        logger.warning(
                            "connection.broken connection=%s trouble=%s", row["connection_id"], BREAKS_READER
                        )
                        await _note(connection, row["connection_id"], what="trouble", result=BREAKS_READER)
        return found

    async def wait_ms(self, *, most_ms: int) -> int:
        """How long until the next one is due; `most_ms` where none is before that."""
        statement = """SELECT min(greatest(due_ms, leased_until_ms)) - integrations.now_ms() FROM integrations.connections
          WHERE state IN ('active', 'leaving')"""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(statement)).fetchone()
        return most_ms if row is None or row[0] is None else max(0, min(most_ms, int(row[0])))

    async def renew(self, leased: Leased, *, lease_ms: int) -> None:
        """Have it for longer. Raises LeaseLost."""
        statement = """UPDATE integrations.connections SET leased_until_ms = integrations.now_ms() + %s, renewed_ms = integrations.now_ms()
          WHERE connection_id = %s AND lease = %s"""
        async with self._pool.connection() as connection:
            _held(await connection.execute(statement, (lease_ms, leased.connection_id, leased.lease)))

    async def refreshed(self, leased: Leased, *, before: bytes, credentials: bytes) -> None:
        """Keep new credentials in place of those `before`, before anybody uses them. Raises LeaseLost, also where the person has signed in
        there again meanwhile.
        """
        statement = "UPDATE integrations.connections SET credentials = %b WHERE connection_id = %s AND lease = %s AND credentials = %b"
        async with self._pool.connection() as connection:
            _held(await connection.execute(statement, (credentials, leased.connection_id, leased.lease, before)))

    async def keep(self, leased: Leased, *, cursor: bytes, told: int = 0, posted: int | None = None) -> None:
        """Keep a place to go on from. `told`: signals that Kafka has acknowledged before it; `posted`: what was posted to us under this number is
        read: a smaller one may come to light later. Raises LeaseLost, also where the person has paused it or taken it back meanwhile.
        """
        leaving = ["leaving"] if leased.state == "leaving" else ["active"]
        statement = "UPDATE integrations.connections SET cursor = %b WHERE connection_id = %s AND lease = %s AND state = ANY(%s)"
        async with self._pool.connection() as connection:
            _held(await connection.execute(statement, (cursor, leased.connection_id, leased.lease, leaving)))
            if posted is not None:
                read = "DELETE FROM integrations.posted WHERE connection_id = %s AND posted_id = %s"
                await connection.execute(read, (leased.connection_id, posted))
            if told:
                await _note(connection, leased.connection_id, what="read", result="told", number=told)

    async def posted(self, leased: Leased, *, limit: int) -> list[tuple[int, bytes]]:
        """What was posted to us and is not read, the oldest first, each sealed."""
        statement = (
            "SELECT posted_id, delivery FROM integrations.posted WHERE connection_id = %s ORDER BY posted_id LIMIT %s"
        )
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(statement, (leased.connection_id, limit))).fetchall()
        return [(int(number), bytes(delivery)) for number, delivery in rows]

    async def purge(self, leased: Leased) -> None:
        """Delete the connection, with all that hangs on it. Raises LeaseLost."""
        statement = "DELETE FROM integrations.connections WHERE connection_id = %s AND lease = %s AND state = 'leaving'"
        async with self._pool.connection() as connection:
            _held(await connection.execute(statement, (leased.connection_id, leased.lease)))

    async def release(
        self,
        leased: Leased,
        *,
        pause_ms: int,
        trouble: str = "",
        failures: int = 0,
        died: int = 0,
        read: bool = False,
        broken: bool = False,
        hold: bool = False,
    ) -> None:
        """Give it back, due again after `pause_ms`, unless somebody asked for it meanwhile; with `hold` even then. Where it was `read`
        it is due no later than what its source is to be told. Raises LeaseLost.
        """
        told: dict[str, Any] = {
            "pause_ms": pause_ms,
            "trouble": trouble,
            "failures": failures,
            "died": died,
            "read": read,
            "broken": broken,
            "hold": hold,
            "asked": leased.asked,
            "connection_id": leased.connection_id,
            "lease": leased.lease,
        }
        async with self._pool.connection() as connection:
            _held(await connection.execute(_RELEASE, told))
            if trouble != leased.trouble:
                await _note(connection, leased.connection_id, what="trouble", result=trouble or "over")

    async def holder(self, connection_id: str) -> Holder | None:
        """Whose it is; None where there is none."""
        statement = f"SELECT {_HOLDER} FROM integrations.connections WHERE connection_id = %s"  # noqa: S608 - our own names
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Holder)) as cursor:
            await cursor.execute(statement, (connection_id,))
            return await cursor.fetchone()

    async def was_done(
        self, *, outcome_id: str, connection_id: str, user_id: str, decision_id: str, item: bytes, done_ms: int
    ) -> bool:
        """Note that the source is to be told, however often this comes; the connection is due at once. False for one that is gone or known."""
        told = {
            "outcome_id": outcome_id,
            "connection_id": connection_id,
            "user_id": user_id,
            "decision_id": decision_id,
        }
        statement = """INSERT INTO integrations.write_backs (outcome_id, connection_id, decision_id, item, done_ms)
          SELECT %(outcome_id)s, connection_id, %(decision_id)s, %(item)b, %(done_ms)s FROM integrations.connections
          WHERE connection_id = %(connection_id)s AND user_id = %(user_id)s AND state <> 'leaving' AND NOT integrations.is_gone(%(user_id)s)
          ON CONFLICT DO NOTHING"""
        async with self._pool.connection() as connection:
            await connection.execute(SHARE)
            inserted = await connection.execute(statement, {**told, "item": item, "done_ms": done_ms})
            if inserted.rowcount:
                await wake(connection, connection_id)
            return inserted.rowcount > 0

    async def open_write_backs(self, leased: Leased, *, limit: int = 50) -> list[Open]:
        """What the source is to be told now, the oldest first of what was tried least: one that fails again and again holds up no other."""
        statement = """SELECT outcome_id, decision_id, item, done_ms, attempts FROM integrations.write_backs
          WHERE connection_id = %s AND result = '' AND due_ms <= integrations.now_ms() ORDER BY attempts, done_ms, outcome_id LIMIT %s"""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Open)) as cursor:
            await cursor.execute(statement, (leased.connection_id, limit))
            return await cursor.fetchall()

    async def try_write(self, leased: Leased, one: Open) -> None:
        """Note an attempt before it is made. Raises LeaseLost."""
        async with self._under(leased) as connection:
            await connection.execute(
                "UPDATE integrations.write_backs SET attempts = attempts + 1 WHERE outcome_id = %s", (one.outcome_id,)
            )

    async def written(self, leased: Leased, one: Open, *, result: str) -> None:
        """The source has answered; nothing is tried again. Raises LeaseLost."""
        async with self._under(leased) as connection:
            statement = "UPDATE integrations.write_backs SET result = %s WHERE outcome_id = %s AND result = ''"
            done = await connection.execute(statement, (result, one.outcome_id))
            if done.rowcount:
                await _note(
                    connection, leased.connection_id, what="write-back", result=result, decision_id=one.decision_id
                )

    async def put_off(self, leased: Leased, *, pause_ms: int) -> None:
        """Tell the source nothing for so long, and say of each in the log, once, that it waits. Raises LeaseLost."""
        told = {"pause_ms": pause_ms, "connection_id": leased.connection_id}
        statement = """UPDATE integrations.write_backs SET due_ms = greatest(due_ms, integrations.now_ms() + %(pause_ms)s)
          WHERE connection_id = %(connection_id)s AND result = '' AND (due_ms = 0) = %(first)s RETURNING decision_id"""
        async with self._under(leased) as connection:
            await connection.execute(statement, {**told, "first": False})
            first = await connection.execute(statement, {**told, "first": True})
            for (decision_id,) in await first.fetchall():
                await _note(
                    connection, leased.connection_id, what="write-back", result="again", decision_id=decision_id
                )

    async def forget(self, words: Sequence[Erased]) -> int:
        """Delete what people who left have connected, and take nothing of theirs until they begin again; returns how many went."""
        gone = 0
        async with self._pool.connection() as connection:
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            for word in words:
                again = word.HasField("began_again")
                noted = await connection.execute(
                    """INSERT INTO integrations.erased AS known VALUES (%s, %b, %s, %s)
                       ON CONFLICT (user_id, topic_id) DO UPDATE
                       SET journal_offset = excluded.journal_offset, began_again = excluded.began_again
                       WHERE known.journal_offset < excluded.journal_offset
                         OR (known.journal_offset = excluded.journal_offset AND NOT known.began_again)""",
                    (word.user_id, word.journal.topic_id, word.journal.offset, again),
                )
                if again or not noted.rowcount:
                    continue
                for table in ("connections", "authorizations", "withheld"):
                    statement = f"DELETE FROM integrations.{table} WHERE user_id = %s"  # noqa: S608 - our own names
                    gone += (await connection.execute(statement, (word.user_id,))).rowcount
        return gone

    async def withhold(
        self, user_id: str, *, topic_id: bytes, journal_offset: int, told_ms: int, sources: Collection[str]
    ) -> None:
        """The sources whose consent this person has withdrawn, as of this word; an older word changes nothing."""
        async with self._pool.connection() as connection:
            await connection.execute(SHARE)
            await connection.execute(
                """INSERT INTO integrations.withheld AS known
                   SELECT * FROM (VALUES (%(user_id)s, %(topic_id)b, %(offset)s::bigint, %(told_ms)s::bigint, %(sources)s::text[]))
                     AS said (user_id, topic_id, journal_offset, told_ms, sources)
                   WHERE (sources <> '{}' OR EXISTS (SELECT FROM integrations.withheld WHERE user_id = %(user_id)s))
                     AND NOT integrations.is_gone(%(user_id)s)
                   ON CONFLICT (user_id) DO UPDATE SET topic_id = excluded.topic_id, journal_offset = excluded.journal_offset,
                     told_ms = excluded.told_ms, sources = excluded.sources
                   WHERE CASE WHEN known.topic_id = excluded.topic_id THEN known.journal_offset < excluded.journal_offset
                              ELSE known.told_ms < excluded.told_ms END""",
                {
                    "user_id": user_id,
                    "topic_id": topic_id,
                    "offset": journal_offset,
                    "told_ms": told_ms,
                    "sources": [*sources],
                },
            )
            await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))

    async def of(self, user_ids: Collection[str]) -> list[Holder]:
        """All connections of these people."""
        statement = f"SELECT {_HOLDER} FROM integrations.connections WHERE user_id = ANY(%s)"  # noqa: S608 - our own names
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Holder)) as cursor:
            await cursor.execute(statement, ([*user_ids],))
            return await cursor.fetchall()

    async def move(self, connection_id: str, *, zone: bytes) -> None:
        """Keep the zone, sealed, in which the source is read from now on."""
        statement = "UPDATE integrations.connections SET zone = %b WHERE connection_id = %s"
        async with self._pool.connection() as connection:
            await connection.execute(statement, (zone, connection_id))

    async def wrapped_otherwise(self, kek_id: str, *, limit: int) -> list[tuple[str, str, str, str, bytes]]:
        """Keys that another key-encryption key wrapped: (table, id, user_id, kek_id, wrapped key)."""
        statement = """
          (SELECT 'connections', connection_id, user_id, kek_id, wrapped_key FROM integrations.connections WHERE kek_id <> %(kek)s LIMIT %(limit)s)
          UNION ALL
          (SELECT 'authorizations', state_mac, user_id, kek_id, wrapped_key FROM integrations.authorizations WHERE kek_id <> %(kek)s LIMIT %(limit)s)"""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(statement, {"kek": kek_id, "limit": limit})).fetchall()
        return [(table, name, user_id, kek, bytes(wrapped)) for table, name, user_id, kek, wrapped in rows]

    async def wrapped_anew(self, table: str, name: str, *, before: str, kek_id: str, wrapped_key: bytes) -> None:
        """Keep a key as it is wrapped now; `before`: by which it was."""
        key = {"connections": "connection_id", "authorizations": "state_mac"}[table]
        statement = f"UPDATE integrations.{table} SET kek_id = %s, wrapped_key = %b WHERE {key} = %s AND kek_id = %s"  # noqa: S608 - our own names
        async with self._pool.connection() as connection:
            await connection.execute(statement, (kek_id, wrapped_key, name, before))

    async def tidy(self, *, write_backs_ms: int) -> None:
        """Delete what ran out: sign-ins that nobody finished, and what became of tasks that long ago."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM integrations.authorizations WHERE expires_ms < integrations.now_ms()")
            await connection.execute(
                "DELETE FROM integrations.write_backs WHERE done_ms < integrations.now_ms() - %s", (write_backs_ms,)
            )

    async def heard(self) -> AsyncIterator[None]:
        """Yields whenever somebody says that something is due, over a connection of its own. Raises psycopg.Error when that breaks."""
        connection = await psycopg.AsyncConnection.connect(self.dsn, autocommit=True, application_name="oo connect")
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield
            async for _ in connection.notifies():
                yield

    @asynccontextmanager
    async def _under(self, leased: Leased) -> AsyncIterator[psycopg.AsyncConnection]:
        """A transaction through which the lease is held."""
        async with self._pool.connection() as connection:
            statement = "SELECT FROM integrations.connections WHERE connection_id = %s AND lease = %s FOR NO KEY UPDATE"
            _held(await connection.execute(statement, (leased.connection_id, leased.lease)))
            yield connection


async def wake(connection: psycopg.AsyncConnection, connection_id: str) -> None:
    """Have it read now, also where somebody reads it already."""
    await connection.execute(
        "UPDATE integrations.connections SET asked = asked + 1, due_ms = integrations.now_ms() WHERE connection_id = %s",
        (connection_id,),
    )
    await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


def _held(cursor: psycopg.AsyncCursor[Any]) -> None:
    if cursor.rowcount != 1:
        raise LeaseLost


async def _note(
    connection: psycopg.AsyncConnection,
    connection_id: str,
    *,
    what: str,
    result: str,
    number: int = 0,
    decision_id: str = "",
) -> None:
    entry = (connection_id, what, result, number, decision_id, connection_id)
    await connection.execute(
        """INSERT INTO integrations.log (connection_id, at_ms, what, result, number, decision_id)
            SELECT %s, integrations.now_ms(), %s, %s, %s, %s WHERE EXISTS (SELECT FROM integrations.connections WHERE connection_id = %s)""",
        entry,
    )
    await connection.execute(
        """DELETE FROM integrations.log WHERE entry_id <= (
             SELECT entry_id FROM integrations.log WHERE connection_id = %(id)s ORDER BY entry_id DESC OFFSET %(most)s LIMIT 1)
           AND connection_id = %(id)s""",
        {"id": connection_id, "most": LOG_MAX},
    )
