"""Which candidates may be chosen, and what is said of those that may not."""

from __future__ import annotations

import pytest

from agents import candidates
from agents.eligibility import REASONS
from oo.v1 import decision_pb2, signal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tests.agents.build import (
    BLUNT,
    MONDAY_MS,
    Person,
    active,
    activity,
    chosen,
    completed,
    event,
    last_slate,
    profile,
    slate,
    task,
    trigger,
)
from tests.agents.build import candidates as written


def test_someone_with_nothing_yet_gets_starter_tips_and_silence() -> None:
    assert slate(Person().take(activity())) == {
        "none": (),
        "starter:pause": (),
        "starter:plan": (),
        "starter:tidy": (),
    }


def test_starter_tips_are_out_as_soon_as_there_is_a_task() -> None:
    masks = slate(Person().take(task("a")))
    assert masks["task:todo.txt/a"] == ()
    assert masks["starter:plan"] == ("has-tasks",)
    assert masks["none"] == ()


def test_starter_tips_are_out_as_soon_as_there_is_a_written_tip() -> None:
    masks = slate(Person().take(written("x", expires_ms=MONDAY_MS + DAY_MS)))
    assert masks["generated:x"] == ()
    assert masks["starter:plan"] == ("has-tasks",)


def test_a_snoozed_task_is_out_and_starters_are_in_again() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    masks = slate(ada.react("SNOOZE"))
    assert masks["task:todo.txt/a"] == ("snoozed",)
    assert masks["starter:plan"] == ()


def test_a_dismissed_task_cools_down_for_a_day() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    assert slate(ada.react("DISMISS"))["task:todo.txt/a"] == ("cooling-down",)
    ada.take(activity(), after_ms=DAY_MS - 1)
    assert last_slate(ada)["task:todo.txt/a"] == ("cooling-down",)
    ada.take(activity(), after_ms=1)
    assert last_slate(ada)["task:todo.txt/a"] == ()


def test_a_starter_that_was_done_cools_down() -> None:
    ada = Person(policy=BLUNT)
    first = chosen(ada.take(activity()).decision)
    assert slate(ada.react("DONE"))[first] == ("cooling-down",)


def test_a_snoozed_starter_comes_back_at_its_time() -> None:
    ada = Person(policy=BLUNT)
    first = chosen(ada.take(activity()).decision)
    ada.react("SNOOZE", until_ms=ada.time_ms + 30 * MINUTE_MS)
    ada.take(activity(), after_ms=5 * HOUR_MS)
    assert last_slate(ada)[first] == ()


def test_silence_is_always_eligible() -> None:
    ada = Person()
    for n in range(20):
        ada.take(task(f"t{n}"))
        ada.react("DISMISS")
        assert last_slate(ada)[candidates.NONE_ID] == ()


def test_what_is_out_has_no_probability_and_is_never_chosen() -> None:
    ada = Person()
    for n in range(12):
        ada.take(task(f"t{n}"))
        ada.react("SNOOZE")
    for _, outputs in ada.log:
        if outputs.decision is not None:
            assert not outputs.decision.slate[outputs.decision.chosen].ineligible
            assert all(one.propensity == 0 and one.draws_won == 0 for one in outputs.decision.slate if one.ineligible)


def test_a_slate_is_sorted_by_id_and_names_each_candidate_once() -> None:
    ada = Person()
    for name in ("b", "a", "c/1", "ä", "B"):
        ada.take(task(name))
    ids = list(last_slate(ada))
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_a_slate_holds_at_most_40_tasks_the_best_of_those_that_are_not_quiet() -> None:
    ada = Person(policy=BLUNT)
    for n in range(60):
        ada.take(task(f"t{n:02d}", priority=1 + n % 4))
    outputs = ada.take(activity(), after_ms=5 * HOUR_MS)
    assert outputs.decision is not None
    tasks = [one.id for one in outputs.decision.slate if one.kind == decision_pb2.Decision.TASK]
    assert len(tasks) == candidates.TASKS_MAX
    assert not [one for one in tasks if int(one[-2:]) % 4 == 3], "the lowest priority is what is left out"


def test_quiet_tasks_do_not_push_others_from_the_slate() -> None:
    ada = Person(policy=BLUNT)
    for n in range(45):
        ada.take(task(f"t{n:02d}", priority=1))
        ada.react("DISMISS")
    ada.take(task("late", priority=4))
    assert last_slate(ada)["task:todo.txt/late"] == ()


