"""People of whom no tip was ever written: tells the engine that they are here, so that it decides a first one for them.

It never makes a tip up: that would be no decision, and a reaction to it would teach nothing. It never asks the engine
twice within AGAIN_S, and never keeps a read waiting longer than WAIT_S.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from oo.v1 import signal_pb2
from serving.current import CurrentTips
from serving.departed import Departed
from serving.log import Log, LogUnavailable
from serving.memory import NEVER, Current
from serving.metrics import Metrics
from serving.subscriptions import Subscriptions
from serving.tokens import Identity
from streams.keys import Keys

SOURCE, EVENT_ID, ACTIVITY = "edge", "first-tip", "asked-for-a-tip"
"""The same at each telling and from every edge, so that all of one person's count once."""
WAIT_S = 2.0
"""From the telling on; many times what the engine takes."""
AGAIN_S = 600.0
AGAIN_AFTER_FAILURE_S = 10.0
PER_S_MAX = 200
"""People told of in a second: an emptied Valkey makes newcomers of everybody at once."""


class Newcomers:
    """One per process; create it inside the running loop."""

    def __init__(
        self,
        *,
        log: Log,
        current: CurrentTips,
        keys: Keys,
        subscriptions: Subscriptions,
        metrics: Metrics,
        departed: Departed,
    ) -> None:
        self._departed = departed
        self._keys = keys
        self._log = log
        self._current = current
        self._subscriptions = subscriptions
        self._count = metrics.newcomers
        self._told_s: OrderedDict[str, float] = OrderedDict()
        self._sending: set[asyncio.Task[None]] = set()
        self._second_s, self._in_second = float("-inf"), 0

    async def first(self, who: Identity) -> Current:
        """What stands for somebody of whom nothing was known, once the engine has had its moment."""
        with self._subscriptions.listen(who.pseudonym) as subscription, self._keys.awaited():
            self.tell(who)
            while True:
                now = await self._current.of(who.pseudonym)
                left_s = self._told_s.get(who.pseudonym, float("-inf")) + WAIT_S - time.monotonic()
                if now.event_id != NEVER or left_s <= 0 or self._subscriptions.closing:
                    return now
                await subscription.wait(left_s)

    def tell(self, who: Identity) -> None:
        """Tell the engine of this person, unless it was told just now or too many are told of; does not wait."""
        if self._departed.leavers.are_gone(who.pseudonym):
            return  # Only they themselves begin again.
        now_s = time.monotonic()
        while self._told_s and next(iter(self._told_s.values())) <= now_s - AGAIN_S:
            self._told_s.popitem(last=False)
        if self._told_s.get(who.pseudonym, float("-inf")) > now_s - AGAIN_S:
            return
        if now_s - self._second_s >= 1:
            self._second_s, self._in_second = now_s, 0
        if self._in_second >= PER_S_MAX:
            return
        self._in_second += 1
        self._told_s.pop(who.pseudonym, None)
        self._told_s[who.pseudonym] = now_s
        task = asyncio.create_task(self._send(who))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Wait for no one any more."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, who: Identity) -> None:
        signal = signal_pb2.Signal(user_id=who.user_id, source=SOURCE, event_id=EVENT_ID)
        signal.activity.kind = ACTIVITY
        try:
            await self._log.send("signals", [(who.user_id, signal)])
        except LogUnavailable:
            if who.pseudonym in self._told_s:
                self._told_s[who.pseudonym] = time.monotonic() - AGAIN_S + AGAIN_AFTER_FAILURE_S
            # Whoever waits need not wait longer.
            self._subscriptions.changed(who.pseudonym)
        else:
            self._count.inc()
