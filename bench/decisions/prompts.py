"""What it is worth to learn across prompts and models: the joint learner, a fixed prompt and model, and a uniform A/B.

The whole pure core, on the same people with the same sources (deploy/simulator): requests are outputs of `step`, and each is answered at
once, of one prompt and model. The joint learner draws them evenly and sees them in the features; the A/B draws them evenly too, but of
a tip it sees only that a model wrote it; a fixed one asks one prompt and model alone. No setting was chosen on these seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agents.policies import DEFAULT
from bench.decisions.processes import processes
from bench.decisions.tips import Paired
from bench.result import Bench, Result, Row, slug
from deploy.simulator.pure import simulate
from deploy.simulator.scenario import load
from oo.v1.policy_pb2 import Variant

SEEDS = tuple(range(300, 310))
USERS, DAYS = 48, 6.0
VARIANTS = tuple(
    Variant(prompt_version=prompt, model=model, weight=1) for prompt in ("brief@1", "warm@1") for model in ("a", "b")
)
"""By names whose hashes fall into buckets of features apart: of two that share one, the joint learner knows no difference."""
UNKNOWN = Variant(prompt_version="any@1", model="any", weight=1)
JOINT, BLIND = "joint learner", "uniform A/B"


@dataclass(frozen=True, slots=True)
class Found:
    """What one run came to, in the mean over decisions that somebody looked at."""

    value: float
    on_slate: float
    """Written tips that could be chosen."""
    chosen: float
    """Share of decisions that chose one."""


def measure(bench: Bench) -> Result:
    """All arms on each seed; quick: two seeds."""
    seeds = SEEDS[:2] if bench.quick else SEEDS
    found: dict[str, list[Found]] = {}
    with processes() as pool:
        lived = zip(seeds, pool.map(_lived, seeds), strict=True)
        for seed, runs in bench.track(lived, "living with written tips", len(seeds)):
            for name, run in runs.items():
                found.setdefault(name, []).append(run)
            bench.say(f"seed {seed}: " + ", ".join(f"{name} {one[-1].value:.3f}" for name, one in found.items()))
    return Result(rows=list(_rows(found)))


def _lived(seed: int) -> dict[str, Found]:
    return {name: _run(seed, variants, blind) for name, variants, blind in arms()}


def arms() -> Iterator[tuple[str, Sequence[Variant], Sequence[Variant]]]:
    """Name, what the core is told to ask, and who really writes where it is not told."""
    yield JOINT, VARIANTS, ()
    yield BLIND, (UNKNOWN,), VARIANTS
    for one in VARIANTS:
        yield f"{one.prompt_version.partition('@')[0]} by {one.model}", (one,), ()


def _run(seed: int, variants: Sequence[Variant], blind: Sequence[Variant]) -> Found:
    base = load("base")
    run = simulate(base, users=USERS, days=DAYS, seed=seed, policy=DEFAULT, variants=variants, blind=blind)
    assert not run.faults, run.faults
    judged = run.tally.judged
    columns = np.array([(one.value, one.written, one.chosen_written) for one in judged], dtype=np.float64)
    return Found(*columns.mean(axis=0).tolist())


def _rows(found: dict[str, list[Found]]) -> Iterator[Row]:
    values = {name: [one.value for one in runs] for name, runs in found.items()}
    fixed = np.array([values[name] for name in values if name not in (JOINT, BLIND)])
    peers = {
        "a fixed prompt and model, in the mean over all": (fixed.mean(axis=0), True),
        "the worst of these, seed by seed": (fixed.min(axis=0), False),
        "the best of these, seed by seed, in hindsight": (fixed.max(axis=0), False),
        BLIND: (np.array(values[BLIND]), True),
    }
    joint = np.array(values[JOINT])
    runs = found[JOINT]
    for peer, (other, is_goal) in peers.items():
        apart = Paired.of(joint.tolist(), other.tolist())
        ahead = int((joint > other).sum())
        mine, theirs = float(joint.mean()), float(other.mean())
        yield Row(
            slug(f"prompts {peer}"),
            f"joint learner: worth of a decision, difference {apart}, ahead on {ahead} of {len(joint)} seeds",
            round(mine, 3),
            "",
            round(theirs, 3),
            peer,
            round(mine / theirs, 3),
            goal="95 % bound of the difference > 0" if is_goal else "",
            met=apart.low > 0 if is_goal else None,
            note=(
                f"{USERS} people, {DAYS:g} days, {len(VARIANTS)} variants; {np.mean([one.on_slate for one in runs]):.1f} written tips "
                f"could be chosen in the mean, and {np.mean([one.chosen for one in runs]):.0%} of decisions chose one."
            )
            if peer == BLIND
            else "",
        )
