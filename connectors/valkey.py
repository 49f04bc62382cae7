"""The tip store: the one tip that stands for each user, their settings, and which decisions have had their feedback.

It never decides what a person sees next, and never lets an older tip replace a newer one: both comparisons run
inside Valkey, so that two writers cannot pass each other.

Keys, documented for operators (the braces are part of the name). One Valkey, not a cluster of them: a round's tips of several
people and the marks that say how far they reach are written by one script.

    oo:tip:{USER}    hash: epoch (hex of the journal's topic id), offset, decided_ms, decision_id, valid_until_ms,
                     tip (serialized oo.v1.Tip), and where it is traced trace (its decision's span, a W3C traceparent)
    oo:settings:{USER}  hash: epoch, offset, time_ms, settings (serialized oo.v1.Settings)
    oo:spent:{USER}  sorted set: decision ids whose feedback was accepted, by time; the last 64, for a day
    oo:here:{USER}   string: the page is open before them; gone a moment after it is not
    oo:idem:{USER}:HASH  string: fingerprint of the request that an Idempotency-Key stood for, for a day

Channel `oo:tips:{USER}` carries the serialized Tip at each write, and an empty message when a decision is spent: for
whoever wants to look on. The edge reads, and hears of changes, through connectors/tracked.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple, cast

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import ValkeyError

from connectors.tip_progress import MOVE, Argument, Moves, evaluated, sha_of
from oo.v1 import decision_pb2, settings_pb2
from streams.units import DAY_S

CONNECTIONS_MAX = 64
"""Per process; the 65th reader waits for one of them, `timeout_s` at most."""
SPENT_MAX = 64
"""Decisions remembered as spent per user: many times what one valid tip's lifetime can bring."""
WRITTEN_AT_ONCE = 64
"""Tips in one call, before whose end Valkey answers nobody else."""
HERE_S = 40
"""So long after the last word of an open page nobody is taken to look at it: two and a half of its signs of life."""
LEFT_S = 2
"""And so long after it was closed."""
SCANNED_AT_ONCE = 1_000
"""Keys that Valkey looks at between two other requests, when somebody leaves."""

Unreachable = (ValkeyError, OSError, TimeoutError)
"""What a call raises when Valkey is down, slow or refuses: catch these and say so."""

# A tip of the same epoch must have a greater offset. Offsets of different epochs say nothing about each other (the
# journal was made anew), so there the later decision stands. Offsets stay below 2^53, exact in Lua's numbers.
_NEWER = """
local function newer(key, time_field, epoch, offset, time_ms)
  local old = redis.call('HMGET', key, 'epoch', 'offset', time_field)
  if not old[1] then return true end
  if old[1] == epoch then return tonumber(offset) > tonumber(old[2]) end
  return tonumber(time_ms) > tonumber(old[3] or '-1')
end
local written, many = {}, tonumber(ARGV[1])
"""
# Marks move behind all that they are of: a script that fails ends there.
_THEN = "return {written, KEYS[many + 1] and move(KEYS[many + 1], %d * many + 2) or {}}"
_PUBLISH = f"""
{MOVE}{_NEWER}
for i = 1, many do
  local key = KEYS[i]
  local epoch, offset, decided_ms, decision_id, valid_until_ms, tip, channel, trace = unpack(ARGV, 8 * i - 6, 8 * i + 1)
  written[i] = newer(key, 'decided_ms', epoch, offset, decided_ms) and 1 or 0
  if written[i] == 1 then
    redis.call('HSET', key, 'epoch', epoch, 'offset', offset, 'decided_ms', decided_ms, 'decision_id', decision_id,
      'valid_until_ms', valid_until_ms, 'tip', tip)
    if trace ~= '' then redis.call('HSET', key, 'trace', trace) else redis.call('HDEL', key, 'trace') end
    redis.call('PUBLISH', channel, tip)
  end
end
{_THEN % 8}
"""

_SET = f"""
{MOVE}{_NEWER}
for i = 1, many do
  local key = KEYS[i]
  local epoch, offset, time_ms, settings = unpack(ARGV, 4 * i - 2, 4 * i + 1)
  written[i] = newer(key, 'time_ms', epoch, offset, time_ms) and 1 or 0
  if written[i] == 1 then
    redis.call('HSET', key, 'epoch', epoch, 'offset', offset, 'time_ms', time_ms, 'settings', settings)
  end
end
{_THEN % 4}
"""

# One round trip and one moment for both keys: nothing can be spent between reading the tip and reading the marker.
READ = """
local t = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'decision_id', 'tip', 'trace')
if not t[4] then return {} end
local spent = 0
if redis.call('ZSCORE', KEYS[2], t[3]) then spent = 1 end
return {t[1], t[2], t[4], spent, t[5] or ''}
"""

_SPEND = """
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], '')
return 1
"""


READ_SHA = sha_of(READ)


def tip_key(user_id: str) -> str:
    """
    >>> tip_key("alice")
    'oo:tip:{alice}'
    """
    return f"oo:tip:{{{user_id}}}"


def settings_key(user_id: str) -> str:
    """
    >>> settings_key("alice")
    'oo:settings:{alice}'
    """
    return f"oo:settings:{{{user_id}}}"


def spent_key(user_id: str) -> str:
    """
    >>> spent_key("alice")
    'oo:spent:{alice}'
    """
    return f"oo:spent:{{{user_id}}}"


def here_key(user_id: str) -> str:
    """
    >>> here_key("alice")
    'oo:here:{alice}'
    """
    return f"oo:here:{{{user_id}}}"


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
    traceparent: bytes = b""
    """The span of its decision, where that is traced."""


