"""Vowpal Wabbit as the benchmarks play it: a cost of 1 for nothing earned. It is the product's own optional shadow."""

from __future__ import annotations

from collections.abc import Callable

from agents.bandit.learner import Ints
from agents.policies import vw
from agents.policies.vw import Lines, said


def compact(x: Ints) -> Lines:
    """The context once, in a shared namespace s; of each action only its number, in a namespace a: -q sa crosses them.

    x: (K, d), the context in every row. Noughts say nothing and are left out.

    >>> import numpy as np
    >>> compact(np.array([[64, 0, -32], [64, 0, -32]]))
    ['shared |s 0:1 2:-0.5', '|a 0', '|a 1']
    """
    return [f"shared |s {said(x[0].tolist())}", *[f"|a {k}" for k in range(len(x))]]


class Vw(vw.Vw):
    """The cost of a reward r is 1 - r: 0 for the right class, 1 for a wrong one."""

    def __init__(self, options: str, *, seed: int, lines: Callable[[Ints], Lines] = compact) -> None:
        super().__init__(options, seed=seed, lines=lines, worth=1.0)
