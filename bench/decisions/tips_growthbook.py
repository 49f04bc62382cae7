"""growthbook's contextual bandit for simulated tips: a decision tree over the context, and Thompson sampling within each leaf.

From its documentation in 2026 (docs.growthbook.io: "Contextual Bandits", "Contextual Bandit Technical Details", "Setting up a Bandit");
none of its code is here, and its package of statistics on PyPI is older than the bandit. Leaves split on attributes and on lists of people,
within `maxLeaves` and `minUsersPerLeaf`; a variation's weight in a leaf is the probability that its mean is the greatest, under independent
normal posteriors, by Gauss-Hermite quadrature; weights stay as they are until the next update.

Its variations are the same for everybody and tips are not: a tip is of the variation of its topic, and what else it is stands with the person
and the moment in the context. Where the documentation leaves a choice or says nothing, it is favoured: the better of an hour and the advised
day between updates, at least 100 rewards in a leaf, even traffic for 30 rewards where it asks for 100 to a variation, no share that every
variation keeps, and means that are drawn towards that of all by what they differ, where its prior is wide.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from bench.decisions.slates import ONE
from deploy.simulator.people import TOPICS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIRST = 30
REGROWN = 1.1
"""Rewards over those that the tree was grown on, at which the next update grows it anew; each counts the new ones in its leaves."""
VARIATIONS = 1 + len(TOPICS)
BINS = 2 * ONE + 1
NODES, WEIGHTS = np.polynomial.hermite.hermgauss(20)


@dataclass(slots=True)
class Node:
    """A leaf, until it is split: on a feature up to a bound, or on a list of people."""

    rows: Ints
    """Of the rewards that it was grown on, those that fall here."""
    feature: int = 0
    bound: int = 0
    people: Bools | None = None
    below: int = 0
    """The first of its two children: those up to the bound, or on the list."""

    def within(self, x: Ints, who: Ints) -> Bools:
        """Which of these the first child takes."""
        if self.people is None:
            return x[:, self.feature] <= self.bound
        # The last stands for whoever came later.
        return self.people[np.minimum(who, len(self.people) - 1)]


@dataclass(slots=True)
class Growthbook:
    """The bandit with these settings; of a cell, which is a variation in a leaf, it keeps what its mean reward is taken for."""

    cost: float
    leaves: int
    least: int
    """Rewards in a leaf."""
    cadence_ms: int
    _x: list[Ints] = field(default_factory=list)
    _who: list[int] = field(default_factory=list)
    _reward: list[float] = field(default_factory=list)
    _people: dict[str, int] = field(default_factory=dict)
    _tree: list[Node] = field(default_factory=list)
    _sums: Floats = field(default_factory=lambda: np.zeros((3, 0)))
    """By cell: rewards, their sum, and that of their squares."""
    _mean: Floats = field(default_factory=lambda: np.zeros(0))
    _spread: Floats = field(default_factory=lambda: np.zeros(0))
    _grown: int = 0
    _updated: int = 0
    _updated_ms: int = 0

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        who = self._people.setdefault(user_id, len(self._people))
        if time_ms - self._updated_ms >= self.cadence_ms and len(self._reward) >= max(self._updated + 1, FIRST):
            self._update(time_ms)
        if not self._tree:
            return np.full(len(x), 1.0 / len(x))
        cell = cells(self._tree, x, np.full(len(x), who))
        if silent is not None:
            cell[silent] = len(self._mean)
        those, which, many = np.unique(cell, return_inverse=True, return_counts=True)
        weights = greatest(np.append(self._mean - self.cost, 0.0)[those], np.append(self._spread, 1e-6)[those])
        shares: Floats = (weights / many)[which]
        return shares

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        self._x.append(x[action])
        self._who.append(self._people.setdefault(user_id, len(self._people)))
        self._reward.append(reward)

    def _update(self, time_ms: int) -> None:
        rewards = len(self._reward)
        if rewards >= REGROWN * self._grown:
            x, who, reward = np.array(self._x), np.array(self._who), np.array(self._reward)
            self._tree = grown(x, who, reward, leaves=self.leaves, least=self.least)
            self._sums = np.zeros((3, len(self._tree) * VARIATIONS))
            self._grown, self._updated = rewards, 0
        new = slice(self._updated, rewards)
        cell, reward = cells(self._tree, np.array(self._x[new]), np.array(self._who[new])), np.array(self._reward[new])
        self._sums += [np.bincount(cell, reward**power, minlength=self._sums.shape[1]) for power in range(3)]
        self._updated, self._updated_ms = rewards, time_ms
        n, total, squares = self._sums
        mean, overall = total / np.maximum(n, 1.0), total.sum() / rewards
        variance = (squares.sum() - n @ mean**2) / rewards + 1e-6
        prior = n @ (mean - overall) ** 2 / rewards + 1e-6
        precision = n / variance + 1.0 / prior
        self._mean, self._spread = (total / variance + overall / prior) / precision, 1.0 / np.sqrt(precision)


def variation(x: Ints) -> Ints:
    """The topic of each row, from 1; 0 for none."""
    topics = x[:, 1:VARIATIONS]
    found: Ints = np.where(topics.any(axis=1), topics.argmax(axis=1) + 1, 0)
    return found


def cells(tree: list[Node], x: Ints, who: Ints) -> Ints:
    """The cell of each row."""
    leaf = np.zeros(len(x), dtype=np.int64)
    waiting = [(0, np.arange(len(x)))]
    while waiting:
        number, here = waiting.pop()
        node = tree[number]
        if not (node.below and len(here)):
            leaf[here] = number
            continue
        first = node.within(x[here], who[here])
        waiting += [(node.below, here[first]), (node.below + 1, here[~first])]
    return leaf * VARIATIONS + variation(x)


def grown(x: Ints, who: Ints, reward: Floats, *, leaves: int, least: int) -> list[Node]:
    """A regression tree of each variation's mean reward, split next where a split explains most."""
    tree = [Node(np.arange(len(reward)))]
    waiting: list[tuple[float, int]] = []

    def consider(number: int) -> None:
        gain = choose(tree[number], x, who, reward, least=least)
        if gain > 0.0:
            heapq.heappush(waiting, (-gain, number))

    consider(0)
    while waiting and len(tree) < 2 * leaves - 1:
        node = tree[heapq.heappop(waiting)[1]]
        first = node.within(x[node.rows], who[node.rows])
        node.below = len(tree)
        tree += [Node(node.rows[first]), Node(node.rows[~first])]
        consider(node.below)
        consider(node.below + 1)
    return tree


