"""oo policies: what each policy earns, by the decisions that were served, and which one decides.

It reads topics; only `promote` writes, and says what.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, JsonOption, StateOption, open_state
from deploy.earned import standing
from deploy.stack.rights import PROMOTER
from oo.v1 import decision_pb2, evaluation_pb2

COLUMNS = ("policy", "tips", "prompt", "n", "of", "effective", "weight", "reward", "95 %", "ahead", "drifts", "µs")
PROMOTIONS_SHOWN = 5
CAUSES = {
    evaluation_pb2.Promotion.PROVEN: "promoted by the gate",
    evaluation_pb2.Promotion.ROLLED_BACK: "rolled back to by the gate",
    evaluation_pb2.Promotion.BY_HAND: "promoted by hand",
}


def listed(context: typer.Context, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """What each policy earns, and which one decides."""
    if context.invoked_subcommand is not None:
        return
    stack = open_state(state, ready=False)
    now = asyncio.run(standing(stack.cluster))
    found, promotions, version, champion = now.latest, now.promotions, now.version, now.champion
    if as_json:
        said = {"champion": champion, "version": version, "promotions": [_as_json(one) for one in promotions]}
        print(json.dumps({**said, "estimates": [_as_json(one) for one in found]}))
        return
    console = Console(highlight=False)
    console.print(f"{champion} decides, with version {version or 'none yet: what stood before anything was learned'}")
    for one in promotions[-PROMOTIONS_SHOWN:]:
        console.print(_told(one), soft_wrap=True)
    if not found:
        console.print("No decision has its reward yet: estimates come with the first reactions.")
        return
    cells = [_row(one) for one in found]
    # A column with nothing in it takes room from the others.
    told = [index for index in range(len(COLUMNS)) if any(row[index] for row in cells)]
    table = Table(*(COLUMNS[index] for index in told), box=None, pad_edge=False)
    for row in cells:
        table.add_row(*(row[index] for index in told))
    console.print(table)


def promote(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="The policy that decides from now on.")],
    why: Annotated[str, typer.Option("--why", help="The reason, kept with it.")],
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Let this policy decide from the next version on, by hand. The one before comes back once it is proven better."""
    from agents.policies import POLICIES

    if policy not in POLICIES or not POLICIES[policy].servable:
        known = ", ".join(name for name, one in POLICIES.items() if one.servable)
        raise CommandError(f"{policy} cannot be served: there are {known}")
    from deploy.promoting import promote as say

    stack = open_state(state, "registry_url", ready=False).as_named(role, PROMOTER)
    said = asyncio.run(say(stack, policy, command="oo policies promote", why=why))
    print(f"{policy} decides after {said.before}, as soon as its first version is marked: 'oo policies' shows it")


def _told(one: evaluation_pb2.Promotion) -> str:
    when = datetime.fromtimestamp(one.decided_ms / 1000, UTC)
    cause = CAUSES.get(one.cause, "promoted")
    by = f" by {one.account}" if one.account else ""
    if not one.policy:
        return f"{when:%Y-%m-%d %H:%M} UTC  {one.model or 'no model'} heard{by} after {one.before or 'none'}: {one.why}"
    of = f", run {one.run} {'undone' if one.undoes else 'promoted'}" if one.run else ""
    return f"{when:%Y-%m-%d %H:%M} UTC  {one.policy} {cause}{by} after {one.before}{of}: {one.why}"


def _as_json(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _row(one: evaluation_pb2.Estimate) -> tuple[str, ...]:
    whole = one.kind == decision_pb2.Decision.TIP_KIND_UNSPECIFIED
    value = one.doubly_robust if whole else one.snips
    return (
        one.policy,
        "all" if whole else decision_pb2.Decision.TipKind.Name(one.kind).lower(),
        one.prompt_version,
        str(one.n),
        # Where shadows took a sample.
        f"{one.stands_for:.0f}" if one.stands_for > one.n else "",
        f"{one.effective_n:.0f}",
        f"{one.mean_weight:.2f}",
        f"{value.value:+.3f}",
        _between(value),
        _between(one.ahead) if one.HasField("ahead") else "",
        str(one.drifts or ""),
        str(one.cost_us or ""),
    )


def _between(interval: evaluation_pb2.Interval) -> str:
    """In words where there is no interval to be trusted (agents/evaluation/switched.py).

    >>> _between(evaluation_pb2.Interval(low=-0.5, high=0.25)), _between(evaluation_pb2.Interval(low=float("-inf")))
    ('-0.50 to +0.25', 'too little to tell')
    """
    known = isfinite(interval.low) and isfinite(interval.high)
    return f"{interval.low:+.2f} to {interval.high:+.2f}" if known else "too little to tell"
