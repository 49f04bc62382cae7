"""Keys for tests: a table of its own with real key-encryption keys in a folder, and the messages of a topic, opened."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from connectors.key_files import KeyFiles
from streams.cipher import KEY_BYTES
from streams.frames import Frames
from streams.keys import Keys, Wrapped, about
from streams.record import Record
from streams.sealing import KEY_ID_BYTES, KeyMissing, Sealing, T, opened


class KeptKeys(Keys):
    """Everybody's, also of those who left: for an oracle that folds what they said all the same."""

    def _end(self, whose: bytes, key_id: bytes) -> None:
        pass


def keys_in(folder: Path) -> Keys:
    """A table that follows no topic."""
    kek = KeyFiles(folder)
    if not kek.ids():
        kek.make()

    async def nothing() -> dict[int, int]:
        return {}

    async def none(_: int, __: int, ___: int) -> AsyncIterator[list[Record]]:
        for records in ():
            yield records

    return Keys(kek, ends=nothing, read=none)


def give(keys: Keys, whose: bytes, *, key_id: bytes | None = None) -> Wrapped:
    """One key more for this person."""
    name = key_id or secrets.token_bytes(KEY_ID_BYTES)
    one = Wrapped(name, *keys.kek.wrap(secrets.token_bytes(KEY_BYTES), about(whose, name)))
    keys.put(whose, one)
    return one


def sealing_in(folder: Path, *people: str) -> Sealing:
    """With a key for each of these."""
    keys = keys_in(folder)
    for one in people:
        give(keys, one.encode())
    return Sealing(Frames(), keys)


def opened_now(message: T, *, whose: bytes, keys: Keys) -> T:
    """As `opened`, for who reads topics one after the other: a key may have come since."""
    try:
        return opened(message, whose=whose, keys=keys)
    except KeyMissing:
        asyncio.run(keys.catch_up())
        return opened(message, whose=whose, keys=keys)
