"""The reasons beside a tip: true, short, and in the person's own time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents import candidates, written
from agents.why import LINES_MAX
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import phrases
from tests.agents.build import BLUNT, MONDAY_MS, Person, activity, event, profile, task


def ms(text: str) -> int:
    """Milliseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def why(ada: Person) -> list[str]:
    tip = next(o.tip for _, o in reversed(ada.log) if o.tip is not None)
    for line in tip.why:
        assert said_again(line) == line
    return list(tip.why)


def said_again(line: str) -> str:
    """By its code: each reason has one."""
    found = phrases.why(line)
    assert found is not None, f"a code for it is wanted in tables/phrases.py: {line}"
    days = found.values.get("days")
    text = [text for code, text in phrases.WHY if code is found.code]
    return text[-1 if days != 1 else 0].format(**found.values)


def test_starters_and_what_a_written_tip_is_about_have_codes_too() -> None:
    soon, later = (
        candidates._before_next(
            candidates.Calendar(0, minutes * MINUTE_MS, -1, held=False, items=None),  # type: ignore[arg-type]
            now_ms=0,
        )
        for minutes in (20, 90)
    )
    for one in (*candidates._STARTERS, soon, later):
        assert phrases.starter(one.title) and phrases.starter(one.detail), one
    assert [said_again(f"{head} Milk") for head in (written.ON_LIST, written.IN_CALENDAR)]


def why_of_task(*, zone: str = "UTC", now: str = "2026-09-28T08:00:00", **rest: int) -> list[str]:
    ada = Person(policy=BLUNT, time_ms=ms(now) - 2000)
    ada.take(profile(zone))
    ada.take(task("a", **rest))  # type: ignore[arg-type]
    return why(ada)


@pytest.mark.parametrize(
    ("due", "zone", "line"),
    [
        ("2026-09-28T17:30:00", "UTC", "Due today at 17:30"),
        ("2026-09-28T17:30:00", "Europe/Berlin", "Due today at 19:30"),
        ("2026-09-28T23:59:00", "UTC", "Due today"),
        ("2026-09-28T22:30:00", "Europe/Berlin", "Due tomorrow at 00:30"),
        ("2026-09-29T09:00:00", "UTC", "Due tomorrow at 09:00"),
        ("2026-10-03T09:00:00", "UTC", "Due in 5 days"),
        ("2026-10-05T09:00:00", "UTC", "Due in 7 days"),
        ("2026-09-28T07:00:00", "UTC", "It was due earlier today"),
        ("2026-09-27T09:00:00", "UTC", "Overdue by 1 day"),
        ("2026-09-20T09:00:00", "UTC", "Overdue by 8 days"),
    ],
)
def test_a_due_date_is_said_in_the_persons_own_days(due: str, zone: str, line: str) -> None:
    assert why_of_task(due_ms=ms(due), zone=zone)[0] == line


def test_a_due_date_far_away_is_not_mentioned() -> None:
    assert why_of_task(due_ms=ms("2026-10-06T09:00:00")) == ["It is next on your list"]


def test_the_hour_that_comes_twice_and_the_one_that_never_comes() -> None:
    berlin = {"zone": "Europe/Berlin"}
    assert why_of_task(now="2026-10-24T20:00:00", due_ms=ms("2026-10-25T01:30:00"), **berlin)[0] == (  # type: ignore[arg-type]
        "Due tomorrow at 02:30"
    )
    assert why_of_task(now="2026-03-28T20:00:00", due_ms=ms("2026-03-29T01:00:00"), **berlin)[0] == (  # type: ignore[arg-type]
        "Due tomorrow at 03:00"
    )


@pytest.mark.parametrize(
    ("priority", "line"),
    [(1, "Highest priority"), (2, "High priority"), (3, "Medium priority"), (4, "Low priority")],
)
def test_a_priority_is_named(priority: int, line: str) -> None:
    assert why_of_task(priority=priority) == [line]


def test_a_task_without_a_reason_is_next_on_the_list() -> None:
    assert why_of_task() == ["It is next on your list"]


def test_a_task_that_fits_before_the_next_event_says_so() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", title="Standup", start_ms=MONDAY_MS + 50 * MINUTE_MS, end_ms=MONDAY_MS + HOUR_MS))
    ada.take(task("a", minutes=20))
    assert why(ada) == ["It fits into the 49 minutes before Standup"]


def test_a_task_that_waits_for_two_weeks_says_so() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a"))
    ada.take(activity(), after_ms=14 * DAY_MS)
    assert why(ada) == ["It has been waiting for 14 days"]


def test_a_starter_says_why_it_is_there() -> None:
    ada = Person(policy=BLUNT)
    ada.take(activity())
    assert why(ada) == ["There is nothing on your list that could be done now"]


def test_someone_who_gets_things_done_now_hears_it() -> None:
    ada = Person(policy=BLUNT)
    for n in range(6):
        ada.take(task(f"t{n}", priority=1))
        ada.react("DONE")
    ada.take(task("a"))
    assert why(ada)[-1] == "You often get things done in the morning"


def test_there_are_at_most_three_reasons_and_the_strongest_comes_first() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", title="Standup", start_ms=MONDAY_MS + 50 * MINUTE_MS, end_ms=MONDAY_MS + HOUR_MS))
    for n in range(6):
        ada.take(task(f"t{n}", priority=1))
        ada.react("DONE")
    ada.take(task("a", priority=1, minutes=10, due_ms=MONDAY_MS + 3 * HOUR_MS))
    assert len(why(ada)) == LINES_MAX
    assert why(ada)[:2] == ["Due today at 11:00", "Highest priority"]
