"""Consent and quiet hours: what a person has said not to be told is not said, whatever else happens."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.eligibility import REASONS
from oo.v1 import decision_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import zones
from tables.purposes import BY_NAME, BY_NUMBER, OF_KIND
from tests.agents.build import (
    BLUNT,
    MONDAY_MS,
    Person,
    activity,
    chosen,
    event,
    granted,
    profile,
    slate,
    task,
    trigger,
    withdrawn,
)
from tests.agents.build import candidates as written

# Consent


def test_a_withdrawn_consent_takes_a_tip_of_that_kind_away_even_under_their_eyes() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    outputs = ada.take(profile(task_tips=False))
    assert trigger(outputs) == "BECAME_WRONG"
    assert slate(outputs)["task:todo.txt/a"] == ("consent",)
    assert slate(outputs)["starter:plan"] == ()


def test_a_consent_that_is_given_again_brings_the_kind_back() -> None:
    ada = Person(policy=BLUNT)
    ada.take(withdrawn("tasks", word="w1"))
    ada.take(withdrawn("starter", word="w2"))
    ada.take(task("a", priority=1))
    assert ada.now.current_candidate == "none"
    assert chosen(ada.take(granted("tasks", word="g", knows_of="w1")).decision) == "task:todo.txt/a"


def test_a_consent_to_another_kind_leaves_a_seen_tip_alone() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    assert ada.take(profile(generated_tips=False)).decision is None


# Quiet hours

NIGHT = (22 * 60, 7 * 60)


def at(clock: str, *, day: str = "2026-09-28", zone: str = "Europe/Berlin") -> int:
    return int(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zones.zone(zone)).timestamp() * 1000)


def berliner(clock: str) -> Person:
    """Ada of Berlin, quiet from 22 to 7, with a task at that time on Monday."""
    ada = Person(policy=BLUNT, time_ms=at(clock) - 2000)
    ada.take(profile("Europe/Berlin", quiet=NIGHT))
    ada.take(task("a", priority=1))
    return ada


def test_a_tip_goes_when_quiet_hours_begin_and_comes_back_when_they_end() -> None:
    ada = berliner("21:30:00")
    assert ada.now.current_candidate == "task:todo.txt/a"
    ada.react("SEEN")
    assert ada.now.next_wake_ms == ada.now.current_valid_until_ms == at("22:00:00")
    evening = ada.wait(at("22:00:00") - ada.time_ms)
    assert (trigger(evening), chosen(evening.decision)) == ("BECAME_WRONG", "none")
    assert {mask for one, mask in slate(evening).items() if one != "none"} == {("quiet-hours",)}
    # One wake for the seen tip's reaction window, then none until morning.
    ada.wait(ada.now.next_wake_ms - ada.time_ms)
    assert ada.now.next_wake_ms == at("07:00:00", day="2026-09-29")
    morning = ada.wait(ada.now.next_wake_ms - ada.time_ms)
    assert (trigger(morning), chosen(morning.decision)) == ("RAN_OUT", "task:todo.txt/a")


def test_quiet_hours_that_are_set_around_now_take_the_tip_away_and_lifting_them_brings_it_back() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    assert chosen(ada.take(profile(quiet=(0, 1440))).decision) == "none"
    assert chosen(ada.take(profile(quiet=(0, 0))).decision) == "task:todo.txt/a"


def test_quiet_hours_that_are_set_to_begin_soon_wake_a_row_whose_tip_was_to_stand_longer() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    assert ada.take(profile(quiet=(8 * 60 + 30, 9 * 60))).decision is None
    assert ada.now.next_wake_ms == MONDAY_MS + 30 * MINUTE_MS


def test_moving_into_a_zone_where_it_is_night_is_quiet_at_once() -> None:
    ada = berliner("12:00:00")
    ada.react("SEEN")
    assert chosen(ada.take(profile("America/Los_Angeles")).decision) == "none"


def test_what_arrives_in_quiet_hours_is_not_said_however_urgent() -> None:
    ada = berliner("23:00:00")
    outputs = ada.take(task("b", priority=1, due_ms=ada.time_ms + HOUR_MS))
    assert trigger(outputs) == "URGENT_ARRIVAL"
    assert chosen(outputs.decision) == "none"


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-28", 8),
        ("Europe/Berlin", "2026-10-24", 10),
        ("America/New_York", "2026-03-07", 8),
        ("America/New_York", "2026-10-31", 10),
        ("Australia/Lord_Howe", "2026-04-04", 9.5),
        ("Australia/Lord_Howe", "2026-10-03", 8.5),
    ],
)
def test_a_night_in_which_the_clocks_change_is_as_long_as_the_wall_says(zone: str, day: str, hours: float) -> None:
    ada = Person(policy=BLUNT, time_ms=at("21:59:50", day=day, zone=zone))
    ada.take(profile(zone, quiet=NIGHT))
    ada.take(task("a", priority=1))
    begins_ms = ada.now.next_wake_ms
    ada.wait(begins_ms - ada.time_ms)
    assert ada.now.current_candidate == "none"
    ends_ms = ada.now.next_wake_ms
    assert chosen(ada.wait(ends_ms - ada.time_ms).decision) == "task:todo.txt/a"
    assert ends_ms - begins_ms == hours * HOUR_MS


def test_silence_without_an_end_is_looked_at_once_a_day() -> None:
    ada = Person(policy=BLUNT)
    ada.take(profile(quiet=(0, 1440)))
    assert ada.now.next_wake_ms == ada.time_ms + DAY_MS


# Whatever happens


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("task"), st.integers(0, 9), st.sampled_from([0, 10, 60])),
        st.tuples(st.just("react"), st.sampled_from(["SEEN", "DONE", "SNOOZE", "DISMISS"])),
        st.tuples(st.just("written"), st.integers(0, 3)),
        st.tuples(st.just("event"), st.integers(-60, 60), st.sampled_from([30, 600])),
        st.tuples(st.just("consent"), st.sampled_from(["tasks", "starter", "generated"]), st.booleans()),
        st.tuples(st.just("quiet"), st.integers(0, 1439), st.integers(0, 1440)),
        st.tuples(st.just("caps"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(1, 12 * 60)),
        st.tuples(st.just("tick")),
    ),
    min_size=5,
    max_size=40,
)


def happen(ada: Person, one: tuple) -> None:  # type: ignore[type-arg]
    match one:
        case ("task", n, minutes):
            ada.take(task(f"t{n}", title=f"Do {n // 2}", minutes=minutes))
        case ("react", kind):
            ada.react(kind)
        case ("written", n):
            ada.take(written(f"w{n}", expires_ms=ada.time_ms + 5 * HOUR_MS))
        case ("event", starts_in, lasts):
            start_ms = ada.time_ms + starts_in * MINUTE_MS
            ada.take(event("e", start_ms=start_ms, end_ms=start_ms + lasts * MINUTE_MS))
        case ("consent", purpose, given_):
            stood = next((c for c in ada.now.consents if c.purpose == BY_NAME[purpose].number), None)
            knows_of = stood.withdrawal if stood else ""
            word = f"r{ada.offset}"
            ada.take(granted(purpose, word=word, knows_of=knows_of) if given_ else withdrawn(purpose, word=word))
        case ("quiet", start, end):
            ada.take(profile(quiet=(start, end)))
        case ("caps", n):
            ada.take(profile(tips_per_hour=n))
        case ("wait", minutes):
            ada.take(activity(), after_ms=minutes * MINUTE_MS)
        case _:
            if ada.now.next_wake_ms:
                ada.wait(max(ada.now.next_wake_ms - ada.time_ms, 1))


@settings(max_examples=150, deadline=None)
@given(story=happenings)
def test_no_tip_stands_against_a_consent_or_in_quiet_hours_and_silence_is_never_out(story: list) -> None:  # type: ignore[type-arg]
    ada = Person()
    ada.take(activity())
    given_ = {"tasks": True, "starter": True, "generated": True}
    for one in story:
        happen(ada, one)
        if one[0] == "consent":
            given_[one[1]] = one[2]
        decision = ada.log[-1][1].decision
        if decision is not None:
            assert not decision.slate[decision.chosen].ineligible
            assert not next(c for c in decision.slate if c.kind == decision_pb2.Decision.NONE).ineligible
            assert all(set(c.ineligible) <= REASONS.keys() for c in decision.slate)
            assert abs(sum(c.propensity for c in decision.slate) - 1) < 1e-12
        current = ada.now.pending[-1].kind
        if current != decision_pb2.Decision.NONE:
            assert given_[BY_NUMBER[OF_KIND[current]].name]
            clock = zones.local(ada.now.now_ms, time_zone="UTC")
            minute, quiet = clock.hour * 60 + clock.minute, ada.now.profile.quiet_hours
            inside = (
                quiet.start_minute <= minute < quiet.end_minute
                if quiet.start_minute <= quiet.end_minute
                else minute >= quiet.start_minute or minute < quiet.end_minute
            )
            assert not inside
        assert not ada.now.next_wake_ms or ada.now.next_wake_ms > ada.now.now_ms
