"""The tip that stands for a user now, or that there is none: the one rule that reads and streams share.

It never returns a tip that has run out or whose feedback was accepted here, and never one from memory unless every
write that Valkey made until STALE_MAX_S ago has been heard of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from confluent_kafka import KafkaException

from connectors.tracked import TrackedReads
from connectors.valkey import Standing, Unreachable
from oo.v1 import decision_pb2
from serving.memory import NEVER, Current, Memory
from serving.metrics import Metrics
from serving.problems import unavailable
from serving.schemas import tip_body
from serving.spent_decisions import SpentDecisions
from streams.keys import Keys
from streams.sealing import KeyMissing, NotOpened, opened

log = logging.getLogger(__name__)

KEYS_TIMEOUT_S = 2.0
"""How long a read waits for Kafka's word on keys that came after the last that is known."""
STALE_MAX_S = 0.08
"""Older than this, memory is not used. An edge has 100 ms to stop serving what others took feedback for."""


class CurrentTips:
    """One per process. `changed` is told of each user whose tip may be another one now."""

    def __init__(
        self,
        valkey_url: str,
        *,
        spent: SpentDecisions,
        changed: Callable[[str | None], None],
        keys: Keys,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._memory = Memory()
        self._spent = spent
        self._keys = keys
        self._tell = changed
        self._now_ms = now_ms
        self._remembered = metrics.tip_reads.labels("memory")
        self._read = metrics.tip_reads.labels("valkey")
        self.reads = TrackedReads(valkey_url, keep=self._keep, changed=self._changed)

    def remembered(self, user_id: str) -> Current | None:
        """What memory knows to hold; None where Valkey must be asked."""
        found = self._memory.get(user_id)
        if found is None or self.reads.now_s() - self.reads.heard_s > STALE_MAX_S:
            return None
        self._remembered.inc()
        return self._now(user_id, found)

    async def of(self, user_id: str) -> Current:
        """Raises a 503 problem where Valkey is needed and does not answer."""
        found = self.remembered(user_id)
        if found is not None:
            return found
        try:
            found = await self._ask(user_id)
        except Unreachable as error:
            raise unavailable("tips", detail="The tip store does not answer; try again.") from error
        except (KeyMissing, NotOpened, KafkaException) as error:
            log.warning("tip.not_opened error=%s", error)
            raise unavailable("tips", detail="The tip cannot be opened now; try again.") from error
        self._read.inc()
        return self._now(user_id, found)

    def span_of(self, user_id: str, decision_id: str) -> bytes:
        """The span of this decision, where it is traced and memory has its tip; else nothing."""
        found = self._memory.get(user_id)
        return found.traceparent if found is not None and found.decision_id == decision_id else b""

    async def _ask(self, user_id: str) -> Current:
        # Of somebody new: their key was made a moment ago.
        try:
            return await self.reads.read(user_id)
        except KeyMissing as missing:
            await self._keys.hear(user_id.encode(), missing.key_id)
        try:
            return await self.reads.read(user_id)
        except KeyMissing:
            async with asyncio.timeout(KEYS_TIMEOUT_S):
                await self._keys.catch_up()
            return await self.reads.read(user_id)

    def _now(self, user_id: str, found: Current) -> Current:
        if found.body is None:
            return found
        if found.valid_until_ms <= self._now_ms() or (user_id, found.decision_id) in self._spent:
            return Current(event_id=f"{found.event_id}-none")
        return found

    def _keep(self, user_id: str, standing: Standing | None) -> Current:
        current = NOTHING if standing is None else _current(standing, self._opened(user_id, standing))
        self._memory.put(user_id, current)
        return current

    def _opened(self, user_id: str, standing: Standing) -> decision_pb2.Tip:
        return opened(standing.tip, whose=user_id.encode(), keys=self._keys)

    def _changed(self, user_id: str | None) -> None:
        if user_id is None:
            self._memory.clear()
        else:
            self._memory.drop(user_id)
        self._tell(user_id)


NOTHING = Current(event_id=NEVER)


def _current(standing: Standing, tip: decision_pb2.Tip) -> Current:
    event_id = f"{standing.epoch}-{standing.offset}"
    silent = not tip.decision_id or tip.kind in (decision_pb2.Decision.NONE, decision_pb2.Decision.TIP_KIND_UNSPECIFIED)
    if silent or standing.spent:
        return Current(event_id=f"{event_id}-none")
    return Current(
        event_id=event_id,
        body=tip_body(tip),
        decision_id=tip.decision_id,
        valid_until_ms=tip.valid_until_ms,
        traceparent=standing.traceparent,
    )
