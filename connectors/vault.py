"""What a connection must not show: settings, tokens, its place in the source, and the ids of its items, sealed under a key of its own.

That key stands wrapped beside it. Both are bound to the person's pseudonym and the connection, so nothing opens for another one. It
knows neither where they stand nor where the key-encryption keys come from, and logs nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from streams.cipher import KEY_BYTES, Cipher
from streams.keys import KeyEncryption

_KIND: Final = b"oo.connection"
_MAC_BYTES: Final = 16


class NotOpened(Exception):
    """Sealed for another person, connection or purpose, or changed since."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A connection's key as it is stored."""

    kek_id: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Box:
    """One connection's seals. Deterministic: the same words sealed again for the same purpose are the same bytes."""

    wrapped: Wrapped
    _about: list[bytes] = field(repr=False)
    _key: bytes = field(repr=False)

    def seal(self, purpose: str, data: bytes) -> bytes:
        """What `open` gives back for this purpose alone; 16 bytes longer."""
        return Cipher(self._key).seal(data, [*self._about, purpose.encode()])

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Raises NotOpened."""
        data = Cipher(self._key).open(sealed, [*self._about, purpose.encode()])
        if data is None:
            raise NotOpened(f"these {purpose} were not sealed for this connection, or were changed")
        return data

    def mac(self, *parts: bytes) -> str:
        """A name that nobody makes without the key: 32 hexadecimal digits."""
        mac = hashlib.blake2b(key=self._key, digest_size=_MAC_BYTES, person=b"oo.connection")
        for part in parts:
            mac.update(len(part).to_bytes(4, "big") + part)
        return mac.hexdigest()


class Vault:
    """Makes and opens boxes. `kek`: in a folder of its own, since connections are wrapped anew apart from people's keys."""

    def __init__(self, kek: KeyEncryption) -> None:
        self._kek = kek

    def make(self, *, user_id: str, connection_id: str) -> Box:
        """A box with a new key. `user_id`: the pseudonym."""
        about = _about(user_id, connection_id)
        key = secrets.token_bytes(KEY_BYTES)
        return Box(Wrapped(*self._kek.wrap(key, about)), about, key)

    def open(self, wrapped: Wrapped, *, user_id: str, connection_id: str) -> Box:
        """Raises streams.keys.KekGone, and NotOpened for a key that was wrapped for another connection."""
        about = _about(user_id, connection_id)
        try:
            key = self._kek.unwrap(wrapped.kek_id, wrapped.key, about)
        except ValueError:
            raise NotOpened("this key was wrapped for another connection, or was changed") from None
        return Box(wrapped, about, key)

    def wrap_anew(self, wrapped: Wrapped, *, user_id: str, connection_id: str) -> Wrapped:
        """The same key under the current key-encryption key. Raises as `open`."""
        box = self.open(wrapped, user_id=user_id, connection_id=connection_id)
        return Wrapped(*self._kek.wrap(box._key, box._about))  # noqa: SLF001 - its own class


def _about(user_id: str, connection_id: str) -> list[bytes]:
    return [_KIND, user_id.encode(), connection_id.encode()]
