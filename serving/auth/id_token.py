"""Whether an ID token counts: every rule of OpenID Connect Core 3.1.3.7 that a code flow needs, and nothing by default.

It asks nobody: the key is found by who calls, by its id and use. It never puts a claim into an error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning

from serving.keys import Key
from serving.tokens import ALGORITHMS, LEEWAY_S, TOKEN_CHARS_MAX, TokenRefused, check_fit, header_of, seconds_of

AGE_MAX_S: Final = 600
"""An ID token is for the sign-in that it was asked for: one that was issued before that is none."""
SUBJECT: Final = re.compile(r"[\x20-\x7e]{1,255}")

REFUSALS: Final = {
    "malformed": "The provider's ID token is no signed JSON Web Token.",
    "unsigned": "The provider's ID token is not signed.",
    "algorithm": "The provider's ID token is signed with an algorithm that is not accepted.",
    "unknown-key": "The provider's ID token names a key that the provider does not publish for signing.",
    "signature": "The signature of the provider's ID token does not fit.",
    "kind": "The provider's token is of another kind than an ID token.",
    "issuer": "The ID token comes from another issuer.",
    "audience": "The ID token is meant for another client.",
    "azp": "The ID token was issued to another client.",
    "expired": "The ID token has expired, or does not say when it does: is this machine's clock right?",
    "not-yet-valid": "The ID token is not valid yet: is this machine's clock right?",
    "issued-at": "The ID token is of another time, or does not say of which: is this machine's clock right?",
    "nonce": "The ID token is the answer to another sign-in.",
    "subject": "The ID token does not say who signed in.",
    "at-hash": "The ID token belongs to another access token.",
}


class IdTokenRefused(Exception):
    """Why it does not count; one of REFUSALS."""

    def __init__(self, reason: str) -> None:
        assert reason in REFUSALS
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """What is taken from an ID token. `email` only where the provider says that it is verified; in lower case."""

    issuer: str
    subject: str
    email: str | None


def key_id(token: str) -> str | None:
    """The id of the key that it names; None where it names none. Raises IdTokenRefused for what cannot be signed right."""
    if len(token) > TOKEN_CHARS_MAX:
        raise IdTokenRefused("malformed")
    try:
        header = header_of(token)
    except TokenRefused as error:
        raise IdTokenRefused("malformed") from error
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm.lower() == "none" or token.endswith("."):
        raise IdTokenRefused("unsigned")
    if algorithm not in ALGORITHMS:
        raise IdTokenRefused("algorithm")
    if "crit" in header or (kid is not None and not isinstance(kid, str)):
        raise IdTokenRefused("malformed")
    if str(header.get("typ", "JWT")).lower() not in ("jwt", "application/jwt"):
        raise IdTokenRefused("kind")
    return kid


def checked(
    token: str, key: Key, *, issuer: str, client_id: str, nonce: str, access_token: str | None, now_s: float
) -> Claims:
    """What the token says. Raises IdTokenRefused."""
    algorithm = str(header_of(token)["alg"])
    try:
        check_fit(algorithm, key)
        with warnings.catch_warnings():
            # EdDSA is the older name of Ed25519, still what most issuers send.
            warnings.simplefilter("ignore", SecurityWarning)
            claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except TokenRefused as error:
        raise IdTokenRefused("algorithm") from error
    except (JoseError, ValueError) as error:
        raise IdTokenRefused("signature") from error
    except RecursionError as error:
        raise IdTokenRefused("malformed") from error
    if claims.get("iss") != issuer:
        raise IdTokenRefused("issuer")
    _check_audience(claims, client_id)
    _check_times(claims, now_s)
    stated = claims.get("nonce")
    if not isinstance(stated, str) or not hmac.compare_digest(stated.encode(), nonce.encode()):
        raise IdTokenRefused("nonce")
    subject = claims.get("sub")
    if not isinstance(subject, str) or SUBJECT.fullmatch(subject) is None:
        raise IdTokenRefused("subject")
    if "at_hash" in claims and claims["at_hash"] != _at_hash(access_token, algorithm):
        raise IdTokenRefused("at-hash")
    return Claims(issuer=issuer, subject=subject, email=_email(claims))


def _check_audience(claims: Mapping[str, object], client_id: str) -> None:
    audience = claims.get("aud")
    meant = [audience] if isinstance(audience, str) else audience
    if not isinstance(meant, list) or client_id not in meant:
        raise IdTokenRefused("audience")
    # For several, it has to say for which of them it was issued.
    if claims.get("azp", client_id if len(meant) == 1 else None) != client_id:
        raise IdTokenRefused("azp")


def _check_times(claims: Mapping[str, object], now_s: float) -> None:
    expires_s, issued_s = seconds_of(claims.get("exp")), seconds_of(claims.get("iat"))
    if expires_s is None or not expires_s + LEEWAY_S > now_s:
        raise IdTokenRefused("expired")
    if issued_s is None or not now_s - AGE_MAX_S <= issued_s <= now_s + LEEWAY_S:
        raise IdTokenRefused("issued-at")
    if "nbf" in claims:
        begins_s = seconds_of(claims["nbf"])
        if begins_s is None or begins_s > now_s + LEEWAY_S:
            raise IdTokenRefused("not-yet-valid")


def _at_hash(access_token: str | None, algorithm: str) -> str | None:
    """OpenID Connect Core 3.1.3.6: the left half of its hash."""
    if access_token is None:
        return None
    hashed = hashlib.sha512 if algorithm in ("EdDSA", "Ed25519") else hashlib.sha256
    whole = hashed(access_token.encode()).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


def _email(claims: Mapping[str, object]) -> str | None:
    email, verified = claims.get("email"), claims.get("email_verified")
    # Apple writes it as a text.
    if not isinstance(email, str) or verified not in (True, "true") or not 3 <= len(email) <= 320 or "@" not in email:
        return None
    return email.strip().lower()
