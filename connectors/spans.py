"""A span that is under way, and all that it may say: no text, id or name of a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from streams.traceparent import Span

Attribute = Literal[
    "messaging.system",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.kafka.offset",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "oo.decision_id",
    "oo.kind",
    "oo.policy",
    "oo.trigger",
]
"""All that a span says beside its name, its times and the word for a fault (docs/traces.md, docs/privacy.md)."""
Kind = Literal["consumer", "server"]


@dataclass(slots=True)
class Work:
    """A span under way."""

    name: str
    kind: Kind
    span: Span
    parent: Span | None
    began_ns: int
    attributes: dict[Attribute, str | int] = field(default_factory=dict)
    links: list[Span] = field(default_factory=list)
    """Spans that led to it and are not its parent: of a tip made earlier."""
    fault: str = ""
    """A fixed word for why it came to nothing."""
