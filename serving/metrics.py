"""Every number that the edge shows to Prometheus, in one place.

No label holds a user's id, a decision's id or an address outside the routes: labels are few, so that the count of
series is bounded.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """One set per app, with a registry of its own, so that two apps in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Requests answered, by route template, method and status.
        self.requests = Counter(
            "oo_edge_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        # From the first byte in to the last byte out; streams are left out, they last.
        self.duration = Histogram(
            "oo_edge_request_duration_seconds", "Time to answer", ["route"], buckets=_BUCKETS_S, registry=self.registry
        )
        # Tips read, by where they came from.
        self.tip_reads = Counter("oo_edge_tip_reads", "Tips read", ["source"], registry=self.registry)
        # Open server-sent event streams.
        self.streams = Gauge("oo_edge_streams", "Open streams", registry=self.registry)
        # Tips sent into streams.
        self.pushed = Counter("oo_edge_pushed_tips", "Tips sent into streams", registry=self.registry)
        # Reactions acknowledged by Kafka, by kind.
        self.reactions = Counter("oo_edge_reactions", "Reactions accepted", ["kind"], registry=self.registry)
        # Signals acknowledged by Kafka.
        self.signals = Counter("oo_edge_signals", "Signals accepted", registry=self.registry)
        # People of whom no tip was ever written, told to the engine.
        self.newcomers = Counter("oo_edge_newcomers", "Newcomers told to the engine", registry=self.registry)
        # Tokens refused, by reason.
        self.refused_tokens = Counter("oo_edge_refused_tokens", "Tokens refused", ["reason"], registry=self.registry)
        # Spent markers that Valkey has not taken yet; above 0 the edge is not ready.
        self.spent_pending = Gauge("oo_edge_spent_pending", "Spent markers not yet in Valkey", registry=self.registry)
        # Looking a label up takes longer than counting; there are as many as routes, methods and statuses.
        self._request = cache(self.requests.labels)
        self._duration = cache(self.duration.labels)

    def answered(self, route: str, method: str, status: int, *, took_s: float) -> None:
        """A request of this route template, "other" for none."""
        method = "" if route == "other" else method if method in _METHODS else "other"
        self._request(route, method, status).inc()
        if route != "/v1/tips/stream":
            self._duration(route).observe(took_s)
