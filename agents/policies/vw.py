"""Vowpal Wabbit's contextual bandits behind the protocol of learners. It never sees a number the others do not see.

What it needs is an extra (`vw`), and nothing but shadows and benchmarks uses it: it is never served. It knows no user and
forgets nothing. Bietti, Agarwal & Langford 2021, "A contextual bandit bake-off".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from vowpalwabbit import Workspace

from agents.bandit.learner import Floats, Ints
from tables.sums import UNIT

NAME = "vw"
ALWAYS = "--cb_explore_adf --cb_type mtr --quiet"
SQUARECB = "--squarecb --gamma_scale 1000 --noconstant"
"""For tips: without a constant of its own, a row of noughts costs 0 and teaches nothing, as saying nothing does by decree."""

_SPELLED = {value: f"{value / UNIT:g}" for value in range(-UNIT, UNIT + 1)}

Lines = list[str]


def dense(x: Ints) -> Lines:
    """All features of each action, spelled out for each. x: (K, d) in units of 1/64.

    >>> dense(np.array([[64, 0], [0, -32]]))
    ['|x 0:1', '|x 1:-0.5']
    """
    return [f"|x {said(row)}" for row in x.tolist()]


def said(row: Sequence[int]) -> str:
    """Features by their place; noughts say nothing and are left out.

    >>> said([64, 0, -32])
    '0:1 2:-0.5'
    """
    return " ".join([f"{place}:{_SPELLED[value]}" for place, value in enumerate(row) if value])


class Vw:
    """One workspace. The cost of a reward r is `worth` - r, so that what a tip costs by itself can be its part.

    What a decision had parsed is kept for its reward, if that is the next thing to come: half of the time, and the
    same learned to the bit.
    """

    def __init__(
        self, options: str = SQUARECB, *, seed: int = 0, lines: Callable[[Ints], Lines] = dense, worth: float = 0.0
    ) -> None:
        self._workspace = Workspace(f"{ALWAYS} {options} --random_seed {seed}")
        self._lines = lines
        self._worth = worth
        self._slate: Ints | None = None
        self._parsed: list[Any] = []

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        """See Learner; the probabilities are VW's own."""
        del user_id, silent, time_ms, key
        p: Floats = np.array(self._workspace.predict(self._examples(x)), dtype=np.float64)
        p /= p.sum()  # Its numbers have 32 bits.
        return p

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        """See Learner."""
        del user_id, time_ms
        examples = self._examples(x)
        label = f"0:{self._worth - reward:g}:{max(propensity, sys.float_info.epsilon):.6g}"
        examples[action - len(x)].set_label_string(label)  # From the end: there may be a shared line before them.
        self._workspace.learn(examples)
        self._finish()

    def _examples(self, x: Ints) -> list[Any]:
        if self._slate is not x:
            self._finish()
            self._slate, self._parsed = x, self._workspace.parse(self._lines(x))
        return self._parsed

    def _finish(self) -> None:
        if self._slate is not None:
            self._workspace.finish_example(self._parsed)
            self._slate = None
