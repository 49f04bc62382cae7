"""Which trace a record or a request belongs to, as the header `traceparent` says it (W3C Trace Context, level 1).

Pure. What is no such header names no trace, and is never a fault of the record that carries it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
_CLOUD_EVENTS: Final = "ce_traceparent"
"""Comes second: it may be of an earlier hop."""
_FORM: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.DOTALL)
_SAMPLED: Final = b"13579bdf"
"""The last digits of flags with the lowest bit: others may be set beside it."""
_LAST: Final = slice(54, 55)


class Span(NamedTuple):
    """A sampled span, by its trace of 128 bits and its own 64."""

    trace_id: int
    span_id: int

    @property
    def text(self) -> str:
        """The header that says so.

        >>> Span(1, 2).text
        '00-00000000000000000000000000000001-0000000000000002-01'
        """
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


def sampled(text: bytes | None) -> Span | None:
    """The span that a header names, where its sampled bit is set; None for another one and for what is none.

    >>> sampled(b"00-00000000000000000000000000000001-0000000000000002-03")
    Span(trace_id=1, span_id=2)
    >>> sampled(b"00-00000000000000000000000000000001-0000000000000002-02"), sampled(b"mine"), sampled(None)
    (None, None, None)
    """
    # Looked at first: most are not sampled.
    if not text or text[_LAST] not in _SAMPLED:
        return None
    found = _FORM.fullmatch(text)
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[4] is not None):
        return None
    span = Span(int(found[2], 16), int(found[3], 16))
    return span if span.trace_id and span.span_id else None


def said_in(headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """What a Kafka record's headers say, sampled or not; None where they say nothing, or twice.

    >>> said_in([("ce_id", b"7"), ("traceparent", b"00-..")]), said_in([("traceparent", b"a"), ("traceparent", b"b")])
    (b'00-..', None)
    """
    said = [value for name, value in headers if name == HEADER]
    said = said or [value for name, value in headers if name == _CLOUD_EVENTS]
    return said[0] if len(said) == 1 else None
