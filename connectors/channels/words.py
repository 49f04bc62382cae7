"""Words that a notification carries: whoever brings one back may do that one thing, without a session. Signed, so nothing is kept of them.

`notify` has the key, and who verifies its public half alone.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

May = Literal["react", "unsubscribe", "confirm"]
CHARS_MAX: Final = 1024


def key_in(path: Path) -> ECKey:
    """The key of a file, as a JWK: private or public. Raises ValueError for what is none of P-256."""
    key = ECKey.import_key(json.loads(path.read_bytes()))
    if key.curve_name != "P-256":
        raise ValueError(f"{path} holds no key on the curve P-256")
    return key


def word(may: May, of: str, *, key: ECKey, until_ms: int) -> str:
    """A word for one delivery, or one device."""
    claims = {"aud": f"oo:{may}", "sub": of, "exp": until_ms // 1000}
    return jwt.encode({"alg": "ES256", "typ": "oo+jwt"}, claims, key)


def read(text: str, may: May, *, key: ECKey, now_ms: int) -> str | None:
    """Of which delivery or device a word is; None for one that is not ours, for something else, or too old.

    >>> key = ECKey.generate_key("P-256", private=True)
    >>> said = word("react", "d1", key=key, until_ms=2_000)
    >>> read(said, "react", key=key, now_ms=1_000), read(said, "unsubscribe", key=key, now_ms=1_000), read(said, "react", key=key, now_ms=2_000)
    ('d1', None, None)
    """
    if len(text) > CHARS_MAX:
        return None
    try:
        claims = jwt.decode(text, key, algorithms=["ES256"]).claims
    except (JoseError, ValueError, RecursionError):
        return None
    of, until_s = claims.get("sub"), claims.get("exp")
    if claims.get("aud") != f"oo:{may}" or not isinstance(of, str) or not isinstance(until_s, int):
        return None
    return of if now_ms < until_s * 1000 else None


def public_text(key: ECKey) -> str:
    """Return the public half as a browser's `applicationServerKey`: an uncompressed point in base64 for names."""
    public = key.as_dict(private=False)
    x, y = (base64.urlsafe_b64decode(f"{public[one]}==") for one in ("x", "y"))
    return base64.urlsafe_b64encode(b"\x04" + x + y).rstrip(b"=").decode()
