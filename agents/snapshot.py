"""A shadow's state as bytes, and back, to the bit on the same machine and versions. It reads no file, and makes nothing but what it
names: bytes that ask for anything else are refused.
"""

from __future__ import annotations

import io
import pickle
import platform
from collections import deque
from importlib.metadata import version
from typing import Any

import numpy as np

from agents.drift import Drift, Drifts
from agents.evaluation.comparison import Comparison
from agents.evaluation.estimates import Estimates
from agents.evaluation.event import Range
from agents.evaluation.gate import Gate, Rule
from agents.evaluation.model import RewardModel
from agents.evaluation.propensities import Balance
from agents.evaluation.sequence import Sequence as Watched
from agents.evaluation.switched import Switched
from agents.evaluation.wealth import Wealth

FORMAT = 4
"""To be raised with every change of what a state is made of, or of what counts how."""

_OURS = (
    Balance,
    Comparison,
    Drift,
    Drifts,
    Estimates,
    Gate,
    Range,
    RewardModel,
    Rule,
    Switched,
    Watched,
    Wealth,
    deque,
)
_NAMES = {(one.__module__, one.__qualname__) for one in _OURS} | {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("river._river_rust.drift", "AdaptiveWindowing"),
}


class Unreadable(Exception):
    """It is no state of this build."""


def identity(*settings: object) -> bytes:
    """Name what a state is of: this layout, the versions that its last bits hang on, and what was told.

    >>> identity("a", 1) == identity("a", 1) != identity("a", 2)
    True
    """
    versions = f"python {platform.python_version()} numpy {np.__version__} river {version('river')}"
    return f"{FORMAT} {versions} {settings!r}".encode()


def packed(state: object) -> bytes:
    """Return it as bytes.

    >>> unpacked(packed((1.5, deque([Range(0, 1)]))))
    (1.5, deque([Range(low=0, high=1)]))
    """
    return pickle.dumps(state, protocol=5)


def unpacked(content: bytes) -> Any:
    """Return what `packed` was given. Raises Unreadable.

    >>> unpacked(pickle.dumps(print))
    Traceback (most recent call last):
    agents.snapshot.Unreadable: it holds builtins.print
    """
    try:
        return _Reader(io.BytesIO(content)).load()
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"it cannot be read: {error!r}") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise Unreadable(f"it holds {module}.{name}")
        return super().find_class(module, name)
