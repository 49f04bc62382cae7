"""oo explain: why this tip, why not that one, why nothing; made again from the journal. It only reads.

Texts and ids of what a person has to do are shown only where somebody asks for them, which is noted.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, UserOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms
from deploy.masks import COVER
from deploy.why_not import TRIGGERS, clock, heard_of, why_not, why_nothing, written_by
from oo.v1.decision_pb2 import Candidate, Decision

if TYPE_CHECKING:
    from agents.explained import Explained
    from deploy.explaining import Asked


def explain(
    user: UserOption,
    decision: Annotated[str, typer.Option("--decision", help="Its id; without it the last one.")] = "",
    at: Annotated[
        str | None, typer.Option("--at", help=f"The one that stood then: {SINCE_HELP}.", show_default=False)
    ] = None,
    instead: Annotated[
        str, typer.Option("--instead", help="Why not this candidate: its number in the list, or its id.")
    ] = "",
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="With texts; noted in oo.audit first.")] = False,
) -> None:
    """Why a person was told what they were told, or nothing; and what would have had to be different."""
    if decision and at is not None:
        raise typer.BadParameter("name --decision or --at, not both")
    needed = ("mac_key_file", "kek_dir", "name_key_file", *(["registry_url"] if reveal else []))
    stack = open_state(state, *needed, ready=False)
    whose, at_ms = stack.pseudonym(user), here_ms(at)
    from deploy.explaining import asked

    found = asyncio.run(asked(stack, whose, decision_id=decision, at_ms=at_ms))
    one = found.explained
    if one is None:
        raise CommandError(_nobody(user, decision, found, at_ms))
    place = None if not instead else _place(one, instead)
    if reveal:
        from deploy.audit import note

        asyncio.run(note(stack, "oo explain --reveal", whose=whose.encode()))
    if as_json:
        print(json.dumps(_spelled(one, found, place, at_ms, reveal=reveal), ensure_ascii=False))
        return
    _show(one, found, place, at_ms, reveal=reveal)


def _nobody(user: str, decision: str, found: Asked, at_ms: int | None) -> str:
    begin = f", which is folded from offset {found.from_offset} on" if found.from_offset else ""
    if decision:
        return f"{user} has no decision {decision} in the journal{begin}: 'oo state --user {user} --json' names their last ones"
    records = sum(found.after.values())
    when = "" if at_ms is None else f" up to {_utc(at_ms)}"
    told = f"of their {records} records none led to one" if records else "nothing of theirs stands there"
    hint = ""
    if not records:
        hint = "; without --at it is the last one" if at_ms is not None else "; --user takes the id that producers give"
    return f"nothing was decided for {user}{when}: {told} in the journal{begin}{hint}"


def _place(one: Explained, said: str) -> int:
    """The candidate that is meant."""
    if said.isdigit() and 1 <= int(said) <= len(one.slate):
        return int(said) - 1
    for place, candidate in enumerate(one.slate):
        if candidate.id == said:
            return place
    raise CommandError(
        f"{said} was not among the {len(one.slate)} candidates of this decision: it was not in the row then, or ranked below those that "
        "a slate has room for; name one by its number in the list"
    )


def _named(candidate: Candidate, *, reveal: bool) -> str:
    """A candidate's id, without what may be words of the person."""
    if reveal or candidate.kind in (Decision.NONE, Decision.STARTER):
        return candidate.id
    head, slash, _ = candidate.id.partition("/") if candidate.kind == Decision.TASK else ("generated:", " ", "")
    return f"{head}{slash.strip()}{COVER}"


def _title(one: Explained, place: int, *, reveal: bool) -> str:
    title = one.title(place)
    # A starter tip may name the next event.
    return title if reveal or not title else COVER


