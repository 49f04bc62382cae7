"""Whether the gate lets noise be heard: a policy beside itself without the two columns of a model, on the same decisions, many streams at once.

What is a score there for is no draw: slates of people who are well served and quiet have one first. So the columns of a model that says nothing still go with what is earned, and one slate in eight is deaf, drawn apart from all else. The policy is `mixed` without its draws: ridge regression over linear features,
a softmax and a floor; both are fitted to the same rewards, one without the two columns (agents.bandit.fitting). The proof is the gate's
own (agents.evaluation.sequence). It judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np

from agents.evaluation import estimates, sequence
from agents.evaluation.event import Event, Floats, Range
from agents.evaluation.gate import Rule
from agents.reward import DEAF_PERMILLE

REWARDS = Range(-0.25, 1.0)
RULE = Rule(REWARDS, places=1)
K, SEEN = 6, 6
"""Candidates, the last of which says nothing and earns nothing, and features of each beside the constant and how well the person is served."""
SILENT = K - 1
PLAIN, D = SEEN + 2, SEEN + 4
REFIT_EVERY, SHARPNESS, FLOOR, RIDGE = 25, 20.0, 0.02, 5.0

Says = Literal["noise", "useful", "peeks"]
"""What the model says: a draw that means nothing; what no other feature shows, with an error; or, which no model can, what the tip is about to earn."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of all streams."""

    n: int
    promoted_at: Floats
    """(streams,): after how many decisions; infinity for never."""
    value: dict[str, tuple[float, float]]
    """Doubly robust, in the mean over streams, of the policy that hears not and of the one that does: of `all` decisions, those with a score (`heard`), those drawn `deaf`, and
    those for which there was `none`."""
    truth: tuple[float, float]
    """What both earn in truth, over all decisions."""

    def promoted(self) -> float:
        """The share of streams."""
        return float(np.isfinite(self.promoted_at).mean())

    def events(self, share: float) -> float:
        """Until that share of streams is promoted; infinity if it never was."""
        return float(np.sort(self.promoted_at)[max(0, int(np.ceil(share * len(self.promoted_at))) - 1)])


def watched(
    rng: np.random.Generator, *, says: Says, streams: int, n: int, say: Callable[[str], None] = lambda _: None
) -> Heard:
    """The champion hears not, and logs; the challenger hears."""
    w = rng.normal(0.0, 0.12, (streams, SEEN))
    gram, moment = np.zeros((streams, D, D)), np.zeros((streams, D))
    theta = {width: np.zeros((streams, width)) for width in (PLAIN, D)}
    difference = sequence.empty("difference", rewards=REWARDS, shape=(streams,))
    kept = {which: [estimates.empty(shape=(streams,)) for _ in range(2)] for which in ("all", "heard", "deaf", "none")}
    promoted_at, truth, at = np.full(streams, np.inf), np.zeros(2), np.arange(streams)
    for i in range(1, n + 1):
        served = rng.random(streams) < 0.5
        z = rng.normal(0.0, 1.0, (streams, K, SEEN))
        hidden = rng.normal(0.0, 0.2, (streams, K))
        mean = np.clip(0.1 + 0.25 * served[:, None] + np.einsum("skd,sd->sk", z, w) + hidden, 0.02, 0.98)
        worth = np.where(rng.random((streams, K)) < mean, REWARDS.high, REWARDS.low)
        worth[:, SILENT] = 0.0
        earned = np.where(np.arange(K) == SILENT, 0.0, REWARDS.low + REWARDS.width * mean)
        there = rng.random(streams) < np.where(served, 0.9, 0.2)
        deaf = there & (rng.random(streams) < DEAF_PERMILLE / 1000)
        heard = (there & ~deaf)[:, None]
        said = {
            "noise": rng.random((streams, K)),
            "useful": np.clip(hidden + rng.normal(0.0, 0.1, (streams, K)) + 0.5, 0.0, 1.0),
            "peeks": np.clip(worth, 0.0, 1.0),
        }[says]
        shared = [np.ones((streams, K, 1)), np.broadcast_to(served[:, None, None], (streams, K, 1))]
        x = np.concatenate(
            [*shared, z, np.where(heard, said, 0.0)[..., None], np.broadcast_to(heard[..., None], (streams, K, 1))],
            axis=2,
        )
        x[:, SILENT] = 0.0
        predicted = {width: np.einsum("skd,sd->sk", x[..., :width], theta[width]) for width in theta}
        base, other = (_pmf(predicted[width]) for width in (PLAIN, D))
        action = np.minimum((np.cumsum(base, axis=1) < rng.random((streams, 1))).sum(axis=1), K - 1)
        reward = worth[at, action]
        event = Event(base, action, reward, np.clip(predicted[PLAIN], REWARDS.low, REWARDS.high))
        difference = sequence.add(difference, event, other, minus=base)
        truth += [(pmf * earned).sum(axis=1).mean() / n for pmf in (base, other)]
        for which, here in {"all": np.ones(streams), "heard": heard[:, 0], "deaf": deaf, "none": ~there}.items():
            those = Event(event.logging, event.action, event.reward, event.q_hat, here.astype(float))
            kept[which] = [estimates.add(one, those, pmf) for one, pmf in zip(kept[which], (base, other), strict=True)]
        speaks = sequence.log_wealth_above(difference, RULE.margin) >= log(RULE.places / RULE.alpha)
        promoted_at = np.where(speaks & np.isinf(promoted_at), i, promoted_at)
        drawn = x[at, action]
        gram += drawn[:, :, None] * drawn[:, None, :]
        moment += drawn * reward[:, None]
        if i % REFIT_EVERY == 0:
            theta = {
                width: np.linalg.solve(gram[:, :width, :width] + RIDGE * np.eye(width), moment[:, :width, None])[..., 0]
                for width in theta
            }
        if i % 500 == 0:
            say(f"{says}: {i} decisions, promoted in {np.isfinite(promoted_at).mean():.3f} of {streams} streams")
    value = {
        which: (float(estimates.dr(pair[0]).value.mean()), float(estimates.dr(pair[1]).value.mean()))
        for which, pair in kept.items()
    }
    return Heard(n, promoted_at, value, (float(truth[0]), float(truth[1])))


def _pmf(predicted: Floats) -> Floats:
    weight = np.exp(SHARPNESS * (predicted - predicted.max(axis=1, keepdims=True)))
    pmf: Floats = FLOOR + (1 - K * FLOOR) * weight / weight.sum(axis=1, keepdims=True)
    return pmf
