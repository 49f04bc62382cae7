"""Challengers watched after every event: when the gate speaks, and when others would have. It judges nothing.

`python -m bench.decisions.honesty_watch` prints what other reaches and other stakes would take (minutes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log

import numpy as np

from agents.evaluation import sequence, wealth
from agents.evaluation.estimates import Z_95
from agents.evaluation.event import Event, Floats, at, weights
from bench.decisions.logged import REWARDS, Worlds, near_truth, rounds, worlds, worth

ALPHA = 0.05
GATE, NAIVE, PLUG_IN = "gate", "95 % interval, looked at after every event", "plug-in empirical Bernstein"
NAIVE_FROM = 30
"""No look before that many events: a normal interval of three events is nobody's practice."""


@dataclass(frozen=True, slots=True)
class Watched:
    """By method and stream: the event at which the challenger would have been promoted; infinity for never."""

    n: int
    first: Mapping[str, Floats]
    one_look: float
    """Events that a single look fixed in advance would take: one-sided 5 %, power 80 %; infinity where nothing differs."""

    def promoted(self, method: str, *, by: int | None = None) -> float:
        """The share of streams promoted by event `by`, or at all."""
        return float((self.first[method] <= (self.n if by is None else by)).mean())

    def events(self, method: str, share: float) -> float:
        """Until that share of streams is promoted; n if it never was."""
        ordered = np.sort(self.first[method])
        return float(min(ordered[max(0, int(np.ceil(share * len(ordered))) - 1)], self.n))


def watched(
    those: Worlds,
    rng: np.random.Generator,
    *,
    lift: float,
    streams: int,
    n: int,
    reach: float = sequence.REACH,
    say: Callable[[str], None] = lambda _: None,
) -> Watched:
    """The champion logs. The challenger is another policy whose true value is (1 + lift) times the champion's, exactly."""
    champion = near_truth(those, rng, noise=0.15, sharpness=8)
    better = near_truth(those, rng, noise=0.02, sharpness=30)
    worse = near_truth(those, rng, noise=0.6, sharpness=8)
    challenger = worth(those, better, worse, wanted=those.value(champion) * (1 + lift))
    difference = sequence.empty("difference", rewards=REWARDS, reach=reach, shape=(streams,))
    plug_in, total, squares = PlugIn.empty(streams), np.zeros(streams), np.zeros(streams)
    first = {name: np.full(streams, np.inf) for name in (GATE, NAIVE, PLUG_IN)}
    for i, now in enumerate(rounds(those, rng, streams=streams, n=n, logging=champion), start=1):
        pmf, base = now.of(challenger), now.of(champion)
        difference = sequence.add(difference, now.event, pmf, minus=base)
        plug_in = plug_in.with_one(scores(now.event, pmf - base, of=difference))
        s = unclipped(now.event, pmf - base)
        total, squares = total + s, squares + s * s
        mean = total / i
        error = np.sqrt(np.maximum(squares / i - mean * mean, 0.0) / max(i - 1, 1))
        speaks = {
            GATE: sequence.log_wealth_above(difference, 0.0) >= log(1 / ALPHA),
            NAIVE: (mean - Z_95 * error > 0) & (i >= NAIVE_FROM),
            PLUG_IN: plug_in.above_zero(),
        }
        for name, now_speaks in speaks.items():
            first[name] = np.where(now_speaks & np.isinf(first[name]), i, first[name])
        if i % 5000 == 0:
            say(f"{i} events: " + ", ".join(f"{name} {np.isfinite(one).mean():.3f}" for name, one in first.items()))
    gap = float(lift * those.value(champion).mean())
    variance = float(np.mean(squares / n - (total / n) ** 2))
    one_look = (1.6449 + 0.8416) ** 2 * variance / gap**2 if gap else np.inf
    return Watched(n, first, one_look)


def unclipped(event: Event, delta: Floats) -> Floats:
    """The doubly robust score of a difference, as `estimates` has it for one policy; (...)."""
    u = at(weights(event, delta), event.action)
    return np.asarray(u * (event.reward - at(event.q_hat, event.action)) + (delta * event.q_hat).sum(axis=-1))


def scores(event: Event, delta: Floats, *, of: sequence.Sequence) -> Floats:
    """What the gate's sequence bets on, moved so that its mean is the difference, in units of the floor: at least -1."""
    floor = of.rewards.width * (of.reach + 1)
    return sequence.score_above_floor(of, event, delta, floor=floor) / floor - 1


@dataclass(frozen=True, slots=True)
class PlugIn:
    """The closed-form lower bound of Waudby-Smith et al. 2022 with predictable plug-in stakes, on the gate's scores.

    exp(Σ λ_i (z_i - m) - (z_i - z̄_{i-1})² ψ_E(λ_i)) is a supermartingale for z >= -1 and z̄ <= 0.
    """

    n: int
    stakes: Floats
    won: Floats
    paid: Floats
    total: Floats
    spread: Floats
    alpha: float = ALPHA

    @staticmethod
    def empty(streams: int) -> PlugIn:
        none = np.zeros(streams)
        return PlugIn(0, none, none, none, none, np.full(streams, 0.25))

    def with_one(self, z: Floats) -> PlugIn:
        n = self.n + 1
        variance = self.spread / n
        stake = np.minimum(np.sqrt(2 * log(1 / self.alpha) / (variance * n * log(1 + n))), 0.75)
        guess = np.minimum(self.total / max(self.n, 1), 0.0)
        total = self.total + z
        return replace(
            self,
            n=n,
            stakes=self.stakes + stake,
            won=self.won + stake * z,
            paid=self.paid + (z - guess) ** 2 * (-np.log1p(-stake) - stake),
            total=total,
            spread=self.spread + (z - total / n) ** 2,
        )

    def above_zero(self) -> Floats:
        return np.asarray(self.won - self.paid - log(1 / self.alpha) > 0)


def main() -> None:
    """Events until a quarter, half and 80 % of 200 streams find +10 %, all on the same events."""
    chosen = wealth.STAKES
    shares = {
        "6 stakes": 0.8 * 3.0 ** -np.arange(6.0),
        "12 stakes": 0.9 * 2.0 ** -np.arange(12.0),
        "24 stakes": 0.9 * 1.4 ** -np.arange(24.0),
    }
    tries = [(f"reach {reach:g}", reach, chosen) for reach in (0.0, 1.0, 3.0, 6.0, 12.0)]
    tries += [(name, sequence.REACH, one / (1 - one)) for name, one in shares.items()]
    for name, reach, stakes in tries:
        wealth.STAKES = stakes
        found = watched(
            worlds(np.random.default_rng(2)), np.random.default_rng(3), lift=0.1, streams=200, n=6000, reach=reach
        )
        print(name, [found.events(GATE, share) for share in (0.25, 0.5, 0.8)], flush=True)
    wealth.STAKES = chosen


if __name__ == "__main__":
    main()
