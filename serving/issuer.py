"""The issuer of local mode: signs tokens with a key from the state folder, and publishes its other half.

It never runs outside local mode, and its key never leaves its file.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from serving.keys import Key

TOKEN_LIFETIME_S = 12 * 3600

_ALGORITHMS = {"EC": "ES256", "OKP": "Ed25519", "RSA": "PS256"}


class LocalIssuer:
    """Mints what `serving.tokens` accepts."""

    def __init__(self, pem_or_jwk: bytes, *, issuer: str, audience: str) -> None:
        self._key = _load(pem_or_jwk)
        self._key.ensure_kid()
        self._algorithm = _ALGORITHMS[self._key.key_type]
        self._issuer = issuer
        self._audience = audience

    @classmethod
    def from_file(cls, path: Path, *, issuer: str, audience: str) -> LocalIssuer:
        return cls(path.read_bytes(), issuer=issuer, audience=audience)

    def mint(
        self,
        user_id: str,
        *,
        lifetime_s: int = TOKEN_LIFETIME_S,
        now_s: float | None = None,
        roles: Sequence[str] = (),
    ) -> str:
        """An access token for this user, valid from now."""
        issued_s = int(time.time() if now_s is None else now_s)
        return jwt.encode(
            {"alg": self._algorithm, "kid": str(self._key.kid)},
            {
                "iss": self._issuer,
                "aud": self._audience,
                "sub": user_id,
                "iat": issued_s,
                "exp": issued_s + lifetime_s,
                **({"roles": list(roles)} if roles else {}),
            },
            self._key,
            algorithms=[self._algorithm],
        )

    def jwks(self) -> bytes:
        """The public half, as a JWKS document."""
        public = {**self._key.as_dict(private=False), "alg": self._algorithm, "use": "sig"}
        return json.dumps({"keys": [public]}).encode()


def _load(pem_or_jwk: bytes) -> Key:
    """An EC (P-256), Ed25519 or RSA private key. Raises ValueError for anything else."""
    key: object = None
    if pem_or_jwk.lstrip().startswith(b"{"):
        stated = json.loads(pem_or_jwk)
        if isinstance(stated, dict) and stated.get("kty") in _ALGORITHMS:
            try:
                key = JWKRegistry.import_key(stated)
            except (JoseError, ValueError):
                key = None
    else:
        for kind in (ECKey, OKPKey, RSAKey):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SecurityWarning)
                    key = kind.import_key(pem_or_jwk)
                break
            except (JoseError, ValueError, TypeError):
                continue
    if not isinstance(key, ECKey | OKPKey | RSAKey) or not key.is_private:
        raise ValueError("the local signing key must be an EC P-256, Ed25519 or RSA private key, as PEM or JWK")
    return key
