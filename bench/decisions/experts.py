"""For slates whose actions are known by their place: of each action a linear, an additive and two smooth regressions, mixed by what they missed.

Expert e sees the context z as φₑ(z): as z itself, or as a constant and √(2/F) cos(zᵀW + b) with W ~ N(0, 1/ℓₑ²), random
Fourier features of a Gaussian kernel of length ℓₑ. A wave of the additive expert goes along one feature of z and is level
along all others: its kernel is a mean of kernels of one feature each, and thresholds are soon learned. Of each action k it
keeps the sums Gₑₖ = Σ φ φᵀ and gₑₖ = Σ φ r; with Λₑₖ = (λₑ I + Gₑₖ)⁻¹ it expects μₑₖ = φᵀ Λₑₖ gₑₖ, give or take
sₑₖ = √(φᵀ Λₑₖ φ). An action's experts have the weights wₑₖ ∝ exp(-η (Lₑₖ + ρ Σⱼ Lₑⱼ)), where Lₑₖ is the sum of (r - μₑₖ)²
over the action's rewards, each taken before it was learned and losing the share 1 - γ at every later one; so an action that
was seldom drawn trusts whom the others trust. In round t the actions with the greatest Σₑ wₑₖ (μₑₖ + α sₑₖ / t^κ) share
1 - floor, and all share the floor.

Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation", Algorithm 1; Rahimi & Recht 2007,
"Random features for large-scale kernel machines"; Yu et al. 2016, "Orthogonal random features"; Durrande et al. 2012,
"Additive covariance kernels for high-dimensional Gaussian process modeling"; Littlestone & Warmuth 1994,
"The weighted majority algorithm".

It is never served: it uses BLAS, LAPACK and cosines, and knows no user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi, sqrt

import numpy as np

from agents.bandit.learner import Floats, Ints
from tables.sums import UNIT

SPREAD = 1 / 3
"""Of a feature of the context, as the lengths take it to be."""
REFRESH_EVERY = 256
"""Rewards of an action after which its inverses are computed anew from the sums, and what rounding has left is gone."""
SUM_EVERY = 32
"""Rewards of an action that are summed together."""
TIE = 1e-12


@dataclass(slots=True)
class Experts:
    """The whole policy; its state is `sums`, `losses` and `rounds`, and all else follows from them."""

    floor: float = 0.02
    width: float = 0.5
    """α"""
    narrowing: float = 0.2
    """κ"""
    ridge: float = 0.3
    """λ of the linear expert."""
    smooth_ridge: float = 0.2
    """λ of the others."""
    lengths: tuple[float, ...] = (0.5, 1.5)
    """ℓ of each of the others, in typical distances of two contexts: SPREAD √m, with m features beside the constant."""
    additive_lengths: tuple[float, ...] = (0.5,)
    """ℓ of each additive one, in typical distances of two contexts along a feature: SPREAD."""
    waves: int = 96
    """F"""
    rate: float = 1.5
    """η"""
    memory: float = 0.99
    """γ"""
    shared: float = 0.3
    """ρ"""
    seed: int = 0
    """Of the frequencies."""
    sums: list[Ridges] = field(init=False, default_factory=list)
    losses: Floats = field(init=False, default_factory=lambda: np.zeros((0, 0)))
    """L: (E, K)"""
    rounds: int = field(init=False, default=0)
    _frequencies: Floats = field(init=False, default_factory=lambda: np.zeros((0, 0)))
    """Of all experts but the linear one side by side: (d - 1, F x (E - 1))."""
    _phases: Floats = field(init=False, default_factory=lambda: np.zeros(0))
    _slate: Ints | None = field(init=False, default=None)
    """The last one seen, whose features are kept for its reward."""
    _features: list[Floats] = field(init=False, default_factory=list)

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        """See Learner. x: (K, d), in every row the same: a constant, then the context; not to be changed afterwards."""
        del user_id, silent, time_ms, key
        self.rounds += 1
        width = self.width * self.rounds**-self.narrowing
        features = self._of(x)
        bounds = np.array([one.bound(f, width=width) for one, f in zip(self.sums, features, strict=True)])
        scores: Floats = (self.weights() * bounds).sum(axis=0)
        best = scores >= scores.max() - TIE
        p: Floats = best * ((1.0 - self.floor) / best.sum()) + self.floor / len(x)
        return p

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        """See Learner; the order in which rewards come moves the losses alone."""
        del user_id, propensity, time_ms
        features = self._of(x)
        for e, (one, f) in enumerate(zip(self.sums, features, strict=True)):
            missed = reward - float(one.beta[action] @ f)
            self.losses[e, action] = self.memory * self.losses[e, action] + missed * missed
            one.add(action, f, reward)

    def weights(self) -> Floats:
        """w: (E, K); those of an action sum to 1."""
        losses = self.losses + self.shared * self.losses.sum(axis=1, keepdims=True)
        found: Floats = np.exp(self.rate * (losses.min(axis=0) - losses))
        found /= found.sum(axis=0)
        return found

    def _of(self, x: Ints) -> list[Floats]:
        """What each expert sees of a slate."""
        if self._slate is not x:
            if not self.sums:
                self._begin(*x.shape)
            assert x.shape == (self.losses.shape[1], len(self._frequencies) + 1), "an action is known by its place"
            z: Floats = x[0] / UNIT
            waves: Floats = sqrt(2.0 / self.waves) * np.cos(z[1:] @ self._frequencies + self._phases)
            smooth = np.ones((len(self.losses) - 1, self.waves + 1))
            smooth[:, 1:] = waves.reshape(len(smooth), self.waves)
            self._slate, self._features = x, [z, *smooth]
        return self._features

    def _begin(self, k: int, d: int) -> None:
        chance = np.random.Generator(np.random.Philox(self.seed))
        m, n, unit = d - 1, self.waves, SPREAD * sqrt(max(d - 1, 1))
        frequencies = [orthogonal(chance, m=m, n=n) / (length * unit) for length in self.lengths]
        frequencies += [along_one(chance, m=m, n=n) / (length * SPREAD) for length in self.additive_lengths]
        self._frequencies = np.hstack([np.zeros((m, 0)), *frequencies])
        self._phases = chance.uniform(0.0, 2.0 * pi, (self._frequencies.shape[1],))
        self.sums = [Ridges(k, d, ridge=self.ridge)]
        self.sums += [Ridges(k, n + 1, ridge=self.smooth_ridge) for _ in frequencies]
        self.losses = np.zeros((len(self.sums), k))


def orthogonal(chance: np.random.Generator, *, m: int, n: int) -> Floats:
    """n directions of m standard normal numbers, each m of them at right angles: as many speak for more. (m, n).

    >>> w = orthogonal(np.random.Generator(np.random.Philox(0)), m=3, n=5)
    >>> w.shape, abs(float(w[:, 0] @ w[:, 1])) < 1e-12
    ((3, 5), True)
    """
    if not m:
        return np.zeros((0, n))
    blocks = [np.linalg.qr(chance.standard_normal((m, m))).Q for _ in range(-(-n // m))]
    found: Floats = np.hstack(blocks)[:, :n] * np.sqrt(chance.chisquare(m, n))
    return found


def along_one(chance: np.random.Generator, *, m: int, n: int) -> Floats:
    """n standard normal numbers, each along one of m features, which take turns. (m, n).

    >>> w = along_one(np.random.Generator(np.random.Philox(0)), m=3, n=5)
    >>> (w != 0).sum(axis=0).tolist(), sorted((w != 0).sum(axis=1).tolist())
    ([1, 1, 1, 1, 1], [1, 2, 2])
    """
    found = np.zeros((m, n))
    if m:
        features = np.hstack([chance.permutation(m) for _ in range(-(-n // m))])[:n]
        found[features, np.arange(n)] = chance.standard_normal(n)
    return found


class Ridges:
    """One expert's regressions, one for each action. The sums are the state; inverse and coefficients are kept beside."""

    def __init__(self, k: int, d: int, *, ridge: float) -> None:
        self.moment = np.zeros((k, d))
        """g: (K, d)"""
        self.n = np.zeros(k, dtype=np.int64)
        self.inverse: Floats = np.repeat(np.eye(d)[None] / ridge, k, axis=0)
        """Λ: (K, d, d)"""
        self.beta = np.zeros((k, d))
        """Λ g: (K, d)"""
        self._ridge = ridge
        self._gram = np.zeros((k, d, d))
        self._latest = np.zeros((k, SUM_EVERY, d))
        """What is not in there yet, n modulo SUM_EVERY rows of each action: a product of matrices sums faster."""
        self._outer = np.empty((d, d))

    def gram(self, action: int) -> Floats:
        """G: (d, d)."""
        rest = self._latest[action, : self.n[action] % SUM_EVERY]
        found: Floats = self._gram[action] + rest.T @ rest
        return found

    def bound(self, f: Floats, *, width: float) -> Floats:
        """The mean of each action and so many deviations: (K,). f: (d,).

        >>> one = Ridges(2, 1, ridge=1.0)
        >>> one.add(0, np.array([1.0]), 1.0)
        >>> one.bound(np.array([1.0]), width=0.0).tolist(), one.bound(np.array([1.0]), width=1.0).round(3).tolist()
        ([0.5, 0.0], [1.207, 1.0])
        """
        k, d = self.beta.shape
        squares = (self.inverse.reshape(k * d, d) @ f).reshape(k, d) @ f
        found: Floats = self.beta @ f + width * np.sqrt(np.maximum(squares, 0.0))
        return found

    def add(self, action: int, f: Floats, reward: float) -> None:
        """One reward, by the formula of Sherman and Morrison."""
        latest = self._latest[action]
        latest[self.n[action] % SUM_EVERY] = f
        self.moment[action] += reward * f
        self.n[action] += 1
        if self.n[action] % SUM_EVERY == 0:
            self._gram[action] += latest.T @ latest
        if self.n[action] % REFRESH_EVERY == 0:
            self.refresh(action)
            return
        inverse = self.inverse[action]
        along = inverse @ f
        gain = along / (1.0 + f @ along)
        self.beta[action] += gain * (reward - self.beta[action] @ f)
        np.multiply(along[:, None], gain, out=self._outer)
        inverse -= self._outer

    def refresh(self, action: int) -> None:
        """Inverse and coefficients out of the sums alone."""
        precision = self.gram(action) + self._ridge * np.eye(self.beta.shape[1])
        self.inverse[action] = np.linalg.inv(precision)
        self.beta[action] = self.inverse[action] @ self.moment[action]
