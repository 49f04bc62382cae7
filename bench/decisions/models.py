"""Whether hearing a trained model pays: `mixed_hearing` beside `mixed`, on the same people, after ten days that both began with.

The whole pure core (deploy/simulator). Ten days are lived under the default policy; models are trained on that log by training's own functions,
exported, and asked through ONNX Runtime as process `score` would (deploy/simulator/scorer.py); five days, a weekend among them, follow under each policy. No setting was chosen on
these seeds.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime
from threadpoolctl import threadpool_limits

from agents.policies import DEFAULT, mixed_hearing
from agents.step import Entry, Outputs
from bench.decisions.processes import processes
from bench.decisions.tips import Paired
from bench.result import Bench, Result, Row, slug
from deploy.simulator.people import START_MS
from deploy.simulator.pure import Later, config_of, simulate
from deploy.simulator.scenario import load
from deploy.simulator.scorer import Scorer
from oo.v1 import decision_pb2
from streams.units import DAY_MS, HOUR_MS
from training.calibrated import calibrate
from training.export import exported
from training.judged import calibration
from training.models import MODELS
from training.sets import NAMES, Collector, TrainingSet, split

Floats = npt.NDArray[np.float32]
Expected = Callable[[decision_pb2.Decision, Floats], Floats]

SEEDS = tuple(range(500, 510))
USERS, LIVED_DAYS, DAYS = 320, 10.0, 5.0
"""With 48 people a model has some hundred tips to learn from, which is too few (docs/models.md)."""
NOISE = "noise"
SEES, DEFAULT_ONE = ("afternoons_apart", "weekends_apart"), "base"
ARMS = {**dict.fromkeys(SEES, ("boosting", "linear")), DEFAULT_ONE: ("boosting", NOISE)}
MARGIN = 0.01
"""By how much a decision is to be worth more where the model sees more, in units of a done."""
LOSS = 0.01
"""What hearing one may cost where it does not."""
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Week:
    """What one week came to, in the mean over decisions that somebody looked at."""

    value: float
    oracle: float
    random: float
    heard: float
    """Share of all decisions of the week that heard the model."""
    off: str = ""
    """Why the model would not be registered, by its calibration on later rows."""


def measure(bench: Bench) -> Result:
    """All arms on each seed; quick: two seeds."""
    seeds = SEEDS[:2] if bench.quick else SEEDS
    tasks = [(name, seed) for seed in seeds for name in ARMS]
    found: dict[str, dict[str, list[Week]]] = {}
    with processes(PROCESSES) as pool:
        lived = zip(tasks, pool.map(_lived, tasks), strict=True)
        for (name, seed), weeks in bench.track(lived, "living with models", len(tasks)):
            for arm, week in weeks.items():
                found.setdefault(name, {}).setdefault(arm, []).append(week)
            bench.say(f"{name}, seed {seed}: " + ", ".join(f"{arm} {week.value:.3f}" for arm, week in weeks.items()))
    return Result(rows=[row for name in ARMS for row in _rows(name, found[name])])


def _lived(task: tuple[str, int]) -> dict[str, Week]:
    name, seed = task
    with threadpool_limits(limits=1):
        collector = Collector(0, start=0, end=sys.maxsize)

        def collect(entry: Entry, outputs: Outputs) -> None:
            if entry.time_ms < START_MS + LIVED_DAYS * DAY_MS:
                collector.take(entry.offset, entry.time_ms, outputs.decision, outputs.outcomes)

        found = {DEFAULT: _week(name, seed, None, collect)}
        some = collector.done(wait_ms=4 * HOUR_MS, may_teach=lambda _: True)
        for kind in ARMS[name]:
            expected, off = (_noise, "") if kind == NOISE else model_of(kind, some, name)
            found[kind] = _week(
                name, seed, Later(LIVED_DAYS, mixed_hearing.NAME, Scorer(f"{kind}@1", expected)), off=off
            )
        return found


def _week(
    name: str,
    seed: int,
    later: Later | None,
    collect: Callable[[Entry, Outputs], None] = lambda _entry, _outputs: None,
    *,
    off: str = "",
) -> Week:
    heard, many = 0, 0

    def hear(entry: Entry, outputs: Outputs) -> None:
        nonlocal heard, many
        collect(entry, outputs)
        if outputs.decision is not None and outputs.decision.policy == mixed_hearing.NAME:
            many += 1
            heard += bool(outputs.decision.scored_by) and not outputs.decision.deaf

    run = simulate(load(name), users=USERS, days=LIVED_DAYS + DAYS, seed=seed, policy=DEFAULT, later=later, hear=hear)
    assert not run.faults, run.faults
    week = [one for one in run.tally.judged if one.after_ms >= LIVED_DAYS * DAY_MS]
    means = np.array([(one.value, one.oracle, one.random) for one in week]).mean(axis=0).tolist()
    return Week(*means, heard=heard / max(many, 1), off=off)


def model_of(kind: str, some: TrainingSet, name: str) -> tuple[Expected, str]:
    """A model as `oo train` makes it, and why it would not be registered, by its calibration."""
    parts, rewards = split(some), some.rewards(config_of(load(name), learn_expired=False))

    def rows(which: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.float64]]:
        return some.inputs(some.drawn[which]), rewards[which]

    one = calibrate(MODELS[kind](*rows(parts.fit)), *rows(parts.calibrate))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported(one, names=NAMES), options, providers=["CPUExecutionProvider"])
    x, y = rows(parts.later)
    return (
        lambda _, x: session.run(["reward"], {"features": x})[0][:, 0],
        calibration(one.predict(x), y).why_not,
    )


def _noise(decision: decision_pb2.Decision, x: Floats) -> Floats:
    """What means nothing, within the range of rewards, another number for each candidate of each slate."""
    return np.random.default_rng(zlib.crc32(decision.decision_id.encode())).random(len(x)).astype(np.float32)


def _rows(name: str, found: dict[str, list[Week]]) -> Iterator[Row]:
    plain = [one.value for one in found[DEFAULT]]
    oracle, random = (np.mean([getattr(one, of) for one in found[DEFAULT]]) for of in ("oracle", "random"))
    for arm, weeks in found.items():
        if arm == DEFAULT:
            continue
        values = [one.value for one in weeks]
        apart = Paired.of(values, plain)
        mine, theirs = float(np.mean(values)), float(np.mean(plain))
        goal, met = "", None
        if arm == "boosting":
            bound = MARGIN if name in SEES else -LOSS
            goal, met = f"95 % bound of the difference > {bound:+g}", apart.low > bound
        refused = sum(bool(one.off) for one in weeks)
        yield Row(
            slug(f"models {name} {arm}"),
            f"{name}: worth of a decision that hears {arm}, difference {apart}, ahead on {sum(a > b for a, b in zip(values, plain, strict=True))} of {len(plain)} seeds",
            round(mine, 3),
            "",
            round(theirs, 3),
            f"{DEFAULT}, the same people",
            round(mine / theirs, 3),
            goal=goal,
            met=met,
            note=f"{USERS} people, {LIVED_DAYS:g} days before and {DAYS:g} days after; oracle {oracle:.3f}, chance {random:.3f}; {np.mean([one.heard for one in weeks]):.0%} of decisions heard it"
            + (f"; off in calibration on {refused} seeds" if refused else "")
            + ".",
        )
