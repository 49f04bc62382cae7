"""Every number that a process of oO shows to Prometheus: one list, and where they are kept until somebody asks.

What counts in a hot place adds to a plain number; the text is made when Prometheus asks. No label holds a person's id or text,
a decision's id or an address outside the routes: labels are few, so that the count of series is bounded.
"""

from __future__ import annotations

import resource
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Metric(NamedTuple):
    """One number. Prometheus knows a counter under its name and `_total`, a histogram under its name and `_bucket`, `_sum`, `_count`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets, but for the last, which takes all."""

    @property
    def shown(self) -> Labels:
        """The names under which Prometheus has it."""
        ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
        return tuple(self.name + end for end in ends[self.kind])


_ANSWER_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_CHANCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)

METRICS: Final = {
    metric.name: metric
    for metric in (
        # Each worker
        Metric("oo_started_at_seconds", "gauge", "seconds", "When this process began; it changes with each restart"),
        Metric("oo_memory_bytes", "gauge", "bytes", "Memory of this process that is resident"),
        Metric("oo_lag_records", "gauge", "records", "Records not yet handled", ("topic", "partition")),
        Metric(
            "oo_lag_seconds", "gauge", "seconds", "Age of the oldest record fetched and waiting", ("topic", "partition")
        ),
        Metric("oo_stalled_partitions", "gauge", "partitions", "Partitions that stand, or that nobody reads"),
        Metric("oo_refused_records", "counter", "records", "Records sent to the dead letters", ("topic", "reason")),
        Metric("oo_skipped_records", "counter", "records", "Records nobody of ours wrote, passed over", ("topic",)),
        Metric("oo_produce_seconds", "histogram", "seconds", "From a record's making to Kafka's word", (), _LONG_S),
        # core
        Metric("oo_folded_records", "counter", "records", "Journal records folded", ("partition",)),
        Metric("oo_decisions", "counter", "decisions", "Decisions made", ("policy", "kind", "trigger")),
        Metric(
            "oo_settle_seconds", "histogram", "seconds", "A round: outputs, rows and the worker's disk", (), _LONG_S
        ),
        Metric("oo_rows", "gauge", "rows", "About how many rows are held here", ("partition",)),
        Metric("oo_champion", "gauge", "", "1 for the policy that is served", ("policy",)),
        Metric("oo_promotions", "gauge", "promotions", "Promotions that stand in their topic", ("policy", "cause")),
        # publish
        Metric(
            "oo_signal_to_tip_seconds",
            "histogram",
            "seconds",
            "From the record that a tip follows to Valkey",
            (),
            _LONG_S,
        ),
        # record
        Metric("oo_masked_candidates", "counter", "candidates", "Candidates that could not be chosen", ("reason",)),
        Metric("oo_propensity", "histogram", "", "Probability with which the chosen one was chosen", (), _CHANCES),
        Metric("oo_outcomes", "counter", "outcomes", "Outcomes recorded", ("kind", "learned")),
        Metric("oo_rewards", "counter", "reward", "Sum of rewards, gained and lost apart", ("sign",)),
        # shadow
        Metric("oo_estimate_reward", "gauge", "reward", "What a policy would earn", ("policy", "bound")),
        Metric("oo_estimate_mean_weight", "gauge", "", "Near 1 where propensities are what they say", ("policy",)),
        Metric("oo_estimate_effective_n", "gauge", "decisions", "Decisions that an estimate is worth", ("policy",)),
        Metric("oo_shadow_policy_seconds", "gauge", "seconds", "What a shadow's decision costs", ("policy",)),
        # generate
        Metric("oo_requests", "counter", "requests", "Requests to a language model, by what became of them", ("fate",)),
        Metric("oo_answers", "counter", "answers", "Answers to requests: tips, or why there are none", ("reason",)),
        Metric("oo_shadow_answers", "counter", "answers", "Of prompts in the shadow: tips, or why none", ("reason",)),
        Metric("oo_guarded_tips", "counter", "tips", "Written, and dropped by a guard", ("guard",)),
        Metric("oo_model_calls", "counter", "calls", "Calls that went out, by how they ended", ("model", "end")),
        Metric("oo_model_tokens", "counter", "tokens", "Tokens read and written by models", ("model", "way")),
        Metric("oo_model_seconds", "histogram", "seconds", "What a call took", (), _LONG_S),
        Metric("oo_model_calls_in_flight", "gauge", "calls", "Calls that have not ended"),
        Metric("oo_model_breaker_shut", "gauge", "", "1 where a model failed and is not asked", ("model",)),
        Metric("oo_model_budget_left", "gauge", "calls", "Calls that may go out today still", ("model",)),
        # score
        Metric("oo_scored_slates", "counter", "slates", "Slates that came, by what became of them", ("fate",)),
        Metric("oo_scorer_breaker_shut", "gauge", "", "1 where the scorer failed and is not asked"),
        # connect
        Metric("oo_connection_turns", "counter", "turns", "Turns of connections, by how they ended", ("end",)),
        Metric("oo_connections_in_work", "gauge", "connections", "Connections that are read now"),
        # notify
        Metric("oo_notifications", "counter", "notifications", "By what became of them", ("channel", "end")),
        # scorer
        Metric("oo_scorer_requests", "counter", "requests", "Inference requests answered", ("model", "status")),
        Metric("oo_scorer_request_duration_seconds", "histogram", "seconds", "Time to answer one", (), _ANSWER_S),
        Metric("oo_scorer_rows", "counter", "rows", "Rows answered", ("model",)),
        Metric("oo_scorer_batch_rows", "histogram", "rows", "Rows that ran together", (), _ROWS),
        Metric("oo_scorer_waiting_rows", "gauge", "rows", "Rows that wait for their model"),
        Metric("oo_scorer_champion", "gauge", "", "The version that is served as champion", ("model",)),
        Metric("oo_scorer_refused_version", "gauge", "", "1 where a champion cannot be served", ("model",)),
        Metric("oo_scorer_registry_away", "gauge", "", "1 where the registry does not answer"),
        # edge
        Metric("oo_edge_requests", "counter", "requests", "Requests answered", ("route", "method", "status")),
        Metric("oo_edge_request_duration_seconds", "histogram", "seconds", "Time to answer", ("route",), _ANSWER_S),
        Metric("oo_edge_tip_reads", "counter", "tips", "Tips read", ("source",)),
        Metric("oo_edge_streams", "gauge", "streams", "Open streams"),
        Metric("oo_edge_pushed_tips", "counter", "tips", "Tips sent into streams"),
        Metric("oo_edge_reactions", "counter", "reactions", "Reactions accepted", ("kind",)),
        Metric("oo_edge_signals", "counter", "signals", "Signals accepted"),
        Metric("oo_edge_newcomers", "counter", "people", "Newcomers told to the engine"),
        Metric("oo_edge_refused_tokens", "counter", "tokens", "Tokens refused", ("reason",)),
        Metric("oo_edge_spent_pending", "gauge", "markers", "Spent markers not yet in Valkey"),
        Metric("oo_verify_differences", "gauge", "differences", "Between what is live and a fold", ("partition",)),
        Metric("oo_verified_at_seconds", "gauge", "seconds", "When a partition was last compared", ("partition",)),
    )
}
"""All of them, by name."""


