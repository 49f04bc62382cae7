"""Wraps the keys of all who are here anew, and destroys what they were wrapped with: whoever was ended before is then ended everywhere.

Old words of the topic of keys live on in segments, copies and backups; from here on nothing opens them. It ends nobody's key
itself, and destroys nothing before all that is kept is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager
from typing import Final, Protocol

from confluent_kafka import KafkaException

from streams.clock import clock_ms
from streams.key_maker import KeyMaker
from streams.keys import KeyEncryption, Keys
from streams.units import DAY_MS

log = logging.getLogger(__name__)

GRACE_S: Final = 15.0
"""From the new key-encryption key to the look at what is left: longer than a worker may take from wrapping a key to writing it, which
is its producer's patience, or the session that it loses when it is stopped meanwhile (streams/watchdog.py)."""
EVERY_MS: Final = DAY_MS
"""How old a key-encryption key gets."""
LOOKED_EVERY_S: Final = 3600.0
AT_ONCE: Final = 200


class Changing(KeyEncryption, Protocol):
    """Key-encryption keys that can be made and destroyed."""

    def ids(self) -> list[str]:
        """All of them, the current one last."""

    def made_ms(self) -> int:
        """When the current one was made."""

    def make(self) -> str:
        """A new one, which is the current one from here on."""

    def destroy(self, kek_id: str) -> None:
        """Have it gone for good."""

    def alone(self) -> AbstractContextManager[None]:
        """While nobody else changes them. Raises BlockingIOError where somebody does."""


async def rotate(keys: Keys, kek: Changing, maker: KeyMaker, *, grace_s: float = GRACE_S) -> int:
    """Return how many keys were wrapped anew. Raises BlockingIOError where another does the same now.

    Killed at any moment it has lost nothing: both key-encryption keys are there until all is acknowledged.
    """
    with kek.alone():
        current, wrapped = kek.make(), 0
        await asyncio.sleep(grace_s)
        while True:
            await keys.catch_up()
            # A word of ours may have come behind a tombstone that we had not read.
            await maker.end_again()
            # Of what nothing unwraps any more nothing was ever sealed: it was on its way when the last one went.
            left = [
                (whose, one)
                for whose in keys.holders()
                for one in keys.held(whose)
                if one.kek_id != current and kek.holds(one.kek_id)
            ]
            if not left:
                break
            for at in range(0, len(left), AT_ONCE):
                await maker.wrap_anew(left[at : at + AT_ONCE])
            wrapped += len(left)
        for kek_id in kek.ids():
            if kek_id != current:
                kek.destroy(kek_id)
        return wrapped


async def rotate_if_due(keys: Keys, kek: Changing, maker: KeyMaker, *, every_ms: int = EVERY_MS) -> None:
    """Do that where the current key-encryption key is so old; one of all workers does."""
    if clock_ms() - kek.made_ms() < every_ms:
        return
    try:
        count = await rotate(keys, kek, maker)
    except BlockingIOError:
        return
    except (OSError, KafkaException) as error:
        # A folder that is only to be read: then somebody else has to (`oo keys rotate`), and what was forgotten waits for it.
        log.warning("keys.not_wrapped_anew error=%s", type(error).__name__)
        return
    log.info("keys.wrapped_anew keys=%d", count)
