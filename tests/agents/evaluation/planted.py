"""Small logs with known probabilities, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st

from agents.evaluation.event import Event, Floats, Range

UNIT = Range(0.0, 1.0)


def pmfs(k: int) -> st.SearchStrategy[Floats]:
    """Every candidate has a floor, as those that are logged have."""
    return st.lists(st.floats(0.0, 1.0), min_size=k, max_size=k).map(_floored)


def _floored(raw: list[float]) -> Floats:
    some = np.array(raw) + 1e-3
    return np.asarray(0.98 * some / some.sum() + 0.02 / len(some))


def stream(
    seed: int, *, logging: Floats, mean: Floats, n: int, logged_as: Floats | None = None, q_hat: Floats | None = None
) -> Iterator[Event]:
    """Events of one stream: always the same slate, rewards 0 or 1. `logged_as` is what the log claims, if it lies."""
    rng = np.random.default_rng(seed)
    claimed = logging if logged_as is None else logged_as
    for _ in range(n):
        action = rng.choice(len(logging), p=logging)
        reward = float(rng.random() < mean[action])
        yield Event(claimed, action, np.asarray(reward), np.zeros(len(mean)) if q_hat is None else q_hat)
