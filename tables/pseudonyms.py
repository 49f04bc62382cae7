"""What people are called behind the door: a MAC of the user id, under a secret that never changes.

It never gives a name back: only what is sealed says whose it is. A folder from before has no such secret, and its people keep the
names that producers give them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

SECRET_BYTES = 32
SECRET_BYTES_MAX = 64
_BYTES = 16


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Under one secret; with an empty one, everybody's own name.

    >>> Pseudonyms(bytes(32)).of("ada"), Pseudonyms(b"").of("ada")
    ('5dOHtYuv8udiD7lch_8neQ', 'ada')
    """

    secret: bytes = field(repr=False)
    _keyed: hashlib.blake2b = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.secret and not SECRET_BYTES <= len(self.secret) <= SECRET_BYTES_MAX:
            raise ValueError(
                f"the secret of pseudonyms has {len(self.secret)} bytes; {SECRET_BYTES} are needed, or none at all"
            )
        # A copy of what has taken the key in costs less than a new one.
        keyed = hashlib.blake2b(key=self.secret, digest_size=_BYTES, person=b"oo.pseudonym")
        object.__setattr__(self, "_keyed", keyed)

    @classmethod
    def in_file(cls, path: Path) -> Self:
        """The secret that stands in this file; an empty file leaves names as they are."""
        return cls(path.read_bytes())

    @property
    def id(self) -> str:
        """Tells two secrets apart, and nothing of them; of no secret `own names`."""
        return self.of("") if self.secret else "own names"

    def of(self, user_id: str) -> str:
        """The pseudonym: 22 characters, of base64 for names (RFC 4648)."""
        if not self.secret:
            return user_id
        mac = self._keyed.copy()
        mac.update(user_id.encode())
        return base64.urlsafe_b64encode(mac.digest())[:22].decode()
