"""A partition that does not move, and why: what probes and operators are told. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Stall(NamedTuple):
    """Records may wait in this partition, at `offset` if that is known."""

    topic: str
    partition: int
    offset: int | None
    cause: str
