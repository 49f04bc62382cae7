"""States of this package as bytes, and back to equal states: the same state gives the same bytes.

It knows this package's types by name and no others. The format: one line of JSON that says what there is, in the order of
the fields, then the numbers of all arrays in that order, as little-endian doubles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from agents.evaluation.comparison import Comparison
from agents.evaluation.estimates import Estimates
from agents.evaluation.event import Floats, Range
from agents.evaluation.gate import Gate, Rule
from agents.evaluation.model import RewardModel
from agents.evaluation.propensities import Balance
from agents.evaluation.sequence import Sequence
from agents.evaluation.wealth import Wealth

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
State = TypeVar("State")

VERSION = 1
TYPES: Mapping[str, Callable[..., object]] = {
    one.__name__: one for one in (Balance, Comparison, Estimates, Gate, Range, RewardModel, Rule, Sequence, Wealth)
}
NUMBER = np.dtype("<f8")


def encode(state: object) -> bytes:
    """A state as bytes.

    >>> from agents.evaluation import estimates
    >>> decode(encode(estimates.empty()), Estimates).n
    0
    """
    arrays: list[Floats] = []
    head = json.dumps([VERSION, _described(state, arrays)], separators=(",", ":"), ensure_ascii=True)
    return b"\n".join((head.encode(), b"".join(one.astype(NUMBER).tobytes() for one in arrays)))


def decode(raw: bytes, kind: type[State]) -> State:
    """The state of that type. Raises ValueError for bytes that are none."""
    head, _, body = raw.partition(b"\n")
    try:
        version, described = json.loads(head)
        numbers = np.frombuffer(body, dtype=NUMBER).astype(np.float64)
        state, used = _built(described, numbers, 0)
    except (ValueError, TypeError, KeyError) as fault:
        raise ValueError(f"these bytes are no {kind.__name__}: rebuild it from the log") from fault
    if version != VERSION or not isinstance(state, kind) or used != len(numbers):
        raise ValueError(f"these bytes are no {kind.__name__} of format {VERSION}: rebuild it from the log")
    return state


def _described(value: object, arrays: list[Floats]) -> Json:
    if isinstance(value, np.ndarray | np.floating):
        array = np.asarray(value, dtype=np.float64)
        arrays.append(array)
        return {"shape": list(array.shape)}
    if isinstance(value, tuple):
        return [_described(one, arrays) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        named: dict[str, Json] = {one.name: _described(getattr(value, one.name), arrays) for one in fields(value)}
        return {"is": type(value).__name__, "of": named}
    assert value is None or isinstance(value, bool | int | float | str), f"{type(value)} is no part of a state"
    return value


def _built(described: Json, numbers: Floats, used: int) -> tuple[object, int]:
    if isinstance(described, list):
        built = []
        for one in described:
            value, used = _built(one, numbers, used)
            built.append(value)
        return tuple(built), used
    if not isinstance(described, dict):
        return described, used
    if isinstance(shape := described.get("shape"), list):
        sizes = [int(one) for one in shape if isinstance(one, int)]
        end = used + int(np.prod(sizes, dtype=np.int64))
        if end > len(numbers):
            raise ValueError("fewer numbers than described")
        return numbers[used:end].reshape(sizes), end
    of = described["of"]
    if not isinstance(of, dict):
        raise TypeError("a state has named fields")
    named = {}
    for name, one in of.items():
        named[name], used = _built(one, numbers, used)
    return TYPES[str(described["is"])](**named), used
