"""Loops compiled ahead of their first call: the same additions in the same written order, at a machine's own speed.

`make setup` compiles them (deploy.compile) and numba keeps the result beside the source, or below NUMBA_CACHE_DIR, so that no
process waits for a compiler at its start. It never lets the compiler reorder or fuse arithmetic: no fastmath, so a result is the same on
every processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba

Int: TypeAlias = Any
"""A whole number of 64 bits: numpy's within a compiled loop, Python's outside of it."""

BYTES_FORM = "Bytes(u1, 1, 'C', readonly=True)"
"""Python's bytes, in a signature."""

F = TypeVar("F", bound=Callable[..., object])

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False}
"""Of all that is compiled: division by zero gives infinity, as in numpy."""


def compiled(signature: str) -> Callable[[F], F]:
    """Compiles a function for these types, e.g. "f8[::1](f8[:, ::1], i8)"."""
    return cast("Callable[[F], F]", numba.njit(signature, cache=True, **OPTIONS))
