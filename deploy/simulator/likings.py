"""What people think of tips that a language model wrote: of such tips as such, of a prompt's and of a model's.

All of it follows from (seed, name, person), and is drawn as names are met: where nothing is written, nothing is drawn.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from deploy.simulator.people import Person
from deploy.simulator.scenario import Scenario


class Written(NamedTuple):
    """What a person can tell of a written tip."""

    prompt: str
    model: str
    task: int | None = None
    """Which of their tasks it is about, by index."""


def pull(person: Person, scenario: Scenario, written: Written, *, seed: int, candidate: str) -> float:
    """How much more than its task the tip draws them, on the scale of `world.liking`.

    Its very words count as well, as the whim of a thing does: nothing tells of them.
    """
    if not scenario.written_apart:
        return scenario.written
    named = ("", f"prompt {written.prompt}", f"model {written.model}")
    likings = sum(_liking(seed, name, person.number, person.cluster, scenario.heterogeneity) for name in named)
    words = np.random.default_rng([seed, 9, person.number, _number(candidate)]).normal(0.0, 0.35)
    return scenario.written + scenario.written_apart * likings + scenario.hidden * float(words)


@lru_cache(maxsize=1 << 14)
def _liking(seed: int, name: str, number: int, cluster: int, heterogeneity: float) -> float:
    """Everybody's, the cluster's and the person's own, as tastes are made; tastes may change midway, this does not."""
    common = np.random.default_rng([seed, 6, _number(name)]).normal(0.0, 0.5)
    cluster_own = np.random.default_rng([seed, 7, _number(name), cluster]).normal(0.0, 0.5)
    own = np.random.default_rng([seed, 8, _number(name), number]).standard_t(3)
    return float(common + heterogeneity * (cluster_own + 0.2 * own))


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
