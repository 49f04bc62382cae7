"""What a worker counts of the records that it could not take. All names stand here. Never a person's id or text."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

REGISTRY: Final = CollectorRegistry()
REFUSED: Final = Counter(
    "oo_refused_records", "Records sent to the dead letters", ["topic", "reason"], registry=REGISTRY
)
SKIPPED: Final = Counter(
    "oo_skipped_records",
    "Records on our own topics that nobody of ours wrote, passed over",
    ["topic"],
    registry=REGISTRY,
)
