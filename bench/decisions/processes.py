"""Processes with one thread each, for work that is to be repeatable and for times that are to be comparable.

It never changes the process that asks.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def processes(number: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh interpreters: what BLAS reads of its threads it reads when it is loaded; one
    for each core that this process may use (`taskset`), or so many."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with ProcessPoolExecutor(
            number or len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
