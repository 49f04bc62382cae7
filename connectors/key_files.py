"""Key-encryption keys as files of one folder: what a KMS would hold, for one machine.

A file is for its owner alone and stands in no backup. What it wraps is of no use without it, so whoever destroys it destroys that
too. It never keeps a key in memory: a destroyed one unwraps nothing from the same moment on.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from streams.cipher import KEY_BYTES, Cipher
from streams.clock import clock_ms
from streams.keys import KekGone

_END = ".key"


class KeyFiles:
    """The keys of a folder; the one made last is the current one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ids(self) -> list[str]:
        """All of them, the current one last."""
        return sorted(path.stem for path in self._folder.glob(f"*{_END}"))

    def current(self) -> str:
        """Raises KekGone where there is none: one is never made by the way, since another folder may have been meant."""
        found = self.ids()
        if not found:
            raise KekGone(
                f"no key-encryption key stands in {self._folder}: 'oo up' and deploy.compose.secrets make the first"
            )
        return found[-1]

    def made_ms(self) -> int:
        """When the current one was made."""
        return int(self.current().partition("-")[0])

    def holds(self, kek_id: str) -> bool:
        return "/" not in kek_id and os.access(self._path(kek_id), os.F_OK)

    def wrap(self, key: bytes, about: list[bytes]) -> tuple[str, bytes]:
        kek_id, (wrapped,) = self.wrap_all([(key, about)])
        return kek_id, wrapped

    def wrap_all(self, keys: Sequence[tuple[bytes, list[bytes]]]) -> tuple[str, list[bytes]]:
        kek_id = self.current()
        cipher = self._cipher(kek_id)
        return kek_id, [cipher.seal(key, about) for key, about in keys]

    def unwrap(self, kek_id: str, wrapped: bytes, about: list[bytes]) -> bytes:
        (key,) = self.unwrap_all(kek_id, [(wrapped, about)])
        if key is None:
            raise ValueError(f"the key-encryption key {kek_id} did not wrap this")
        return key

    def unwrap_all(self, kek_id: str, some: Sequence[tuple[bytes, list[bytes]]]) -> list[bytes | None]:
        cipher = self._cipher(kek_id)
        return [cipher.open(wrapped, about) for wrapped, about in some]

    def make(self) -> str:
        """A new one, which is the current one from here on."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kek_id = f"{clock_ms():013d}-{secrets.token_hex(4)}"
        path = Path(self._path(kek_id))
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        self._settle()
        return kek_id

    def destroy(self, kek_id: str) -> None:
        """Overwrite it, and have it gone. What a disk keeps of overwritten blocks is beyond this: use an encrypted one."""
        path = Path(self._path(kek_id))
        with path.open("r+b") as file:
            file.write(bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        self._settle()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else of this folder wraps all keys anew. Raises BlockingIOError where somebody does."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)

    def _path(self, kek_id: str) -> str:
        """As text: each key that is made or made ready costs one, and a Path takes as long as the file does."""
        if "/" in kek_id:
            raise KekGone(kek_id)  # Only a stranger's hand writes such a name.
        return f"{self._folder}/{kek_id}{_END}"

    def _cipher(self, kek_id: str) -> Cipher:
        try:
            with FileIO(self._path(kek_id)) as file:
                return Cipher(file.read(KEY_BYTES + 1))
        except FileNotFoundError:
            raise KekGone(kek_id) from None

    def _settle(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
