"""Access tokens: who is asking, proved by the issuer's signature.

It never accepts a symmetric algorithm, never follows a key or address named inside a token, and never puts a token
into a log or an error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning

from serving.keys import Key, Keys
from tables.pseudonyms import Pseudonyms

ALGORITHMS = {
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
}
"""Accepted algorithms and the kind of key that each takes. Nothing symmetric: a public key must not be a secret."""

LEEWAY_S = 30
"""How far the issuer's clock may be off."""
TOKEN_CHARS_MAX = 8192
CACHE_MAX = 10_000
RSA_BITS_MIN = 2048

USER_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
"""As `user_id` in the contracts."""

REFUSALS = {
    "malformed": "This is not a signed JSON Web Token.",
    "unsigned": "The token is not signed.",
    "algorithm": "The token is signed with an algorithm that is not accepted: use " + ", ".join(ALGORITHMS) + ".",
    "unknown-key": "The token names a key that the issuer does not publish.",
    "signature": "The token's signature does not fit.",
    "expired": "The token has expired; get a new one.",
    "not-yet-valid": "The token is not valid yet.",
    "issuer": "The token comes from another issuer.",
    "audience": "The token is meant for another service.",
    "subject": "The token's subject is missing or cannot be a user id.",
}


class TokenRefused(Exception):
    """Why a token does not count; one of REFUSALS."""

    def __init__(self, reason: str) -> None:
        assert reason in REFUSALS
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token speaks for, and until when (seconds since 1970)."""

    user_id: str
    pseudonym: str
    """What they are called behind the door: in Kafka's keys there, in Valkey and in PostgreSQL."""
    expires_s: float
    roles: frozenset[str] = frozenset()
    """What the issuer says of them in `roles`; nothing here asks for any, the operators' console does."""
    session: str | None = None
    """Of a token of our own, and of a cookie: the session that it counts with."""


class Verifier:
    """Verifies tokens of one issuer for one audience; remembers the last CACHE_MAX by hash, until they expire.

    `own`: the issuer is this edge, whose tokens count with a session. `beside`: who verifies those of another issuer.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str,
        audience: str,
        pseudonyms: Pseudonyms,
        own: bool = False,
        beside: Verifier | None = None,
        now_s: Callable[[], float] = time.time,
        leeway_s: int = LEEWAY_S,
    ) -> None:
        self._keys = keys
        self.issuer = issuer
        self._audience = audience
        self._pseudonyms = pseudonyms
        self._own = own
        self._beside = beside
        self._now_s = now_s
        self._leeway_s = leeway_s
        self._verified: OrderedDict[bytes, tuple[int, Identity]] = OrderedDict()

    def known(self, token: bytes) -> Identity | None:
        """Whom a token speaks for that was verified here with the keys of now and has not expired; else None."""
        found = self._verified.get(hashlib.sha256(token).digest())
        if found is None and self._beside is not None:
            return self._beside.known(token)
        if found is None or found[0] != self._keys.generation or self._keys.due:
            return None
        return found[1] if found[1].expires_s + self._leeway_s > self._now_s() else None

    async def verify(self, token: str) -> Identity:
        """Raises TokenRefused, or KeysUnavailable where the issuer's keys could not be had."""
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused("malformed")
        raw = token.encode("utf-8", "replace")
        known = self.known(raw)
        if known is not None:
            return known

        if self._beside is not None and _issuer_of(token) == self._beside.issuer:
            return await self._beside.verify(token)
        header = header_of(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm.lower() == "none" or token.endswith("."):
            raise TokenRefused("unsigned")
        if algorithm not in ALGORITHMS:
            raise TokenRefused("algorithm")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenRefused("malformed")
        key = await self._keys.get(kid)
        if key is None:
            raise TokenRefused("unknown-key")
        check_fit(algorithm, key)
        try:
            with warnings.catch_warnings():
                # EdDSA is the older name of Ed25519, still what most issuers send.
                warnings.simplefilter("ignore", SecurityWarning)
                claims = jwt.decode(token, key, algorithms=[algorithm]).claims
        except (JoseError, ValueError) as error:
            raise TokenRefused("signature") from error
        except RecursionError as error:
            # Claims, or a header, nested thousands deep.
            raise TokenRefused("malformed") from error

        identity = self._identity(claims)
        self._verified[hashlib.sha256(raw).digest()] = (self._keys.generation, identity)
        if len(self._verified) > CACHE_MAX:
            self._verified.popitem(last=False)
        return identity

    def _identity(self, claims: dict[str, object]) -> Identity:
        now_s = self._now_s()
        if claims.get("iss") != self.issuer:
            raise TokenRefused("issuer")
        audience = claims.get("aud")
        if self._audience != audience and not (isinstance(audience, list) and self._audience in audience):
            raise TokenRefused("audience")
        # A token without an expiry would be good for ever.
        expires_s = seconds_of(claims.get("exp"))
        if expires_s is None or not expires_s + self._leeway_s > now_s:
            raise TokenRefused("expired")
        if "nbf" in claims:
            begins_s = seconds_of(claims["nbf"])
            if begins_s is None or begins_s - self._leeway_s > now_s:
                raise TokenRefused("not-yet-valid")
        subject = claims.get("sub")
        if not isinstance(subject, str) or USER_ID.fullmatch(subject) is None:
            raise TokenRefused("subject")
        roles, session = claims.get("roles"), claims.get("sid")
        return Identity(
            user_id=subject,
            pseudonym=self._pseudonyms.of(subject),
            expires_s=expires_s,
            roles=frozenset(one for one in roles if isinstance(one, str)) if isinstance(roles, list) else frozenset(),
            session=session if self._own and isinstance(session, str) else None,
        )


def header_of(token: str) -> dict[str, object]:
    """What a token says of itself, unproved. Raises TokenRefused."""
    return _part(token, 0)


def _issuer_of(token: str) -> object:
    """Unproved: it tells only who is to prove it."""
    return _part(token, 1).get("iss")


def _part(token: str, number: int) -> dict[str, object]:
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenRefused("malformed")
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[number] + "=" * (-len(parts[number]) % 4)))
    except (ValueError, RecursionError) as error:
        raise TokenRefused("malformed") from error
    if not isinstance(found, dict):
        raise TokenRefused("malformed")
    return found


def check_fit(algorithm: str, key: Key) -> None:
    """Raises TokenRefused where the key is not for this algorithm."""
    # A key is used only with the algorithm that it is for, whatever the token says.
    kind, curve = ALGORITHMS[algorithm]
    stated = key.alg
    same = stated is None or stated == algorithm or {stated, algorithm} == {"EdDSA", "Ed25519"}
    if key.key_type != kind or not same:
        raise TokenRefused("algorithm")
    if curve is not None and key.as_dict(private=False).get("crv") != curve:
        raise TokenRefused("algorithm")
    if kind == "RSA" and key.public_key.key_size < RSA_BITS_MIN:  # type: ignore[union-attr]
        raise TokenRefused("algorithm")


def seconds_of(value: object) -> float | None:
    """A time of a token; None for what is none.

    >>> seconds_of(1.5), seconds_of(True), seconds_of("1")
    (1.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