class Counts(defaultdict[Labels, float]):
    """A worker's counter, by its labels' values: `REFUSED["oo.signals", "bad-frame"] += 1`."""

    def __init__(self) -> None:
        super().__init__(float)


class Spread:
    """A worker's histogram."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one.

        >>> spread = Spread((1.0, 2.0)); spread.add(1.0); spread.add(9.0); spread.family()
        ([('1.0', 1), ('2.0', 1), ('+Inf', 2)], 10.0)
        """
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self) -> tuple[list[tuple[str, float]], float]:
        """Each bound with how many were not above it, and the sum of all."""
        so_far, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            so_far += count
            found.append((bound, float(so_far) if so_far != int(so_far) else so_far))
        return found, self._sum


REFUSED: Final = Counts()
SKIPPED: Final = Counts()
FOLDED: Final = Counts()
DECISIONS: Final = Counts()
MASKED: Final = Counts()
OUTCOMES: Final = Counts()
REWARDS: Final = Counts()
REQUESTS: Final = Counts()
ANSWERS: Final = Counts()
SHADOW_ANSWERS: Final = Counts()
SLATES_SCORED: Final = Counts()
GUARDED: Final = Counts()
TURNS: Final = Counts()
MODEL_CALLS: Final = Counts()
MODEL_TOKENS: Final = Counts()
NOTIFICATIONS: Final = Counts()
PRODUCE_S: Final = Spread(METRICS["oo_produce_seconds"].bounds)
SETTLE_S: Final = Spread(METRICS["oo_settle_seconds"].bounds)
SIGNAL_TO_TIP_S: Final = Spread(METRICS["oo_signal_to_tip_seconds"].bounds)
PROPENSITY: Final = Spread(METRICS["oo_propensity"].bounds)
MODEL_S: Final = Spread(METRICS["oo_model_seconds"].bounds)

