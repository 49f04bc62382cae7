"""A decision explained from the journal: the same choice again, why each other was not it, and what would have had to be different."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest

from agents.active_version import ActiveVersion
from agents.eligibility import REASONS
from agents.explained import LIFTS, Explained
from agents.fold import PartitionState
from agents.step import Entry
from oo.v1 import decision_pb2
from tables import marks
from tests.agents.build import BLUNT, MONDAY_MS, Person, profile, task
from tests.golden.replay import PARTITIONS, as_step, golden, golden_step9, hearing_versions, versions


def decisions(entries: list[Entry], known: dict[str, ActiveVersion]) -> Iterator[Explained]:
    """Every decision of a golden journal, with the row behind it and the version that made it."""
    states = [PartitionState(partition=number, versions=known) for number in range(PARTITIONS)]
    for entry in entries:
        state = states[entry.partition]
        decision = state.apply(entry).decision
        row = state.row(entry.user_id)
        if decision is not None and row is not None:
            yield Explained(decision, row, known[marks.version_at(state.marks, offset=entry.offset)])


@cache
def explained() -> list[Explained]:
    return list(decisions(as_step(golden(), 5), versions()))


@pytest.mark.parametrize("step_version", [2, 5, 6])
def test_every_decision_of_the_golden_journal_comes_out_again_with_the_probabilities_that_were_logged(
    step_version: int,
) -> None:
    found = list(decisions(as_step(golden(), step_version), versions()))
    assert len(found) > 100
    assert all(one.is_the_same for one in found)


def test_a_decision_that_heard_a_model_comes_out_again_with_what_it_said_of_each_candidate() -> None:
    found = [one for one in decisions(golden_step9(), hearing_versions()) if one.decision.scored_by]
    assert len(found) > 10 and all(one.is_the_same for one in found)
    heard, deaf = ([one for one in found if one.decision.deaf == is_deaf] for is_deaf in (False, True))
    assert all(any("has_score" in one.features(place) for place in range(len(one.slate))) for one in heard)
    assert deaf and not any("has_score" in one.features(place) for one in deaf for place in range(len(one.slate)))


def test_another_row_or_another_version_is_not_taken_for_the_one_that_decided() -> None:
    found = explained()
    assert not all(Explained(one.decision, one.row, BLUNT).is_the_same for one in found)
    assert not all(Explained(one.decision, two.row, one.policy).is_the_same for one, two in pairwise(found))


def test_every_reason_of_a_mask_says_what_it_means_and_what_would_lift_it() -> None:
    assert set(LIFTS) == set(REASONS)
    out = [(one, place) for one in explained() for place, other in enumerate(one.slate) if other.ineligible]
    told = {held.reason for one, place in out for held in one.instead(place).held}
    assert told == {reason for one, place in out for reason in one.slate[place].ineligible}
    for one, place in out:
        for held in one.instead(place).held:
            timed = held.reason in {
                "quiet-hours",
                "conflict",
                "cooling-down",
                "snoozed",
                "cap-hour",
                "cap-day",
                "cap-kind",
            }
            assert (held.until_ms > one.decision.decided_ms) == timed, held


def person() -> Person:
    ada = Person(policy=BLUNT, time_ms=MONDAY_MS)
    ada.take(profile("Europe/Berlin"))
    ada.take(task("low", title="Water the plants", priority=4))
    ada.take(task("high", title="Call the dentist", priority=1))
    return ada


def last(ada: Person) -> Explained:
    decision = next(outputs.decision for _, outputs in reversed(ada.log) if outputs.decision is not None)
    assert ada.row is not None
    return Explained(decision, ada.row, BLUNT)


def place_of(one: Explained, title: str) -> int:
    return next(place for place in range(len(one.slate)) if one.title(place) == title)


def test_a_candidate_that_could_have_been_chosen_is_told_by_how_much_it_was_below_and_by_what_it_would_have_won() -> (
    None
):
    one = last(person())
    assert one.title(one.decision.chosen) == "Call the dentist"
    found = one.instead(place_of(one, "Water the plants"))
    assert found.held == [] and found.below > 0 and not found.chosen_if_not_held
    own = one.features(place_of(one, "Water the plants"))
    assert found.flips and all(own.get(flip.feature, 0.0) == flip.was != flip.would_be for flip in found.flips)
    assert one.instead(one.decision.chosen).flips == []


def test_a_starter_tip_is_out_for_a_reason_in_words_and_nothing_is_always_an_answer() -> None:
    one = last(person())
    starter = next(at for at, other in enumerate(one.slate) if other.kind == decision_pb2.Decision.STARTER)
    [held] = one.instead(starter).held
    assert (held.reason, held.lifts) == ("has-tasks", "nothing else is left to do")
    nothing = next(at for at, other in enumerate(one.slate) if other.kind == decision_pb2.Decision.NONE)
    assert one.instead(nothing).held == [] and one.title(nothing) == ""
