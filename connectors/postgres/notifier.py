"""The notifier's tables: where people are told, what stands to be told, and what became of it; each told at most once.

All that is of a person is sealed, or a number or kind beside their pseudonym. It never sends, and never decides when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, LiteralString, Self

import psycopg
from psycopg.rows import class_row

from connectors.postgres.pool import pool_of
from oo.v1.erased_pb2 import Erased

State = Literal["sending", "waiting", "sent", "failed", "unknown", "left"]
"""Of a tip on a device: it goes out, or may have when that was cut off; it goes out later; it went out; it cannot; it may have gone out, and
is not sent again; it was not to be sent."""

PAGE_MAX: Final = 100
_LOCK: Final = 0x6F4F_6E6F_7469
"""Advisory lock: who writes of a person shares it, whoever notes that somebody left has it alone."""

Unreachable: Final = (psycopg.Error,)
"""What a call raises while PostgreSQL is down or slow; psycopg_pool.PoolTimeout is among them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest word of a person: its place in the journal, when there is something to do about it, and the sealed oo.v1.Delivery."""

    user_id: str
    topic_id: bytes
    partition: int
    journal_offset: int
    due_ms: int | None
    message: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """A device: `message` is the sealed oo.v1.Device; `session_id` the session that it ends with."""

    device_id: str
    user_id: str
    channel: str
    made_ms: int
    confirmed_ms: int | None
    message: bytes
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What became of a tip on a device."""

    delivery_id: str
    user_id: str
    decision_id: str
    device_id: str
    channel: str
    state: State
    reason: str
    attempts: int
    begun_ms: int
    again_ms: int | None
    ended_ms: int | None
    reaction: str

    @property
    def cursor(self) -> tuple[int, str]:
        """For the page after this line."""
        return self.begun_ms, self.delivery_id


@dataclass(frozen=True, slots=True)
class Told:
    """How much somebody was told lately."""

    tips: int
    """Tips that went out, or may have, on any device."""
    last_ms: Mapping[str, int]
    """By device, when the last of them did."""


_STANDING = "user_id, topic_id, partition, journal_offset, due_ms, message"
_KNOWN = "device_id, user_id, channel, made_ms, confirmed_ms, message, session_id"
_LINE = "delivery_id, user_id, decision_id, device_id, channel, state, reason, attempts, begun_ms, again_ms, ended_ms, reaction"
_WENT_OUT = "state IN ('sending', 'sent', 'unknown')"

_TAKE = f"""
INSERT INTO notifier.standing AS known ({_STANDING})
SELECT DISTINCT ON (user_id) {_STANDING}
FROM unnest(%b::text[], %b::bytea[], %b::integer[], %b::bigint[], %b::bigint[], %b::bytea[]) AS it ({_STANDING})
WHERE NOT EXISTS (
  SELECT FROM notifier.erased gone
  WHERE gone.user_id = it.user_id AND gone.topic_id = it.topic_id AND it.journal_offset <= gone.journal_offset)
ORDER BY user_id, journal_offset DESC
ON CONFLICT (user_id) DO UPDATE
SET topic_id = excluded.topic_id, partition = excluded.partition, journal_offset = excluded.journal_offset,
    due_ms = excluded.due_ms, message = excluded.message
WHERE known.topic_id <> excluded.topic_id OR known.journal_offset < excluded.journal_offset
RETURNING user_id
"""  # noqa: S608 - our own names

_CLAIM = """
INSERT INTO notifier.deliveries AS known
  (delivery_id, user_id, decision_id, device_id, channel, topic_id, journal_offset, state, reason, attempts, claim, begun_ms)
SELECT %(delivery_id)s, it.user_id, %(decision_id)s, device.device_id, device.channel, it.topic_id, it.journal_offset, 'sending', '', 1,
  %(claim)s, %(now_ms)s
FROM notifier.standing it
JOIN notifier.devices device ON device.user_id = it.user_id AND device.device_id = %(device_id)s
WHERE it.user_id = %(user_id)s AND it.topic_id = %(topic_id)s AND it.journal_offset = %(journal_offset)s
ON CONFLICT (delivery_id) DO UPDATE
SET state = 'sending', reason = '', attempts = known.attempts + 1, claim = excluded.claim, again_ms = NULL
WHERE known.state = 'waiting' OR (known.state = 'sending' AND %(repeats)s)
"""

