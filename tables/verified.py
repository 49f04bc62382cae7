"""When each partition of the journal was last verified, and what came of it: a small file that `oo verify --in-turn` writes, and others show.

It holds no person's text. It never verifies anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Verified:
    """Of one partition."""

    tried_ms: int
    """When it was last begun."""
    at_ms: int = 0
    """When it was last compared; 0 for never."""
    sound: int = 0
    """Below this offset all was compared, and nothing differed: the next time it is begun there, not sooner."""
    differences: int = 0
    shown: tuple[str, ...] = ()
    """Some of them in words."""
    why_not: str = ""
    """Why it could not be compared; empty where it could."""


class VerifiedFile:
    """The file of one journal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, journal_id: bytes | None = None) -> dict[int, Verified]:
        """By partition; nothing where it is not there, or is of another journal than this."""
        try:
            found = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        if journal_id is not None and found["journal"] != journal_id.hex():
            return {}
        return {
            int(number): Verified(**{**one, "shown": tuple(one["shown"])})
            for number, one in found["partitions"].items()
        }

    def note(self, journal_id: bytes, number: int, what: Verified) -> None:
        """Replace what is said of one partition, at once: who reads never sees half of it."""
        known = self.read(journal_id) | {number: what}
        said = {"journal": journal_id.hex(), "partitions": {str(one): asdict(known[one]) for one in sorted(known)}}
        unfinished = self._path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(said, indent=1))
        unfinished.replace(self._path)


def whose_turn(known: Mapping[int, Verified], numbers: Iterable[int]) -> int:
    """The partition that was tried longest ago.

    >>> whose_turn({0: Verified(7), 1: Verified(5)}, range(2)), whose_turn({0: Verified(7)}, range(3))
    (1, 1)
    """
    return min(numbers, key=lambda number: (known[number].tried_ms if number in known else 0, number))
