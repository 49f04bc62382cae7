"""The Grafana dashboard, from code: `python -m deploy.observability.dashboard` writes dashboard.json beside it.

It names only metrics of streams.metrics (a test compares), and asks nobody anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("dashboard.json")
COLUMNS, WIDTH, HEIGHT = 3, 8, 7


class Panel(NamedTuple):
    """One plot over time: its curves by what their legend says."""

    title: str
    unit: str
    curves: dict[str, str]


def late(share: str, metric: str) -> str:
    """Below which so many of a histogram's values are."""
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket[5m])))"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Tips": (
        Panel(
            "Signal to tip",
            "s",
            {"half": late("0.5", "oo_signal_to_tip_seconds"), "99 of 100": late("0.99", "oo_signal_to_tip_seconds")},
        ),
        Panel("Decisions", "ops", {"{{policy}} {{kind}}": "sum by (policy, kind) (rate(oo_decisions_total[5m]))"}),
        Panel("Why they were made", "ops", {"{{trigger}}": "sum by (trigger) (rate(oo_decisions_total[5m]))"}),
        Panel(
            "What could not be chosen", "ops", {"{{reason}}": "sum by (reason) (rate(oo_masked_candidates_total[5m]))"}
        ),
        Panel(
            "Probability of what was chosen",
            "percentunit",
            {"lowest of 100": late("0.01", "oo_propensity"), "half": late("0.5", "oo_propensity")},
        ),
        Panel("Outcomes", "ops", {"{{kind}}": "sum by (kind) (rate(oo_outcomes_total[5m]))"}),
    ),
    "Policies": (
        Panel("Rewards", "none", {"{{sign}} an hour": "sum by (sign) (increase(oo_rewards_total[1h]))"}),
        Panel("What each would earn", "none", {"{{policy}} {{bound}}": "max by (policy, bound) (oo_estimate_reward)"}),
        Panel(
            "Whether estimates hold",
            "none",
            {
                "{{policy}} mean weight": "max by (policy) (oo_estimate_mean_weight)",
            },
        ),
        Panel(
            "What estimates are worth", "none", {"{{policy}} decisions": "max by (policy) (oo_estimate_effective_n)"}
        ),
        Panel(
            "Served, and promotions",
            "none",
            {
                "{{policy}}": "max by (policy) (oo_champion)",
                "{{policy}} {{cause}}": "max by (policy, cause) (oo_promotions)",
            },
        ),
        Panel("What a shadow's decision costs", "s", {"{{policy}}": "max by (policy) (oo_shadow_policy_seconds)"}),
    ),
    "The log": (
        Panel("Records behind", "none", {"{{topic}}": "sum by (topic) (oo_lag_records)"}),
        Panel("Seconds behind", "s", {"{{topic}}": "max by (topic) (oo_lag_seconds)"}),
        Panel("Partitions that stand", "none", {"{{instance}}": "max by (instance) (oo_stalled_partitions)"}),
        Panel("Folded", "ops", {"partition {{partition}}": "sum by (partition) (rate(oo_folded_records_total[5m]))"}),
        Panel(
            "Dead letters",
            "none",
            {
                "{{topic}} {{reason}}": "sum by (topic, reason) (increase(oo_refused_records_total[15m]))",
                "{{topic}} passed over": "sum by (topic) (increase(oo_skipped_records_total[15m]))",
            },
        ),
        Panel(
            "Kafka's word, and a round",
            "s",
            {
                "99 of 100 records": late("0.99", "oo_produce_seconds"),
                "99 of 100 rounds": late("0.99", "oo_settle_seconds"),
            },
        ),
    ),
    "Processes": (
        Panel("Memory", "bytes", {"{{instance}}": "oo_memory_bytes"}),
        Panel("Began again, in an hour", "none", {"{{instance}}": "changes(oo_started_at_seconds[1h])"}),
        Panel("Rows", "none", {"partition {{partition}}": "sum by (partition) (oo_rows)"}),
        Panel(
            "Differences that a verification found",
            "none",
            {"partition {{partition}}": "max by (partition) (oo_verify_differences)"},
        ),
        Panel(
            "Since it was verified",
            "s",
            {"partition {{partition}}": "time() - max by (partition) (oo_verified_at_seconds)"},
        ),
    ),
    "Language models": (
        Panel(
            "Requests, and what they came to",
            "none",
            {
                "{{fate}}": "sum by (fate) (increase(oo_requests_total[15m]))",
                "answer: {{reason}}": "sum by (reason) (increase(oo_answers_total[15m]))",
                "in the shadow: {{reason}}": "sum by (reason) (increase(oo_shadow_answers_total[15m]))",
            },
        ),
        Panel("Calls", "none", {"{{model}} {{end}}": "sum by (model, end) (increase(oo_model_calls_total[15m]))"}),
        Panel("Tokens", "none", {"{{model}} {{way}}": "sum by (model, way) (increase(oo_model_tokens_total[15m]))"}),
        Panel(
            "What a call takes",
            "s",
            {"half": late("0.5", "oo_model_seconds"), "99 of 100": late("0.99", "oo_model_seconds")},
        ),
        Panel("Dropped by a guard", "none", {"{{guard}}": "sum by (guard) (increase(oo_guarded_tips_total[15m]))"}),
        Panel(
            "In flight, held back, and left",
            "none",
            {
                "in flight": "sum(oo_model_calls_in_flight)",
                "{{model}} is not asked": "max by (model) (oo_model_breaker_shut)",
                "{{model}}: left today": "min by (model) (oo_model_budget_left)",
            },
        ),
    ),
    "Connections": (
        Panel(
            "Turns, by how they ended", "none", {"{{end}}": "sum by (end) (increase(oo_connection_turns_total[15m]))"}
        ),
        Panel("Read now", "none", {"connections": "sum(oo_connections_in_work)"}),
    ),
    "Notifications": (
        Panel(
            "By what became of them",
            "none",
            {"{{channel}} {{end}}": "sum by (channel, end) (increase(oo_notifications_total[15m]))"},
        ),
    ),
    "Trained models": (
        Panel(
            "Slates, by what became of them",
            "none",
            {"{{fate}}": "sum by (fate) (increase(oo_scored_slates_total[15m]))"},
        ),
        Panel("The scorer is not asked", "none", {"1 where it failed": "max(oo_scorer_breaker_shut)"}),
        Panel(
            "Requests", "reqps", {"{{model}} {{status}}": "sum by (model, status) (rate(oo_scorer_requests_total[5m]))"}
        ),
        Panel("Time to answer", "s", {"99 of 100": late("0.99", "oo_scorer_request_duration_seconds")}),
        Panel(
            "Rows",
            "none",
            {
                "{{model}} a second": "sum by (model) (rate(oo_scorer_rows_total[5m]))",
                "together, half": late("0.5", "oo_scorer_batch_rows"),
                "waiting": "sum(oo_scorer_waiting_rows)",
            },
        ),
        Panel("Champion served", "none", {"{{model}}": "max by (model) (oo_scorer_champion)"}),
        Panel(
            "Cannot be served, or followed",
            "none",
            {
                "{{model}}": "max by (model) (oo_scorer_refused_version)",
                "registry away": "max(oo_scorer_registry_away)",
            },
        ),
    ),
    "The edge": (
        Panel(
            "Requests", "reqps", {"{{route}} {{status}}": "sum by (route, status) (rate(oo_edge_requests_total[5m]))"}
        ),
        Panel("Time to answer", "s", {"99 of 100": late("0.99", "oo_edge_request_duration_seconds")}),
        Panel(
            "What comes in",
            "ops",
            {
                "signals": "sum(rate(oo_edge_signals_total[5m]))",
                "{{kind}}": "sum by (kind) (rate(oo_edge_reactions_total[5m]))",
                "newcomers": "sum(rate(oo_edge_newcomers_total[5m]))",
                "refused: {{reason}}": "sum by (reason) (rate(oo_edge_refused_tokens_total[5m]))",
            },
        ),
        Panel("Tips read, by where from", "ops", {"{{source}}": "sum by (source) (rate(oo_edge_tip_reads_total[5m]))"}),
        Panel(
            "Streams",
            "none",
            {"open": "sum(oo_edge_streams)", "tips sent a second": "sum(rate(oo_edge_pushed_tips_total[5m]))"},
        ),
        Panel("Feedback not yet in Valkey", "none", {"markers": "sum(oo_edge_spent_pending)"}),
    ),
}


def dashboard() -> dict[str, Any]:
    """All of it, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, plots in ROWS.items():
        panels.append(
            {
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
                "panels": [],
            }
        )
        y += 1
        for number, plot in enumerate(plots):
            panels.append(_plot(plot, x=number % COLUMNS * WIDTH, y=y + number // COLUMNS * HEIGHT))
        y += -(-len(plots) // COLUMNS) * HEIGHT
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "oo",
        "title": "oO",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _plot(plot: Panel, *, x: int, y: int) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "type": "timeseries",
        "title": plot.title,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": plot.unit}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": source, "expr": expression, "legendFormat": legend}
            for at, (legend, expression) in enumerate(plot.curves.items())
        ],
    }


def text() -> str:
    """The same as it stands in the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
