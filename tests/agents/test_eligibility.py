"""Which candidates may be chosen, and what is said of those that may not."""

from __future__ import annotations

from agents import candidates
from oo.v1 import decision_pb2
from tests.agents.build import (
    BLUNT,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    Outputs,
    Person,
    activity,
    chosen,
    event,
    task,
)
from tests.agents.build import candidates as written


def slate(outputs: Outputs) -> dict[str, tuple[str, ...]]:
    """Why each candidate is out; empty for eligible."""
    assert outputs.decision is not None
    return {one.id: tuple(one.ineligible) for one in outputs.decision.slate}


def last_slate(ada: Person) -> dict[str, tuple[str, ...]]:
    return slate(next(outputs for _, outputs in reversed(ada.log) if outputs.decision is not None))


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
