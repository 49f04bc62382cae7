"""The tip store: the one tip that stands for each user, and which decisions have had their feedback.

It never decides what a person sees next, and never lets an older tip replace a newer one: both comparisons run
inside Valkey, so that two writers cannot pass each other.

Keys, documented for operators (the braces are part of the name, so that a cluster keeps a user's keys together):

    oo:tip:{USER}    hash: epoch (hex of the journal's topic id), offset, decided_ms, decision_id, valid_until_ms,
                     tip (serialized oo.v1.Tip)
    oo:spent:{USER}  sorted set: decision ids whose feedback was accepted, by time; the last 64, for a day
    oo:idem:{USER}:HASH  string: fingerprint of the request that an Idempotency-Key stood for, for a day

Channel `oo:tips:{USER}` carries the serialized Tip at each write, and an empty message when a decision is spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.asyncio.client import PubSub
from valkey.exceptions import NoScriptError, ValkeyError

from oo.v1 import decision_pb2

CONNECTIONS_MAX = 64
"""Per process; the 65th reader waits for one of them, `timeout_s` at most."""
SPENT_MAX = 64
"""Decisions remembered as spent per user: many times what one valid tip's lifetime can bring."""
DAY_S = 24 * 3600
PUBLISH_BATCH_MAX = 256
"""Tips sent to Valkey in one pipeline."""
READ_BATCH_MAX = 128
"""Reads in one pipeline."""

Unreachable = (ValkeyError, OSError, TimeoutError)
"""What a call raises when Valkey is down, slow or refuses: catch these and say so."""

# A tip of the same epoch must have a greater offset. Offsets of different epochs say nothing about each other (the
# journal was made anew), so there the later decision stands. Offsets stay below 2^53, exact in Lua's numbers.
_PUBLISH = """
local old = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'decided_ms')
if old[1] then
  if old[1] == ARGV[1] then
    if tonumber(ARGV[2]) <= tonumber(old[2]) then return 0 end
  elseif tonumber(ARGV[3]) <= tonumber(old[3] or '-1') then
    return 0
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'offset', ARGV[2], 'decided_ms', ARGV[3], 'decision_id', ARGV[4],
  'valid_until_ms', ARGV[5], 'tip', ARGV[6])
redis.call('PUBLISH', ARGV[7], ARGV[6])
return 1
"""

# One round trip and one moment for both keys: nothing can be spent between reading the tip and reading the marker.
_READ = """
local t = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'decision_id', 'tip')
if not t[4] then return {} end
local spent = 0
if redis.call('ZSCORE', KEYS[2], t[3]) then spent = 1 end
return {t[1], t[2], t[4], spent}
"""

_SPEND = """
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], '')
return 1
"""


def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


_SCRIPTS = {_sha(script): script for script in (_PUBLISH, _READ, _SPEND)}


def tip_key(user_id: str) -> str:
    """
    >>> tip_key("alice")
    'oo:tip:{alice}'
    """
    return f"oo:tip:{{{user_id}}}"


def spent_key(user_id: str) -> str:
    """
    >>> spent_key("alice")
    'oo:spent:{alice}'
    """
    return f"oo:spent:{{{user_id}}}"


def channel(user_id: str) -> str:
    """
    >>> channel("alice")
    'oo:tips:{alice}'
    """
    return f"oo:tips:{{{user_id}}}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands for a user at one moment: the newest tip written, and whether its decision has had its feedback."""

    tip: decision_pb2.Tip
    epoch: str
    offset: int
    spent: bool


def _standing(answer: list[bytes | int]) -> Standing | None:
    if not answer:
        return None
    epoch, offset, body, spent = answer
    assert isinstance(epoch, bytes)
    assert isinstance(body, bytes)
    tip = decision_pb2.Tip.FromString(body)
    return Standing(tip=tip, epoch=epoch.decode(), offset=int(offset), spent=bool(spent))


