"""Speaks to an OpenID provider: reads what it says of itself, and exchanges a code. It believes nothing that it gets.

Every call ends in time, follows no redirect, and reads a bounded answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import httpx

from connectors.outside import PACKED, OddlyPacked, TooLarge, body_of

BYTES_MAX: Final = 256 * 1024
TIMEOUT_S: Final = 5.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class ProviderAway(Exception):
    """The provider did not answer in time, or not with what can be read. Names the kind of fault only."""


class ProviderRefused(Exception):
    """The provider answered that it will not; `error` is its word for why."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def is_safe(url: object) -> bool:
    """Whether this may be asked: over TLS, or on this machine.

    >>> is_safe("https://id.example/token"), is_safe("http://127.0.0.1:8080/token"), is_safe("http://id.example/token")
    (True, True, False)
    """
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


async def discover(issuer: str) -> dict[str, object]:
    """What stands at the issuer's well-known address. Raises ProviderAway."""
    status, body = await _ask("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
    if status != 200:
        raise ProviderAway(f"discovery answered {status}")
    return body


async def exchange(endpoint: str, form: Mapping[str, str], *, basic: tuple[str, str] | None) -> dict[str, object]:
    """What the token endpoint gives for this form; `basic` is a client's id and secret. Raises ProviderAway, ProviderRefused."""
    # RFC 6749, 2.3.1: both are encoded as a form is, before they are joined.
    auth = None if basic is None else httpx.BasicAuth(quote(basic[0], safe=""), quote(basic[1], safe=""))
    status, body = await _ask("POST", endpoint, form=form, auth=auth)
    if status != 200:
        error = body.get("error")
        raise ProviderRefused(error[:100] if isinstance(error, str) else f"status {status}")
    return body


async def _ask(
    method: str, url: str, *, form: Mapping[str, str] | None = None, auth: httpx.Auth | None = None
) -> tuple[int, dict[str, object]]:
    headers = {"accept": "application/json", **PACKED}
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(timeout=TIMEOUT_S) as client,
            client.stream(method, url, data=dict(form) if form else None, auth=auth, headers=headers) as response,
        ):
            body = await body_of(response, bytes_max=BYTES_MAX)
    except (TooLarge, OddlyPacked) as error:
        raise ProviderAway(str(error)) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        raise ProviderAway(type(error).__name__) from error
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderAway(f"status {response.status_code}, and no JSON") from error
    if not isinstance(answer, dict):
        raise ProviderAway("no JSON object")
    return response.status_code, answer
