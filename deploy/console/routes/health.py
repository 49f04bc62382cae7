"""Health at a glance: the parts, what stands, and how much is decided and reacted to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from deploy.console.database import rows
from deploy.console.stack import TheStack
from deploy.overview import SERVERS, overview
from streams.clock import clock_ms
from streams.units import MINUTE_MS

router = APIRouter(tags=["health"])


class Part(BaseModel):
    """A server, or a process of ours."""

    name: str
    where: str
    """An address, or how many partitions of which topics it works on."""
    pid: int | None
    ready: bool | None
    """None where that cannot be seen from here."""
    restarts: int
    lag: int | None
    """Records; None for who reads nothing, and where it is not known."""


class Stall(BaseModel):
    """A partition that stands, or that nobody reads."""

    topic: str
    partition: int
    offset: int | None
    cause: str


class Verification(BaseModel):
    """What came of a partition's last verification in turn (`oo verify --in-turn`)."""

    partition: int
    at_ms: int
    """When it was compared; 0 for never."""
    differences: int
    shown: list[str]
    why_not: str
    """Why it could not be compared; empty where it could."""


class Health(BaseModel):
    """As `oo status`."""

    ready: bool
    phase: str | None
    now_ms: int
    parts: list[Part]
    stalled: list[Stall]
    verified: list[Verification]
    """Of each partition that was; none of a cluster elsewhere."""


class Activity(BaseModel):
    """Counts of each minute, the oldest first; all lists are as long as `minute_ms`."""

    minute_ms: list[int]
    decisions: dict[str, list[int]]
    """By kind of what was chosen."""
    reactions: dict[str, list[int]]
    """By kind of outcome."""


@router.get("/health", summary="What runs, and what stands")
def health(stack: TheStack) -> Health:
    shown = overview(stack)
    parts = [
        Part(
            name=name,
            where=part[key],
            pid=part.get("pid"),
            ready=part.get("ready"),
            restarts=part.get("restarts", 0),
            lag=None,
        )
        for name, key in SERVERS.items()
        if (part := shown.get(name))
    ]
    return Health(
        ready=shown["ready"],
        phase=shown.get("phase"),
        now_ms=clock_ms(),
        parts=[*parts, *map(_worker, shown["workers"])],
        stalled=[Stall(**one) for one in shown["stalled"]],
        verified=[
            Verification(
                partition=number,
                at_ms=one["at_ms"],
                differences=one["differences"],
                shown=list(one["shown"]),
                why_not=one["why_not"],
            )
            for number, one in sorted(shown.get("verified", {}).items())
        ],
    )


def _worker(worker: dict[str, Any]) -> Part:
    counts = [f"{len(numbers)} of {topic}" for topic, numbers in (worker["partitions"] or {}).items()]
    return Part(
        name=worker["id"],
        where=", ".join(counts),
        pid=worker["pid"],
        ready=worker.get("ready"),
        restarts=worker.get("restarts", 0),
        lag=worker["lag"],
    )


@router.get("/activity", summary="Decisions and reactions by the minute")
def activity(stack: TheStack, minutes: Annotated[int, Query(ge=1, le=24 * 60)] = 60) -> Activity:
    until = clock_ms() // MINUTE_MS
    since = until - minutes + 1
    decided = rows(
        stack.recommender_dsn,
        "SELECT decided_ms / %(minute)s AS minute, kind, count(*) AS n FROM recommender.decisions WHERE decided_ms >= %(since)s GROUP BY 1, 2",
        minute=MINUTE_MS,
        since=since * MINUTE_MS,
    )
    reacted = rows(
        stack.recommender_dsn,
        "SELECT event_time_ms / %(minute)s AS minute, kind, count(*) AS n FROM recommender.outcomes WHERE event_time_ms >= %(since)s GROUP BY 1, 2",
        minute=MINUTE_MS,
        since=since * MINUTE_MS,
    )
    return Activity(
        minute_ms=[minute * MINUTE_MS for minute in range(since, until + 1)],
        decisions=_series(decided, since=since, minutes=minutes),
        reactions=_series(reacted, since=since, minutes=minutes),
    )


def _series(found: list[dict[str, Any]], *, since: int, minutes: int) -> dict[str, list[int]]:
    """
    >>> _series([{"minute": 7, "kind": "TASK", "n": 3}, {"minute": 9, "kind": "TASK", "n": 1}], since=7, minutes=2)
    {'TASK': [3, 0]}
    """
    series: dict[str, list[int]] = {}
    for one in found:
        at = one["minute"] - since
        if 0 <= at < minutes:
            series.setdefault(one["kind"], [0] * minutes)[at] = one["n"]
    return dict(sorted(series.items()))