def test_before_an_event_there_is_a_tip_to_get_ready() -> None:
    ada = Person()
    ada.take(event("e", title="Dentist", start_ms=MONDAY_MS + 25 * MINUTE_MS, end_ms=MONDAY_MS + HOUR_MS))
    assert "starter:prepare" in last_slate(ada)
    assert "starter:gap" not in last_slate(ada)


def test_in_a_gap_there_is_a_tip_to_start_something_small() -> None:
    ada = Person()
    ada.take(event("e", start_ms=MONDAY_MS + 90 * MINUTE_MS, end_ms=MONDAY_MS + 2 * HOUR_MS))
    assert "starter:gap" in last_slate(ada)
    assert "starter:prepare" not in last_slate(ada)


def test_while_busy_there_is_no_tip_about_the_next_event() -> None:
    ada = Person()
    ada.take(event("now", start_ms=MONDAY_MS, end_ms=MONDAY_MS + HOUR_MS))
    ada.take(event("next", start_ms=MONDAY_MS + 20 * MINUTE_MS, end_ms=MONDAY_MS + HOUR_MS))
    assert not {"starter:gap", "starter:prepare"} & set(last_slate(ada))


def test_events_that_leave_one_free_do_not_count() -> None:
    ada = Person()
    ada.take(event("e", start_ms=MONDAY_MS + 20 * MINUTE_MS, end_ms=MONDAY_MS + HOUR_MS, busy=False))
    assert not {"starter:gap", "starter:prepare"} & set(last_slate(ada))


def test_a_written_tip_that_expired_is_no_candidate() -> None:
    ada = Person()
    ada.take(written("x", expires_ms=MONDAY_MS + HOUR_MS))
    ada.take(activity(), after_ms=5 * HOUR_MS)
    assert "generated:x" not in last_slate(ada)


# What the person did, and what ran out


def test_a_written_tip_that_is_done_does_not_come_back_however_long_it_lasts() -> None:
    ada = Person(policy=BLUNT)
    ada.take(written("x", expires_ms=MONDAY_MS + 3 * DAY_MS))
    assert slate(ada.react("DONE"))["generated:x"] == ("done",)
    ada.take(written("x", expires_ms=MONDAY_MS + 3 * DAY_MS), after_ms=2 * DAY_MS)
    assert last_slate(ada)["generated:x"] == ("done",)


def test_a_written_tip_that_is_put_off_is_snoozed_and_one_that_is_dismissed_cools_down() -> None:
    for reaction, reason in (("SNOOZE", "snoozed"), ("DISMISS", "cooling-down")):
        ada = Person(policy=BLUNT)
        ada.take(written("x", expires_ms=MONDAY_MS + DAY_MS))
        assert slate(ada.react(reaction))["generated:x"] == (reason,)


def test_a_written_tip_that_has_just_run_out_is_named_and_leaves_the_row_an_hour_later() -> None:
    ada = Person(policy=BLUNT)
    ada.take(written("x", expires_ms=MONDAY_MS + HOUR_MS))
    ada.take(activity(), after_ms=HOUR_MS)
    assert last_slate(ada)["generated:x"] == ("expired",)
    ada.take(activity(), after_ms=HOUR_MS)
    assert not ada.now.generated


def test_a_task_that_was_done_elsewhere_is_no_candidate() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a"))
    ada.take(completed("a"))
    assert "task:todo.txt/a" not in last_slate(ada)


# The calendar


def meeting(ada: Person, *, starts_in_ms: int = -10 * MINUTE_MS, lasts_ms: int = HOUR_MS) -> signal_pb2.Signal:
    start_ms = ada.time_ms + starts_in_ms
    return event("m", start_ms=start_ms, end_ms=start_ms + lasts_ms)


def test_in_a_meeting_a_task_that_is_stated_to_take_long_is_out_and_a_short_or_unstated_one_is_not() -> None:
    ada = Person(policy=BLUNT)
    ada.take(meeting(ada))
    for name, minutes in (("long", 60), ("short", 5), ("unstated", 0)):
        ada.take(task(name, minutes=minutes))
    masks = last_slate(ada)
    assert masks["task:todo.txt/long"] == ("conflict",)
    assert masks["task:todo.txt/short"] == masks["task:todo.txt/unstated"] == ()


def test_a_meeting_makes_no_room_for_starter_tips() -> None:
    ada = Person(policy=BLUNT)
    ada.take(meeting(ada))
    ada.take(task("long", minutes=60))
    assert last_slate(ada)["starter:pause"] == ("has-tasks",)
    assert ada.now.current_candidate == "none"


