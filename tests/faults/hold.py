"""Stops one thread of another process from outside, so that its event loop stands still while its other threads go on.

It changes nothing in that process. It needs what a debugger needs: to be its parent, or root.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.disk import NotHere

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
ALL_CHILDREN = 0x4000_0000


@contextmanager
def held(pid: int) -> Iterator[None]:
    """The main thread of a child of ours stands still inside the block; only it. Nobody may wait for the child inside."""
    _ptrace(SEIZE, pid)
    _ptrace(INTERRUPT, pid)
    # The stop is reported to us once; left there, the next look at the child would take it for its end.
    os.waitpid(pid, ALL_CHILDREN)
    try:
        yield
    finally:
        _ptrace(DETACH, pid)


def _ptrace(request: int, pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if libc.ptrace(request, pid, None, None) != 0:
        raise NotHere(f"needs ptrace: {os.strerror(ctypes.get_errno())}")
