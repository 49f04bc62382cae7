"""MACs and seals under the edge's own secret: what stands in PostgreSQL and Valkey of who signs in tells nobody else anything.

It makes no cryptography: HMAC is Python's, AES-GCM is joserfc's.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

SECRET_BYTES_MIN: Final = 32


class NotSealed(Exception):
    """This was not sealed here, or was sealed for something else."""


class Seals:
    """Of one secret, which every edge has and nobody else."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"the secret of sign-in has {len(secret)} bytes; {SECRET_BYTES_MIN} are needed")
        self._secret = secret
        self._key = OctKey.import_key(self.mac("seal", ""))

    @classmethod
    def in_file(cls, path: Path) -> Seals:
        """Raises ValueError for one that is too short."""
        return cls(path.read_bytes())

    def mac(self, kind: str, *parts: str) -> bytes:
        """32 bytes that nobody makes without the secret; of other parts, or of another kind, other ones.

        >>> seals = Seals(bytes(32))
        >>> seals.mac("x", "a", "b") == seals.mac("x", "ab"), len(seals.mac("x", "a"))
        (False, 32)
        """
        whole = "".join(f"{len(part.encode())}:{part}" for part in (kind, *parts))
        return hmac.new(self._secret, whole.encode(), hashlib.sha256).digest()

    def seal(self, text: str, about: str) -> str:
        """The text, for nobody else to read; `about` stands in the open and is bound to it."""
        header = {"alg": "dir", "enc": "A256GCM", "kid": about}
        return jwe.encrypt_compact(header, text, self._key)

    def opened(self, sealed: str, about: str) -> str:
        """The text again. Raises NotSealed.

        >>> seals = Seals(bytes(32))
        >>> seals.opened(seals.seal("ada", "person"), "person")
        'ada'
        """
        try:
            found = jwe.decrypt_compact(sealed, self._key, algorithms=["dir", "A256GCM"])
        except (JoseError, ValueError) as error:
            raise NotSealed(about) from error
        if found.headers().get("kid") != about or found.plaintext is None:
            raise NotSealed(about)
        return found.plaintext.decode()
