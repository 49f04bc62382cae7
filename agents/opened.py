"""A row while one record is taken in: the message, with what it keeps packed unpacked once.

It never decides anything; what was changed is put back by `close`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from agents import limits
from agents.features import NOW, SPACES, Space
from agents.limits import Limits
from oo.v1 import row_pb2
from tables import backlog, pending, sums
from tables.backlog import Backlog
from tables.pending import Pending
from tables.sums import Taught


@dataclass(slots=True)
class Opened:
    """A person's row, as the functions below `agents.step` take and change it."""

    row: row_pb2.UserRow
    backlog: Backlog
    pending: Pending
    limits: Limits
    """What of it may not be used."""
    space: Space
    """What decisions on it see: that of the version in force. What was taught in another one is made to fit."""
    _taught: Taught | None = None
    learned: bool = False
    """The sums were changed."""

    @classmethod
    def of(cls, row: row_pb2.UserRow, space: Space = NOW) -> Self:
        """Unpacks what every record looks at; sums are unpacked when they are first asked for."""
        return cls(
            row,
            backlog.read(row),
            pending.read(row, d=space.d, alike=SPACES),
            limits.of(row),
            space,
        )

    @property
    def usable(self) -> Backlog:
        """The tasks and events as a decision may see them; never to be changed."""
        return limits.usable(self.backlog, self.limits) if self.limits.any else self.backlog

    def pass_time(self) -> bool:
        """Drop events that are over and wake tasks whose quiet time has ended; says whether one woke that may be used."""
        now_ms, usable = self.row.now_ms, self.usable
        woke = backlog.pass_time(self.backlog, now_ms=now_ms)
        return woke and (usable is self.backlog or 0 < backlog.next_quiet_end_ms(usable.tasks) <= now_ms)

    @property
    def taught(self) -> Taught:
        """What the person taught."""
        if self._taught is None:
            self._taught = sums.read(self.row, d=self.space.d, feature_version=self.space.version, alike=SPACES)
        return self._taught

    def close(self) -> None:
        """Puts back what was changed."""
        backlog.write(self.backlog, self.row)
        pending.write(self.pending, self.row)
        if self.learned:
            sums.write(self.taught, self.row, feature_version=self.space.version)
            self.learned = False
