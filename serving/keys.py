"""The public keys that tokens are verified with: a JWKS from a file or a URL, kept and renewed.

It never asks the issuer more often than every `refresh_min_s`, whatever key ids strangers invent, and never forgets
working keys because the issuer is away for a while.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from connectors.jwks import KeysNotServed

log = logging.getLogger(__name__)

Key = ECKey | OKPKey | RSAKey
Fetch = Callable[[], Awaitable[bytes]]

KEYS_MAX = 64


class KeysUnavailable(Exception):
    """No keys could be had yet."""


def parse_jwks(raw: bytes) -> dict[str, Key]:
    """Signature keys by id. Symmetric keys, encryption keys and kinds unknown to us are left out.

    Raises ValueError where this is no JWKS.
    """
    document = json.loads(raw)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("a JWKS is an object with a list `keys`")
    keys: dict[str, Key] = {}
    for entry in document["keys"][:KEYS_MAX]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        if entry.get("kty") not in ("EC", "OKP", "RSA"):
            continue
        try:
            key = JWKRegistry.import_key(entry)
        except (JoseError, ValueError):
            continue
        assert isinstance(key, ECKey | OKPKey | RSAKey)
        key.ensure_kid()
        keys[str(key.kid)] = key
    return keys


def from_file(path: Path) -> Fetch:
    async def fetch() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return fetch


class Keys:
    """Keys by id. `generation` counts their changes: what was verified under an older one is verified again."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        age_max_s: float = 600.0,
        refresh_min_s: float = 10.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._age_max_s = age_max_s
        self._refresh_min_s = refresh_min_s
        self._clock_s = clock_s
        self._keys: dict[str, Key] = {}
        self._documents: bytes | None = None
        self._fetched_s = float("-inf")
        self._asked_s = float("-inf")
        self._lock = asyncio.Lock()
        self.generation = 0

    async def get(self, kid: str | None) -> Key | None:
        """The key with this id (without an id: the only key), or None. Raises KeysUnavailable before the first."""
        if self._clock_s() - self._fetched_s > self._age_max_s:
            await self.refresh()
        key = self._find(kid)
        if key is None:
            await self.refresh()
            key = self._find(kid)
        if not self._keys:
            raise KeysUnavailable
        return key

    async def refresh(self) -> None:
        """Ask the issuer again, unless somebody just did."""
        async with self._lock:
            if self._clock_s() - self._asked_s < self._refresh_min_s:
                return
            self._asked_s = self._clock_s()
            try:
                raw = await self._fetch()
                keys = parse_jwks(raw)
            except (KeysNotServed, OSError, ValueError) as error:
                log.warning("keys.refresh_failed error=%s", type(error).__name__)
                return
            self._fetched_s = self._clock_s()
            if raw != self._documents:
                self._documents = raw
                self._keys = keys
                self.generation += 1

    @property
    def due(self) -> bool:
        """Whether it is time to ask the issuer again: what was verified may rest on a key that it has taken back."""
        now_s = self._clock_s()
        return now_s - self._fetched_s > self._age_max_s and now_s - self._asked_s >= self._refresh_min_s

    @property
    def ready(self) -> bool:
        return bool(self._keys)

    def _find(self, kid: str | None) -> Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)