_LEAVE = """
INSERT INTO notifier.deliveries AS known
  (delivery_id, user_id, decision_id, device_id, channel, topic_id, journal_offset, state, reason, attempts, claim, begun_ms, ended_ms)
SELECT %(delivery_id)s, it.user_id, %(decision_id)s, device.device_id, device.channel, it.topic_id, it.journal_offset, 'left', %(reason)s, 0,
  '', %(now_ms)s, %(now_ms)s
FROM notifier.standing it
JOIN notifier.devices device ON device.user_id = it.user_id AND device.device_id = %(device_id)s
WHERE it.user_id = %(user_id)s AND it.topic_id = %(topic_id)s AND it.journal_offset = %(journal_offset)s
ON CONFLICT (delivery_id) DO UPDATE
SET state = CASE WHEN known.state = 'sending' THEN 'unknown' ELSE 'failed' END, reason = excluded.reason, ended_ms = excluded.ended_ms
WHERE known.state IN ('waiting', 'sending')
"""

_ADD = """
INSERT INTO notifier.devices AS known (device_id, user_id, channel, made_ms, confirmed_ms, message, session_id)
SELECT %(device_id)s, %(user_id)s, %(channel)s, %(made_ms)s, %(confirmed_ms)s, %(message)b, %(session_id)s
WHERE NOT EXISTS (SELECT FROM notifier.erased WHERE user_id = %(user_id)s AND (again_ms IS NULL OR again_ms >= %(made_ms)s))
ON CONFLICT (device_id) DO UPDATE SET message = excluded.message, session_id = excluded.session_id
"""

_NOTE = """
INSERT INTO notifier.erased AS known (user_id, topic_id, journal_offset, erased_ms, again_ms)
SELECT DISTINCT ON (user_id, topic_id) *
FROM unnest(%b::text[], %b::bytea[], %b::bigint[], %b::bigint[], %b::bigint[])
  AS said (user_id, topic_id, journal_offset, erased_ms, again_ms)
ORDER BY user_id, topic_id, journal_offset DESC, again_ms NULLS LAST
ON CONFLICT (user_id, topic_id) DO UPDATE
SET journal_offset = excluded.journal_offset, erased_ms = excluded.erased_ms, again_ms = excluded.again_ms
WHERE known.journal_offset < excluded.journal_offset OR (known.journal_offset = excluded.journal_offset AND known.again_ms IS NULL)
"""


