"""What `oo verify --in-turn` last found, as numbers on the edge's page of metrics: read from its file whenever Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.metrics import family
from streams.units import SECOND_MS
from tables.verified import VerifiedFile


class VerifiedNumbers(Collector):
    """Of each partition of the journal that was verified."""

    def __init__(self, path: Path) -> None:
        self._file = VerifiedFile(path)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers, by partition."""
        differences, at = family("oo_verify_differences"), family("oo_verified_at_seconds")
        for number, one in self._file.read().items():
            if one.at_ms:
                differences.add_metric([str(number)], one.differences)
                at.add_metric([str(number)], one.at_ms / SECOND_MS)
        yield from (differences, at)
