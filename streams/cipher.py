"""One key's cipher: AES-SIV (RFC 5297, with 512-bit keys) by `cryptography`. It imports what publish and light commands never need."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_BYTES = 64


class Cipher:
    """Deterministic: the same key, data and `about` give the same bytes, 16 more than came.

    >>> one = Cipher(bytes(KEY_BYTES))
    >>> sealed = one.seal(b"words", [b"of ada"])
    >>> one.open(sealed, [b"of ada"]), one.open(sealed, [b"of bob"]), len(sealed)
    (b'words', None, 21)
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESSIV(key)

    def seal(self, data: bytes, about: list[bytes]) -> bytes:
        """What only `open` with the same `about` gives back."""
        return self._aead.encrypt(data, about)

    def open(self, sealed: bytes, about: list[bytes]) -> bytes | None:
        """None for what this key did not seal about this."""
        try:
            return self._aead.decrypt(sealed, about)
        except InvalidTag:
            return None
