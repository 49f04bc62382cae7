"""How often each estimator's interval holds the truth, on logs of a policy that learns as it goes. It judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agents.evaluation import estimates, propensities, sequence
from agents.evaluation.estimates import Z_95
from agents.evaluation.event import Event, Floats, at, weights
from bench.decisions.logged import REWARDS, Worlds, near_truth, rounds

DR, SNIPS, IPS, ALWAYS = "DR, past fit", "SNIPS", "IPS", "confidence sequence"
CLIPPED, IN_SAMPLE, WRONG = "IPS, weights clipped at 5", "direct method, in sample", "IPS, wrong propensities"
CLIP = 5.0
LOOK_EVERY = 20
LOOK_FROM = 40
ALARM = 0.001


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of streams, and mean widths, by method."""

    n: Sequence[int]
    inside: Mapping[str, Sequence[float]]
    """At each n: the share of streams whose interval holds the truth."""
    width: Mapping[str, Sequence[float]]
    left: Mapping[str, float]
    """The share of streams whose interval lost the truth at any look, every 20 events from the 40th on."""
    alarms: Mapping[str, float]
    """The share of streams in which `propensities` spoke, by what was logged: right or wrong."""
    mean_weight: Mapping[str, float]
    effective_n: float


def covered(those: Worlds, rng: np.random.Generator, *, streams: int, checkpoints: Sequence[int]) -> Coverage:
    """Streams of the greatest checkpoint's length, all methods on the same events."""
    target = near_truth(those, rng, noise=0.1, sharpness=10)
    right, wrong = estimates.empty(shape=(streams,)), estimates.empty(shape=(streams,))
    clipped = estimates.empty(shape=(streams,))
    direct = _Direct.empty(streams, d=those.x.shape[-1])
    always = sequence.empty("mean", rewards=REWARDS, shape=(streams,))
    balance, balance_of_wrong = propensities.empty(shape=(streams,)), propensities.empty(shape=(streams,))
    alarmed = {"right": np.zeros(streams, dtype=bool), "wrong": np.zeros(streams, dtype=bool)}
    left = {DR: np.zeros(streams, dtype=bool), ALWAYS: np.zeros(streams, dtype=bool)}
    inside: dict[str, list[float]] = {}
    width: dict[str, list[float]] = {}
    truth = those.value(target)[np.arange(streams) % len(those.x)]
    for n, now in enumerate(rounds(those, rng, streams=streams, n=max(checkpoints)), start=1):
        pmf, event = now.of(target), now.event
        lied = replace(event, logging=flatter(event.logging))
        right = estimates.add(right, event, pmf)
        wrong = estimates.add(wrong, lied, pmf)
        clipped = estimates.add(clipped, event, np.minimum(weights(event, pmf), CLIP) * event.logging)
        always = sequence.add(always, event, pmf)
        balance, balance_of_wrong = propensities.add(balance, event, pmf), propensities.add(balance_of_wrong, lied, pmf)
        direct = direct.with_one(those.x[now.world, now.slate], event, pmf)
        looked = n % LOOK_EVERY == 0 and n >= LOOK_FROM
        if not looked and n not in checkpoints:
            continue
        found = {
            DR: _ends(estimates.dr(right)),
            SNIPS: _ends(estimates.snips(right)),
            IPS: _ends(estimates.ips(right)),
            ALWAYS: sequence.interval(always, alpha=0.05),
            CLIPPED: _ends(estimates.ips(clipped)),
            WRONG: _ends(estimates.ips(wrong)),
        }
        for name in left:
            low, high = found[name]
            left[name] |= (truth < low) | (high < truth)
        alarmed["right"] |= propensities.is_off(balance, alpha=ALARM)
        alarmed["wrong"] |= propensities.is_off(balance_of_wrong, alpha=ALARM)
        if n in checkpoints:
            found[IN_SAMPLE] = direct.interval(n)
            for name, (low, high) in found.items():
                inside.setdefault(name, []).append(float(((low <= truth) & (truth <= high)).mean()))
                width.setdefault(name, []).append(float((high - low).mean()))
    return Coverage(
        tuple(checkpoints),
        inside,
        width,
        {name: float(out.mean()) for name, out in left.items()},
        {name: float(out.mean()) for name, out in alarmed.items()},
        {
            "right": float(estimates.mean_weight(right).mean()),
            "wrong": float(estimates.mean_weight(wrong).mean()),
        },
        float(estimates.effective_n(right).mean()),
    )


def flatter(logging: Floats) -> Floats:
    """Planted wrong propensities: those of a policy that explores more than the one that drew."""
    return np.asarray(0.5 * logging + 0.5 / logging.shape[-1])


@dataclass(frozen=True, slots=True)
class _Direct:
    """The direct method fitted on the very events that it is then averaged over."""

    gram: Floats
    moment: Floats
    z: Floats
    """Σ of the features that the target would have drawn, in the mean."""
    zz: Floats

    @staticmethod
    def empty(streams: int, *, d: int) -> _Direct:
        square, row = (streams, d, d), (streams, d)
        return _Direct(np.zeros(square), np.zeros(row), np.zeros(row), np.zeros(square))

    def with_one(self, x: Floats, event: Event, pmf: Floats) -> _Direct:
        drawn = np.take_along_axis(x, event.action[:, None, None], axis=1)[:, 0]
        meant = (pmf[..., None] * x).sum(axis=1)
        return _Direct(
            self.gram + drawn[:, :, None] * drawn[:, None, :],
            self.moment + drawn * event.reward[:, None],
            self.z + meant,
            self.zz + meant[:, :, None] * meant[:, None, :],
        )

    def interval(self, n: int) -> tuple[Floats, Floats]:
        beta = np.linalg.solve(self.gram + np.eye(self.z.shape[-1]), self.moment[..., None])
        value = (self.z[:, None, :] @ beta)[:, 0, 0] / n
        squares = (np.swapaxes(beta, 1, 2) @ self.zz @ beta)[:, 0, 0] / n
        half = Z_95 * np.sqrt(np.maximum(squares - value * value, 0.0) / n)
        return value - half, value + half


def _ends(estimate: estimates.Estimate) -> tuple[Floats, Floats]:
    return estimate.low, estimate.high


def on_policy_gap(those: Worlds, rng: np.random.Generator, *, streams: int, n: int) -> tuple[float, float]:
    """A policy estimated from its own log: how far IPS and SNIPS are, at most, from the plain mean of its rewards."""
    own, total = estimates.empty(shape=(streams,)), np.zeros(streams)
    for now in rounds(those, rng, streams=streams, n=n):
        own = estimates.add(own, now.event, now.event.logging)
        total += now.event.reward
        assert (at(weights(now.event, now.event.logging), now.event.action) == 1.0).all()
    gaps = (abs(one(own).value - total / n).max() for one in (estimates.ips, estimates.snips))
    ips, snips = gaps
    return float(ips), float(snips)
