"""Asks a service over HTTP, within bounds, and makes one of a few faults of what goes wrong.

It asks once: when to try again is the scheduler's to say. It never puts an address, a header or a body into a fault.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from connectors.outside import PACKED, InsideAddress, OddlyPacked, TooLarge, body_of
from connectors.sources.source import Access, Failed, FaultKind

BYTES_MAX: Final = 10 * 1024 * 1024
"""Of one answer, as it is after decompression."""
ANSWER_S: Final = 60.0
"""For one answer as a whole, however slowly it drips."""
WAIT_S_MAX: Final = 24 * 3600
"""Longer than this nobody is believed to mean."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, whole."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL
    """Where it came from in the end, redirects followed."""

    def json(self) -> Any:
        """Return the body as JSON; raises Failed."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Failed(FaultKind.ODD_ANSWER, "no-json") from None


async def ask(
    access: Access,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    allowed: tuple[int, ...] = (),
    **how: Any,
) -> Answer:
    """Return an answer that is a success or of an `allowed` status; raises Failed for all else.

    401 is an expired token where the connection has one that expires, else a revoked one. `how` is httpx's.
    """
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            access.client.stream(method, url, headers={**PACKED, **(headers or {})}, **how) as response,
        ):
            body = await body_of(response, bytes_max=BYTES_MAX)
            answer = Answer(response.status_code, response.headers, body, response.url)
    except TooLarge:
        raise Failed(FaultKind.TOO_MUCH, "answer") from None
    except OddlyPacked:
        raise Failed(FaultKind.ODD_ANSWER, "encoding") from None
    except InsideAddress:
        raise Failed(FaultKind.UNREACHABLE, "inside-address") from None
    except httpx.TooManyRedirects:
        raise Failed(FaultKind.ODD_ANSWER, "redirects") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        raise Failed(FaultKind.GONE, "bad-address") from None
    except (httpx.TransportError, OSError, TimeoutError) as error:
        raise Failed(FaultKind.UNREACHABLE, type(error).__name__) from None
    if answer.status < 300 or answer.status in allowed:
        return answer
    raise refusal(access, answer)


def refusal(access: Access, answer: Answer) -> Failed:
    """Return what an answer that is no success means, where a service has no words of its own."""
    detail = f"HTTP {answer.status}"
    until_ms = retry_at_ms(answer.headers.get("retry-after", ""), now_ms=access.now_ms)
    if answer.status == 429 or (answer.status in (403, 503) and until_ms):
        return Failed(FaultKind.RATE_LIMITED, detail, until_ms=until_ms)
    if answer.status == 401 and "access_token" in access.credentials:
        return Failed(FaultKind.TOKEN_EXPIRED, detail)
    if answer.status in (401, 403):
        return Failed(FaultKind.TOKEN_REVOKED, detail)
    if answer.status in (404, 410):
        return Failed(FaultKind.GONE, detail)
    if answer.status >= 500 or answer.status in (408, 425):
        return Failed(FaultKind.UNREACHABLE, detail)
    return Failed(FaultKind.ODD_ANSWER, detail)


def retry_at_ms(said: str, *, now_ms: int) -> int:
    """Return the time that a Retry-After names, in seconds or as a date, at most a day ahead; 0 where it says nothing.

    >>> retry_at_ms("30", now_ms=1_000), retry_at_ms("soon", now_ms=1_000)
    (31000, 0)
    >>> retry_at_ms("Thu, 01 Jan 1970 00:01:00 GMT", now_ms=1_000)
    60000
    """
    said = said.strip()
    if said.isascii() and said.isdigit():
        return now_ms + min(int(said[:9]), WAIT_S_MAX) * 1000
    try:
        moment = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return 0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp() * 1000), now_ms), now_ms + WAIT_S_MAX * 1000)


def bearer(access: Access) -> dict[str, str]:
    """Return the header that shows the connection's token, whichever way it came."""
    token = access.credentials.get("access_token") or access.credentials.get("token") or ""
    return {"authorization": f"Bearer {token}"}


def modified_ms(answer: Answer, *, now: datetime) -> int:
    """Return when the answer says that it was last changed, in ms; now where it does not say."""
    try:
        moment = parsedate_to_datetime(answer.headers.get("last-modified", ""))
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, TypeError):
        return int(now.timestamp() * 1000)
