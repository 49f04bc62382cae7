"""Quiet hours by the clock on the wall, over a whole year of days in zones that change it in every way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.quiet_hours import changes_ms, is_quiet
from oo.v1.signal_pb2 import QuietHours
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import zones

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/Santiago",
    "Asia/Beirut",
    "Pacific/Apia",
)
"""Whole hours, half an hour, none; Santiago and Beirut skip midnight; Casablanca goes back for Ramadan."""
YEAR_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def naive(quiet: QuietHours, time_ms: int, zone: str) -> bool:
    """Looks whether a quiet span of the wall clock's day or of the day before covers it.

    With zoneinfo, over the pinned files: those of the machine may be of another year.
    """
    wall = datetime.fromtimestamp(time_ms / 1000, zones.zone(zone)).replace(second=0, microsecond=0, tzinfo=None)
    midnight = wall.replace(hour=0, minute=0)
    for day in (midnight - timedelta(days=1), midnight):
        if quiet.weekdays and not quiet.weekdays & 1 << day.weekday():
            continue
        begins, ends = day + timedelta(minutes=quiet.start_minute), day + timedelta(minutes=quiet.end_minute)
        if quiet.end_minute < quiet.start_minute:
            ends += timedelta(days=1)
        if begins <= wall < ends:
            return True
    return False


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("span", [(1320, 420, 0), (150, 165, 0), (1410, 30, 64)])
def test_over_every_day_of_a_year_they_are_what_a_naive_list_of_minutes_says(
    zone: str, span: tuple[int, int, int]
) -> None:
    quiet = QuietHours(start_minute=span[0], end_minute=span[1], weekdays=span[2])
    for time_ms in range(YEAR_MS, YEAR_MS + 366 * DAY_MS, 15 * MINUTE_MS):
        assert is_quiet(quiet, time_ms, time_zone=zone) == naive(quiet, time_ms, zone), (zone, time_ms)


@pytest.mark.parametrize("zone", ZONES)
def test_over_a_year_their_beginnings_and_ends_are_those_that_a_walk_by_minutes_finds(zone: str) -> None:
    quiet = QuietHours(start_minute=1320, end_minute=135)
    last_ms = YEAR_MS + 366 * DAY_MS
    found = [YEAR_MS]
    while found[-1] < last_ms:
        found.append(changes_ms(quiet, found[-1], time_zone=zone))
    walked = []
    states = [(t, naive(quiet, t, zone)) for t in range(YEAR_MS, found[-1] + 1, 15 * MINUTE_MS)]
    for (_, before), (time_ms, after) in pairwise(states):
        if before != after:
            walked.append(time_ms)
    assert found[1:] == walked


@settings(max_examples=150, deadline=None)
@given(
    start=st.integers(0, 1439),
    end=st.integers(0, 1440),
    weekdays=st.integers(0, 127),
    zone=st.sampled_from(ZONES),
    at_ms=st.integers(YEAR_MS, YEAR_MS + 366 * DAY_MS),
)
def test_they_stay_as_they_are_until_they_change(*, start: int, end: int, weekdays: int, zone: str, at_ms: int) -> None:
    quiet = QuietHours(start_minute=start, end_minute=end, weekdays=weekdays)
    now = naive(quiet, at_ms, zone)
    changes = changes_ms(quiet, at_ms, time_zone=zone)
    until_ms = changes or at_ms + 9 * DAY_MS
    assert not changes or (changes > at_ms and naive(quiet, changes, zone) != now)
    for time_ms in (*range(at_ms, until_ms, 61 * MINUTE_MS), until_ms - 1):
        assert naive(quiet, time_ms, zone) == now


def test_in_a_night_without_the_hour_between_two_and_three_they_begin_when_it_is_skipped() -> None:
    quiet = QuietHours(start_minute=150, end_minute=420)
    assert changes_ms(quiet, ms("2026-03-29T00:30:00+00:00"), time_zone="Europe/Berlin") == ms(
        "2026-03-29T03:00:00+02:00"
    )


def test_quiet_hours_that_lie_within_a_skipped_hour_do_not_happen_that_day() -> None:
    quiet = QuietHours(start_minute=135, end_minute=165)
    assert changes_ms(quiet, ms("2026-03-29T00:30:00+00:00"), time_zone="Europe/Berlin") == ms(
        "2026-03-30T02:15:00+02:00"
    )


def test_in_an_hour_that_comes_twice_the_wall_decides_both_times() -> None:
    quiet = QuietHours(start_minute=0, end_minute=150)
    found = [ms("2026-10-25T00:00:00+02:00")]
    for _ in range(3):
        found.append(changes_ms(quiet, found[-1], time_zone="Europe/Berlin"))
    assert found[1:] == [
        ms("2026-10-25T02:30:00+02:00"),
        ms("2026-10-25T02:00:00+01:00"),
        ms("2026-10-25T02:30:00+01:00"),
    ]


def test_on_lord_howe_summer_time_is_half_an_hour() -> None:
    quiet = QuietHours(start_minute=110, end_minute=420)
    before_ms = ms("2026-10-03T23:00:00+10:30")
    begins = changes_ms(quiet, before_ms, time_zone="Australia/Lord_Howe")
    ends = changes_ms(quiet, begins, time_zone="Australia/Lord_Howe")
    assert begins == ms("2026-10-04T01:50:00+10:30")
    assert ends - begins == 4 * HOUR_MS + 40 * MINUTE_MS


def test_all_day_on_every_day_never_ends_and_an_empty_span_never_begins() -> None:
    assert changes_ms(QuietHours(start_minute=0, end_minute=1440), YEAR_MS, time_zone="Europe/Berlin") == 0
    assert changes_ms(QuietHours(start_minute=600, end_minute=600), YEAR_MS, time_zone="Europe/Berlin") == 0
    assert not is_quiet(QuietHours(), YEAR_MS, time_zone="UTC")


def test_of_a_night_that_crosses_midnight_the_day_on_which_it_begins_counts() -> None:
    friday = QuietHours(start_minute=1320, end_minute=420, weekdays=1 << 4)
    assert is_quiet(friday, ms("2026-11-28T03:00:00+01:00"), time_zone="Europe/Berlin")
    assert not is_quiet(friday, ms("2026-11-27T03:00:00+01:00"), time_zone="Europe/Berlin")
