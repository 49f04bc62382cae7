"""Spans of what is sampled: which records and requests have one, what it is called, and where it goes when it has ended.

Nothing of OpenTelemetry is imported before `opened` is called for a share above 0. A span is sent by a thread of its own, from a queue
that drops what it has no room for: whoever ends one never waits, and hears of no fault.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Final, Protocol

from connectors.spans import Attribute, Work
from streams.record import Record
from streams.traceparent import Span, said_in, sampled

_MIX: Final = 0x9E3779B97F4A7C15
"""Odd, so that a multiplication by it can be undone. The draw is our own: producers draw by a trace id's lower bits, some keep the
smallest and some the greatest, and of what they kept ours is to be a share all the same."""
_UNMIX: Final = pow(_MIX, -1, 1 << 64)
_ALL: Final = 1 << 64


class Sends(Protocol):
    """Where spans go."""

    def send(self, work: Work, *, ended_ns: int) -> None:
        """Never waits."""

    def close(self) -> None:
        """Send what waits, for a moment."""


class Traces:
    """One per process. `share`: of what producers and clients say to sample, by trace: a trace is whole or not there."""

    def __init__(self, share: float, sends: Sends) -> None:
        self._kept = round(share * _ALL)
        self._sends = sends

    def kept(self, said: bytes | None) -> Span | None:
        """The span that a header names, where it is sampled and in the share."""
        span = sampled(said)
        return span if span is not None and span.trace_id * _MIX % _ALL < self._kept else None

    def begun(self, name: str, record: Record) -> Work | None:
        """The span of what is made of a Kafka record, below the one that its headers name; None where it has none.

        Its id comes from the record's place: what is done again after a kill is the same span.
        """
        if not record.headers:
            return None
        said = said_in(record.headers)
        return self.begun_in(name, said, topic=record.topic, partition=record.partition, offset=record.offset)

    def begun_in(self, name: str, said: bytes | None, *, topic: str, partition: int, offset: int) -> Work | None:
        """The same, of a record that carries its context in its message."""
        parent = self.kept(said)
        if parent is None:
            return None
        place = f"{parent.text} {name} {topic}/{partition}/{offset}".encode()
        span = Span(parent.trace_id, int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "big") or 1)
        attributes: dict[Attribute, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.kafka.offset": offset,
        }
        return Work(name, "consumer", span, parent, time.time_ns(), attributes)

    def request(self, parent: Span | None, *, began_ns: int) -> Work:
        """The span of a request: below its client's, else the first of a trace of its own that is in the share."""
        span_id = secrets.randbits(64) or 1
        trace_id = parent.trace_id if parent is not None else self._new_trace()
        return Work("", "server", Span(trace_id, span_id), parent, began_ns)

    def ended(self, work: Work) -> None:
        """Send it."""
        self._sends.send(work, ended_ns=time.time_ns())

    def close(self) -> None:
        """Send what waits, for a moment; what does not go then is lost."""
        self._sends.close()

    def _new_trace(self) -> int:
        drawn = secrets.randbelow(max(1, self._kept))
        return (secrets.randbits(64) or 1) << 64 | drawn * _UNMIX % _ALL


def opened(share: float, *, service: str, instance: str = "") -> Traces | None:
    """None for a share of 0. `service` and `instance`: which process this is, in each span. Ends the process where OpenTelemetry is not installed."""
    if not share:
        return None
    try:
        from connectors.otlp import Otlp
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"{service}: OO_TRACE_SHARE is {share:g}, and spans need {missing.name}: pip install 'oo-recommender[traces]'"
        ) from None
    return Traces(share, Otlp(service, instance))