class TipStore:
    """Reads and writes tips; one per process, for any number of tasks. Every call raises `Unreachable`'s kinds."""

    def __init__(self, url: str, *, timeout_s: float = 1.0, connections_max: int = CONNECTIONS_MAX) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections_max,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=0,
        )
        self._client = Valkey.from_pool(pool)
        self._asked: list[tuple[str, asyncio.Future[Standing | None]]] = []
        self._reader: asyncio.Task[None] | None = None

    async def publish_tips(self, tips: Sequence[decision_pb2.Tip]) -> list[bool]:
        """Write each tip that is newer than what stands for its user; says for each whether it was written.

        Writing a tip again is refused by the same rule as an older one, so a batch may be sent any number of times.
        Tips of one user are applied in the order given. Returning True does not mean that any client has seen it.
        """
        written: list[bool] = []
        for start in range(0, len(tips), PUBLISH_BATCH_MAX):
            written += await self._publish_batch(tips[start : start + PUBLISH_BATCH_MAX])
        return written

    async def _publish_batch(self, tips: Sequence[decision_pb2.Tip]) -> list[bool]:
        sha = _sha(_PUBLISH)
        for attempt in range(2):
            async with self._client.pipeline(transaction=False) as pipeline:
                for tip in tips:
                    body = tip.SerializeToString(deterministic=True)
                    pipeline.evalsha(
                        sha,
                        1,
                        tip_key(tip.user_id),
                        tip.journal.topic_id.hex(),
                        str(tip.journal.offset),
                        str(tip.decided_ms),
                        tip.decision_id,
                        str(tip.valid_until_ms),
                        body,  # type: ignore[arg-type]  # bytes go as they are
                        channel(tip.user_id),
                    )
                answers = await pipeline.execute(raise_on_error=False)
            if attempt == 0 and any(isinstance(answer, NoScriptError) for answer in answers):
                # A restarted Valkey has forgotten its scripts. What was written is refused the second time: say so.
                await self._client.script_load(_PUBLISH)
                already = [answer == 1 for answer in answers]
                continue
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            if attempt == 0:
                return [answer == 1 for answer in answers]
            return [before or answer == 1 for before, answer in zip(already, answers, strict=True)]
        raise AssertionError("unreachable: the second attempt returns or raises")

    async def read(self, user_id: str) -> Standing | None:
        """The newest tip written for this user, or None before the first. It may have run out: look at its times."""
        answer: asyncio.Future[Standing | None] = asyncio.get_running_loop().create_future()
        self._asked.append((user_id, answer))
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_asked())
        return await answer

    async def _read_asked(self) -> None:
        # Those who ask during one round trip share the next: at 32 readers at once that is three times as many reads.
        # What was asked is sent after it was asked, so nobody gets an answer older than their question.
        while self._asked:
            batch, self._asked = self._asked[:READ_BATCH_MAX], self._asked[READ_BATCH_MAX:]
            try:
                standings = await self._read_batch([user_id for user_id, _ in batch])
            except BaseException as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error if isinstance(error, Exception) else ConnectionError("closing"))
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, answer), standing in zip(batch, standings, strict=True):
                    if not answer.done():
                        answer.set_result(standing)

    async def _read_batch(self, user_ids: Sequence[str]) -> list[Standing | None]:
        sha = _sha(_READ)
        for _ in range(2):
            async with self._client.pipeline(transaction=False) as pipeline:
                for user_id in user_ids:
                    pipeline.evalsha(sha, 2, tip_key(user_id), spent_key(user_id))
                answers = await pipeline.execute(raise_on_error=False)
            if any(isinstance(answer, NoScriptError) for answer in answers):
                await self._client.script_load(_READ)
                continue
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return [_standing(answer) for answer in answers]
        raise NoScriptError("Valkey forgets its scripts as soon as they are loaded")

    async def mark_spent(self, user_id: str, decision_id: str) -> None:
        """From now on `read` says `spent` for this decision; open streams are told."""
        await self._run(_SPEND, [spent_key(user_id)], [decision_id, SPENT_MAX, DAY_S, channel(user_id)])

    async def claim(self, user_id: str, *, key: str, fingerprint: str) -> bool:
        """Tie an Idempotency-Key to a request for a day; False where it already stands for another request."""
        name = f"oo:idem:{{{user_id}}}:{hashlib.sha256(key.encode()).hexdigest()}"
        before = await self._client.set(name, fingerprint, nx=True, get=True, ex=DAY_S)
        return before is None or before == fingerprint.encode()

    async def ping(self) -> None:
        """Raises where Valkey does not answer."""
        await self._client.ping()

    def pubsub(self) -> PubSub:
        """A connection of its own for `Pushes`."""
        return self._client.pubsub()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def _run(self, script: str, keys: list[str], arguments: list[str | int]) -> object:
        for _ in range(2):
            try:
                return await cast(
                    "Awaitable[object]", self._client.evalsha(_sha(script), len(keys), *keys, *map(str, arguments))
                )
            except NoScriptError:
                await self._client.script_load(script)
        raise NoScriptError("Valkey forgets its scripts as soon as they are loaded")


class Pushes:
    """One subscription connection for a whole process: tells which users' tips may have changed.

    A push says only "read again": it carries no tip, so that what is shown always comes from `TipStore.read` with its
    spent marker. After a lost connection every user is told, since pushes meanwhile are gone. A push can still be
    lost (Valkey promises none): readers look again from time to time.
    """

    # Always subscribed, so that the connection can be read before the first user comes.
    _IDLE = "oo:edge"

    def __init__(self, store: TipStore, *, changed: Callable[[str], None], retry_s: float = 0.5) -> None:
        self._store = store
        self._changed = changed
        self._retry_s = retry_s
        self._users: set[str] = set()
        self._pubsub: PubSub | None = None
        self.connected = asyncio.Event()

    async def add(self, user_id: str) -> None:
        """Start telling of this user. Where the connection is down, that happens when it is up again."""
        self._users.add(user_id)
        if self._pubsub is not None:
            with contextlib.suppress(*Unreachable):
                await self._pubsub.subscribe(channel(user_id))

    async def remove(self, user_id: str) -> None:
        self._users.discard(user_id)
        if self._pubsub is not None:
            with contextlib.suppress(*Unreachable):
                await self._pubsub.unsubscribe(channel(user_id))

    async def run(self) -> None:
        """Listen until cancelled, connecting anew as often as it takes."""
        while True:
            pubsub = self._store.pubsub()
            try:
                await pubsub.subscribe(self._IDLE, *(channel(user_id) for user_id in self._users))
                self._pubsub = pubsub
                self.connected.set()
                # Also those who came while the subscription was on its way.
                await pubsub.subscribe(self._IDLE, *(channel(user_id) for user_id in self._users))
                for user_id in list(self._users):
                    self._changed(user_id)
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0)
                    if message is None:
                        await pubsub.ping()
                        continue
                    if message["type"] == "message":
                        # oo:tips:{USER}
                        self._changed(message["channel"].decode()[len("oo:tips:{") : -1])
            except Unreachable:
                await asyncio.sleep(self._retry_s)
            finally:
                self._pubsub = None
                self.connected.clear()
                with contextlib.suppress(*Unreachable):
                    await pubsub.aclose()
