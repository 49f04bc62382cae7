"""What the scorer counts, for Prometheus; the names stand in streams.metrics."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry

from streams.metrics import counter, gauge, histogram


class Metrics:
    """One set per app, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = counter("oo_scorer_requests", self.registry)
        self.duration = histogram("oo_scorer_request_duration_seconds", self.registry)
        self._rows = counter("oo_scorer_rows", self.registry)
        self.batch_rows = histogram("oo_scorer_batch_rows", self.registry)
        self.waiting_rows = gauge("oo_scorer_waiting_rows", self.registry)
        self.champion = gauge("oo_scorer_champion", self.registry)
        # 1 where the registry names a version that cannot be served, and the one before goes on.
        self.refused = gauge("oo_scorer_refused_version", self.registry)
        self.store_away = gauge("oo_scorer_registry_away", self.registry)
        # Prometheus' own look-up of a label takes longer than all else that is counted.
        self._request = cache(lambda model, status: self._requests.labels(model, str(status)))
        self._row = cache(self._rows.labels)

    def answered(self, model: str, status: int, *, rows: int, took_s: float) -> None:
        """Count a request. `model` is one that there is."""
        self._request(model, status).inc()
        if rows:
            self._row(model).inc(rows)
        self.duration.observe(took_s)
