"""What a model is worth on later decisions that it was not made from: its error, its calibration, and what a policy that heeds it would have earned.

Pure. A number that an interval is given for has it at 95 %, for one look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.evaluation import counted, estimates, model, single
from agents.evaluation.agreement import agreement
from agents.evaluation.estimates import Z_95, Estimate
from agents.features import ONE
from oo.v1 import decision_pb2, outcome_pb2, policy_pb2
from tables.linear import Ints
from training.calibrated import Floats
from training.sets import COLD, Flags, TrainingSet

ROWS_MIN = 100
"""Later rows; with fewer nothing is known of a calibration, and a model is not registered."""
BINS, BIN_ROWS = 10, 50
"""Rows in the order of what is predicted, in at most so many parts of at least so many."""
OFF_MEAN, OFF_BIN = 2 / ONE, 6 / ONE
"""How far the mean of the rewards may lie off the mean of the predictions, of all later rows and of each bin: more, by three standard errors, is off."""
SURE = 3.0
_NONE = decision_pb2.Decision.NONE
_TIPS = (decision_pb2.Decision.TASK, decision_pb2.Decision.STARTER, decision_pb2.Decision.GENERATED)


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its interval; without bounds where too little counts."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """Later rows of about one prediction."""

    rows: int
    predicted: float
    reward: float
    error: float
    """The standard error of the reward's mean."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether a predicted reward is what came, on later rows of everybody."""

    rows: int
    off: Value
    """The mean reward less the mean prediction."""
    bins: tuple[Bin, ...]

    @property
    def why_not(self) -> str:
        """Why the model may not be registered; empty where it may."""
        if self.rows < ROWS_MIN:
            return f"there are {self.rows} later tips with a reaction or its absence, and {ROWS_MIN} are needed to know the calibration: take a longer range"
        assert self.off.low is not None, "rows enough for an interval"
        error = (self.off.value - self.off.low) / Z_95
        if abs(self.off.value) - SURE * error > OFF_MEAN:
            return (
                f"its calibration is off on later rows: they earned {self.off.value:+.3f} more than it says, in the mean (allowed {OFF_MEAN:.3f}, "
                f"and {SURE:g} standard errors of {error:.3f})"
            )
        for one in self.bins:
            if abs(one.reward - one.predicted) - SURE * one.error > OFF_BIN:
                return (
                    f"its calibration is off on later rows: of {one.rows} it says {one.predicted:.3f}, and they earned {one.reward:.3f} "
                    f"(allowed {OFF_BIN:.3f} and {SURE:g} standard errors of {one.error:.3f})"
                )
        return ""


