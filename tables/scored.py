"""What a trained model expects of candidates, as a row keeps it: numbers by candidate, of the newest slate that was scored.

Pure. It never says which model counts: that stands in the policy version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from oo.v1 import row_pb2
from tables import columns, ids
from tables.linear import Ints

CANDIDATES_MAX = 64
"""Of one slate: more are not kept."""
UNIT = 64
"""A whole reward."""

_TASK = "task:"


def key_of(candidate: str) -> int:
    """Return what a candidate's score stands under: a task's own key, or a hash of any other candidate's id; 64 bits.

    >>> key_of("task:todo.txt/a") == ids.item_key("todo.txt", "a"), key_of("starter:drink-water") == key_of("none")
    (True, False)
    """
    if candidate.startswith(_TASK):
        source, _, external_id = candidate[len(_TASK) :].partition("/")
        return ids.item_key(source, external_id)
    return ids.item_key("", candidate)


def clipped(expected: int) -> int:
    """Return an expected reward within what features may be: 0 to 64."""
    return min(max(expected, 0), UNIT)


def packed(*, offset: int, model: str, expected: Mapping[int, int], moment: int = 0) -> row_pb2.Scored:
    """Return these scores as a row keeps them: (candidate's key -> units of 1/64), ascending; `moment`: when they hold."""
    keys = sorted(expected)[:CANDIDATES_MAX]
    values = bytes(clipped(expected[key]) for key in keys)
    return row_pb2.Scored(offset=offset, model=model, keys=keys, expected=values, moment=moment)


def found(scored: row_pb2.Scored, keys: Iterable[int]) -> Ints:
    """Return of each candidate its score in units of 1/64, -1 where it has none: (K,). keys: as columns have them, signed.

    >>> one = packed(offset=7, model="tips@1", expected={9: 100, 3: 8})
    >>> found(one, [3, 4, 9]).tolist()
    [8, -1, 64]
    """
    known = dict(zip(map(columns.signed, scored.keys), scored.expected, strict=False))
    return np.array([known.get(key, -1) for key in keys], dtype=np.int64)
