"""The keys that sign our access tokens, of all edges together: in PostgreSQL, sealed; published before they sign, and after.

It never gives a private half away.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from joserfc import jwt
from joserfc.jwk import ECKey

from connectors.postgres.accounts import Accounts, SigningKey, Unreachable
from serving.auth.seals import Seals
from serving.keys import Keys
from serving.tokens import Identity
from streams.units import DAY_MS, MINUTE_MS, SECOND_MS

ALGORITHM: Final = "ES256"
LASTS_S: Final = 600
"""An access token; its session is looked at besides."""
ROTATE_MS: Final = 30 * DAY_MS
"""Another key is made."""
AHEAD_MS: Final = 15 * MINUTE_MS
"""So long it is published before it signs: whoever keeps our keys for a while has it by then."""
KEPT_MS: Final = DAY_MS
"""So long a key is published beside the next one: past the last token that it signed."""
FETCH_MIN_S: Final = 1.0


class SigningKeys:
    """One per process. `keys` are the public halves, for who verifies."""

    def __init__(
        self, accounts: Accounts, seals: Seals, *, issuer: str, audience: str, now_ms: Callable[[], int]
    ) -> None:
        self._accounts = accounts
        self._seals = seals
        self.issuer = issuer
        self._audience = audience
        self._now_ms = now_ms
        self._private: list[tuple[int, ECKey]] = []
        self.keys = Keys(self._fetch, age_max_s=60.0, refresh_min_s=FETCH_MIN_S)

    async def signer(self) -> ECKey:
        """The key that signs now. Raises Unreachable's kinds."""
        if not self._private or self.keys.due:
            await self._read()
        ready = [key for made_ms, key in self._private if made_ms <= self._now_ms() - AHEAD_MS]
        # The first one of all signs at once: there is nobody who could know another.
        return ready[0] if ready else self._private[-1][1]

    def mint(self, who: Identity, key: ECKey) -> str:
        """An access token for this person, good while their session stands."""
        issued_s = self._now_ms() // SECOND_MS
        claims = {
            "iss": self.issuer,
            "aud": self._audience,
            "sub": who.user_id,
            "sid": who.session,
            "roles": sorted(who.roles),
            "iat": issued_s,
            "exp": issued_s + LASTS_S,
        }
        return jwt.encode({"alg": ALGORITHM, "kid": str(key.kid), "typ": "at+jwt"}, claims, key)

    async def jwks(self) -> bytes:
        """The public halves, as a JWKS document. Raises Unreachable's kinds."""
        await self._read()
        public = [key.as_dict(private=False) for _, key in self._private]
        return json.dumps({"keys": public}).encode()

    async def _fetch(self) -> bytes:
        try:
            return await self.jwks()
        except Unreachable as error:
            raise OSError("PostgreSQL is away") from error

    async def _read(self) -> None:
        """What stands, the newest first; makes the next one where it is time."""
        now_ms = self._now_ms()
        found = await self._accounts.signing_keys()
        if not found or found[0].made_ms < now_ms - ROTATE_MS:
            fresh = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, private=True)
            fresh.ensure_kid()
            kid = str(fresh.kid)
            sealed = self._seals.seal(json.dumps(fresh.as_dict(private=True)), kid)
            # The newest of before signs until this one does.
            await self._accounts.add_signing_key(
                SigningKey(kid, sealed, now_ms),
                newest_before_ms=now_ms - ROTATE_MS,
                drop_before_ms=found[0].made_ms if found else 0,
            )
            found = await self._accounts.signing_keys()
        kept = [*found[:1], *(one for newer, one in pairwise(found) if newer.made_ms > now_ms - KEPT_MS)]
        self._private = [
            (one.made_ms, ECKey.import_key(json.loads(self._seals.opened(one.key, one.kid)))) for one in kept
        ]
