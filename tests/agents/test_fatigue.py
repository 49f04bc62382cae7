"""How many tips may come unasked, and that whoever reacts is never stopped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import candidates
from agents.reward import DEFAULT
from agents.step import ActiveVersion
from oo.v1 import decision_pb2
from oo.v1.outcome_pb2 import Outcome
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import windows
from tests.agents.build import MONDAY_MS, Person, active, activity, chosen, profile, task, trigger

TASK = decision_pb2.Decision.TASK


def blunt(**changes: int | bool) -> ActiveVersion:
    """Always the candidate with the greatest expected score, and tips that run out within minutes."""
    return active(exploration=0, floor_permille=0, tip_valid_ms=5 * MINUTE_MS, none_valid_ms=5 * MINUTE_MS, **changes)


def looker(**changes: int | bool) -> Person:
    """Ada has one task, looks at every tip, and never reacts."""
    ada = Person(policy=blunt(**changes))
    ada.take(task("a", priority=1))
    return ada


def looks(ada: Person, times: int, *, every_ms: int = 6 * MINUTE_MS) -> list[str]:
    """What she finds each time she looks."""
    found = []
    for _ in range(times):
        ada.take(activity(), after_ms=every_ms)
        found.append(ada.now.current_candidate)
        if ada.now.current_candidate != candidates.NONE_ID:
            ada.react("SEEN")
    return found


def last_masks(ada: Person) -> dict[str, tuple[str, ...]]:
    decision = next(o.decision for _, o in reversed(ada.log) if o.decision is not None)
    return {one.id: tuple(one.ineligible) for one in decision.slate}


def unasked(ada: Person, span_ms: int) -> int:
    return windows.count(windows.unasked(ada.now), now_ms=ada.now.now_ms, span_ms=span_ms, reaction=Outcome.SEEN)


def test_past_the_most_of_an_hour_nothing_is_said_and_the_slate_says_why() -> None:
    ada = looker(cap_hour=3)
    assert looks(ada, 4) == ["task:todo.txt/a"] * 3 + ["none"]
    assert last_masks(ada) == {
        "none": (),
        "starter:pause": ("cap-hour",),
        "starter:plan": ("cap-hour",),
        "starter:tidy": ("cap-hour",),
        "task:todo.txt/a": ("cap-hour",),
    }


def test_when_the_hour_frees_up_the_row_wakes_and_a_tip_comes_back() -> None:
    ada = looker(cap_hour=3)
    looks(ada, 4)
    wake_ms = ada.now.next_wake_ms
    assert wake_ms == ada.now.current_valid_until_ms
    # The first was seen 6 minutes after the start of a bucket of five.
    assert wake_ms == MONDAY_MS + 10 * MINUTE_MS + HOUR_MS
    assert trigger(ada.wait(wake_ms - ada.time_ms - 1)) == ""
    assert chosen(ada.wait(1).decision) == "task:todo.txt/a"


def test_a_days_most_is_counted_apart() -> None:
    ada = looker(cap_hour=0, cap_day=5)
    assert looks(ada, 6, every_ms=HOUR_MS)[-2:] == ["task:todo.txt/a", "none"]
    assert "cap-day" in last_masks(ada)["task:todo.txt/a"]


def test_the_most_of_a_kind_holds_back_that_kind_alone() -> None:
    ada = looker(cap_hour=0, cap_day=0, cap_day_task=2)
    assert looks(ada, 3)[:2] == ["task:todo.txt/a"] * 2
    masks = last_masks(ada)
    assert masks["task:todo.txt/a"] == ("cap-kind",)
    assert masks["starter:plan"] == ()


def test_whoever_reacts_to_every_tip_is_never_stopped() -> None:
    ada = Person(policy=blunt(cap_hour=1, cap_day=1))
    for n in range(200):
        ada.take(task(f"t{n}", priority=1))
    for _ in range(150):
        assert ada.now.current_candidate.startswith("task:")
        ada.react("SEEN")
        ada.react("DONE", after_ms=2 * MINUTE_MS)
    assert unasked(ada, DAY_MS) == 1


def test_a_reaction_to_the_last_tip_before_the_cap_still_brings_another() -> None:
    ada = looker(cap_hour=1)
    ada.take(task("b", priority=1))
    ada.react("SEEN")
    assert unasked(ada, HOUR_MS) == 1
    assert chosen(ada.react("DONE").decision).startswith("task:")


def test_what_followed_a_reaction_goes_again_if_nobody_came_for_it_and_the_cap_is_reached() -> None:
    ada = Person(policy=active(exploration=0, floor_permille=0, cap_hour=1))
    ada.take(task("a", priority=1))
    ada.take(task("b", priority=1))
    ada.react("SEEN")
    ada.react("DONE")
    reacted_ms = ada.time_ms
    assert ada.now.next_wake_ms == reacted_ms + DEFAULT.asked_within_ms
    outputs = ada.wait(DEFAULT.asked_within_ms)
    assert (trigger(outputs), chosen(outputs.decision)) == ("BECAME_WRONG", "none")


def test_what_followed_a_reaction_and_was_seen_stays() -> None:
    ada = Person(policy=active(exploration=0, floor_permille=0, cap_hour=1))
    ada.take(task("a", priority=1))
    ada.take(task("b", priority=1))
    ada.react("SEEN")
    ada.react("DONE")
    ada.react("SEEN")
    assert ada.take(activity(), after_ms=30 * MINUTE_MS).decision is None


def test_a_tip_that_is_looked_at_many_times_counts_once() -> None:
    ada = looker(cap_hour=3)
    for _ in range(5):
        ada.react("SEEN")
    assert unasked(ada, HOUR_MS) == 1


def test_a_person_may_ask_for_less() -> None:
    ada = looker()
    ada.take(profile(tips_per_hour=2))
    assert looks(ada, 3)[-1] == "none"


def test_a_person_may_ask_for_more_within_what_the_policy_allows() -> None:
    ada = looker(cap_hour=1, own_cap_hour_max=4, cap_day=0)
    ada.take(profile(tips_per_hour=50))
    assert looks(ada, 5) == ["task:todo.txt/a"] * 4 + ["none"]


def test_zero_takes_the_own_bound_back() -> None:
    ada = looker(cap_hour=3)
    ada.take(profile(tips_per_hour=1))
    ada.take(profile(tips_per_hour=0))
    assert looks(ada, 4) == ["task:todo.txt/a"] * 3 + ["none"]


def test_a_version_from_before_there_were_caps_has_none() -> None:
    ada = looker(cap_hour=0, cap_day=0, cap_day_starter=0, cap_day_generated=0)
    assert "none" not in looks(ada, 100)


@pytest.mark.parametrize("every_ms", [5 * MINUTE_MS, 7 * MINUTE_MS, 23 * MINUTE_MS])
def test_by_default_whoever_looks_now_and_then_is_not_stopped_before_the_hours_and_days_most(every_ms: int) -> None:
    ada = looker()
    found = looks(ada, 16 * HOUR_MS // every_ms, every_ms=every_ms)
    seen = sum(one != "none" for one in found)
    assert seen >= min(len(found), DEFAULT.cap_day)
    assert unasked(ada, DAY_MS) <= DEFAULT.cap_day


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 90 * MINUTE_MS), min_size=1, max_size=40),
    most=st.integers(1, 5),
)
def test_a_window_falls_below_when_a_count_by_hand_does(*, gaps: list[int], most: int) -> None:
    kept = windows.NOTHING
    now_ms, cell = MONDAY_MS, windows.Cell(reaction=Outcome.SEEN, kind=TASK, part=0)
    for gap_ms in gaps:
        now_ms += gap_ms
        kept = windows.add(kept, cell, event_ms=now_ms, now_ms=now_ms)
    for span_ms in (HOUR_MS, DAY_MS):
        falls_ms = windows.falls_below_ms(kept, most, now_ms=now_ms, span_ms=span_ms, reaction=Outcome.SEEN)

        def there(at_ms: int, *, span_ms: int = span_ms) -> int:
            return windows.count(kept, now_ms=at_ms, span_ms=span_ms, reaction=Outcome.SEEN)

        if falls_ms:
            assert there(falls_ms - 1) >= most > there(falls_ms)
            assert falls_ms > now_ms
        else:
            assert there(now_ms) < most
