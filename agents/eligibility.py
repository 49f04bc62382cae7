"""Which candidates may be chosen now, and why the others may not. The mask is logged with the slate."""

from __future__ import annotations

from collections.abc import Sequence

from agents.candidates import Proposal
from oo.v1 import decision_pb2, row_pb2

SNOOZED = "snoozed"
COOLING_DOWN = "cooling-down"
HAS_TASKS = "has-tasks"

_TO_DO = frozenset([decision_pb2.Decision.TASK, decision_pb2.Decision.GENERATED])
"""Tips that a starter tip makes way for."""


def reasons(row: row_pb2.UserRow, slate: Sequence[Proposal], *, now_ms: int) -> list[tuple[str, ...]]:
    """For each candidate in turn, why it is out; empty for eligible. Saying nothing is always eligible.

    A starter tip is for someone with no task to choose from: it is out as soon as one task is in.
    """
    cooling = {cool_down.candidate for cool_down in row.cool_downs if cool_down.until_ms > now_ms}
    masks = [_reasons(proposal, cooling, now_ms=now_ms) for proposal in slate]
    if any(not mask and proposal.kind in _TO_DO for proposal, mask in zip(slate, masks, strict=True)):
        for index, proposal in enumerate(slate):
            if proposal.kind == decision_pb2.Decision.STARTER:
                masks[index] = (*masks[index], HAS_TASKS)
    return masks


def _reasons(proposal: Proposal, cooling: set[str], *, now_ms: int) -> tuple[str, ...]:
    task = proposal.task
    if task is not None and task.quiet_until_ms > now_ms:
        return (SNOOZED if task.quiet_reason == row_pb2.Task.SNOOZED else COOLING_DOWN,)
    return (COOLING_DOWN,) if proposal.id in cooling else ()
