"""People who sign in, as the schema `auth` knows them: identities, sessions and their tokens, signing keys.

It never sees a token, a user id, a subject or an address in the open: what it is given is sealed, or a MAC. It decides nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg.errors import ForeignKeyViolation
from psycopg.rows import class_row
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from connectors.postgres.pool import pool_of

Unreachable: Final = (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests)
"""What a call raises when PostgreSQL is down or slow."""
TOKENS_KEPT_MS: Final = 30 * 24 * 3600 * 1000
"""How long a token that was superseded is told from one that never was."""
_KEY_LOCK: Final = 0x6F4F_6B65_7973
"""Advisory lock: one makes the next signing key."""


class Gone(Exception):
    """The person is not there any more: they have left."""


class Taken(Exception):
    """The identity is another person's."""


@dataclass(frozen=True, slots=True)
class Found:
    """A session, by one of its tokens. `token_ms`: when that was made; `superseded_ms`: when another took its place."""

    session_id: str
    pseudonym: str
    user_id: str
    kind: str
    roles: list[str]
    made_ms: int
    used_ms: int
    rotated_ms: int
    idle_ms: int
    ends_ms: int
    token_ms: int
    superseded_ms: int | None
    others: bool
    """Whether older tokens still count beside this one."""

    def over_ms(self) -> int:
        """When it ends, if it is not used before."""
        return min(self.ends_ms, self.used_ms + self.idle_ms)


@dataclass(frozen=True, slots=True)
class Listed:
    """A session as its person may see it; `device` is sealed."""

    session_id: str
    kind: str
    device: str
    made_ms: int
    used_ms: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One of ours; `key` is sealed."""

    kid: str
    key: str
    made_ms: int


_FIND: Final = """
SELECT s.session_id, s.pseudonym, p.user_id, s.kind, s.roles, s.made_ms, s.used_ms, s.rotated_ms, s.idle_ms, s.ends_ms,
       t.made_ms AS token_ms, t.superseded_ms,
       EXISTS (SELECT FROM auth.tokens o WHERE o.session_id = t.session_id AND o.superseded_ms IS NULL AND o.made_ms < t.made_ms) AS others
