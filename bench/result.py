"""What a benchmark gives back: rows of ratios, the words that explain them, and curves. It never measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.running import running_stack
from deploy.stack.running import RunningStack


@dataclass(frozen=True, slots=True)
class Row:
    """One result beside its peer's in the same run: `value` and `peer` in `unit`, and `ratio` = value / peer.

    `met` is None where there is no goal.
    """

    id: str
    what: str
    value: float
    unit: str
    peer: float
    peer_name: str
    ratio: float
    goal: str = ""
    met: bool | None = None
    note: str = ""
    """Where the time goes, or what was tried: a sentence or two in Markdown."""


def compared(
    name: str,
    what: str,
    value: float,
    unit: str,
    *,
    peer: float,
    peer_name: str,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """A row whose goal is on the ratio.

    >>> row = compared("t", "a trip", 6.0, "ms", peer=2.0, peer_name="bare", at_most=2.5)
    >>> row.ratio, row.goal, row.met
    (3.0, '<= 2.5', False)
    """
    ratio = value / peer
    goal, met = "", None
    if at_most is not None:
        goal, met = f"<= {at_most:g}", ratio <= at_most
    elif at_least is not None:
        goal, met = f">= {at_least:g}", ratio >= at_least
    return Row(name, what, _rounded(value), unit, _rounded(peer), peer_name, _rounded(ratio), goal, met, note)


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves by name, each as (x values, y values)."""

    name: str
    """Of its file in docs/plots, without the ending."""
    title: str
    x: str
    y: str
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_scale: Literal["linear", "log"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found."""

    rows: Sequence[Row]
    plots: Sequence[Plot] = ()
    beside: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Pages of docs by their name that show a table of its own, in lines of Markdown: between the benchmark's marks there."""
    failed: str = ""
    """What no run may show: said at the end, and the exit status with it."""


@dataclass(slots=True)
class Bench:
    """What a benchmark is given."""

    scratch: Path
    """An empty folder of its own, deleted afterwards."""
    against: str = ""
    """The commit whose build is measured beside this one (bench.builds)."""
    quick: bool = False
    """A tenth of the work, to see that it runs: its numbers are not written."""
    minutes: float = 10.0
    """How long to look on where something is watched over time."""
    long: bool = False
    """More than every run has time for."""
    only: Sequence[str] = ()
    """Of the peers that are compared, these alone; all where none is named. Its numbers are not written."""
    say: Callable[[str], None] = print
    """Tells whoever waits how far it is."""
    track: Callable[[Iterable[Any], str, int], Iterable[Any]] = lambda steps, what, total: steps
    """Passes steps on and shows how many of the total are done."""

    def asked_for(self, peers: Iterable[str]) -> list[str]:
        """Those of these that `only` names; all where it names none. Raises SystemExit where it names another."""
        there = list(peers)
        if unknown := set(self.only) - set(there):
            raise SystemExit(f"--only: no peer {', '.join(sorted(unknown))}: there are {', '.join(there)}")
        return [one for one in there if not self.only or one in self.only]

    @contextmanager
    def stack(
        self,
        *,
        workers: int = 1,
        servers_only: bool = False,
        nameless: bool = False,
        llm: str = "",
        ml: bool = False,
        name: str = "stack",
    ) -> Iterator[RunningStack]:
        """A fresh stack of its own, ended with the block; `name` tells it from another one beside it."""
        with running_stack(
            self.scratch / name, workers=workers, servers_only=servers_only, nameless=nameless, llm=llm, ml=ml
        ) as stack:
            yield stack


def slug(name: str) -> str:
    """A name as part of an id.

    >>> slug("VW greedy, rate 0.5")
    'vw-greedy-rate-0-5'
    """
    return "-".join("".join(one if one.isalnum() else " " for one in name.lower()).split())


def _rounded(value: float) -> float:
    """Three significant digits, all of those before the point.

    >>> _rounded(0.123456), _rounded(12.3456), _rounded(123456.7)
    (0.123, 12.3, 123457.0)
    """
    return float(f"{value:.3g}") if abs(value) < 100 else float(round(value))
