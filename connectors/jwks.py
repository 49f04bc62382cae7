"""Fetches an issuer's published keys. It never reads them: what they are good for is the edge's to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from connectors.outside import PACKED, OddlyPacked, TooLarge, body_of

BYTES_MAX: Final = 256 * 1024


class KeysNotServed(Exception):
    """The issuer did not answer in time, or not with a document of a fitting size. Names the kind of fault only."""


def jwks_at(url: str, *, timeout_s: float = 3.0) -> Callable[[], Awaitable[bytes]]:
    """A call that gets the whole document within `timeout_s`, without redirects; raises KeysNotServed."""

    async def fetch() -> bytes:
        try:
            async with asyncio.timeout(timeout_s), httpx.AsyncClient(timeout=timeout_s) as client:
                return await _read(client, url)
        except (TooLarge, OddlyPacked) as error:
            raise KeysNotServed(str(error)) from None
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise KeysNotServed(type(error).__name__) from error

    return fetch


async def _read(client: httpx.AsyncClient, url: str) -> bytes:
    async with client.stream("GET", url, headers={"accept": "application/json", **PACKED}) as response:
        response.raise_for_status()
        return await body_of(response, bytes_max=BYTES_MAX)
