"""What the edge counts, for Prometheus; the names stand in streams.metrics."""

from __future__ import annotations

import time
from functools import cache

from prometheus_client import CollectorRegistry

from streams.metrics import counter, gauge, histogram, memory

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """One set per app, with a registry of its own, so that two apps in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = counter("oo_edge_requests", self.registry)
        # From the first byte in to the last byte out; streams are left out, they last.
        self.duration = histogram("oo_edge_request_duration_seconds", self.registry)
        self.tip_reads = counter("oo_edge_tip_reads", self.registry)
        self.streams = gauge("oo_edge_streams", self.registry)
        self.pushed = counter("oo_edge_pushed_tips", self.registry)
        # What Kafka has acknowledged.
        self.reactions = counter("oo_edge_reactions", self.registry)
        self.signals = counter("oo_edge_signals", self.registry)
        # People of whom no tip was ever written.
        self.newcomers = counter("oo_edge_newcomers", self.registry)
        self.refused_tokens = counter("oo_edge_refused_tokens", self.registry)
        # Above 0 the edge is not ready.
        self.spent_pending = gauge("oo_edge_spent_pending", self.registry)
        gauge("oo_started_at_seconds", self.registry).set(time.time())
        gauge("oo_memory_bytes", self.registry).set_function(memory)
        # Looking a label up takes longer than counting; there are as many as routes, methods and statuses.
        self._request = cache(self.requests.labels)
        self._duration = cache(self.duration.labels)

    def answered(self, route: str, method: str, status: int, *, took_s: float) -> None:
        """A request of this route template, "other" for none."""
        method = "" if route == "other" else method if method in _METHODS else "other"
        self._request(route, method, status).inc()
        if route != "/v1/tips/stream":
            self._duration(route).observe(took_s)
