"""Whether the gate finds out by itself that hearing a trained model pays, and whether its interval holds the truth.

The very shadows of a stack (agents/shadows.py), over journals of the pure core: ten days are lived under the default policy, a model is made of them, and then it says what it expects of
slates that the default policy decides, which is fitted without. The shadow `mixed_hearing` is watched beside it. The truth is what the same people bring when that policy decides from the tenth day on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from agents.assemble import GATE_MARGIN, learners_of
from agents.evaluation.counted import reward_range
from agents.evaluation.gate import Kind, Rule
from agents.policies import DEFAULT, mixed_hearing
from agents.shadows import Shadows, Waits, with_challengers
from agents.step import Entry, Outputs
from bench.decisions.models import LIVED_DAYS, SEES, model_of
from bench.decisions.processes import processes
from bench.result import Bench, Result, Row, slug
from deploy.simulator.people import START_MS
from deploy.simulator.pure import Later, config_of, simulate
from deploy.simulator.scenario import load
from deploy.simulator.scorer import Scorer
from oo.v1 import evaluation_pb2
from streams.units import DAY_MS, HOUR_MS
from training.sets import Collector

SEEDS = (520, 521, 522, 523)
"""None that a setting was chosen on."""
USERS, DAYS = 320, 14.0
NAMES = (DEFAULT, mixed_hearing.NAME)
PROCESSES = 2


@dataclass(slots=True)
class Watched:
    """What the shadows of one journal came to."""

    by: Shadows
    since_ms: int
    promoted: tuple[int, float] | None = None
    """After how many decisions the gate let the one that hears decide, and after how many days of scores."""
    now_ms: int = 0

    def hear(self, entry: Entry, outputs: Outputs) -> None:
        """As process `shadow` takes them."""
        if entry.time_ms < self.since_ms:
            return
        self.now_ms = entry.time_ms
        for outcome in outputs.outcomes:
            self.by.resolve(outcome)
        if outputs.decision is not None:
            self.by.decide(outputs.decision)
            for outcome in self.by.early(outputs.decision.decision_id):
                self.by.resolve(outcome)
            self.by.pass_time(outputs.decision.decided_ms)
        for verdict in self.by.verdicts():
            if verdict.kind is Kind.PROMOTE and self.promoted is None:
                assert verdict.evidence is not None
                self.promoted = verdict.evidence.n, (entry.time_ms - self.since_ms) / DAY_MS

    def earned(self, policy: str) -> evaluation_pb2.Interval:
        """Doubly robust, of all its decisions."""
        found = next(one for one in self.by.estimates(now_ms=self.now_ms) if one.policy == policy and not one.kind)
        return found.doubly_robust


@dataclass(frozen=True, slots=True)
class Found:
    """One journal."""

    promoted: tuple[int, float] | None
    estimate: tuple[float, float, float]
    """What the policy that hears would earn of a decision, by the log of the one that does not."""
    truth: tuple[float, float, float]
    """What it earns where it decides, by its own log."""
    plain: float
    """What the one earns that does not hear."""


def measure(bench: Bench) -> Result:
    """Each scenario on each seed; quick: one seed."""
    tasks = [(name, seed) for seed in SEEDS[: 1 if bench.quick else None] for name in SEES]
    found: dict[str, list[Found]] = {}
    with processes(PROCESSES) as pool:
        for (name, seed), one in bench.track(zip(tasks, pool.map(_found, tasks), strict=True), "watching", len(tasks)):
            found.setdefault(name, []).append(one)
            bench.say(f"{name}, seed {seed}: {one}")
    return Result(rows=[row for name in found for row in _rows(name, found[name])])


def _found(task: tuple[str, int]) -> Found:
    name, seed = task
    scenario, since_ms = load(name), START_MS + round(LIVED_DAYS * DAY_MS)
    with threadpool_limits(limits=1):
        collector = Collector(0, start=0, end=sys.maxsize)
        _lived(
            name,
            seed,
            LIVED_DAYS,
            None,
            lambda entry, outputs: collector.take(entry.offset, entry.time_ms, outputs.decision, outputs.outcomes),
        )
        some = collector.done(wait_ms=4 * HOUR_MS, may_teach=lambda _: True)
        expected, _ = model_of("boosting", some, name)
        found = []
        for policy in (DEFAULT, mixed_hearing.NAME):
            rule = Rule(reward_range(config_of(scenario, learn_expired=False)), margin=GATE_MARGIN, places=len(NAMES))
            watched = Watched(
                Shadows(
                    learners=learners_of(NAMES),
                    gate=with_challengers(policy, NAMES, rule=rule),
                    clock=time.perf_counter,
                    waits=Waits(),
                ),
                since_ms,
            )
            _lived(
                name, seed, LIVED_DAYS + DAYS, Later(LIVED_DAYS, policy, Scorer("boosting@1", expected)), watched.hear
            )
            found.append(watched)
    log, own = found
    return Found(
        log.promoted,
        _bounds(log.earned(mixed_hearing.NAME)),
        _bounds(own.earned(mixed_hearing.NAME)),
        log.earned(DEFAULT).value,
    )


def _lived(name: str, seed: int, days: float, later: Later | None, hear: Callable[[Entry, Outputs], None]) -> None:
    run = simulate(load(name), users=USERS, days=days, seed=seed, policy=DEFAULT, later=later, hear=hear)
    assert not run.faults, run.faults


def _bounds(one: evaluation_pb2.Interval) -> tuple[float, float, float]:
    return round(one.value, 4), round(one.low, 4), round(one.high, 4)


def _rows(name: str, found: list[Found]) -> Iterator[Row]:
    days = [one.promoted[1] for one in found if one.promoted]
    yield Row(
        slug(f"found out {name}"),
        f"{name}: journals in which the gate let the policy decide that hears a model, within {DAYS:g} days of scores",
        len(days),
        "",
        len(found),
        "journals",
        round(len(days) / len(found), 3),
        goal=">= 1",
        met=len(days) == len(found),
        note="After "
        + (
            ", ".join(f"{one.promoted[0]:,} decisions ({one.promoted[1]:.1f} days)" for one in found if one.promoted)
            or "no number of decisions"
        )
        + f"; {USERS} people.",
    )
    held = [one.estimate[1] <= one.truth[0] <= one.estimate[2] for one in found]
    yield Row(
        slug(f"found out {name} interval"),
        f"{name}: journals whose 95 % interval of what it would earn holds what it earns where it decides",
        sum(held),
        "",
        len(held),
        "journals",
        round(float(np.mean(held)), 3),
        goal=">= 0.75",
        met=float(np.mean(held)) >= 0.75,
        note="Estimates by the log, and the truth: "
        + "; ".join(f"{e[0]:.3f} [{e[1]:.3f}, {e[2]:.3f}], {t.truth[0]:.3f}" for t in found for e in [t.estimate])
        + f". The policy that does not hear earned {np.mean([one.plain for one in found]):.3f}.",
    )
