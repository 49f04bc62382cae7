"""The tip that stands for a user now, or that there is none: the one rule that reads and streams share.

It never returns a tip that has run out or whose feedback was accepted, and never one from memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.valkey import Standing, TipStore, Unreachable
from oo.v1 import decision_pb2
from serving.problems import unavailable
from serving.spent import Spent


@dataclass(frozen=True, slots=True)
class Current:
    """`tip` is None where there is nothing worth saying. `event_id` names this very state, for resuming a stream."""

    tip: decision_pb2.Tip | None
    event_id: str


async def current(store: TipStore, spent: Spent, user_id: str, *, now_ms: int) -> Current:
    """Raises a 503 problem where Valkey does not answer."""
    try:
        standing = await store.read(user_id)
    except Unreachable as error:
        raise unavailable("tips", detail="The tip store does not answer; try again.") from error
    if standing is None:
        return Current(tip=None, event_id="none")
    name = f"{standing.epoch}-{standing.offset}"
    if _worth_saying(standing, now_ms=now_ms) and (user_id, standing.tip.decision_id) not in spent:
        return Current(tip=standing.tip, event_id=name)
    return Current(tip=None, event_id=f"{name}-none")


def _worth_saying(standing: Standing, *, now_ms: int) -> bool:
    tip = standing.tip
    silent = not tip.decision_id or tip.kind in (decision_pb2.Decision.NONE, decision_pb2.Decision.TIP_KIND_UNSPECIFIED)
    return not silent and not standing.spent and tip.valid_until_ms > now_ms
