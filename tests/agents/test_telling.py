"""Quiet hours when something is sent, over both changes of the clock, in forty zones: every quarter of an hour of four days each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agents.telling import Later, Never, Person, judged
from oo.v1.signal_pb2 import QuietHours
from tables.zones import local, zone

ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Athens", "Europe/Helsinki", "Europe/Chisinau"),
    *("Europe/Dublin", "Europe/Moscow", "Atlantic/Azores", "America/New_York", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Anchorage", "America/Adak", "America/St_Johns", "America/Halifax"),
    *("America/Havana", "America/Nuuk", "America/Santiago", "America/Asuncion", "America/Sao_Paulo", "America/Bogota"),
    *("Pacific/Easter", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Honolulu", "Pacific/Kiritimati"),
    *("Australia/Sydney", "Australia/Adelaide", "Australia/Lord_Howe", "Australia/Brisbane", "Asia/Jerusalem"),
    *("Asia/Beirut", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Africa/Cairo", "Africa/Casablanca", "UTC"),
)
QUIET = ((22 * 60, 7 * 60), (1 * 60 + 30, 2 * 60 + 30), (0, 3 * 60))
QUARTER_MS = 15 * 60_000
WEEK_MS = 7 * 24 * 3_600_000
NOTIFICATIONS = 5


def changes_ms(name: str) -> list[int]:
    """Of 2026, the first quarter of an hour after each change of the clock; a day in spring where there is none."""
    at, found = datetime(2026, 1, 1, tzinfo=UTC), []
    while at.year == 2026:
        after = at + timedelta(minutes=15)
        if at.astimezone(zone(name)).utcoffset() != after.astimezone(zone(name)).utcoffset():
            found.append(int(after.timestamp() * 1000))
        at = after
    return found or [int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp() * 1000)]


def is_quiet(now_ms: int, name: str, quiet: tuple[int, int]) -> bool:
    """By the wall alone, and by nothing of ours."""
    wall = datetime.fromtimestamp(now_ms / 1000, zone(name))
    minute, (start, end) = wall.hour * 60 + wall.minute, quiet
    return start <= minute < end if start <= end else minute >= start or minute < end


@pytest.mark.parametrize("name", ZONES)
def test_nothing_goes_out_in_quiet_hours_and_what_waits_goes_with_the_first_minute_after_them(name: str) -> None:
    assert len(set(ZONES)) == 40
    for quiet in QUIET:
        said = QuietHours(start_minute=quiet[0], end_minute=quiet[1])
        person = Person(frozenset({NOTIFICATIONS}), said, name, here=False, answered=False)
        for change_ms in changes_ms(name):
            for now_ms in range(change_ms - 96 * QUARTER_MS, change_ms + 96 * QUARTER_MS, QUARTER_MS):
                verdict = judged(person, purpose=NOTIFICATIONS, runs_out_ms=now_ms + WEEK_MS, now_ms=now_ms)
                if not is_quiet(now_ms, name, quiet):
                    assert verdict is None, (name, quiet, local(now_ms, time_zone=name))
                    continue
                assert isinstance(verdict, Later) and verdict.why == "quiet"
                assert not is_quiet(verdict.at_ms, name, quiet), (name, quiet, local(now_ms, time_zone=name))
                assert is_quiet(verdict.at_ms - 60_000, name, quiet)
                # A tip that does not last so long is let go.
                late = judged(person, purpose=NOTIFICATIONS, runs_out_ms=verdict.at_ms, now_ms=now_ms)
                assert late == Never("quiet")
