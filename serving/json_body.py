"""The JSON that a request brings, bounded before it is parsed: its bytes, its levels, the length of its numbers.

It never says what may stand in it: that is the route's. A text with a lone surrogate passes here, for the route to name.
"""

from __future__ import annotations

import json
import re

from fastapi import Request
from starlette.requests import ClientDisconnect

from serving.problems import Problem

LEVELS_MAX = 32
NUMBER_CHARS_MAX = 64
VALUES_MAX = 32_768
"""In one document, lists and objects included: more than 500 signals of the longest kind have."""

_LONG_NUMBER = re.compile(rb"(?<![-+.0-9eE])[-+.0-9eE]{%d}" % (NUMBER_CHARS_MAX + 1))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")


async def json_body(request: Request, *, bytes_max: int | None = None) -> object:
    """The document. Raises problems: 415, 413 (past `bytes_max`), 400 (no JSON, or not all of it), 422 (past a bound)."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported-media-type", detail="Send JSON, with `Content-Type: application/json`.")
    try:
        raw = await request.body()
    except ClientDisconnect:
        # Nobody hears it; a peer that goes away is no fault of ours.
        raise Problem(400, "broken-off", detail="The body ended before it was whole.") from None
    if bytes_max is not None and len(raw) > bytes_max:
        raise Problem(413, "too-large", detail=f"A body may have {bytes_max} bytes here.")
    return parse(raw)


def parse(raw: bytes) -> object:
    """
    >>> parse(b'[1, "[[["]')
    [1, '[[[']
    >>> parse(b"[" * 33 + b"]" * 33)
    Traceback (most recent call last):
        ...
    serving.problems.Problem: invalid-request
    """
    # Work in C that grows with the bytes only; each look is short because of the one before it.
    if raw.count(b'"') > 4 * VALUES_MAX:
        raise _too_much(f"JSON may hold {VALUES_MAX} values")
    bare = b"".join(raw.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > VALUES_MAX:
        raise _too_much(f"JSON may hold {VALUES_MAX} values")
    if _LONG_NUMBER.search(bare):
        raise _too_much(f"a number may have {NUMBER_CHARS_MAX} characters")
    level = 0
    for bracket in bare.translate(None, _NO_BRACKETS):
        level += 1 if bracket in _OPENING else -1
        if level > LEVELS_MAX:
            raise _too_much(f"JSON may be {LEVELS_MAX} levels deep")
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number)
    except ValueError as error:
        raise Problem(400, "not-json", detail="The body is not valid JSON.") from error


def _too_much(what: str) -> Problem:
    return Problem(422, "invalid-request", detail=f"Too much to look at: {what}.")


def _no_number(name: str) -> None:
    raise ValueError(f"JSON has no {name}")
