"""Has another policy decide from now on, because somebody says so: noted in oo.audit, then said in oo.promotions, which `learn` heeds.

It judges nothing: that is the gate's (agents/evaluation/gate.py), or whoever calls it.
"""

from __future__ import annotations

from deploy.audit import entry_of
from deploy.earned import champion, heard, promotions
from deploy.stack.running import RunningStack
from deploy.writing import writing
from oo.v1 import evaluation_pb2
from streams.clock import clock_ms


class CannotPromote(Exception):
    """A policy is not to decide; one line that says why, and what to do."""


async def promote(
    stack: RunningStack,
    policy: str,
    *,
    command: str,
    why: str,
    run: str = "",
    evidence: evaluation_pb2.Evidence | None = None,
) -> evaluation_pb2.Promotion:
    """Say that this policy decides; return what was said. `run`: of `oo replay`, that it rests on.

    Raises CannotPromote where it decides already, and DeliveryFailed where `stack` may not write that.
    """
    before = champion(await promotions(stack.cluster))
    if before == policy:
        raise CannotPromote(f"{policy} decides already: 'oo policies' shows since when")
    said = evaluation_pb2.Promotion(policy=policy, before=before, why=why, run=run, evidence=evidence)
    await _say(stack, said, command=command)
    return said


async def let_hear(stack: RunningStack, model: str, *, command: str, why: str) -> evaluation_pb2.Promotion:
    """Say that decisions hear this trained model from the next version on, NAME@VERSION, empty for none; return what was said.

    Raises CannotPromote where they hear it already, and DeliveryFailed where `stack` may not write that.
    """
    before = heard(await promotions(stack.cluster))
    if before == model:
        raise CannotPromote(f"decisions hear {model or 'no model'} already: 'oo models list' shows it")
    said = evaluation_pb2.Promotion(model=model, before=before, why=why)
    await _say(stack, said, command=command)
    return said


async def undo(stack: RunningStack, run: str, *, command: str, why: str) -> evaluation_pb2.Promotion:
    """Have that policy decide again which did before this run was promoted.

    Raises as `promote`, and CannotPromote where something else was promoted since.
    """
    last = next((one for one in reversed(await promotions(stack.cluster)) if one.policy), None)
    if last is None or last.run != run:
        raise CannotPromote(
            f"the promotion of {run} is not the last one, so there is nothing of it to undo: 'oo policies' shows them"
        )
    if last.undoes:
        raise CannotPromote(f"the promotion of {run} is undone already: {last.policy} decides")
    said = evaluation_pb2.Promotion(policy=last.before, before=last.policy, why=why, run=run, undoes=True)
    await _say(stack, said, command=command)
    return said


async def _say(stack: RunningStack, said: evaluation_pb2.Promotion, *, command: str) -> None:
    entry = entry_of(stack, command)
    said.cause, said.decided_ms, said.account = evaluation_pb2.Promotion.BY_HAND, clock_ms(), entry.account
    async with writing(stack, client_id="oo-promote") as (producer, schemas):
        await producer.produce(stack.cluster.name("audit"), key=None, value=schemas.frame("audit", entry))
        await producer.produce(
            stack.cluster.name("promotions"), key=said.policy.encode(), value=schemas.frame("promotions", said)
        )