_COUNTS: Final = {
    "oo_refused_records": REFUSED,
    "oo_skipped_records": SKIPPED,
    "oo_folded_records": FOLDED,
    "oo_decisions": DECISIONS,
    "oo_masked_candidates": MASKED,
    "oo_outcomes": OUTCOMES,
    "oo_rewards": REWARDS,
    "oo_requests": REQUESTS,
    "oo_answers": ANSWERS,
    "oo_shadow_answers": SHADOW_ANSWERS,
    "oo_scored_slates": SLATES_SCORED,
    "oo_guarded_tips": GUARDED,
    "oo_connection_turns": TURNS,
    "oo_model_calls": MODEL_CALLS,
    "oo_model_tokens": MODEL_TOKENS,
    "oo_notifications": NOTIFICATIONS,
}
_SPREADS: Final = {
    "oo_produce_seconds": PRODUCE_S,
    "oo_settle_seconds": SETTLE_S,
    "oo_signal_to_tip_seconds": SIGNAL_TO_TIP_S,
    "oo_propensity": PROPENSITY,
    "oo_model_seconds": MODEL_S,
}


def memory() -> float:
    """Of this process, in bytes and resident; 0 where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * float(resource.getpagesize())
    except (OSError, ValueError, IndexError):
        return 0.0


GAUGES: Final[dict[str, Callable[[], Mapping[Labels, float]]]] = {
    "oo_memory_bytes": lambda: {(): memory()},
}
"""What this process shows as it is when it is asked, by name; the part that knows it puts it here."""


class _Kept(Collector):
    def collect(self) -> Iterator[Family]:
        for name, counts in _COUNTS.items():
            counter = CounterMetricFamily(name, METRICS[name].help, labels=METRICS[name].labels)
            for labels, count in list(counts.items()):
                counter.add_metric(labels, count)
            yield counter
        for name, spread in _SPREADS.items():
            buckets, total = spread.family()
            yield HistogramMetricFamily(name, METRICS[name].help, buckets=buckets, sum_value=total)
        for name, read in GAUGES.items():
            shown = family(name)
            for labels, value in read().items():
                shown.add_metric(labels, value)
            yield shown

    def describe(self) -> list[Family]:
        return []


REGISTRY: Final = CollectorRegistry()
REGISTRY.register(_Kept())


def text() -> bytes:
    """Return this worker's page."""
    return generate_latest(REGISTRY)


def family(name: str) -> GaugeMetricFamily:
    """One gauge of the list, for a collector."""
    return GaugeMetricFamily(name, METRICS[name].help, labels=METRICS[name].labels)


def counter(name: str, registry: CollectorRegistry) -> Counter:
    """One of the list, for a process that keeps it in Prometheus' own classes."""
    metric = METRICS[name]
    return Counter(name, metric.help, metric.labels, registry=registry)


def gauge(name: str, registry: CollectorRegistry) -> Gauge:
    """Likewise."""
    metric = METRICS[name]
    return Gauge(name, metric.help, metric.labels, registry=registry)


def histogram(name: str, registry: CollectorRegistry) -> Histogram:
    """Likewise."""
    metric = METRICS[name]
    return Histogram(name, metric.help, metric.labels, buckets=metric.bounds, registry=registry)
