"""Runs of `oo replay`: what each reads, how far it is, and where the policy that it asked differs. A run may be made to wait, and to go on."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

from deploy.audit import note
from deploy.console.routes.policies import Between
from deploy.console.stack import TheStack
from deploy.replay.manifest import FOLDER, Manifest, Run, runs
from deploy.stack.running import RunningStack
from serving.problems import Problem

if TYPE_CHECKING:
    from deploy.replay.diff import Diff, Value

router = APIRouter(tags=["replays"])


class Replay(BaseModel):
    """A run at a glance."""

    name: str
    state: str
    """done, paused, running, yielding: it waits for the live workers, or unfinished: that no process is at it."""
    asks: str
    """Whom an evaluation asks: a policy, other settings, or both; empty for a verification."""
    records: int
    """That it is about."""
    partitions: int
    people: int
    """Pseudonyms that it is of; 0 for everybody."""
    done: float
    """Of all that it folds, the share that is read."""
    created_ms: int


class Part(BaseModel):
    """Of one partition, what is read and how far that is."""

    partition: int
    start: int
    end: int
    begins_with: str
    """The file of the row snapshot; empty for the journal's beginning."""
    reached: int


class Plan(BaseModel):
    """A run with all that was frozen before its first record."""

    replay: Replay
    build: str
    step_version: int
    rate: float
    """Records a second of each process; 0: as fast as it goes."""
    parts: list[Part]


class Earning(BaseModel):
    """What a policy would have earned in the mean of the run's decisions."""

    policy: str
    doubly_robust: Between
    self_normalized: Between
    effective_n: float
    mean_weight: float


class Kind(BaseModel):
    """Of decisions in which a tip of this kind was logged."""

    kind: str
    decisions: int
    otherwise: int
    values: dict[str, Between]


class Apart(BaseModel):
    """One person, by pseudonym."""

    user: str
    otherwise: int
    decisions: int


class Example(BaseModel):
    """A decision in which the two chose otherwise."""

    distance: float
    decision_id: str
    user: str
    decided_ms: int
    choices: list[str]
    """What each chose and why, in words."""


class Difference(BaseModel):
    """As `oo replay diff`: the second policy held against the first, on the logged slates."""

    first: str
    second: str
    summary: str
    cautions: list[str]
    rests_on: str
    """What the values are made of."""
    distances: list[int]
    """How many decisions lie how far apart, in equal steps of total variation from 0 to 1."""
    kinds: list[Kind]
    people: list[Apart]
    earned: list[Earning]
    ahead: Between
    """What the second earns more than the first."""
    gate: str
    """What the gate would do, of these decisions alone."""
    examples: list[Example]


@router.get("/replays", summary="Runs of oo replay")
def replays(stack: TheStack) -> list[Replay]:
    found = [_replay(one, one.manifest()) for one in runs(stack.folder.root / FOLDER)]
    return sorted(found, key=lambda one: -one.created_ms)


@router.get("/replays/{name}", summary="What one run reads, and how far it is")
def plan(stack: TheStack, name: str) -> Plan:
    one = _run(stack, name)
    manifest = one.manifest()
    snapshots, reached = manifest.snapshots(), one.reached()
    return Plan(
        replay=_replay(one, manifest),
        build=manifest.build,
        step_version=manifest.step_version,
        rate=manifest.rate,
        parts=[
            Part(
                partition=number,
                start=manifest.start[number],
                end=end,
                begins_with=snapshots[number][1].name if number in snapshots else "",
                reached=reached.get(number, 0),
            )
            for number, end in manifest.end.items()
        ],
    )


@router.post("/replays/{name}/pause", summary="Let a run wait; noted in oo.audit")
def pause(stack: TheStack, name: str) -> Replay:
    one = _run(stack, name)
    manifest = one.manifest()
    asyncio.run(note(stack, f"oo console: replay pause {name}", whose=None))
    one.paused_file.touch()
    return _replay(one, manifest)


@router.post("/replays/{name}/resume", summary="Let a run go on that waits; noted in oo.audit")
def resume(stack: TheStack, name: str) -> Replay:
    one = _run(stack, name)
    manifest = one.manifest()
    asyncio.run(note(stack, f"oo console: replay resume {name}", whose=None))
    one.paused_file.unlink(missing_ok=True)
    return _replay(one, manifest)


@router.get("/replays/{name}/diff", summary="Where another policy would have chosen otherwise, and what it earns")
def difference(stack: TheStack, name: str, other: str = "") -> Difference:
    if find_spec("pyarrow") is None:
        raise Problem(
            503,
            "no-parquet",
            detail="Runs are read with pyarrow: pip install 'oo-recommender[replay]' where this runs.",
        )
    one, against = _run(stack, name), _run(stack, other) if other else None
    both = [one] if against is None else [one, against]
    for each in both:
        each.check_done()
    # A run that is done changes no more; one made anew under its name has another manifest.
    return _difference(one, against, tuple(each.manifest().to_json() for each in both))


@lru_cache(maxsize=16)
def _difference(one: Run, against: Run | None, _: tuple[str, ...]) -> Difference:
    from deploy.replay import words
    from deploy.replay.diff import diff

    found: Diff = diff(one, against)
    return Difference(
        first=found.first,
        second=found.second,
        summary=words.summary(found),
        cautions=words.cautions(found),
        rests_on=words.counted(found),
        distances=found.distances,
        kinds=[
            Kind(
                kind=kind,
                decisions=of_kind.decisions,
                otherwise=of_kind.otherwise,
                values={policy: _between(value) for policy, value in of_kind.snips.items()},
            )
            for kind, of_kind in sorted(found.by_kind.items())
        ],
        people=[Apart(user=one.user, otherwise=one.otherwise, decisions=one.decisions) for one in found.most],
        earned=[
            Earning(
                policy=one.policy,
                doubly_robust=_between(one.doubly_robust),
                self_normalized=_between(one.snips),
                effective_n=one.effective_n,
                mean_weight=one.mean_weight,
            )
            for one in found.earned
        ],
        ahead=_between(found.ahead),
        gate=words.gated(found),
        examples=[
            Example(
                distance=one.distance,
                decision_id=one.decision_id,
                user=one.user,
                decided_ms=one.decided_ms,
                choices=[words.chose(choice) for choice in one.choices],
            )
            for one in found.examples
        ],
    )


def _between(one: Value) -> Between:
    return Between(value=one.value, low=one.low, high=one.high)


def _run(stack: RunningStack, name: str) -> Run:
    return Run(stack.folder.root / FOLDER, name)


def _replay(one: Run, manifest: Manifest) -> Replay:
    return Replay(
        name=one.name,
        state=one.state(),
        asks=manifest.asks,
        records=manifest.records,
        partitions=len(manifest.end),
        people=len(manifest.users),
        done=one.done(),
        created_ms=manifest.created_ms,
    )