def choose(node: Node, x: Ints, who: Ints, reward: Floats, *, least: int) -> float:
    """Sets the best split of this node; returns how much of the squares it explains, 0 where there is none to make."""
    z, r, which = x[node.rows], reward[node.rows], variation(x[node.rows])
    d, people = x.shape[1], int(who.max()) + 1
    explained = _explained(
        (which[:, None] * d + np.arange(d)) * BINS + z + ONE, np.repeat(r, d), (VARIATIONS, d, BINS), least
    )
    feature, bound = np.unravel_index(explained.argmax(), explained.shape)
    node.feature, node.bound = int(feature), int(bound) - ONE
    # Of all lists of people, those that begin the order of their means are looked at (Fisher 1958, for one variation).
    means = np.bincount(who[node.rows], r - r.mean(), people) / np.maximum(
        np.bincount(who[node.rows], minlength=people), 1
    )
    order = np.argsort(means, kind="stable")
    place = np.argsort(order)[who[node.rows]]
    listed = _explained(which * people + place, r, (VARIATIONS, people), least)
    if listed.max() > explained.max():
        node.people = np.zeros(people + 1, dtype=np.bool_)
        node.people[order[: listed.argmax() + 1]] = True
    return float(max(listed.max(), explained.max()))


def _explained(bins: Ints, reward: Floats, shape: tuple[int, ...], least: int) -> Floats:
    """By how much the squares about the variations' means shrink where the bins up to one are parted from the rest; 0 where a side has too
    few. The first axis of `shape`: variations; the last: bins."""
    size = int(np.prod(shape))
    n = np.bincount(bins.ravel(), minlength=size).reshape(shape).cumsum(axis=-1)
    s = np.bincount(bins.ravel(), reward, minlength=size).reshape(shape).cumsum(axis=-1)
    m, t = n[..., -1:] - n, s[..., -1:] - s
    gain = s**2 / np.maximum(n, 1) + t**2 / np.maximum(m, 1)
    enough = (n.sum(axis=0) >= least) & (m.sum(axis=0) >= least)
    found: Floats = np.where(enough, (gain - gain[..., -1:]).sum(axis=0), 0.0)
    return found


def greatest(mean: Floats, spread: Floats) -> Floats:
    """The probability that each is the greatest of independent normals.

    >>> greatest(np.array([0.0, 0.0, -9.0]), np.array([1.0, 1.0, 1.0])).round(3).tolist()
    [0.5, 0.5, 0.0]
    """
    at = mean[:, None] + np.sqrt(2.0) * NODES * spread[:, None]
    below = ndtr((at[:, :, None] - mean) / spread)
    own = np.arange(len(mean))
    below[own, :, own] = 1.0
    found: Floats = below.prod(axis=2) @ WEIGHTS
    return found / found.sum()