def standing_of(answer: list[bytes | int]) -> Standing | None:
    """What READ answered."""
    if not answer:
        return None
    epoch, offset, body, spent, trace = answer
    assert isinstance(epoch, bytes)
    assert isinstance(body, bytes)
    assert isinstance(trace, bytes)
    tip = decision_pb2.Tip.FromString(body)
    return Standing(tip=tip, epoch=epoch.decode(), offset=int(offset), spent=bool(spent), traceparent=trace)


class Written(NamedTuple):
    """What a write did."""

    newer: list[bool]
    """Of each that was given, in order: whether it was written."""
    moved: set[int]
    """Partitions whose marks moved."""


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

    async def publish_tips(
        self,
        tips: Sequence[decision_pb2.Tip],
        *,
        spans: Mapping[str, str] = MappingProxyType({}),
        moves: Moves | None = None,
    ) -> Written:
        """Write each tip that is newer than what stands for its user, then move the marks.

        Writing a tip again is refused by the same rule as an older one, so a batch may be sent any number of times.
        Tips of one user are applied in the order given. `spans`: of decisions that are traced. That a tip is written does not mean that any client has seen it.
        """
        return await self._write(
            _PUBLISH,
            [tip_key(tip.user_id) for tip in tips],
            [
                (
                    *(
                        tip.journal.topic_id.hex(),
                        tip.journal.offset,
                        tip.decided_ms,
                        tip.decision_id,
                        tip.valid_until_ms,
                    ),
                    *(tip.SerializeToString(deterministic=True), channel(tip.user_id), spans.get(tip.decision_id, "")),
                )
                for tip in tips
            ],
            moves,
        )

    async def publish_settings(
        self, settings: Sequence[settings_pb2.Settings], *, moves: Moves | None = None
    ) -> Written:
        """Write each person's settings that are newer than what stands, as `publish_tips` does."""
        return await self._write(
            _SET,
            [settings_key(one.user_id) for one in settings],
            [
                (
                    *(one.journal.topic_id.hex(), one.journal.offset, one.told_ms),
                    one.SerializeToString(deterministic=True),
                )
                for one in settings
            ],
            moves,
        )

    async def settings(self, user_id: str) -> settings_pb2.Settings | None:
        """What the person has set, as it was last written; None where nothing was."""
        body = await cast("Awaitable[bytes | None]", self._client.hget(settings_key(user_id), "settings"))
        return None if body is None else settings_pb2.Settings.FromString(body)

    async def _write(
        self, script: str, keys: Sequence[str], about: Sequence[tuple[Argument, ...]], moves: Moves | None
    ) -> Written:
        """Runs a script over the keys, with what is said about each; the marks move with the last of them."""
        if not (keys or moves):
            return Written([], set())
        written: list[bool] = []
        moved: list[int] = []
        for start in range(0, len(keys) or 1, WRITTEN_AT_ONCE):
            some = slice(start, start + WRITTEN_AT_ONCE)
            marks = moves if start + WRITTEN_AT_ONCE >= len(keys) else None
            answers, moved = cast(
                "tuple[list[int], list[int]]",
                await evaluated(
                    self._client,
                    script,
                    [*keys[some], *((marks.key,) if marks else ())],
                    [len(keys[some]), *chain.from_iterable(about[some]), *(marks.arguments if marks else ())],
                ),
            )
            written += [answer == 1 for answer in answers]
        return Written(written, moves.moved(moved) if moves else set())

    async def read(self, user_id: str) -> Standing | None:
        """The newest tip written for this user, or None before the first. It may have run out: look at its times."""
        answer = await evaluated(self._client, READ, [tip_key(user_id), spent_key(user_id)], [])
        return standing_of(cast("list[bytes | int]", answer))

    async def mark_spent(self, user_id: str, decision_id: str) -> None:
        """From now on `read` says `spent` for this decision; open streams are told."""
        await evaluated(self._client, _SPEND, [spent_key(user_id)], [decision_id, SPENT_MAX, DAY_S, channel(user_id)])

    async def mark_here(self, user_id: str) -> None:
        """The page is open before this person, for the next HERE_S."""
        await self._client.set(here_key(user_id), b"", ex=HERE_S)

    async def mark_gone(self, user_id: str) -> None:
        """It was closed: unless another edge has one open before them, and says so, nobody is taken to look after LEFT_S."""
        await self._client.expire(here_key(user_id), LEFT_S, lt=True)

    async def is_here(self, user_id: str) -> bool:
        """Whether the page is open before this person, or was a moment ago."""
        return bool(await self._client.exists(here_key(user_id)))

    async def claim(self, user_id: str, *, key: str, fingerprint: str) -> bool:
        """Tie an Idempotency-Key, by a name that tells nothing of it, to a request for a day; False where it already stands for another request."""
        name = f"oo:idem:{{{user_id}}}:{key}"
        before = await self._client.set(name, fingerprint, nx=True, get=True, ex=DAY_S)
        return before is None or before == fingerprint.encode()

    async def forget(self, user_id: str) -> None:
        """Remove what is kept of this person beside their tip: which decisions had feedback, which requests keys stood for."""
        name = "".join(f"\\{char}" if char in "\\*?[]^" else char for char in user_id)
        requests = [key async for key in self._client.scan_iter(match=f"oo:idem:{{{name}}}:*", count=SCANNED_AT_ONCE)]
        await self._client.delete(spent_key(user_id), here_key(user_id), *requests)

    async def ping(self) -> None:
        """Raises where Valkey does not answer."""
        await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()
