"""Vowpal Wabbit's contextual bandits behind the protocol of learners. It never sees a number the others do not see."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
from vowpalwabbit import Workspace

from agents.policies.learner import Floats, Ints

UNIT = 64
ALWAYS = "--cb_explore_adf --cb_type mtr --quiet"
_SPELLED = {value: f"{value / UNIT:g}" for value in range(-UNIT, UNIT + 1)}

Lines = list[str]


def compact(x: Ints) -> Lines:
    """The context once, in a shared namespace s; of each action only its number, in a namespace a: -q sa crosses them.

    x: (K, d), the context in every row. Noughts say nothing and are left out.

    >>> compact(np.array([[64, 0, -32], [64, 0, -32]]))
    ['shared |s 0:1 2:-0.5', '|a 0', '|a 1']
    """
    return [f"shared |s {said(x[0].tolist())}", *[f"|a {k}" for k in range(len(x))]]


def dense(x: Ints) -> Lines:
    """All features of each action, spelled out for each.

    >>> dense(np.array([[64, 0], [0, -32]]))
    ['|x 0:1', '|x 1:-0.5']
    """
    return [f"|x {said(row)}" for row in x.tolist()]


def said(row: Sequence[int]) -> str:
    """Features by their place.

    >>> said([64, 0, -32])
    '0:1 2:-0.5'
    """
    return " ".join([f"{place}:{_SPELLED[value]}" for place, value in enumerate(row) if value])


class Vw:
    """One workspace. The cost of a reward r is 1 - r: 0 for the right class, 1 for a wrong one.

    What a decision had parsed is kept for its reward, if that is the next thing to come: half of the time, and the
    same learned to the bit (test_decision_peers.py).
    """

    def __init__(self, options: str, *, seed: int, lines: Callable[[Ints], Lines] = compact) -> None:
        self._workspace = Workspace(f"{ALWAYS} {options} --random_seed {seed}")
        self._lines = lines
        self._slate: Ints | None = None
        self._parsed: list[object] = []

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        del user_id, silent, time_ms, key
        p = np.array(self._workspace.predict(self._examples(x)))
        return p / p.sum()  # Its numbers have 32 bits.

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        del user_id, time_ms
        examples = self._examples(x)
        label = f"0:{1.0 - reward:g}:{max(propensity, sys.float_info.epsilon):.6g}"
        examples[action - len(x)].set_label_string(label)  # From the end: there may be a shared line before them.
        self._workspace.learn(examples)
        self._finish()

    def _examples(self, x: Ints) -> list[object]:
        if self._slate is not x:
            self._finish()
            self._slate, self._parsed = x, self._workspace.parse(self._lines(x))
        return self._parsed

    def _finish(self) -> None:
        if self._slate is not None:
            self._workspace.finish_example(self._parsed)
            self._slate = None
