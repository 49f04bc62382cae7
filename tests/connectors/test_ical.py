"""iCalendar as Google, Apple and Outlook write it, what the format leaves open, and broken files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import protovalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ical import parse
from connectors.source_file import BYTES_MAX, Parsed, UnreadableFile
from oo.v1.signal_pb2 import CalendarEventUpserted, TaskUpserted

DATA = Path(__file__).resolve().parent.parent / "data"
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 12, tzinfo=BERLIN)
MODIFIED = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
VALIDATOR = protovalidate.Validator()


def read(data: bytes, *, now: datetime = NOW, zone: ZoneInfo = BERLIN) -> Parsed:
    return parse(data, user_id="ann", zone=zone, now=now, modified=MODIFIED)


def calendar(*lines: str, head: str = "") -> bytes:
    """A calendar file of these lines, ended as the format wants."""
    text = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *head.split(), *lines, "END:VCALENDAR", ""]
    return "\r\n".join(text).encode()


def event(*lines: str, uid: str = "1") -> list[str]:
    return ["BEGIN:VEVENT", f"UID:{uid}", "SUMMARY:Talk", *lines, "END:VEVENT"]


def todo(*lines: str, uid: str = "1") -> list[str]:
    return ["BEGIN:VTODO", f"UID:{uid}", *lines, "END:VTODO"]


def events(parsed: Parsed) -> dict[str, CalendarEventUpserted]:
    return {
        signal.calendar_event_upserted.external_id: signal.calendar_event_upserted
        for signal in parsed.signals
        if signal.HasField("calendar_event_upserted")
    }


def removed(parsed: Parsed) -> set[str]:
    return {
        signal.calendar_event_removed.external_id
        for signal in parsed.signals
        if signal.HasField("calendar_event_removed")
    }


def only(data: bytes, *, zone: ZoneInfo = BERLIN) -> CalendarEventUpserted:
    (found,) = events(read(data, zone=zone)).values()
    return found


def span(found: CalendarEventUpserted) -> tuple[str, str]:
    return found.start.ToJsonString(), found.end.ToJsonString()


def task(*lines: str) -> TaskUpserted:
    (signal,) = read(calendar(*todo(*lines))).signals
    return signal.task_upserted


# What the applications write


def test_google_a_weekly_meeting_comes_without_its_cancelled_and_with_its_moved_instance() -> None:
    parsed = read((DATA / "google.ics").read_bytes())
    standups = {key: found for key, found in events(parsed).items() if key.startswith("5v8b1standup")}
    # Mondays, Wednesdays, Fridays of four weeks; Wednesday 25 is an EXDATE, Monday 30 is cancelled.
    assert len(standups) == 11
    moved = standups["5v8b1standup@google.com/20261127T080000Z"]
    assert (moved.title, span(moved)[0]) == ("Standup (moved to the afternoon)", "2026-11-27T13:00:00Z")
    assert removed(parsed) == {
        "5v8b1standup@google.com/20261125T080000Z",
        "5v8b1standup@google.com/20261130T080000Z",
        "2cinema@google.com",
    }
    assert parsed.problems == ()


def test_google_folded_lines_and_escapes_are_undone() -> None:
    found = events(read((DATA / "google.ics").read_bytes()))["7dentist@google.com"]
    assert found.title == ("Zahnärztin 🦷 Dr. Müller, Praxis am Großen Markt, bitte die Versichertenkarte mitbringen")


def test_google_what_lies_outside_the_window_is_left_out() -> None:
    assert "1longago@google.com" not in events(read((DATA / "google.ics").read_bytes()))


def test_apple_floating_times_are_the_persons_own() -> None:
    data = (DATA / "apple.ics").read_bytes()
    assert span(events(read(data))["FLOATING-1"])[0] == "2026-11-25T17:00:00Z"
    assert span(events(read(data, zone=ZoneInfo("America/New_York")))["FLOATING-1"])[0] == "2026-11-25T23:00:00Z"


def test_apple_a_zone_of_the_file_is_that_zone() -> None:
    found = events(read((DATA / "apple.ics").read_bytes()))["6F1C2A54-1B1F-4B5B-8E57-6B1E1B2C3D4E"]
    assert span(found) == ("2026-11-24T14:00:00Z", "2026-11-24T15:00:00Z")


def test_outlook_windows_and_custom_zones_are_known() -> None:
    found = events(read((DATA / "outlook.ics").read_bytes()))
    starts = {found[key].title: span(found[key])[0] for key in found}
    assert starts["Budget review"] == "2026-11-24T09:30:00Z"
    assert starts["Sync with Pune"] == "2026-11-24T10:30:00Z"


def test_outlook_a_zone_that_one_file_defines_means_nothing_in_the_next() -> None:
    read((DATA / "outlook.ics").read_bytes())
    other = calendar(*event('DTSTART;TZID="Customized Time Zone":20261124T160000', "DURATION:PT1H"))
    assert [str(problem) for problem in read(other).problems] == [
        "line 4: the time zone 'Customized Time Zone' is not known; read in Europe/Berlin"
    ]


def test_outlooks_own_word_for_busy_counts_before_transp() -> None:
    found = events(read((DATA / "outlook.ics").read_bytes()))
    assert {found[key].title: found[key].busy for key in found} == {
        "Budget review": True,
        "Sync with Pune": True,
        "Home office": False,
    }


def test_reminders_are_tasks() -> None:
    parsed = read((DATA / "reminders.ics").read_bytes())
    said = {
        getattr(signal, signal.WhichOneof("payload") or "").external_id: signal.WhichOneof("payload")
        for signal in parsed.signals
    }
    assert said == {
        "AAAA-1": "task_upserted",
        "AAAA-2": "task_upserted",
        "AAAA-3": "task_completed",
        "AAAA-4": "task_removed",
    }
    assert [str(problem) for problem in parsed.problems] == ["line 47: a task without a SUMMARY; left out"]


def test_a_reminder_keeps_its_notes_labels_length_link_and_last_second() -> None:
    tax = read((DATA / "reminders.ics").read_bytes()).signals[0].task_upserted
    assert tax.notes == "Forms are in the blue folder.\nAsk Cleo about line 12; she knows."
    assert list(tax.labels) == ["Finance", "Home", "Paper, mostly"]
    assert (tax.priority, tax.estimated_minutes, tax.url) == (1, 90, "https://tax.example.org/return?id=1")
    assert tax.due.ToJsonString() == "2026-11-30T22:59:59Z"


# What the format leaves open


@pytest.mark.parametrize(
    ("lines", "busy"),
    [
        (["DTSTART;VALUE=DATE:20261126"], False),
        (["DTSTART;VALUE=DATE:20261126", "TRANSP:OPAQUE"], True),
        (["DTSTART;VALUE=DATE:20261126", "X-MICROSOFT-CDO-BUSYSTATUS:OOF"], True),
        (["DTSTART:20261126T090000Z"], True),
        (["DTSTART:20261126T090000Z", "TRANSP:TRANSPARENT"], False),
        (["DTSTART:20261126T090000Z", "X-MICROSOFT-CDO-BUSYSTATUS:FREE"], False),
    ],
)
def test_a_day_is_busy_only_if_it_says_so_a_time_unless_it_says_not(lines: list[str], busy: bool) -> None:
    assert only(calendar(*event(*lines))).busy is busy


def test_an_all_day_event_is_the_persons_day() -> None:
    data = calendar(*event("DTSTART;VALUE=DATE:20261126", "DTEND;VALUE=DATE:20261128"))
    assert span(only(data)) == ("2026-11-25T23:00:00Z", "2026-11-27T23:00:00Z")


def test_an_event_without_an_end_is_a_day_or_an_instant() -> None:
    assert span(only(calendar(*event("DTSTART;VALUE=DATE:20261126")))) == (
        "2026-11-25T23:00:00Z",
        "2026-11-26T23:00:00Z",
    )
    assert span(only(calendar(*event("DTSTART:20261126T090000Z")))) == ("2026-11-26T09:00:00Z",) * 2


def test_a_series_keeps_its_hour_when_the_clocks_change() -> None:
    now = datetime(2026, 10, 20, tzinfo=BERLIN)
    data = calendar(*event("DTSTART;TZID=Europe/Berlin:20261019T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"))
    starts = [span(found)[0] for found in events(read(data, now=now)).values()]
    assert starts[:2] == ["2026-10-19T07:00:00Z", "2026-10-26T08:00:00Z"]


def test_the_calendars_own_zone_is_that_of_its_floating_times() -> None:
    data = calendar(*event("DTSTART:20261126T090000"), head="X-WR-TIMEZONE:America/New_York")
    assert span(only(data))[0] == "2026-11-26T14:00:00Z"


def test_a_whole_calendar_that_is_cancelled_takes_its_events_away() -> None:
    parsed = read(calendar(*event("DTSTART:20261126T090000Z"), head="METHOD:CANCEL"))
    assert (events(parsed), removed(parsed)) == ({}, {"1"})


def test_a_change_for_this_and_all_that_follow_gives_each_instance_a_name_of_its_own() -> None:
    data = calendar(
        *event("DTSTART:20261123T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=5"),
        *event("RECURRENCE-ID;RANGE=THISANDFUTURE:20261125T090000Z", "DTSTART:20261125T110000Z", "DURATION:PT1H"),
    )
    found = events(read(data))
    assert [span(event)[0][:16] for event in found.values()] == [
        "2026-11-23T09:00",
        "2026-11-24T09:00",
        "2026-11-25T11:00",
        "2026-11-26T11:00",
        "2026-11-27T11:00",
    ]


def test_a_bare_day_in_exdate_takes_out_that_days_instance() -> None:
    data = calendar(
        *event(
            "DTSTART;TZID=Europe/Berlin:20261124T090000",
            "DURATION:PT1H",
            "RRULE:FREQ=DAILY;COUNT=2",
            "EXDATE;VALUE=DATE:20261125",
        )
    )
    assert removed(read(data)) == {"1/20261125T080000Z"}


def test_an_event_that_was_moved_keeps_the_name_of_where_its_rule_puts_it() -> None:
    series = event("DTSTART:20261124T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2")
    moved = event("RECURRENCE-ID:20261125T090000Z", "DTSTART:20261125T150000Z", "DURATION:PT1H")
    before, after = read(calendar(*series)), read(calendar(*series, *moved))
    assert set(events(before)) == set(events(after)) == {"1/20261124T090000Z", "1/20261125T090000Z"}


def test_an_invitation_to_one_instance_of_a_series_stands_alone() -> None:
    data = calendar(*event("RECURRENCE-ID:20261125T090000Z", "DTSTART:20261125T100000Z", "DURATION:PT1H"))
    assert span(only(data))[0] == "2026-11-25T10:00:00Z"


def test_the_newer_of_two_versions_counts() -> None:
    data = calendar(
        *event("SEQUENCE:1", "DTSTART:20261125T150000Z"),
        *event("SEQUENCE:0", "DTSTART:20261125T090000Z"),
    )
    assert span(only(data))[0] == "2026-11-25T15:00:00Z"


@pytest.mark.parametrize(
    ("starts", "inside"),
    [
        (timedelta(days=-1, hours=-2), False),
        (timedelta(hours=-20), True),
        (timedelta(days=27), True),
        (timedelta(days=29), False),
    ],
)
def test_the_window_is_a_day_back_and_four_weeks_ahead(starts: timedelta, inside: bool) -> None:
    moment = (NOW + starts).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    assert bool(events(read(calendar(*event(f"DTSTART:{moment}", "DURATION:PT1H"))))) is inside


def test_an_event_that_is_going_on_since_long_is_there() -> None:
    data = calendar(*event("DTSTART:20260901T090000Z", "DTEND:20261231T090000Z"))
    assert len(events(read(data))) == 1


@pytest.mark.parametrize(
    ("lines", "event_time"),
    [
        (["DTSTAMP:20261120T090000Z"], "2026-11-20T09:00:00Z"),
        (["DTSTAMP:20261120T090000Z", "LAST-MODIFIED:20261101T080000Z"], "2026-11-01T08:00:00Z"),
        (["DTSTAMP:20271120T090000Z"], "2026-11-22T18:30:00Z"),
        (["DTSTAMP:19700101T000000Z"], "2026-11-22T18:30:00Z"),
        ([], "2026-11-22T18:30:00Z"),
    ],
)
def test_the_event_time_is_the_components_own_where_it_can_be_true(lines: list[str], event_time: str) -> None:
    (signal,) = read(calendar(*event("DTSTART:20261125T090000Z", *lines))).signals
    assert signal.event_time.ToJsonString() == event_time


@pytest.mark.parametrize(("given", "priority"), [(0, 0), (1, 1), (4, 1), (5, 2), (6, 3), (9, 3)])
def test_a_tasks_priority_has_the_standards_three_levels(given: int, priority: int) -> None:
    assert task("SUMMARY:Pay rent", f"PRIORITY:{given}").priority == priority


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    assert task("SUMMARY:Pay rent", "URL:javascript:alert(1)").url == ""


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        (["DTSTART:20270101T090000Z"], True),
        (["DTSTART;VALUE=DATE:20270301", "DUE;VALUE=DATE:20270531"], True),
        (["DTSTART;VALUE=DATE:20270301", "DUE;VALUE=DATE:20270301"], False),
        (["DTSTART:20270101T090000Z", "DUE:20270101T090000Z"], False),
        (["DTSTART:20261101T090000Z", "DUE:20270101T090000Z"], False),
    ],
)
def test_a_task_waits_for_its_start_unless_that_is_when_it_is_due(lines: list[str], waits: bool) -> None:
    parsed = read(calendar(*todo("SUMMARY:Taxes", *lines)))
    assert (parsed.waiting, len(parsed.signals)) == ((1, 0) if waits else (0, 1))


# Bad input


def test_a_broken_component_is_named_by_its_line_and_the_others_come_through() -> None:
    parsed = read((DATA / "broken.ics").read_bytes())
    assert [found.title for found in events(parsed).values()] == ["Before the trouble", "Between", "After the trouble"]
    assert [str(problem) for problem in parsed.problems] == [
        "line 11: VEVENT has a broken DTSTART; left out",
        "line 16: this event cannot be expanded (ValueError: invalid 'FREQ': SOMETIMES); left out",
        "line 22: this event cannot be expanded (ValueError: it ends before it begins); left out",
        "line 28: this event repeats too often, or since too long, to be followed; left out",
        "line 34: VEVENT has no END:VEVENT; left out",
        "line 46: this event cannot be expanded (ValueError: no DTSTART); left out",
        "line 50: the time zone 'Atlantis/Capital' is not known; read in Europe/Berlin",
        "line 57: VEVENT has no END:VEVENT; left out",
    ]


def test_nothing_may_be_taken_as_gone_from_a_file_that_is_cut_off() -> None:
    data = (DATA / "google.ics").read_bytes()
    assert read(data).complete
    assert not any(read(data[:length]).complete for length in range(200, len(data) - 20, 211))


@pytest.mark.parametrize(
    "text", ["", "(A) Call Mom", "<html><body>Please sign in</body></html>", "BEGIN:VCARD\nEND:VCARD"]
)
def test_a_file_that_is_no_calendar_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFile, match="no iCalendar file"):
        read(text.encode())


def test_a_file_over_10_mb_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="the limit is 10 MB"):
        read(b"a" * (BYTES_MAX + 1))


def test_a_calendar_in_latin_1_is_read_and_said() -> None:
    data = calendar(*event("DTSTART:20261125T090000Z")).replace(b"Talk", "Gespräch".encode("latin-1"))
    assert only(data).title == "Gespräch"
    assert str(read(data).problems[0]).startswith("line 6: not UTF-8")


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5,6,7,8,9;BYSECOND=0,1,2,3,4,5,6,7,8,9",
    ],
)
def test_a_rule_that_would_never_end_is_refused_at_once(rule: str) -> None:
    data = calendar(*event("DTSTART:20200101T000000Z", f"RRULE:{rule}"), *event("DTSTART:20261125T090000Z", uid="2"))
    assert list(events(read(data))) == ["2"]
    assert "repeats too often" in str(read(data).problems[0])


def test_past_500_instances_the_later_ones_are_left_out_and_nothing_may_be_taken_as_gone() -> None:
    data = calendar(*event("DTSTART:20261123T000000Z", "DURATION:PT5M", "RRULE:FREQ=HOURLY"))
    parsed = read(data)
    found = list(events(parsed).values())
    assert len(found) == 500
    assert found == sorted(found, key=lambda event: event.start.seconds)
    assert str(parsed.problems[0]) == "683 events in 28 days; the first 500 taken"
    assert not parsed.complete


def test_titles_and_notes_are_cut_and_cleaned() -> None:
    parsed = task("SUMMARY:" + "a" * 100_000, "DESCRIPTION:" + "b\\n" * 5_000 + "\x07")
    assert (len(parsed.title), len(parsed.notes)) == (500, 4_000)
    assert only(calendar(*event("DTSTART:20261125T090000Z")).replace(b"Talk", b"T\x00a\x1blk")).title == "T a lk"


def test_an_event_without_a_summary_has_a_title_still() -> None:
    assert only(calendar(*event("DTSTART:20261125T090000Z")).replace(b"Talk", b"")).title == "(no title)"


def test_a_uid_of_any_length_makes_an_id_that_the_door_takes() -> None:
    first = only(calendar(*event("DTSTART:20261125T090000Z", uid="u" * 5_000)))
    second = only(calendar(*event("DTSTART:20261125T090000Z", uid="u" * 5_000 + "2")))
    assert len(first.external_id) == 200
    assert first.external_id != second.external_id


def test_components_inside_components_without_end_are_no_trouble() -> None:
    deep = ["BEGIN:X-DEEP"] * 5_000 + ["END:X-DEEP"] * 5_000
    assert only(calendar(*event("DTSTART:20261125T090000Z", *deep))).title == "Talk"


lines = st.sampled_from(
    ["BEGIN:VEVENT", "END:VEVENT", "BEGIN:VTODO", "END:VTODO", "BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VALARM",
     "END:VALARM", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "BEGIN:STANDARD", "END:STANDARD", "TZID:Here", "UID:1", "UID:2",
     "SUMMARY:Talk", "SUMMARY;LANGUAGE=", "DTSTART:20261124T090000Z", "DTSTART;VALUE=DATE:20261125", "DTSTART:",
     "DTSTART;TZID=Here:20261124T090000", "DTSTART;TZID=tzone://a/Utc:20261124T090000", "DTSTART;VALUE=DATE:20261124T090000", "RANDOM WORDS", "RRULE:FREQ=YEARLY;UNTIL=x", "RRULE:FREQ=DAILY;COUNT=-1", "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE", "DTSTAMP:19980119T000000Z", "DURATION:PT24H", "EXDATE:20261125, 20261126", "SEQUENCE:99999999999", "DTSTART:99991231T235959", "DTSTART:00010101T000000Z", "DTEND:20261124T100000",
     "DTEND;VALUE=DATE:20261124", "DURATION:PT1H", "DURATION:-P1D", "DURATION:P9999999W", "RRULE:FREQ=DAILY",
     "RRULE:FREQ=DAILY;COUNT=3", "RRULE:FREQ=WEEKLY;UNTIL=20261201", "RRULE:FREQ=DAILY;INTERVAL=0", "RRULE:", "RDATE:20261126T090000Z",
     "RDATE;VALUE=PERIOD:20261126T090000Z/PT1H", "EXDATE:20261125T090000Z", "EXDATE;VALUE=DATE:20261125", "EXDATE:x",
     "RECURRENCE-ID:20261125T090000Z", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261125T090000Z", "STATUS:CANCELLED",
     "SEQUENCE:1", "SEQUENCE:x", "TRANSP:OPAQUE", "DUE;VALUE=DATE:20261130", "DUE:99991231T235959", "PRIORITY:x",
     "COMPLETED:20261120T090000Z", "CATEGORIES:a,b", "CATEGORIES:", "X-WR-TIMEZONE:Nowhere", "METHOD:CANCEL",
     "LAST-MODIFIED:x", "DTSTAMP:20261120T090000Z", " folded", "\tfolded", ":", "nonsense", ";;;=\"", "URL:http://a b"]
)  # fmt: skip


@given(st.lists(lines, max_size=30))
def test_no_order_of_the_formats_own_lines_raises_and_every_signal_passes_the_door(body: list[str]) -> None:
    parsed = read(calendar(*event("DTSTART:20261125T090000Z", uid="good")) + calendar(*body))
    for signal in parsed.signals:
        assert VALIDATOR.collect_violations(signal) == []
    assert "good" in events(parsed)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_unreadable(data: bytes) -> None:
    for content in (data, b"BEGIN:VCALENDAR\r\n" + data, calendar(*event("DTSTART:20261125T090000Z")) + data):
        try:
            read(content)
        except UnreadableFile:
            continue
