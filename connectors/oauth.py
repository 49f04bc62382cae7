"""Signs in at the services that people connect: authorization codes with PKCE (RFC 6749, 7636), and the refreshing of tokens.

It keeps nothing, and no fault of its own quotes what a service said. Client ids and secrets are the operator's, in a file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx

from connectors.outside import no_cookies
from connectors.sources.source import Connect, Failed, FaultKind, OAuth, Source

ANSWER_BYTES_MAX: Final = 64 * 1024
_NAMES: Final = {"client_id", "client_secret", "client_secret_file", "authorize_url", "token_url", "api_url"}
_THE_PERSONS: Final = {"invalid_grant", "access_denied", "bad_refresh_token", "bad_verification_code"}
"""Why no token comes, where signing in there again mends it (RFC 6749, 5.2; GitHub's). For all else the operator's file or the service is at fault."""


class BadClients(Exception):
    """The operator's file cannot be used; one line that says why."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What this oO is at one service. Without a secret it is a public client."""

    client_id: str
    client_secret: str = field(repr=False)
    oauth: OAuth
    api_url: str = ""
    """Where its API is, where that is another than the service's own."""


class OAuthClients:
    """Those that the operator has, by source."""

    def __init__(
        self, clients: Mapping[str, OAuthClient], http: httpx.AsyncClient, clock_ms: Callable[[], int]
    ) -> None:
        self._clients = clients
        self._http = http
        self._clock_ms = clock_ms

    @classmethod
    def of(
        cls, path: Path | None, sources: Mapping[str, Source], http: httpx.AsyncClient, *, clock_ms: Callable[[], int]
    ) -> Self:
        """Read a TOML file with a table a source: client_id, client_secret or client_secret_file. Raises BadClients."""
        try:
            told = {} if path is None else tomllib.loads(path.read_text(encoding="utf-8"))
            return cls({name: _client(name, table, sources) for name, table in told.items()}, http, clock_ms)
        except (OSError, ValueError) as error:
            raise BadClients(f"{path} cannot be used: {error}") from None

    async def close(self) -> None:
        """Drop its connections."""
        await self._http.aclose()

    def __contains__(self, source: object) -> bool:
        return source in self._clients

    @property
    def apis(self) -> dict[str, str]:
        """Where the sources are to be asked that are elsewhere."""
        return {name: client.api_url for name, client in self._clients.items() if client.api_url}

    def authorize_url(self, source: str, *, state: str, verifier: str, redirect_uri: str) -> str:
        """Where the person says yes."""
        client = self._clients[source]
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(client.oauth.scopes),
            "state": state,
            **client.oauth.extra,
        }
        if client.oauth.pkce:
            asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        between = "&" if "?" in client.oauth.authorize_url else "?"
        return f"{client.oauth.authorize_url}{between}{urlencode(asked)}"

    async def exchange(self, source: str, *, code: str, verifier: str, redirect_uri: str) -> dict[str, str]:
        """The credentials that a code is worth. Raises Failed."""
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if self._clients[source].oauth.pkce:
            asked["code_verifier"] = verifier
        return await self._asked(source, asked)

    async def refresh(self, source: str, credentials: Mapping[str, str]) -> dict[str, str]:
        """New credentials for old. Raises Failed: TOKEN_REVOKED where the person has to sign in there again."""
        if source not in self._clients:
            raise Failed(FaultKind.TOKEN_EXPIRED, "no-client")
        old = credentials["refresh_token"]
        new = await self._asked(source, {"grant_type": "refresh_token", "refresh_token": old})
        # A service that does not turn them over leaves the old one good.
        return {"refresh_token": old, **new}

    async def _asked(self, source: str, asked: Mapping[str, str]) -> dict[str, str]:
        client = self._clients[source]
        who = {"client_id": client.client_id}
        who |= {"client_secret": client.client_secret} if client.client_secret else {}
        try:
            answer = await self._http.post(
                client.oauth.token_url, data={**asked, **who}, headers={"accept": "application/json"}
            )
        except (httpx.HTTPError, OSError) as error:
            raise Failed(FaultKind.UNREACHABLE, type(error).__name__) from None
        said = _json(answer)
        if answer.status_code == 429:
            raise Failed(FaultKind.RATE_LIMITED, "HTTP 429")
        token, refused = said.get("access_token"), said.get("error")
        if isinstance(refused, str) and refused in _THE_PERSONS and answer.status_code < 500:
            raise Failed(FaultKind.TOKEN_REVOKED, f"HTTP {answer.status_code}")
        # Some refuse with 200.
        if refused or answer.status_code >= 300 or not isinstance(token, str) or not token:
            kind = FaultKind.UNREACHABLE if answer.status_code >= 500 else FaultKind.ODD_ANSWER
            is_code = isinstance(refused, str) and re.fullmatch("[a-z_]{1,40}", refused)
            raise Failed(kind, str(refused) if is_code else f"HTTP {answer.status_code}")
        found = {"access_token": token}
        lasts = said.get("expires_in")
        if isinstance(lasts, int | float) and 0 < lasts < 10**9:
            found["expires_ms"] = str(self._clock_ms() + round(lasts * 1000))
        if isinstance(said.get("refresh_token"), str):
            found["refresh_token"] = said["refresh_token"]
        return found


def client_of_operators() -> httpx.AsyncClient:
    """What asks for tokens: at addresses that are the operator's word, so also inside; it follows no redirect with a secret."""
    return httpx.AsyncClient(timeout=20.0, trust_env=False, headers={"user-agent": "oO"}, cookies=no_cookies())


def oauth_of(source: Source) -> OAuth | None:
    """How this source signs in, if it does."""
    return next((way.oauth for way in source.description.ways if way.connect is Connect.OAUTH), None)


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        said = json.loads(answer.content[:ANSWER_BYTES_MAX])
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _client(name: str, table: object, sources: Mapping[str, Source]) -> OAuthClient:
    """Raises ValueError and OSError."""
    oauth = oauth_of(sources[name]) if name in sources else None
    if oauth is None:
        raise ValueError(f"no source signs in under the name {name!r}")
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ValueError(f"[{name}] has texts only")
    if unknown := table.keys() - _NAMES:
        raise ValueError(f"[{name}] has {', '.join(sorted(unknown))}, and may have {', '.join(sorted(_NAMES))}")
    if not table.get("client_id"):
        raise ValueError(f"[{name}] needs client_id")
    secret = table.get("client_secret", "")
    if file := table.get("client_secret_file"):
        secret = Path(file).read_text(encoding="utf-8").strip()
    return OAuthClient(
        table["client_id"],
        secret,
        OAuth(
            table.get("authorize_url", oauth.authorize_url),
            table.get("token_url", oauth.token_url),
            oauth.scopes,
            oauth.extra,
            oauth.pkce,
        ),
        table.get("api_url", "").rstrip("/"),
    )
