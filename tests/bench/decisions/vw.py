"""Vowpal Wabbit's contextual bandits behind the protocol of learners. It never sees a number the others do not see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from vowpalwabbit import Workspace

from agents.policies.learner import Floats, Ints

UNIT = 64
ALWAYS = "--cb_explore_adf --cb_type mtr --quiet"

Lines = list[str]


def compact(x: Ints) -> Lines:
    """The context once, in a shared namespace s; of each action only its number, in a namespace a: -q sa crosses them.

    x: (K, d), the context in every row. Noughts say nothing and are left out.

    >>> compact(np.array([[64, 0, -32], [64, 0, -32]]))
    ['shared |s 0:1 2:-0.5', '|a 0', '|a 1']
    """
    return [f"shared |s {_said(x[0])}", *(f"|a {k}" for k in range(len(x)))]


def dense(x: Ints) -> Lines:
    """All features of each action, spelled out for each.

    >>> dense(np.array([[64, 0], [0, -32]]))
    ['|x 0:1', '|x 1:-0.5']
    """
    return [f"|x {_said(row)}" for row in x]


def _said(row: Ints) -> str:
    return " ".join([f"{place}:{value / UNIT:g}" for place, value in enumerate(row.tolist()) if value])


@dataclass(slots=True)
class Vw:
    """One workspace. The cost of a reward r is 1 - r: 0 for the right class, 1 for a wrong one."""

    options: str
    seed: int
    lines: Callable[[Ints], Lines] = compact
    _vw: Workspace | None = None
    _of: Ints | None = None
    _lines: Lines | None = None

    def __post_init__(self) -> None:
        self._vw = Workspace(f"{ALWAYS} {self.options} --random_seed {self.seed}")

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        del user_id, silent, time_ms, key
        p = np.array(self._vw.predict(self._text(x)))
        return p / p.sum()  # Its numbers have 32 bits.

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        del user_id, time_ms
        lines = list(self._text(x))
        at = action + (len(lines) - len(x))
        lines[at] = f"0:{1.0 - reward:g}:{max(propensity, sys.float_info.epsilon):.6g} {lines[at]}"
        self._vw.learn(lines)

    def _text(self, x: Ints) -> Lines:
        """Made once for the decision and its reward, where they follow each other."""
        if self._of is not x:
            self._of, self._lines = x, self.lines(x)
        return self._lines

    def close(self) -> None:
        """Gives the memory of its weights back."""
        self._vw.finish()
