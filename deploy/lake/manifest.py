"""What a lake has: which offsets of which partition are in it, and in which files. Written whole, in one step; nothing else counts.

A file that the manifest does not name is what a process that was killed left behind, and goes when the next one begins.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

NAME: Final = "manifest.json"
FEAST: Final = "feast"
"""Beside it: the Feast repositories that were made of the lake, a folder a line."""
FORMATS: Final = ("parquet", "avro")
Ranges = list[list[int]]
"""Disjoint [from, to), in order."""


class LakeError(Exception):
    """A lake cannot be what was asked; one line that says why, and what to do."""


@dataclass(slots=True)
class File:
    """One of a data set's files, in each format of the lake."""

    dataset: str
    day: str
    """UTC, of the records' times in Kafka: 2026-11-29."""
    name: str
    """Without its ending."""
    rows: int
    first: list[int]
    """Partition and offset of its first row; the others follow in this order."""
    bytes: dict[str, int]
    """By format."""
    sha256: dict[str, str]

    def path(self, form: str) -> str:
        """Below the lake's folder."""
        return f"{form}/{self.dataset}/day={self.day}/{self.name}.{form}"


@dataclass(slots=True)
class Manifest:
    """Of one lake."""

    people: str
    """deploy.lake.datasets.People: what its files say of people."""
    formats: list[str]
    topics: dict[str, str]
    """By data set the id of the topic, in hex: one that was made anew is another."""
    covered: dict[str, dict[str, Ranges]] = field(default_factory=dict)
    """By data set and partition, the offsets that are in its files, or were looked at and left out."""
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    """By data set and reason, how many of these records have no row."""
    heard: dict[str, int] = field(default_factory=dict)
    """By partition of oo.erasures the offset below which no file has anybody of whom it speaks."""
    files: list[File] = field(default_factory=list)

    def gaps(self, dataset: str, partition: int, start: int, end: int) -> Ranges:
        """What of [start, end) is not in it.

        >>> one = Manifest("coarse", [], {}, {"outcomes": {"0": [[5, 10], [20, 30]]}})
        >>> one.gaps("outcomes", 0, 0, 25), one.gaps("outcomes", 1, 3, 4)
        ([[0, 5], [10, 20]], [[3, 4]])
        """
        found, at = [], start
        for low, high in self.covered.get(dataset, {}).get(str(partition), []):
            if low > at:
                found.append([at, min(low, end)])
            at = max(at, high)
        if at < end:
            found.append([at, end])
        return [one for one in found if one[0] < one[1] <= end]

    def cover(self, dataset: str, partition: int, start: int, end: int) -> None:
        """Note that [start, end) is in it.

        >>> one = Manifest("coarse", [], {}, {"outcomes": {"0": [[5, 10], [20, 30]]}})
        >>> one.cover("outcomes", 0, 10, 20); one.covered["outcomes"]["0"]
        [[5, 30]]
        """
        ranges = self.covered.setdefault(dataset, {}).setdefault(str(partition), [])
        whole: Ranges = []
        for one in sorted([*ranges, [start, end]]):
            if whole and one[0] <= whole[-1][1]:
                whole[-1][1] = max(whole[-1][1], one[1])
            else:
                whole.append(list(one))
        ranges[:] = whole


@dataclass(frozen=True, slots=True)
class Lake:
    """A lake's folder."""

    root: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it: one process writes a lake. Raises LakeError where another does."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LakeError(f"another process writes {self.root}: wait for it, or end it") from None
            yield
        finally:
            os.close(file)

    def manifest(self) -> Manifest | None:
        """As it stands; None for a folder that is no lake yet. Raises LakeError for a file that is none of ours."""
        path = self.root / NAME
        try:
            said = json.loads(path.read_text("utf-8"))
            return Manifest(**{**said, "files": [File(**one) for one in said["files"]]})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise LakeError(f"{path} is no manifest of a lake: name another --out") from None

    def write(self, manifest: Manifest) -> None:
        """Put this in place of what stood; what it names is on the disk before."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"
        write_whole(self.root / NAME, text.encode())

    def sweep(self, manifest: Manifest) -> None:
        """Remove what the manifest does not name: left behind by a process that was killed, or replaced."""
        named = {one.path(form) for one in manifest.files for form in manifest.formats}
        for form in FORMATS:
            for path in (self.root / form).rglob("*"):
                if path.is_file() and str(path.relative_to(self.root)) not in named:
                    path.unlink()
            for folder in sorted((self.root / form).rglob("*"), reverse=True):
                with suppress(OSError):
                    folder.rmdir()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole, or as it was."""
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Return once the names in it are on the disk."""
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)