class Notifier:
    """A small pool of connections as the role notifier. Every call is one transaction, and raises `Unreachable`'s kinds."""

    def __init__(self, dsn: str, *, connections_max: int = 4, timeout_s: float = 5.0) -> None:
        self._pool = pool_of(
            dsn,
            "notifier",
            connections_max=connections_max,
            timeout_s=timeout_s,
            connections_min=0,
            waiting_max=256,
            tcp_user_timeout=int(timeout_s * 1000),
        )

    async def open(self) -> None:
        """Be ready for calls; returns at once, with or without a server."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- what stands to be told

    async def take(self, words: Sequence[Standing]) -> set[str]:
        """Keep of each person the newest of these and of what stands; returns whose stands now. One of a life that ended is not taken."""
        rows = [
            (_text(it.user_id), it.topic_id, it.partition, it.journal_offset, it.due_ms, it.message) for it in words
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        async with self._pool.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))
            cursor = await connection.execute(_TAKE.encode(), columns)
            taken = {user_id for (user_id,) in await cursor.fetchall()}
            await connection.execute(
                "UPDATE notifier.deliveries SET state = 'failed', reason = 'superseded', ended_ms = begun_ms "
                "WHERE user_id = ANY(%s) AND state = 'waiting'",
                (list(taken),),
            )
            return taken

    async def due(
        self, topic_id: bytes, partitions: Iterable[int], *, now_ms: int, limit: int
    ) -> list[tuple[str, int]]:
        """People of these partitions of a journal for whom something is to be done now, each with their partition, who waited longest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT user_id, partition FROM notifier.standing WHERE topic_id = %s AND partition = ANY(%s) AND due_ms <= %s "
                "ORDER BY due_ms LIMIT %s",
                (topic_id, list(partitions), now_ms, limit),
            )
            return await cursor.fetchall()

    async def standing(self, user_id: str) -> Standing | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Standing)) as cursor:
            await cursor.execute(f"SELECT {_STANDING} FROM notifier.standing WHERE user_id = %s", (user_id,))  # noqa: S608
            return await cursor.fetchone()

    async def put_off(self, it: Standing, *, due_ms: int | None) -> None:
        """Have it looked at again at that time; None: never. One that no longer stands is left as it is."""
        async with self._pool.connection() as connection:
            await connection.execute(
                # What nobody is told of any more is kept no longer.
                "UPDATE notifier.standing SET due_ms = %s, message = CASE WHEN %s::bigint IS NULL THEN '' ELSE message END "
                "WHERE user_id = %s AND topic_id = %s AND journal_offset = %s",
                (due_ms, due_ms, it.user_id, it.topic_id, it.journal_offset),
            )

    # -- what became of it

    async def lines(self, user_id: str, decision_id: str) -> dict[str, Line]:
        """Of this tip, by device."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Line)) as cursor:
            await cursor.execute(
                f"SELECT {_LINE} FROM notifier.deliveries WHERE user_id = %s AND decision_id = %s",  # noqa: S608
                (user_id, decision_id),
            )
            return {line.device_id: line for line in await cursor.fetchall()}

    async def told(self, user_id: str, *, since_ms: int, but: str) -> Told:
        """How much the person was told since then, without the decision `but`."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT device_id, decision_id, max(begun_ms) FROM notifier.deliveries "  # noqa: S608
                f"WHERE user_id = %s AND begun_ms >= %s AND decision_id <> %s AND {_WENT_OUT} GROUP BY 1, 2",
                (user_id, since_ms, but),
            )
            rows = await cursor.fetchall()
        last_ms: dict[str, int] = {}
        for device_id, _, begun_ms in rows:
            last_ms[device_id] = max(begun_ms, last_ms.get(device_id, 0))
        return Told(len({decision_id for _, decision_id, _ in rows}), last_ms)

    async def claim(
        self,
        it: Standing,
        *,
        delivery_id: str,
        decision_id: str,
        device_id: str,
        claim: str,
        repeats: bool,
        now_ms: int,
    ) -> bool:
        """Put the line in under which it goes out: False where it may not (any more).

        `repeats`: whether one that was cut off before may go out again.
        """
        said = {
            "delivery_id": delivery_id,
            "decision_id": decision_id,
            "device_id": device_id,
            "user_id": it.user_id,
            "topic_id": it.topic_id,
            "journal_offset": it.journal_offset,
            "claim": claim,
            "repeats": repeats,
            "now_ms": now_ms,
        }
        async with self._pool.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))
            return (await connection.execute(_CLAIM, said)).rowcount == 1

    async def mark_sent(self, delivery_id: str, *, now_ms: int) -> None:
        """It went out, whatever else was thought of it meanwhile."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE notifier.deliveries SET state = 'sent', reason = '', again_ms = NULL, ended_ms = %s WHERE delivery_id = %s",
                (now_ms, delivery_id),
            )

    async def mark(
        self, delivery_id: str, *, claim: str, state: State, reason: str, now_ms: int, again_ms: int | None = None
    ) -> None:
        """What became of it under this claim; nothing where another one stands."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE notifier.deliveries SET state = %s, reason = %s, again_ms = %s, ended_ms = %s "
                "WHERE delivery_id = %s AND claim = %s AND state = 'sending'",
                (state, reason, again_ms, None if state == "waiting" else now_ms, delivery_id, claim),
            )

    async def leave(
        self, it: Standing, *, delivery_id: str, decision_id: str, device_id: str, reason: str, now_ms: int
    ) -> None:
        """It does not go out (any more); one that was cut off while it did may have."""
        said = {
            "delivery_id": delivery_id,
            "decision_id": decision_id,
            "device_id": device_id,
            "user_id": it.user_id,
            "topic_id": it.topic_id,
            "journal_offset": it.journal_offset,
            "reason": reason,
            "now_ms": now_ms,
        }
        async with self._pool.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))
            await connection.execute(_LEAVE, said)

    async def page(self, user_id: str, *, limit: int, before: tuple[int, str] | None = None) -> list[Line]:
        """Up to `limit` lines of a person, the newest first, older than `before`; fewer mean the end."""
        older = " AND (begun_ms, delivery_id) < (%s, %s)" if before else ""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Line)) as cursor:
            await cursor.execute(
                f"SELECT {_LINE} FROM notifier.deliveries WHERE user_id = %s{older} "  # noqa: S608
                "ORDER BY begun_ms DESC, delivery_id DESC LIMIT %s",
                (user_id, *(before or ()), min(limit, PAGE_MAX)),
            )
            return await cursor.fetchall()

    async def line(self, delivery_id: str) -> Line | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Line)) as cursor:
            await cursor.execute(f"SELECT {_LINE} FROM notifier.deliveries WHERE delivery_id = %s", (delivery_id,))  # noqa: S608
            return await cursor.fetchone()

    async def react(self, delivery_id: str, *, reaction: str) -> str | None:
        """Note what a button said, and return what was said first, or now; None where there is no such delivery. Having seen it gives way."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "UPDATE notifier.deliveries SET reaction = CASE WHEN reaction IN ('', 'seen') THEN %s ELSE reaction END "
                "WHERE delivery_id = %s RETURNING reaction",
                (reaction, delivery_id),
            )
            found = await cursor.fetchone()
            return None if found is None else str(found[0])

    async def trim(self, *, below_ms: int) -> int:
        """Delete lines that began before; returns how many."""
        async with self._pool.connection() as connection:
            return (
                await connection.execute("DELETE FROM notifier.deliveries WHERE begun_ms < %s", (below_ms,))
            ).rowcount

    # -- devices

    async def devices(self, user_id: str) -> list[Known]:
        """All of a person's, the oldest first."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Known)) as cursor:
            await cursor.execute(
                f"SELECT {_KNOWN} FROM notifier.devices WHERE user_id = %s ORDER BY made_ms, device_id",  # noqa: S608
                (user_id,),
            )
            return await cursor.fetchall()

    async def device(self, device_id: str) -> Known | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Known)) as cursor:
            await cursor.execute(
                f"SELECT {_KNOWN} FROM notifier.devices WHERE device_id = %s",  # noqa: S608
                (device_id,),
            )
            return await cursor.fetchone()

    async def add(self, device: Known) -> bool:
        """Keep it, in place of what stood under its id; False where it is of a life that ended."""
        said = {name: getattr(device, name) for name in Known.__slots__}
        async with self._pool.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))
            return (await connection.execute(_ADD.encode(), said)).rowcount == 1

    async def ask(self, *, now_ms: int, limit: int) -> list[Known]:
        """Take some addresses whose owners were not asked yet; nobody is given them again."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Known)) as cursor:
            await cursor.execute(
                "UPDATE notifier.devices SET asked_ms = %s WHERE device_id IN (SELECT device_id FROM notifier.devices "  # noqa: S608
                "WHERE confirmed_ms IS NULL AND asked_ms IS NULL ORDER BY made_ms LIMIT %s FOR UPDATE SKIP LOCKED) "
                f"RETURNING {_KNOWN}",
                (now_ms, limit),
            )
            return await cursor.fetchall()

    async def ask_again(self, device_id: str) -> None:
        """They could not be asked."""
        async with self._pool.connection() as connection:
            await connection.execute("UPDATE notifier.devices SET asked_ms = NULL WHERE device_id = %s", (device_id,))

    async def confirm(self, device_id: str, *, now_ms: int) -> bool:
        """Whoever has the address says that it is theirs; False where it is not here any more."""
        async with self._pool.connection() as connection:
            done = await connection.execute(
                "UPDATE notifier.devices SET confirmed_ms = coalesce(confirmed_ms, %s) WHERE device_id = %s",
                (now_ms, device_id),
            )
            return done.rowcount == 1

    async def remove(self, device_id: str, *, user_id: str | None = None) -> bool:
        """Forget a device, where a person is named one of theirs; False where there was none."""
        async with self._pool.connection() as connection:
            done = await connection.execute(
                "DELETE FROM notifier.devices WHERE device_id = %s AND (%s::text IS NULL OR user_id = %s)",
                (device_id, user_id, user_id),
            )
            return done.rowcount == 1

    async def end(self, session_ids: Sequence[str], *, user_id: str | None = None) -> int:
        """Forget the devices that end with these sessions, of this person alone if one is named; returns how many."""
        return await self._end(
            "session_id = ANY(%s) AND (%s::text IS NULL OR user_id = %s)", (list(session_ids), user_id, user_id)
        )

    async def end_all(self, user_id: str) -> int:
        """Forget the devices of a person that end with any session; returns how many."""
        return await self._end("user_id = %s AND session_id IS NOT NULL", (user_id,))

    async def move(self, session_id: str, *, to: str) -> None:
        """What ends with the one session ends with the other instead."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE notifier.devices SET session_id = %s WHERE session_id = %s", (to, session_id)
            )

    async def session_ids(self, *, after: str, limit: int) -> list[str]:
        """Sessions that devices end with, in order, behind `after`."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT session_id FROM notifier.devices WHERE session_id > %s ORDER BY session_id LIMIT %s",
                (after, limit),
            )
            return [session_id for (session_id,) in await cursor.fetchall()]

    async def _end(self, whose: LiteralString, values: Sequence[object]) -> int:
        async with self._pool.connection() as connection:
            return (await connection.execute(f"DELETE FROM notifier.devices WHERE {whose}", values)).rowcount  # noqa: S608

    # -- leaving

    async def forget(self, words: Sequence[tuple[Erased, int]]) -> int:
        """Delete what is of people who left, and take nothing of it any more; returns how many rows went.

        `words`: each with the time at which it was said.
        """
        columns: list[list[object]] = [
            [_text(word.user_id) for word, _ in words],
            [word.journal.topic_id for word, _ in words],
            [word.journal.offset for word, _ in words],
            [word.erased_ms for word, _ in words],
            [said_ms if word.HasField("began_again") else None for word, said_ms in words],
        ]
        gone = 0
        async with self._pool.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute(_NOTE.encode(), columns)
            for statement in _FORGET:
                gone += (await connection.execute(statement.encode(), (columns[0],))).rowcount
        return gone


_OF_BEFORE = "gone.topic_id = it.topic_id AND it.journal_offset <= gone.journal_offset"
_FORGET: Final = tuple(
    f"DELETE FROM notifier.{table} it USING notifier.erased gone "  # noqa: S608 - our own names
    f"WHERE it.user_id = ANY(%b) AND gone.user_id = it.user_id AND ({of_before})"
    for table, of_before in (
        ("standing", _OF_BEFORE),
        ("deliveries", _OF_BEFORE),
        ("devices", "gone.again_ms IS NULL OR it.made_ms <= gone.again_ms"),
    )
)
"""What is of before: by its place in the journal, and devices by when the person began again."""


def _text(value: str) -> str:
    """A text as PostgreSQL can hold it: it has no NUL."""
    return value.replace("\x00", "\\x00")
