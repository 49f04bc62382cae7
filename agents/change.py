"""What one record did to a row so far: what `step` looks at to say whether a new decision is due."""

from __future__ import annotations

from dataclasses import dataclass, field

from oo.v1 import outcome_pb2
from tables.backlog import Overflow


@dataclass(slots=True)
class Change:
    """Filled while a record is taken in."""

    slate: bool = False
    urgent: bool = False
    wrong: bool = False
    """What is being served rests on what was withdrawn."""
    unsaid: bool = False
    """What a source told, or all sources, was withdrawn: what was written may repeat it."""
    reacted: bool = False
    outcomes: list[outcome_pb2.Outcome] = field(default_factory=list)
    overflows: list[Overflow] = field(default_factory=list)
