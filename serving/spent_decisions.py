"""Decisions whose feedback this edge accepted: never served again here, and told to all other edges.

It never makes a person wait for Valkey to come back: the marker is kept here and written again until it is there,
and until then the edge says that it is not ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from connectors.valkey import TipStore, Unreachable
from streams.backoff import Backoff

log = logging.getLogger(__name__)

MEMORY_MAX = 100_000
"""Decisions remembered here; beyond, the oldest that Valkey knows goes."""
AGAIN = Backoff(first_s=0.1, max_s=2.0)
PENDING_MAX = 10_000
"""Markers waiting for Valkey; beyond, feedback is refused until it is back."""


class SpentDecisions:
    """One per process."""

    def __init__(self, store: TipStore, *, backoff: Backoff = AGAIN) -> None:
        self._store = store
        self._backoff = backoff
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._pending: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._wake = asyncio.Event()

    def __contains__(self, decision: tuple[str, str]) -> bool:
        """(user id, decision id)"""
        return decision in self._known

    @property
    def pending(self) -> int:
        return len(self._pending)

    @property
    def full(self) -> bool:
        return len(self._pending) >= PENDING_MAX

    async def add(self, user_id: str, decision_id: str) -> None:
        """From here on this edge does not serve it; on return others do not either, or `pending` counts it."""
        decision = (user_id, decision_id)
        self._known[decision] = None
        if len(self._known) > MEMORY_MAX:
            self._known.popitem(last=False)
        self._pending[decision] = None
        try:
            await self._store.mark_spent(user_id, decision_id)
        except Unreachable as error:
            log.warning("spent.write_failed error=%s pending=%d", type(error).__name__, self.pending)
            self._wake.set()
        else:
            self._pending.pop(decision, None)

    async def run(self) -> None:
        """Write what is pending, again and again, until cancelled."""
        failures = 1
        while True:
            if not self._pending:
                failures = 1
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(self._backoff.pause_s(failures))
            failures = 1 if await self.flush() else failures + 1

    async def flush(self) -> bool:
        """Try each pending marker once; False at the first failure."""
        for user_id, decision_id in list(self._pending):
            try:
                await self._store.mark_spent(user_id, decision_id)
            except Unreachable:
                return False
            self._pending.pop((user_id, decision_id), None)
        return True
