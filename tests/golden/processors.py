"""Says what this process computes with, and how library arithmetic comes out on it. It never takes part in a replay."""

from __future__ import annotations

import ctypes
import hashlib
import json
from pathlib import Path

import numpy as np
import numpy._core._multiarray_umath as umath


def features() -> dict[str, bool]:
    """The groups of instructions that numpy dispatches to, and whether each is on."""
    return {name: bool(umath.__cpu_features__.get(name)) for name in umath.__cpu_dispatch__}


def blas_core() -> str:
    """The processor that OpenBLAS computes for; empty where numpy comes with another BLAS."""
    for path in sorted((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*")):
        corename = ctypes.CDLL(str(path)).scipy_openblas_get_corename64_
        corename.restype = ctypes.c_char_p
        return str(corename().decode())
    return ""


def library_arithmetic() -> dict[str, str]:
    """Hashes of what scoring by BLAS, and exp, would give here."""
    draws = np.random.Philox(key=1)
    x = (draws.random_raw(64 * 24).reshape(64, 24) >> np.uint64(11)) / 2.0**53
    beta = (draws.random_raw(24 * 57).reshape(24, 57) >> np.uint64(11)) / 2.0**53
    many = (draws.random_raw(100_003) >> np.uint64(11)) / 2.0**53
    made = {"matmul": x @ beta, "exp": np.exp(many)}
    return {name: hashlib.sha256(np.ascontiguousarray(value)).hexdigest()[:16] for name, value in made.items()}


if __name__ == "__main__":
    print(json.dumps({"features": features(), "blas": blas_core(), **library_arithmetic()}))