FROM auth.tokens t JOIN auth.sessions s USING (session_id) JOIN auth.people p USING (pseudonym)
WHERE t.token = %s
"""


class Accounts:
    """A small pool of connections as the role auth; `open` returns at once, with or without a server. Calls raise `Unreachable`'s kinds."""

    def __init__(self, dsn: str, *, connections_max: int = 4, timeout_s: float = 2.0) -> None:
        self._pool = pool_of(dsn, "auth", connections_max=connections_max, timeout_s=timeout_s)

    async def open(self) -> None:
        """Start connecting in the background."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def person_of(
        self,
        identity: bytes,
        *,
        provider: str,
        email: bytes | None,
        now_ms: int,
        newcomer: tuple[str, str],
        joins: str | None = None,
        joins_by_email: bool = False,
    ) -> str:
        """The pseudonym of the person of this identity; who is unknown becomes `newcomer` (pseudonym, sealed user id).

        An identity that nobody has yet joins the person `joins`, or the only one with the same address where `joins_by_email`.
        Raises Taken where it is another's than `joins`, Gone where that one has left.
        """
        async with self._transaction() as connection:
            # Two first sign-ins of one identity at once: the second waits here, and finds what the first made.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(encode(%s, 'hex'), 0))", (identity,)
            )
            row = await (
                await connection.execute("SELECT pseudonym FROM auth.identities WHERE identity = %s", (identity,))
            ).fetchone()
            if row is not None:
                if joins is not None and row[0] != joins:
                    raise Taken
                await connection.execute("UPDATE auth.identities SET email = %s WHERE identity = %s", (email, identity))
                return str(row[0])
            pseudonym = joins
            if pseudonym is None and joins_by_email and email is not None:
                cursor = await connection.execute(
                    "SELECT DISTINCT pseudonym FROM auth.identities WHERE email = %s LIMIT 2", (email,)
                )
                same = await cursor.fetchall()
                pseudonym = same[0][0] if len(same) == 1 else None
            if pseudonym is None:
                pseudonym, sealed = newcomer
                await connection.execute(
                    "INSERT INTO auth.people (pseudonym, user_id, made_ms) VALUES (%s, %s, %s)",
                    (pseudonym, sealed, now_ms),
                )
            await connection.execute(
                "INSERT INTO auth.identities (identity, pseudonym, provider, email, made_ms) VALUES (%s, %s, %s, %s, %s)",
                (identity, pseudonym, provider, email, now_ms),
            )
            return pseudonym

    async def begin(
        self,
        session_id: str,
        *,
        pseudonym: str,
        kind: str,
        roles: Sequence[str],
        device: str,
        token: bytes,
        now_ms: int,
        idle_ms: int,
        ends_ms: int,
    ) -> None:
        """A new session with its first token. Raises Gone where the person has left."""
        async with self._transaction() as connection:
            await connection.execute(
                "INSERT INTO auth.sessions (session_id, pseudonym, kind, roles, device, made_ms, used_ms, rotated_ms, idle_ms, ends_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (session_id, pseudonym, kind, list(roles), device, now_ms, now_ms, now_ms, idle_ms, ends_ms),
            )
            await connection.execute(
                "INSERT INTO auth.tokens (token, session_id, made_ms) VALUES (%s, %s, %s)", (token, session_id, now_ms)
            )

    async def find(self, token: bytes) -> Found | None:
        """The session of this token, however old it is."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Found)) as cursor:
            await cursor.execute(_FIND, (token,))
            return await cursor.fetchone()

    async def standing(self, session_id: str) -> int | None:
        """When this session ends if it is not used before; None where there is none."""
        return await self._number(
            "SELECT least(ends_ms, used_ms + idle_ms) FROM auth.sessions WHERE session_id = %s", (session_id,)
        )

    async def known(self, session_ids: Sequence[str]) -> set[str]:
        """Which of these sessions there are."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT session_id FROM auth.sessions WHERE session_id = ANY(%s)", (list(session_ids),)
            )
            return {session_id for (session_id,) in await cursor.fetchall()}

    async def use(self, session_id: str, *, now_ms: int, confirmed: bytes | None = None) -> None:
        """Note that it was used; with `confirmed`, the tokens before that one give way to it."""
        async with self._transaction() as connection:
            await connection.execute(
                "UPDATE auth.sessions SET used_ms = greatest(used_ms, %s) WHERE session_id = %s", (now_ms, session_id)
            )
            if confirmed is not None:
                await connection.execute(
                    "UPDATE auth.tokens SET superseded_ms = %s WHERE session_id = %s AND token <> %s AND superseded_ms IS NULL",
                    (now_ms, session_id, confirmed),
                )

    async def rotate(self, session_id: str, *, token: bytes, now_ms: int, before_ms: int) -> bool:
        """Give the session another token, beside the one in use; False where that was done after `before_ms`, or it is gone."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "UPDATE auth.sessions SET rotated_ms = %s WHERE session_id = %s AND rotated_ms < %s",
                (now_ms, session_id, before_ms),
            )
            if cursor.rowcount == 0:
                return False
            await self._add(connection, session_id, token=token, now_ms=now_ms)
            return True

    async def exchange(self, old: bytes, *, token: bytes, now_ms: int, again_after_ms: int) -> bool:
        """The old token gives way to the new one, at once; False where it may not, or is unknown.

        One that gave way after `again_after_ms` may once more while nobody has used what came of it: that gives way then, for good.
        """
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "SELECT session_id, superseded_ms, successor FROM auth.tokens WHERE token = %s FOR UPDATE", (old,)
            )
            row = await cursor.fetchone()
            if row is None:
                return False
            session_id, superseded_ms, successor = row
            if superseded_ms is not None:
                if superseded_ms <= again_after_ms:
                    return False
                gave_way = await connection.execute(
                    "UPDATE auth.tokens SET superseded_ms = %s WHERE token = %s AND superseded_ms IS NULL",
                    (now_ms, successor),
                )
                if gave_way.rowcount == 0:
                    return False
            await self._add(connection, session_id, token=token, now_ms=now_ms)
            await connection.execute(
                "UPDATE auth.tokens SET superseded_ms = coalesce(superseded_ms, %s), successor = %s WHERE token = %s",
                (now_ms, token, old),
            )
            await connection.execute(
                "UPDATE auth.sessions SET used_ms = greatest(used_ms, %s), rotated_ms = %s WHERE session_id = %s",
                (now_ms, now_ms, session_id),
            )
            return True

    async def end(self, session_id: str, *, pseudonym: str | None = None) -> bool:
        """End a session, of this person alone if one is named; False where there is none."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM auth.sessions WHERE session_id = %s AND (%s::text IS NULL OR pseudonym = %s)",
                (session_id, pseudonym, pseudonym),
            )
            return cursor.rowcount > 0

    async def end_all(self, pseudonym: str) -> list[str]:
        """End every session of a person; returns which those were."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM auth.sessions WHERE pseudonym = %s RETURNING session_id", (pseudonym,)
            )
            return [row[0] for row in await cursor.fetchall()]

    async def listed(self, pseudonym: str, *, now_ms: int) -> list[Listed]:
        """A person's sessions, the one used last first; 100 at most."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Listed)) as cursor:
            await cursor.execute(
                "SELECT session_id, kind, device, made_ms, used_ms FROM auth.sessions"
                " WHERE pseudonym = %s AND least(ends_ms, used_ms + idle_ms) > %s ORDER BY used_ms DESC, session_id LIMIT 100",
                (pseudonym, now_ms),
            )
            return await cursor.fetchall()

    async def providers(self, pseudonym: str) -> list[tuple[str, int]]:
        """With whom a person signs in, and since when."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT provider, made_ms FROM auth.identities WHERE pseudonym = %s ORDER BY made_ms, provider",
                (pseudonym,),
            )
            return await cursor.fetchall()

    async def sweep(self, *, now_ms: int) -> int:
        """Delete sessions that have ended by themselves; returns how many."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM auth.sessions WHERE least(ends_ms, used_ms + idle_ms) <= %s", (now_ms,)
            )
            return cursor.rowcount

    async def forget(self, pseudonyms: Sequence[str]) -> list[str]:
        """Delete all that there is of these people; returns the sessions that ended by it."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "SELECT session_id FROM auth.sessions WHERE pseudonym = ANY(%s)", (list(pseudonyms),)
            )
            ended = [row[0] for row in await cursor.fetchall()]
            await connection.execute("DELETE FROM auth.people WHERE pseudonym = ANY(%s)", (list(pseudonyms),))
            return ended

    async def signing_keys(self) -> list[SigningKey]:
        """All of ours, the newest first."""
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(SigningKey)) as cursor,
        ):
            await cursor.execute("SELECT kid, key, made_ms FROM auth.signing_keys ORDER BY made_ms DESC, kid")
            return await cursor.fetchall()

    async def add_signing_key(self, key: SigningKey, *, newest_before_ms: int, drop_before_ms: int) -> bool:
        """Add one, unless there is one that was made at `newest_before_ms` or after it; those from before `drop_before_ms` go."""
        async with self._transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_KEY_LOCK,))
            cursor = await connection.execute(
                "INSERT INTO auth.signing_keys (kid, key, made_ms) SELECT %s, %s, %s"
                " WHERE NOT EXISTS (SELECT FROM auth.signing_keys WHERE made_ms >= %s)",
                (key.kid, key.key, key.made_ms, newest_before_ms),
            )
            if cursor.rowcount:
                await connection.execute("DELETE FROM auth.signing_keys WHERE made_ms < %s", (drop_before_ms,))
            return cursor.rowcount > 0

    async def _add(self, connection: psycopg.AsyncConnection, session_id: str, *, token: bytes, now_ms: int) -> None:
        await connection.execute(
            "INSERT INTO auth.tokens (token, session_id, made_ms) VALUES (%s, %s, %s)", (token, session_id, now_ms)
        )
        await connection.execute(
            "DELETE FROM auth.tokens WHERE session_id = %s AND superseded_ms < %s",
            (session_id, now_ms - TOKENS_KEPT_MS),
        )

    async def _number(self, statement: LiteralString, values: Sequence[object]) -> int | None:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(statement, values)).fetchone()
            return None if row is None else int(row[0])

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """Raises Gone for what hangs on a person or a session that is not there any more."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except ForeignKeyViolation as error:
            raise Gone from error