def _show(one: Explained, found: Asked, place: int | None, at_ms: int | None, *, reveal: bool) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    decision, zone = one.decision, one.row.time_zone
    version = decision.policy_version or "the prior"
    console.print(
        f"Decision {decision.decision_id} of {clock(decision.decided_ms, zone)} ({zone}), made because {TRIGGERS[decision.trigger]}; "
        f"valid until {clock(decision.valid_until_ms, zone)}."
    )
    same = "the same, probabilities and all" if one.is_the_same else "ANOTHER one, so what is said below does not hold"
    console.print(f"By {decision.policy}, {version}. Made from the journal; chosen again with the same draws: {same}.")
    if heard := heard_of(decision):
        console.print(heard)
    if at_ms is not None:
        console.print(_since(one, found, at_ms))
    if one.chosen.kind == Decision.NONE:
        console.print(why_nothing(one))
    table = Table("", "candidate", "title", "probability", "worth", "draws", "out for")
    for at, candidate in enumerate(one.slate):
        mark = "→" if at == decision.chosen else ""
        fits = not candidate.ineligible
        table.add_row(
            f"{at + 1}{mark}",
            _named(candidate, reveal=reveal),
            _title(one, at, reveal=reveal),
            f"{candidate.propensity:.3f}" if fits else "",
            f"{candidate.score:+.3f}" if fits else "",
            str(candidate.draws_won) if fits else "",
            ", ".join(candidate.ineligible),
        )
    Console(highlight=False, markup=False).print(table)
    for at, candidate in enumerate(one.slate):
        if by := written_by(decision, at, candidate):
            console.print(f"{at + 1}: {by}")
    console.print("\n".join(_seen(one, decision.chosen)))
    if place is not None:
        console.print("\n".join([*_seen(one, place), *why_not(one, place, one.instead(place))]))
    if not reveal:
        console.print("Texts are covered; --reveal shows them, and notes that you looked ('oo audit').")


def _seen(one: Explained, place: int) -> list[str]:
    told = ", ".join(f"{name} {value:g}" for name, value in one.features(place).items())
    return [f"What was seen of {place + 1}: {told or 'nothing'}."]


def _since(one: Explained, found: Asked, at_ms: int) -> str:
    zone, until_ms = one.row.time_zone, one.decision.valid_until_ms
    told = ", ".join(f"{n} {kind}" for kind, n in found.after.most_common())
    since = f"Of what came after it ({told}) nothing led to another." if told else "Nothing of theirs came after it."
    end = " It had run out by then." if until_ms <= at_ms else ""
    return f"At {clock(at_ms, zone)} this one stood. {since}{end}"


def _spelled(one: Explained, found: Asked, place: int | None, at_ms: int | None, *, reveal: bool) -> dict[str, Any]:
    decision = one.decision
    told: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "user": decision.user_id,
        "decided_ms": decision.decided_ms,
        "valid_until_ms": decision.valid_until_ms,
        "trigger": Decision.Trigger.Name(decision.trigger),
        "because": TRIGGERS[decision.trigger],
        "policy": decision.policy,
        "policy_version": decision.policy_version,
        "step_version": decision.step_version,
        "chosen_again_the_same": one.is_the_same,
        "chosen": decision.chosen + 1,
        "propensity": decision.propensity,
        "scored_by": decision.scored_by,
        "deaf": decision.deaf,
        "slate": [
            {
                "number": at + 1,
                "id": _named(candidate, reveal=reveal),
                "title": _title(one, at, reveal=reveal),
                "kind": Decision.TipKind.Name(candidate.kind),
                "propensity": candidate.propensity,
                "score": candidate.score,
                "draws_won": candidate.draws_won,
                "features": one.features(at),
                "written_by": written_by(decision, at, candidate),
                "out": [asdict(held) for held in one.instead(at).held] if candidate.ineligible else [],
            }
            for at, candidate in enumerate(one.slate)
        ],
    }
    if one.chosen.kind == Decision.NONE:
        told["why_nothing"] = why_nothing(one)
    if at_ms is not None:
        told |= {"at_ms": at_ms, "records_since": dict(found.after)}
    if place is not None:
        told["instead"] = {"number": place + 1, **asdict(one.instead(place))}
    return told


def _utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
