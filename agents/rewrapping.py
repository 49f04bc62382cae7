"""Wraps connections' keys anew once a day, and destroys what they were wrapped with: what was deleted before is then closed in every copy.

As streams/rotation.py does it for people's keys, over a table instead of a topic.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from connectors.postgres.leases import Leases, Unreachable
from connectors.vault import NotOpened, Vault, Wrapped
from streams.keys import KekGone
from streams.rotation import EVERY_MS, GRACE_S, Changing
from streams.units import DAY_MS

logger = logging.getLogger(__name__)

AT_ONCE: Final = 200
WRITE_BACKS_MS: Final = 30 * DAY_MS
"""How long it is remembered what became of a task at its source."""


class Rewrapping:
    """One per worker; one of all does it. Killed at any moment it has lost nothing."""

    LOOKED_EVERY_S: Final = 600.0

    def __init__(self, leases: Leases, vault: Vault, kek: Changing, *, clock_ms: Callable[[], int]) -> None:
        self._leases = leases
        self._vault = vault
        self._kek = kek
        self._clock_ms = clock_ms

    async def tend(self) -> None:
        """Do it where it is due, and have gone what ran out."""
        try:
            await self._leases.tidy(write_backs_ms=WRITE_BACKS_MS)
            if self._clock_ms() - self._kek.made_ms() >= EVERY_MS:
                logger.info("connections.wrapped_anew keys=%d", await self.rotate())
        except BlockingIOError:
            return
        except (OSError, *Unreachable) as error:
            logger.warning("connections.not_wrapped_anew error=%s", type(error).__name__)

    async def rotate(self, *, grace_s: float = GRACE_S) -> int:
        """Return how many keys were wrapped anew. Raises BlockingIOError where another does the same now."""
        with self._kek.alone():
            current, count = self._kek.make(), 0
            # Who took the one before may be about to write what it wrapped.
            await asyncio.sleep(grace_s)
            while left := await self._leases.wrapped_otherwise(current, limit=AT_ONCE):
                for table, name, user_id, kek_id, key in left:
                    try:
                        anew = self._vault.wrap_anew(Wrapped(kek_id, key), user_id=user_id, connection_id=name)
                    except (NotOpened, KekGone):
                        # Nothing opens it any more: it is said to be under the new one, which opens it as little.
                        anew = Wrapped(current, key)
                    await self._leases.wrapped_anew(
                        table, name, before=kek_id, kek_id=anew.kek_id, wrapped_key=anew.key
                    )
                    count += 1
            for kek_id in self._kek.ids():
                if kek_id != current:
                    self._kek.destroy(kek_id)
            return count
