"""Learning curves: what decisions were worth as time went on, as numbers, as a line of blocks, and as files.

It never measures; a plot needs matplotlib, which the product does not bring along (docs/adr/0020).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from deploy.simulator.visit import Judged
from streams.units import DAY_MS

BLOCKS = "▁▂▃▄▅▆▇█"


class CannotPlot(Exception):
    """The file cannot be written; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Point:
    """A stretch of decisions."""

    days: float
    """Since the start, in the mean."""
    decisions: int
    value: float
    """Mean worth of a decision."""
    regret: float
    """Mean worth that the best candidate of each slate would have had beyond it."""
    captured: float
    """(value - random) / (oracle - random)."""


def curve(judged: Sequence[Judged], *, steps: int = 20) -> list[Point]:
    """The honest people's decisions in the order of time, in at most `steps` stretches of equal count.

    >>> [(p.value, p.captured) for p in curve([Judged(0, 0.3, 0.5, 0.1, True)])]
    [(0.3, 0.5)]
    """
    counted = [one for one in judged if one.counted]
    table = np.array([(one.after_ms, one.value, one.oracle, one.random) for one in counted])
    return [_point(part) for part in np.array_split(table, min(steps, len(counted)))] if counted else []


def overall(judged: Sequence[Judged]) -> Point | None:
    """All of them as one stretch; None for no decision that counts."""
    return next(iter(curve(judged, steps=1)), None)


def _point(part: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Point:
    after_ms, value, oracle, random = part.mean(axis=0).tolist()
    captured = (value - random) / (oracle - random) if oracle > random else 0.0
    return Point(
        days=round(after_ms / DAY_MS, 3),
        decisions=len(part),
        value=round(value, 4),
        regret=round(oracle - value, 4),
        captured=round(captured, 4),
    )


def sparkline(values: Sequence[float]) -> str:
    """The values as a line of blocks, from the least to the greatest of them.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(BLOCKS[round((value - low) / span * (len(BLOCKS) - 1))] for value in values)


def check(path: Path) -> None:
    """Raises CannotPlot before a run whose result could not be written."""
    if path.suffix not in (".json", ".svg"):
        raise CannotPlot(f"--out {path}: name a .json or .svg file")
    if not path.resolve().parent.is_dir():
        raise CannotPlot(f"--out {path}: there is no folder {path.resolve().parent}")
    if path.suffix == ".svg":
        try:
            import matplotlib as mpl
        except ImportError:
            raise CannotPlot("--out FILE.svg needs matplotlib: pip install matplotlib, or name a .json file") from None
        mpl.use("svg")


def write(path: Path, summary: Mapping[str, object], points: Sequence[Point]) -> None:
    """The summary and its curve as JSON, or the curve as a drawing; raises OSError."""
    if path.suffix == ".json":
        path.write_text(json.dumps({**summary, "curve": [asdict(point) for point in points]}, indent=2) + "\n", "utf-8")
        return
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.0), layout="constrained")
    axes.plot([point.days for point in points], [point.value for point in points], marker="o", markersize=3)
    axes.set(
        title=f"oo simulate, {summary['scenario']}, {summary['users']} people",
        xlabel="days since the start",
        ylabel="mean worth of a decision",
    )
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