def test_an_event_of_more_than_four_hours_says_where_someone_is_and_keeps_nothing_out() -> None:
    ada = Person(policy=BLUNT)
    ada.take(meeting(ada, lasts_ms=8 * HOUR_MS))
    ada.take(task("long", minutes=60))
    assert last_slate(ada)["task:todo.txt/long"] == ()


def test_a_gap_that_is_too_short_is_the_policys_to_weigh() -> None:
    ada = Person(policy=BLUNT)
    ada.take(meeting(ada, starts_in_ms=10 * MINUTE_MS))
    ada.take(task("long", minutes=60))
    assert last_slate(ada)["task:todo.txt/long"] == ()


def test_a_tip_that_takes_long_ends_when_the_next_meeting_begins() -> None:
    ada = Person(policy=BLUNT)
    ada.take(meeting(ada, starts_in_ms=50 * MINUTE_MS))
    ada.take(task("long", minutes=45, priority=1))
    ada.react("SEEN")
    assert ada.now.next_wake_ms == MONDAY_MS + 50 * MINUTE_MS
    outputs = ada.wait(ada.now.next_wake_ms - ada.time_ms)
    assert (trigger(outputs), slate(outputs)["task:todo.txt/long"]) == ("RAN_OUT", ("conflict",))


# Variety


def test_of_titles_with_the_same_words_the_best_ranked_stays() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("low", title="Call Mum", priority=3))
    ada.take(task("high", title="call  mum!", priority=1, source="ical"))
    ada.take(task("other", title="Call Dad", priority=4))
    masks = last_slate(ada)
    assert masks["task:ical/high"] == masks["task:todo.txt/other"] == ()
    assert masks["task:todo.txt/low"] == ("duplicate",)


def test_a_written_tip_that_says_what_a_task_says_is_out() -> None:
    ada = Person(policy=BLUNT)
    ada.take(written("x", expires_ms=MONDAY_MS + DAY_MS))
    ada.take(task("a", title="idea X"))
    assert last_slate(ada)["generated:x"] == ("duplicate",)


def test_a_task_that_is_out_for_another_reason_keeps_no_other_out() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", title="Call Mum", priority=1))
    ada.react("SNOOZE")
    ada.take(task("b", title="Call Mum", priority=4))
    assert last_slate(ada)["task:todo.txt/b"] == ()


def test_titles_without_a_word_are_not_alike() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", title="!!!"))
    ada.take(task("b", title="???"))
    assert last_slate(ada)["task:todo.txt/b"] == last_slate(ada)["task:todo.txt/a"] == ()


@pytest.mark.parametrize(("permille", "mask"), [(0, ()), (600, ("duplicate",)), (700, ())])
def test_how_alike_titles_have_to_be_is_the_policys_word(permille: int, mask: tuple[str, ...]) -> None:
    ada = Person(policy=active(duplicate_permille=permille))
    ada.take(task("a", title="Buy milk", priority=1))
    ada.take(task("b", title="Buy oat milk", priority=2))
    assert last_slate(ada)["task:todo.txt/b"] == mask


def seen_running(ada: Person, times: int) -> None:
    for n in range(times):
        ada.take(task(f"r{n}", priority=1, due_ms=ada.time_ms + HOUR_MS))
        ada.react("SEEN")
        ada.react("DONE")


def test_after_six_of_a_kind_running_another_kind_has_its_turn() -> None:
    ada = Person(policy=BLUNT)
    ada.take(written("x", expires_ms=MONDAY_MS + DAY_MS))
    seen_running(ada, 6)
    ada.take(task("z", priority=1, due_ms=ada.time_ms + HOUR_MS))
    assert last_slate(ada)["task:todo.txt/z"] == ("repeated-kind",)
    assert ada.now.current_candidate in ("generated:x", "none")


def test_where_there_is_no_other_kind_six_of_one_are_no_reason_to_be_silent() -> None:
    ada = Person(policy=BLUNT)
    seen_running(ada, 6)
    ada.take(task("z", priority=1))
    assert last_slate(ada)["task:todo.txt/z"] == ()


# The list


def test_every_reason_that_applies_is_named_in_one_order() -> None:
    ada = Person(policy=BLUNT)
    ada.take(meeting(ada))
    ada.take(task("a", minutes=5, priority=1))
    ada.react("SNOOZE")
    ada.take(task("a", minutes=60, priority=1))
    ada.take(profile(quiet=(0, 1440)))
    mask = last_slate(ada)["task:todo.txt/a"]
    assert mask == ("quiet-hours", "snoozed", "conflict")
    assert sorted(mask, key=list(REASONS).index) == list(mask)


def test_every_reason_has_a_sentence() -> None:
    assert all(text.endswith(".") and text[0].isupper() for text in REASONS.values())