def calibration(said: Floats, y: Floats) -> Calibration:
    """Hold predictions against rewards, each (n,)."""
    order = np.argsort(said, kind="stable")
    parts = np.array_split(order, max(min(BINS, len(y) // BIN_ROWS), 1)) if len(y) else []
    bins = tuple(
        Bin(len(at), float(said[at].mean()), float(y[at].mean()), float(y[at].std() / sqrt(len(at)))) for at in parts
    )
    return Calibration(len(y), _mean(y - said), bins)


@dataclass(frozen=True, slots=True)
class Fit:
    """How near predictions are to rewards, on some rows."""

    rows: int
    error: float
    """The root of the mean square, in units of a done."""
    error_of_mean: float
    """That of one number for all: the mean reward of what the model was fitted to."""
    better: Value
    """How much less the square of the error is than that of the one number."""
    done_above: Value
    """Of a tip that was done and one that was not, how often the first has the greater prediction; 0.5 is chance."""

    @property
    def why_not(self) -> str:
        """Why the model may not be registered: it is shown to be worse than one number for all; empty where it is not."""
        if self.better.high is None or self.better.high >= 0:
            return ""
        return (
            f"one number for all predicts better: its error is {self.error:.3f} on {self.rows} later rows, and that of the mean reward "
            f"{self.error_of_mean:.3f}"
        )


def fit(said: Floats, y: Floats, *, done: Flags, mean: float) -> Fit:
    """Hold predictions against rewards, each (n,); `mean`: of the rows that the model was fitted to."""
    if not len(y):
        return Fit(0, 0.0, 0.0, Value(0.0), Value(0.5))
    mine, theirs = (y - said) ** 2, (y - mean) ** 2
    told = agreement(list(zip(said.tolist(), done.tolist(), strict=True)))
    return Fit(
        len(y),
        sqrt(float(mine.mean())),
        sqrt(float(theirs.mean())),
        _mean(theirs - mine),
        Value(told.share, told.low, told.high),
    )


@dataclass(frozen=True, slots=True)
class Group:
    """What the policy of a model would have done for some people, beside what was logged."""

    decisions: int
    earned: Value
    logged: Value
    ahead: Value
    """Of the same decisions, what the policy earns more."""
    told: float
    """The share of decisions in which it would have told a tip."""
    logged_told: float


@dataclass(frozen=True, slots=True)
class Earned:
    """Off-policy: what the policy of a model would have earned of a decision, doubly robust, on later decisions."""

    groups: Mapping[str, Group]
    """`all`, and of these those of people of whom few tips were seen before (`cold`) and the others (`old`)."""
    effective_n: float
    mean_weight: float
    """About 1, or the logged probabilities are not those of the draws."""
    out_of_reach: int
    """Decisions in which it would have drawn what the log never could: its value is wrong by what that earns."""


def earned(some: TrainingSet, at: Ints, said: Floats, *, config: policy_pb2.DecisionConfig) -> Earned:
    """Value the policy that shows the candidate of the greatest predicted reward less the cost to interrupt, and nothing where none is above 0, with
    the configured floor under every other one.

    `at`: decisions in the order in which they were made; `said`: (N,), what the model says of every candidate of the set. What is told of rewards
    comes from earlier of these decisions alone, as the product's own estimates have it (agents/evaluation).
    """
    rewards = model.empty(1 + len(_TIPS))
    terms, told, cold = list[Floats](), list[tuple[float, float]](), some.seen_before[at] < COLD
    out_of_reach = 0
    for number in at.tolist():
        those = slice(int(some.starts[number]), int(some.starts[number + 1]))
        logging, kinds, action = some.propensities[those], some.kinds[those], int(some.action[number])
        silent = kinds == _NONE
        worth = np.where(silent, 0.0, said[those] - config.interruption_cost / ONE)
        floor = config.floor_permille / 1000
        pmf = np.full(len(kinds), floor)
        pmf[int(worth.argmax())] += 1 - floor * len(kinds)
        if floor * len(kinds) > 1:
            pmf = np.full(len(kinds), 1 / len(kinds))
        out_of_reach += bool(((logging <= 0) & (pmf > 0)).any())
        x = np.column_stack([np.where(silent, 0.0, said[those]), *(kinds == tip for tip in _TIPS)]).astype(np.float64)
        reward = counted.reward(
            decision_pb2.Decision.TipKind.ValueType(int(kinds[action])),
            outcome_pb2.Outcome.Kind.ValueType(int(some.became[number])),
            config=config,
        )
        pmfs = np.ascontiguousarray([logging, pmf])
        terms.append(single.terms(logging, model.predict(rewards, x), pmfs, action, reward, 1.0))
        rewards = model.learn(rewards, x[action], np.array(reward))
        told.append((float(logging[~silent].sum()), float(pmf[~silent].sum())))
    every = np.array(terms).reshape(-1, 2, 12)
    shares = np.array(told).reshape(-1, 2)
    groups = {"all": np.ones(len(at), bool), "cold": cold, "old": ~cold}
    whole = estimates.Estimates(len(at), every[:, 1].sum(axis=0))
    return Earned(
        {name: _group(every[which], shares[which]) for name, which in groups.items()},
        float(estimates.effective_n(whole)),
        float(estimates.mean_weight(whole)),
        out_of_reach,
    )


_S = 6
"""Where among an event's terms its doubly robust score stands (agents/evaluation/estimates.py)."""


def _group(terms: npt.NDArray[np.float64], told: npt.NDArray[np.float64]) -> Group:
    n = len(terms)
    if not n:
        return Group(0, Value(0.0), Value(0.0), Value(0.0), 0.0, 0.0)
    logged, mine = (_value(estimates.dr(estimates.Estimates(n, terms[:, which].sum(axis=0)))) for which in range(2))
    ahead = _mean(terms[:, 1, _S] - terms[:, 0, _S])
    return Group(n, mine, logged, ahead, float(told[:, 1].mean()), float(told[:, 0].mean()))


def _value(found: Estimate) -> Value:
    low, high = float(found.low), float(found.high)
    known = bool(np.isfinite([low, high]).all())
    return Value(float(found.value), low if known else None, high if known else None)


def _mean(values: Floats) -> Value:
    n = len(values)
    if n < 2:
        return Value(float(values.mean()) if n else 0.0)
    half = Z_95 * float(values.std(ddof=1)) / sqrt(n)
    mean = float(values.mean())
    return Value(mean, mean - half, mean + half)


def flat(found: Any, name: str = "") -> dict[str, float]:
    """Every number of a judgement by its path, as a registry keeps metrics.

    >>> flat(Value(0.5, 0.25, None), "off")
    {'off': 0.5, 'off.low': 0.25}
    """
    said, made = asdict(found) if not isinstance(found, dict) else found, dict[str, float]()
    for key, one in said.items():
        path = name if key == "value" else f"{name}.{key}" if name else key
        if isinstance(one, dict):
            made |= flat(one, path)
        elif isinstance(one, int | float):
            made[path] = float(one)
    return made
