"""A person's look at the decision that stands, and what all looks of a run come to. It never sends what it leads to."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.written import ON_LIST
from deploy.simulator.life import SOURCE, WRITTEN_HEAD, Act, Life, Response
from deploy.simulator.likings import Written
from deploy.simulator.world import DISMISS, DONE, SNOOZE, worths
from oo.v1 import decision_pb2, reaction_pb2
from tables import slates

REACTIONS = {
    DONE: reaction_pb2.Reaction.DONE,
    SNOOZE: reaction_pb2.Reaction.SNOOZE,
    DISMISS: reaction_pb2.Reaction.DISMISS,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision when its person first looked at it: what it was worth, and what the slate had to offer."""

    after_ms: int
    """Since the start of the run."""
    value: float
    oracle: float
    random: float
    counted: bool
    """False for people whose reactions say nothing of what they think."""
    written: int = 0
    """Tips that a model wrote, among those that could be chosen."""
    chosen_written: bool = False


@dataclass(slots=True)
class Tally:
    """What a run came to."""

    judged: list[Judged] = field(default_factory=list)
    signals: int = 0
    seen: int = 0
    """Tips that were looked at."""
    reactions: int = 0
    silences: int = 0
    """Tips that were looked at, and will never be reacted to."""
    reward: float = 0.0
    """Of all that is or will be told; silence counts 0."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What follows from a look at a tip."""

    seen: reaction_pb2.Reaction
    reaction: reaction_pb2.Reaction | None
    """None for silence."""
    delay_ms: int
    later: Act | None
    """What one of their sources tells some time afterwards."""


def look(life: Life, decision: decision_pb2.Decision, tally: Tally, *, start_ms: int, now_ms: int) -> Visit | None:
    """The person looks; None where there is nothing new, or nothing to see. A decision is judged the first time only."""
    if not life.first_look(decision.decision_id):
        return None
    slate = slates.spelled_out(decision)
    eligible = [one.id for one in slate if not one.ineligible and life.knows(one.id)]
    values = life.values(eligible, now_ms=now_ms)
    chosen = slate[decision.chosen].id
    tally.judged.append(
        Judged(
            after_ms=now_ms - start_ms,
            value=float(values[eligible.index(chosen)]),
            oracle=float(values.max()),
            random=float(values.mean()),
            counted=life.person.manner == "honest",
            written=sum(one.startswith(WRITTEN_HEAD) for one in eligible),
            chosen_written=chosen.startswith(WRITTEN_HEAD),
        )
    )
    if chosen == "none":
        return None
    response = life.respond(chosen, now_ms=now_ms)
    tally.seen += 1
    if response.delay_ms is None:
        tally.silences += 1
    else:
        tally.reward += float(worths(life.scenario)[response.outcome])
    return _visit(life, decision.decision_id, response, later=life.afterwards(chosen, response, now_ms=now_ms))


def read(life: Life, decision: decision_pb2.Decision, tip: decision_pb2.Tip) -> None:
    """The person reads a tip that a model wrote: the decision says by which prompt and model, the lines beside it about what.

    A simulated task's title ends with its number.
    """
    if decision.prompt_version:
        listed = [one.removeprefix(ON_LIST).split() for one in tip.why if one.startswith(ON_LIST)]
        numbers = [int(words[-1]) for words in listed if words and words[-1].isdecimal()]
        task = next(iter(numbers), None)
        life.read(
            slates.spelled_out(decision)[decision.chosen].id, Written(decision.prompt_version, decision.model, task)
        )


def _visit(life: Life, decision_id: str, response: Response, *, later: Act | None) -> Visit:
    def reaction(kind: reaction_pb2.Reaction.Kind.ValueType) -> reaction_pb2.Reaction:
        return reaction_pb2.Reaction(user_id=life.user_id, decision_id=decision_id, kind=kind, source=SOURCE)

    seen = reaction(reaction_pb2.Reaction.SEEN)
    if response.delay_ms is None:
        return Visit(seen, None, 0, later)
    return Visit(seen, reaction(REACTIONS[response.outcome]), response.delay_ms, later)
