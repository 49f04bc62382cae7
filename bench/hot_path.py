"""The hot path beside the build before: from a signal to its tip, and what a look-up costs, on a whole stack of each build, in turns."""

from __future__ import annotations

from statistics import median

from bench.builds import in_turns
from bench.measured import hot_path
from bench.result import Bench, Result, compared

TURNS, SECONDS = 4, 8.0
NOT_ABOVE = 1.05
"""What two runs of one build differ by."""
WHAT = {
    "p50": (f"signal acknowledged to tip in Valkey, p50 at {hot_path.PER_S}/s", "ms"),
    "p99": (f"signal acknowledged to tip in Valkey, p99 at {hot_path.PER_S}/s", "ms"),
    "look-up-us": ("GET /v1/tip, processor time of the edge", "µs"),
    "look-up-p99": (f"GET /v1/tip, p99 at {hot_path.CONNECTIONS} connections that never rest", "ms"),
}


def measure(bench: Bench) -> Result:
    """Medians over the turns of both builds."""
    turns, seconds = (2, SECONDS / 5) if bench.quick else (TURNS, SECONDS)
    found = in_turns(bench, hot_path.__name__, f"{seconds}", turns=turns)
    rows = []
    for name, (what, unit) in WHAT.items():
        before, now = ([turn[name] for turn in found[side]] for side in ("before", "now"))
        ratios = sorted(one / other for one, other in zip(now, before, strict=True))
        rows.append(
            compared(
                f"hot-path-{name}",
                what,
                median(now),
                unit,
                peer=median(before),
                peer_name=f"the build {bench.against}",
                at_most=NOT_ABOVE,
                note=f"The {turns} pairs of turns: {', '.join(f'{one:.2f}' for one in ratios)}.",
            )
        )
    return Result(rows)
