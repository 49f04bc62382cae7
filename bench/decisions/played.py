"""Runs a policy over slates: its choice, the reaction that follows, late or never, and what it was worth.

The caller of a learner draws from its probabilities, as the product does. It never shows the learner the truth.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.bandit.learner import Learner
from bench.decisions.slates import Slates
from deploy.simulator import world
from streams.units import HOUR_MS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIRST = 10
"""Decisions of a person that count as their first."""
WINDOW_MS = 4 * HOUR_MS
"""After which silence is taken for an outcome of its own."""


@dataclass(frozen=True, slots=True)
class Played:
    """What each decision was worth in the mean, over the policy's own draw: (n,)."""

    value: Floats
    reactions: int
    silences: int


def play(slates: Slates, learner: Learner, *, expired: float | None = None) -> Played:
    """Lets the learner decide all of them in turn; a reward reaches it when its reaction does.

    `expired`: what silence teaches when the window has passed; None for nothing.
    Who says nothing hears nothing: of the silent row nothing is learned.
    """
    lost, worth = world.losses(slates.scenario), world.worths(slates.scenario)
    users = [f"user-{number}" for number in range(int(slates.user.max()) + 1)]
    waiting: list[tuple[int, int, int, float, float]] = []
    value = np.empty(len(slates.user))
    reactions = silences = 0
    for index, (user, time_ms) in enumerate(zip(slates.user.tolist(), slates.time_ms.tolist(), strict=True)):
        while waiting and waiting[0][0] <= time_ms:
            _, of, action, reward, propensity = heapq.heappop(waiting)
            _learn(learner, slates, users, of, action=action, reward=reward, propensity=propensity)
        high, low = slates.keys[index].tolist()
        pmf = learner.pmf(users[user], slates.x[index], silent=slates.silent, time_ms=time_ms, key=high << 64 | low)
        value[index] = pmf @ slates.value[index]
        for_choice, for_outcome, for_loss = slates.luck[index].tolist()
        action = drawn(pmf, for_choice)
        if action == slates.silent:
            continue
        outcome = drawn(slates.shares[index, action], for_outcome)
        if for_loss >= lost[outcome]:
            reactions += 1
            due_ms, reward = time_ms + int(slates.delay_ms[index]), float(worth[outcome])
        else:
            silences += 1
            if expired is None:
                continue
            due_ms, reward = time_ms + WINDOW_MS, expired
        heapq.heappush(waiting, (due_ms, index, action, reward, float(pmf[action])))
    return Played(value=value, reactions=reactions, silences=silences)


def drawn(pmf: Floats, luck: float) -> int:
    """The index that a number within [0, 1) falls on.

    >>> drawn(np.array([0.25, 0.5, 0.25]), 0.3)
    1
    """
    return min(int(np.searchsorted(np.cumsum(pmf), luck, side="right")), len(pmf) - 1)


def captured(slates: Slates, value: Floats, *, among: Bools | None = None) -> float:
    """Captured gain: (value - random) / (oracle - random) over the honest people's decisions, or some of them."""
    counted = slates.counted if among is None else slates.counted & among
    oracle, random = slates.oracle[counted].sum(), slates.random[counted].sum()
    return float((value[counted].sum() - random) / (oracle - random))


def gains(slates: Slates, value: Floats) -> dict[str, float]:
    """Captured gain over all, over each person's first decisions, and over what follows a change of tastes."""
    found = {"all": captured(slates, value), "first": captured(slates, value, among=slates.nth < FIRST)}
    if (slates.drifted & slates.counted).any():
        found["drifted"] = captured(slates, value, among=slates.drifted)
    return found


def _learn(
    learner: Learner, slates: Slates, users: list[str], index: int, *, action: int, reward: float, propensity: float
) -> None:
    learner.learn(
        users[int(slates.user[index])],
        slates.x[index],
        action=action,
        reward=reward,
        propensity=propensity,
        time_ms=int(slates.time_ms[index]),
    )
