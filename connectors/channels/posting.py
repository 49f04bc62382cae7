"""Posts to an address that a person named, once: no redirect is followed, and of the answer nothing but its head is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from connectors.channels.channel import NotSent, Unsure
from connectors.outside import InsideAddress, Network, client_for
from streams.clock import clock_ms

TIMEOUT_S: Final = 10.0
"""Of silence."""
WHOLE_S: Final = 20.0
AGAIN_S_MAX: Final = 3600.0
"""A provider that says later than this is asked then."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    again_s: float
    """What Retry-After says; 0 where it says nothing."""


class Posting:
    """One client for all addresses of a channel."""

    def __init__(self, inside: Sequence[Network]) -> None:
        """`inside`: networks of our own that people may name, without TLS too."""
        self._schemes = ("https", "http") if inside else ("https",)
        self._client = client_for(inside, timeout_s=TIMEOUT_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def post(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises NotSent where nothing went out, Unsure where nothing came back."""
        try:
            if urlsplit(url).scheme not in self._schemes:
                raise NotSent("address", again_s=None)
            asked = self._client.stream("POST", url, content=content, headers=dict(headers), follow_redirects=False)
            # As a whole, however slowly it drips.
            async with asyncio.timeout(WHOLE_S), asked as answer:
                return Answer(answer.status_code, _again_s(answer.headers.get("retry-after", "")))
        except (InsideAddress, httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
            raise NotSent("address", again_s=None) from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise NotSent("unreachable") from None
        except (httpx.TransportError, TimeoutError):
            raise Unsure from None


def origin(url: str) -> str:
    """Return scheme, host and port, as RFC 6454 writes them.

    >>> origin("https://push.example:8443/send/abc?x=1")
    'https://push.example:8443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def judge(answer: Answer) -> None:
    """Raises NotSent for an answer that does not say it was taken; a redirect is such a one."""
    if 200 <= answer.status < 300:
        return
    if answer.status in (404, 410):
        raise NotSent("gone", again_s=None, gone=True)
    if answer.status == 429 or answer.status >= 500:
        raise NotSent("busy" if answer.status == 429 else "provider", again_s=answer.again_s)
    raise NotSent(f"refused-{answer.status}", again_s=None)


def _again_s(text: str) -> float:
    """
    >>> _again_s("120"), _again_s(""), _again_s("soon"), _again_s("999999")
    (120.0, 0.0, 0.0, 3600.0)
    """
    if text.isascii() and text.isdigit():
        return min(float(text), AGAIN_S_MAX)
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, at_s - clock_ms() / 1000), AGAIN_S_MAX)
