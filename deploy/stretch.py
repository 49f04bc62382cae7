"""Decisions, outcomes and requests of a fold, held against what is kept of them some at a time, in the order of the journal. It reads nothing itself."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol

from deploy.differing import Differences, Kept, Suspect, compare_history
from tables.leavers import Leavers

STRETCH = 1_000
"""Those of the fold that are held against what is kept at once."""
SUSPECTS_MAX = 1_000


class History(Protocol):
    """What is kept of one partition."""

    async def between(self, name: str, low: int, high: int) -> list[Kept]:
        """Decisions, outcomes, or requests, of records in [low, high)."""

    async def excuses(self) -> tuple[Leavers, int]:
        """Who has left by now, and before which time nothing need be there any more."""


class Stretch:
    """Those since history was last held against it, of one partition."""

    def __init__(
        self,
        history: History | None,
        found: Differences,
        *,
        start: int,
        cut: int,
        from_ms: int,
        users: Container[str] | None = None,
        names: Sequence[str] = ("decision", "outcome"),
        where: str = "PostgreSQL",
    ) -> None:
        """`found` takes what differs of records in [start, cut). `from_ms`: of before then nothing need be there. `users`: history has other people's too.
        `names`: what of; `where` history is kept.
        """
        self._history, self._found = history, found
        self._low, self._cut, self._from_ms, self._users = start, cut, from_ms, users
        self._mine: dict[str, dict[str, Kept]] = {name: {} for name in names}
        self._added = 0
        self._where = where
        self._suspects: list[Suspect] = []
        self.compared = dict.fromkeys(self._mine, 0)
        """How many there were, by name."""
        self.excused = 0
        """Of people who left since, or older than what history keeps."""

    @property
    def full(self) -> bool:
        """Whether it is time to compare."""
        return self._added >= STRETCH

    def add(self, name: str, one: Kept) -> None:
        """Note one that history has to have."""
        if one.time_ms >= self._from_ms and one.offset >= self._low:
            self.compared[name] += 1
            self._mine[name][one.id] = one
            self._added += 1
        else:
            self.excused += 1

    async def compare(self, below: int) -> None:
        """Hold what was added against what history has of the records below; begin anew."""
        for name, mine in self._mine.items():
            if self._history is not None and below > self._low:
                theirs = await self._history.between(name, self._low, below)
                known = [one for one in theirs if one.time_ms >= self._from_ms and self._is_theirs(one)]
                self._suspects += compare_history(name, mine, known, self._found, where=self._where)
            mine.clear()
        self._added = 0
        self._low = max(below, self._low)
        if len(self._suspects) >= SUSPECTS_MAX:
            await self.settle()

    async def settle(self) -> None:
        """Count what is missing on a side, but of who left behind the cut, and what was trimmed meanwhile."""
        if not self._suspects or self._history is None:
            return
        leavers, from_ms = await self._history.excuses()
        for one in self._suspects:
            word = leavers.word_of(one.user_id)
            left = (
                word is not None
                and word.journal.offset >= self._cut
                and leavers.passes(one.user_id.encode(), one.offset)
            )
            if left or one.time_ms < from_ms:
                self.excused += 1
            else:
                self._found.add(one.what)
        self._suspects.clear()

    def _is_theirs(self, one: Kept) -> bool:
        return self._users is None or one.user_id in self._users
