"""Makes keys for people who have none, ends the keys of those who leave, and wraps the living anew; each returns once Kafka has it.

Nothing may be sealed with a key before it is acknowledged. It never writes a key in the open.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence

from oo.v1.key_pb2 import WrappedKey
from streams.cipher import KEY_BYTES, Cipher
from streams.day_keys import Use, day_of
from streams.frames import Frames
from streams.keys import Keys, Wrapped, about, home, name_of
from streams.producer import Delivered, Producer
from streams.sealing import KEY_ID_BYTES


class KeyMaker:
    """Writes to one cluster's topic of keys, of this full name."""

    def __init__(self, keys: Keys, *, topic: str, producer: Producer, frames: Frames) -> None:
        self._keys = keys
        self._topic = topic
        self._producer = producer
        self._frames = frames

    def lacks(self, whose: bytes) -> bool:
        """Whether `ensure` would make this person a key."""
        return self._keys.lacks(whose)

    async def ensure(self, people: Iterable[bytes]) -> None:
        """Return once each of them has a key that is acknowledged. Two doors may each make one: any opens, the smallest id seals."""
        new = {one: secrets.token_bytes(KEY_BYTES) for one in people if self._keys.lacks(one)}
        left = {(whose, secrets.token_bytes(KEY_ID_BYTES)): key for whose, key in new.items()}
        while left:
            wrapped = dict(zip(left, self._wrapped([(*name, key) for name, key in left.items()]), strict=True))
            self._keys.made.update(name_of(*name) for name in wrapped)
            await asyncio.gather(*[self._write(whose, word) for (whose, _), word in wrapped.items()])
            # Where the living were wrapped anew meanwhile, and the old key-encryption key is gone: once more.
            stand = [name for name, word in wrapped.items() if self._keys.kek.holds(word.kek_id)]
            for whose, key_id in stand:
                self._keys.put(whose, wrapped[whose, key_id])
                self._keys.opened(whose, key_id, Cipher(left.pop((whose, key_id))))

    async def forget(self, whose: bytes) -> None:
        """Return once every key of this person that is known here has its tombstone."""
        names = self._keys.forget(whose)
        number = home(whose)
        await asyncio.gather(
            *[self._producer.produce(self._topic, key=name, value=None, partition=number) for name in names]
        )

    async def forget_days(self, use: Use, *, before_ms: int) -> None:
        """End the keys of days of this use that began before then."""
        for whose in self._keys.holders():
            began_ms = day_of(whose, use)
            if began_ms is not None and began_ms < before_ms:
                await self.forget(whose)

    async def wrap_anew(self, keys: Sequence[tuple[bytes, Wrapped]]) -> None:
        """Return once these stand in the topic as the current key-encryption key wraps them. Raises KekGone."""
        unwrap = self._keys.kek.unwrap
        opened = [(whose, one.id, unwrap(one.kek_id, one.wrapped, about(whose, one.id))) for whose, one in keys]
        anew = [(whose, word) for (whose, _, _), word in zip(opened, self._wrapped(opened), strict=True)]
        await self._producer.room()
        await asyncio.gather(*[self._write(whose, word) for whose, word in anew])
        for whose, word in anew:
            self._keys.put(whose, word)

    async def end_again(self) -> None:
        """Return once every key that was ended, and of which a word came later, has a tombstone behind that."""
        names = [(name, home(name[: -KEY_ID_BYTES - 1])) for name in self._keys.again]
        await asyncio.gather(
            *[self._producer.produce(self._topic, key=name, value=None, partition=number) for name, number in names]
        )
        self._keys.again.difference_update(name for name, _ in names)

    def _wrapped(self, keys: Sequence[tuple[bytes, bytes, bytes]]) -> list[Wrapped]:
        """Of each: whose it is, its id, and the key."""
        kek_id, wrapped = self._keys.kek.wrap_all([(key, about(whose, key_id)) for whose, key_id, key in keys])
        return [Wrapped(key_id, kek_id, one) for (_, key_id, _), one in zip(keys, wrapped, strict=True)]

    def _write(self, whose: bytes, key: Wrapped) -> asyncio.Future[Delivered]:
        return self._producer.produce(
            self._topic,
            key=name_of(whose, key.id),
            value=self._frames.frame("keys", WrappedKey(kek_id=key.kek_id, wrapped=key.wrapped)),
            partition=home(whose),
        )
