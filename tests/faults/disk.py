"""A folder on a small disk of its own, which can be filled and given room again.

It needs root, for a mount. The mounts stand in a namespace of this process and its children: the kernel takes them away
with the last of them, however they end.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

CLONE_NEWNS = 0x0002_0000
PAGE_BYTES = 4096


class NotHere(Exception):
    """This machine does not let a row be run; one line that says why."""


@cache
def may_mount() -> str:
    """Why nothing can be mounted here; empty where it can. The first call enters a namespace of our own."""
    if os.geteuid() != 0:
        return "needs root, to mount a small disk"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return f"needs a mount namespace: {os.strerror(ctypes.get_errno())}"
    done = subprocess.run(("mount", "--make-rprivate", "/"), capture_output=True, text=True, check=False)
    return done.stderr.strip()


class Disk:
    """A mounted folder of bounded size, in memory."""

    def __init__(self, folder: Path, *, size_bytes: int) -> None:
        self.folder = folder
        self.size_bytes = size_bytes

    def fill(self, *, left_bytes: int) -> None:
        """Leave room for so much more and nothing else. Raises RuntimeError where it outgrows us ten times."""
        for turn in range(11):
            try:
                return self._resize(shutil.disk_usage(self.folder).used + left_bytes)
            except RuntimeError:
                # Whoever writes there may have written between the two: a disk smaller than what is on it is refused.
                if turn == 10:
                    raise
        return None

    def give_room(self) -> None:
        """As large as at first."""
        self._resize(self.size_bytes)

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _resize(self, size_bytes: int) -> None:
        pages = -(-size_bytes // PAGE_BYTES)
        _run("mount", "-o", f"remount,size={pages * PAGE_BYTES}", str(self.folder))


@contextmanager
def mounted(folder: Path, *, size_bytes: int) -> Iterator[Disk]:
    """A new empty disk at the folder until the block ends. Raises NotHere."""
    why = may_mount()
    if why:
        raise NotHere(why)
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=755", "tmpfs", str(folder))
    try:
        yield Disk(folder, size_bytes=size_bytes)
    finally:
        # Lazily: whoever still holds a file there keeps it until it ends.
        with suppress(RuntimeError):
            _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
