"""The words of an explanation, as `oo explain` and the console say them. Pure; no text of a person is in them."""

from __future__ import annotations

from collections import Counter

from agents.explained import Explained, Held, Instead
from oo.v1.decision_pb2 import Candidate, Decision
from tables.bounds import NEVER_MS
from tables.zones import local

TRIGGERS = {
    Decision.NO_TIP: "nothing stood",
    Decision.RAN_OUT: "the one before had run out",
    Decision.BECAME_WRONG: "the one before could not be said any more",
    Decision.REACTION: "the person reacted",
    Decision.SLATE_CHANGED: "there was something else to choose from, and the one before had not been seen",
    Decision.URGENT_ARRIVAL: "something urgent came",
}
"""Why a decision was made at all."""


def heard_of(decision: Decision) -> str:
    """Whether a trained model's scores were seen, in a sentence; empty where there were none.

    >>> heard_of(Decision(scored_by="tips@3", deaf=True))
    'tips@3 had said what it expects; this slate was drawn to do without, as one in eight is.'
    """
    if not decision.scored_by:
        return ""
    if decision.deaf:
        return f"{decision.scored_by} had said what it expects; this slate was drawn to do without, as one in eight is."
    return f"{decision.scored_by} had said what it expects of those with `has_score`."


def written_by(decision: Decision, place: int, candidate: Candidate) -> str:
    """Say which model wrote a candidate, by which prompt, and how likely these were drawn; empty where a language model wrote it not.

    >>> written_by(Decision(chosen=1), 0, Candidate(kind=Decision.GENERATED, model="m", prompt_version="p@1", prompt_chance=1, prompt_chances=2))
    'Written by a language model: m by the prompt p@1, drawn for it with 1 of 2.'
    """
    if candidate.kind != Decision.GENERATED:
        return ""
    # Of before step version 8 the decision says it of the chosen one alone.
    said = decision if place == decision.chosen else candidate
    if not said.prompt_version:
        return "Written by a language model; by which one and how was not noted then."
    return (
        f"Written by a language model: {said.model} by the prompt {said.prompt_version}, drawn for it with "
        f"{said.prompt_chance} of {said.prompt_chances}."
    )


def why_nothing(one: Explained) -> str:
    """Why nothing was said, of a decision that chose that."""
    others = [candidate for candidate in one.slate if candidate.kind != Decision.NONE]
    free = [candidate for candidate in others if not candidate.ineligible]
    if not free:
        held = {
            held.reason: held
            for place, candidate in enumerate(one.slate)
            for held in (one.instead(place).held if candidate.ineligible else [])
        }
        counted = Counter(reason for candidate in others for reason in candidate.ineligible)
        told = (f"{n} for {reason} (until {_until(one, held[reason])})" for reason, n in counted.most_common())
        return f"Why nothing: each of {len(others)} was out, {', '.join(told)}."
    best = max(candidate.score for candidate in free)
    return (
        f"Why nothing: {len(free)} could have been said, the best expected to be worth {best:+.3f} after what an interruption costs; saying "
        f"nothing is worth 0, and had the probability {one.chosen.propensity:.3f}."
    )


def why_not(one: Explained, place: int, why: Instead) -> list[str]:
    """Why another candidate was not chosen, and what would have had to be different."""
    name = f"Why not {place + 1}"
    if place == one.decision.chosen:
        return [f"{name}: it was chosen."]
    lines = [f"{name}: {held.reason}. {held.means} Until {_until(one, held)}." for held in why.held]
    if lines:
        lines.append(
            "Without that the same draws would have chosen it."
            if why.chosen_if_not_held
            else "Without that the same draws would have chosen another one still, or nothing can be said of what it was worth."
        )
        return lines
    more = "below" if why.below >= 0 else "above"
    lines.append(
        f"{name}: it could have been chosen with probability {one.slate[place].propensity:.3f}; expected worth {abs(why.below):.3f} {more} what was "
        "chosen, and the draws decided."
    )
    flips = " or ".join(f"{flip.feature} at {flip.would_be:g} (was {flip.was:g})" for flip in why.flips)
    lines.append(
        f"By the same draws it would have been chosen with {flips}."
        if flips
        else "No change of one feature would have done."
    )
    return lines


def _until(one: Explained, held: Held) -> str:
    if held.until_ms >= NEVER_MS:
        return f"{held.lifts}, which is never by itself"
    at = f" at {clock(held.until_ms, one.row.time_zone)}" if held.until_ms else ""
    return f"{held.lifts}{at}"


def clock(at_ms: int, zone: str) -> str:
    """A moment where the person lives."""
    return f"{local(at_ms, time_zone=zone):%Y-%m-%d %H:%M:%S}"
