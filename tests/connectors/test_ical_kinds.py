"""Calendar files that people met, each with the right answer and its kind beside it (docs/adr/0029)."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest

from connectors import ical
from connectors.ical.reader import YEAR_MIN
from connectors.source_file import Parsed
from oo.v1.signal_pb2 import CalendarEventUpserted, Signal
from tables.message_rules import EVENT_MS_MIN

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 28, 12, tzinfo=BERLIN)
WRITTEN = datetime(2026, 11, 27, 8, tzinfo=BERLIN)
DAY_AT_HOME = ("2026-11-30T23:00:00Z", "2026-12-01T23:00:00Z")
NINE = ("DTSTART:20261201T090000Z", "DTEND:20261201T100000Z")


def read(*lines: str, head: tuple[str, ...] = (), zone: ZoneInfo = BERLIN, now: datetime = NOW) -> Parsed:
    text = ["BEGIN:VCALENDAR", *head, *lines, "END:VCALENDAR", ""]
    data = "\r\n".join(text).encode("utf-8", "surrogateescape")
    return ical.parse(data, user_id="ann", zone=zone, now=now, modified=WRITTEN)


def event(*lines: str, uid: str = "a") -> tuple[str, ...]:
    return ("BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT")


def todo(*lines: str, uid: str = "t") -> tuple[str, ...]:
    return ("BEGIN:VTODO", f"UID:{uid}", *lines, "END:VTODO")


def found(parsed: Parsed) -> list[CalendarEventUpserted]:
    return [signal.calendar_event_upserted for signal in parsed.signals if signal.HasField("calendar_event_upserted")]


def only(parsed: Parsed) -> CalendarEventUpserted:
    (event,) = found(parsed)
    return event


def span(event: CalendarEventUpserted) -> tuple[str, str]:
    return event.start.ToJsonString(), event.end.ToJsonString()


def starts(parsed: Parsed) -> list[str]:
    return [event.start.ToJsonString() for event in found(parsed)]


def due(parsed: Parsed) -> str:
    (signal,) = parsed.signals
    return signal.task_upserted.due.ToJsonString()


# A day is where the person lives


@pytest.mark.parametrize(
    "end", [(), ("DTEND;VALUE=DATE:20261201",), ("DTEND;VALUE=DATE:20261202",), ("DURATION:PT12H",)]
)
def test_a_day_is_a_whole_day_whatever_its_end_says(end: tuple[str, ...]) -> None:
    assert span(only(read(*event("DTSTART;VALUE=DATE:20261201", *end)))) == DAY_AT_HOME


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("20261201T000000", "20261202T000000", DAY_AT_HOME),
        ("20261201T180000", "20261202T120000", ("2026-12-01T17:00:00Z", "2026-12-02T11:00:00Z")),
        ("20261201T000000", "20261201T120000", ("2026-11-30T23:00:00Z", "2026-12-01T11:00:00Z")),
    ],
)
def test_what_is_called_a_day_and_has_a_time_keeps_it(begin: str, end: str, expected: tuple[str, str]) -> None:
    parsed = read(*event(f"DTSTART;VALUE=DATE:{begin}", f"DTEND;VALUE=DATE:{end}"))
    assert span(only(parsed)) == expected


@pytest.mark.parametrize("head", [(), ("X-WR-TIMEZONE:UTC",), ("X-WR-TIMEZONE:Asia/Tokyo",)])
def test_a_calendars_zone_moves_no_day_and_no_due_day(head: tuple[str, ...]) -> None:
    west = ZoneInfo("America/Los_Angeles")
    day = read(*event("DTSTART;VALUE=DATE:20261201", "DTEND;VALUE=DATE:20261202"), head=head, zone=west)
    assert span(only(day)) == ("2026-12-01T08:00:00Z", "2026-12-02T08:00:00Z")
    assert due(read(*todo("SUMMARY:Form", "DUE;VALUE=DATE:20261201"), head=head, zone=west)) == "2026-12-02T07:59:59Z"


@pytest.mark.parametrize(
    ("lines", "busy"),
    [((), False), (("X-MICROSOFT-CDO-BUSYSTATUS:FREE",), False), (("X-MICROSOFT-CDO-BUSYSTATUS:OOF",), True)],
)
def test_outlooks_two_midnights_are_a_day_and_its_opaque_is_not_the_persons_word(
    lines: tuple[str, ...], busy: bool
) -> None:
    zone = ";TZID=W. Europe Standard Time"
    times = (f"DTSTART{zone}:20261201T000000", f"DTEND{zone}:20261202T000000", "TRANSP:OPAQUE")
    holiday = only(read(*event(*times, *lines, "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE")))
    assert (span(holiday), holiday.busy) == (DAY_AT_HOME, busy)


# What nothing needs never costs an item; an odd value costs at most itself


@pytest.mark.parametrize(
    "lines",
    [
        ("X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE=Hill Road 5", "12345 Town", "Nowhere:geo:50.1,8.2"),
        ("LOCATION:Hill Road 5", "12345 Town"),
        ("ATTACH;ENCODING=BASE64;VALUE=BINARY:!!!",),
        ("GEO:north",),
        ("BEGIN:VALARM", "TRIGGER:soon", "END:VALARM"),
        ("BEGIN:VALARM", "TRIGGER:-PT5M"),
        ("END:VALARM",),
        ("LAST-MODIFIED:",),
        ("CREATED:yesterday",),
        ("DTSTAMP:x",),
        ("SEQUENCE:x",),
        ("PRIORITY:urgent",),
        ("COMPLETED:x",),
        ("EXDATE:x",),
        ("RDATE:x",),
        ("DURATION:long",),
        ("CATEGORIES;X=\x07:a",),
        ("TRANSP",),
        ("RRULE:",),
    ],
)
def test_what_nothing_needs_never_costs_the_event(lines: tuple[str, ...]) -> None:
    parsed = read(*event(*NINE, "SUMMARY:Doctor", *lines), *event(*NINE, "SUMMARY:Fine", uid="b"))
    assert [(event.title, span(event)[0]) for event in found(parsed)] == [
        ("Doctor", "2026-12-01T09:00:00Z"),
        ("Fine", "2026-12-01T09:00:00Z"),
    ]
    assert parsed.complete


@pytest.mark.parametrize(
    "line", ["DUE:x", "PRIORITY:x", "PERCENT-COMPLETE:half", "SEQUENCE:x", "DTSTART:x", "RRULE:FREQ=NOW"]
)
def test_an_odd_value_costs_a_task_at_most_itself(line: str) -> None:
    (signal,) = read(*todo("SUMMARY:Pay", line)).signals
    assert signal.task_upserted.title == "Pay"


def test_a_raw_line_end_in_a_property_is_said() -> None:
    parsed = read(*event(*NINE, "X-APPLE-STRUCTURED-LOCATION;X-TITLE=Hill Road 5", "12345 Town", "Nowhere:geo:1,2"))
    assert [str(problem) for problem in parsed.problems] == ["line 6: 2 lines that are no property; passed over"]


def test_what_cannot_be_read_is_there_still_so_that_a_watch_takes_nothing_away() -> None:
    parsed = read(
        *event("DTSTART:x"), *event(*NINE, "RRULE:FREQ=NEVER", uid="b"), *todo("RECURRENCE-ID:x", "SUMMARY:x")
    )
    assert (parsed.signals, parsed.unread) == ((), ("event:a", "event:b", "task:t"))


@pytest.mark.parametrize(
    "cut", ["Fr\udcc3\r\n \udcbchst\udcc3\r\n \udcbcck", "\udcf0\r\n \udc9f\r\n \udca6\r\n \udcb7"]
)
def test_lines_are_unfolded_before_they_are_decoded(cut: str) -> None:
    parsed = read(*event(*NINE, f"SUMMARY:{cut}"))
    assert (only(parsed).title in ("Frühstück", "🦷"), parsed.problems) == (True, ())


# Whom a meeting takes


@pytest.mark.parametrize(
    ("name", "attendee", "busy"),
    [
        ("me@example.org", "ATTENDEE;PARTSTAT=DECLINED:mailto:me@example.org", False),
        ("Me@Example.org", 'ATTENDEE;CN="a:b";PARTSTAT=DECLINED:MAILTO:me@example.org', False),
        ("me@example.org", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:me@example.org", True),
        ("me@example.org", "ATTENDEE;PARTSTAT=DECLINED:mailto:you@example.org", True),
        ("Work", "ATTENDEE;PARTSTAT=DECLINED:mailto:you@example.org", True),
    ],
)
def test_what_the_calendars_owner_declined_takes_nobodys_time(name: str, attendee: str, busy: bool) -> None:
    assert only(read(*event(*NINE, attendee), head=(f"X-WR-CALNAME:{name}",))).busy is busy


# Time stamps


@pytest.mark.parametrize(
    "line", ["DTSTAMP:19980119T000000Z", "DTSTAMP:x", "LAST-MODIFIED:", "DTSTAMP:19991231T235959Z"]
)
def test_a_stamp_that_cannot_be_true_gives_way_to_the_files_time(line: str) -> None:
    (signal,) = read(*event(*NINE, line)).signals
    assert signal.event_time.ToDatetime(tzinfo=BERLIN) == WRITTEN


def test_a_file_without_a_time_is_of_today() -> None:
    data = "\r\n".join(["BEGIN:VCALENDAR", *event(*NINE), "END:VCALENDAR"]).encode()
    parsed = ical.parse(data, user_id="ann", zone=BERLIN, now=NOW, modified=datetime(1970, 1, 1, tzinfo=BERLIN))
    assert parsed.signals[0].event_time.ToDatetime(tzinfo=BERLIN) == NOW


def test_the_reader_and_the_door_have_one_first_year() -> None:
    assert datetime(YEAR_MIN, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp() * 1000 == EVENT_MS_MIN


# Revisions


VERSIONS = (
    event("SEQUENCE:0", "DTSTAMP:20261105T000000Z", "DTSTART:20261201T070000Z", "SUMMARY:first"),
    event("SEQUENCE:1", "DTSTAMP:20261101T000000Z", "DTSTART:20261201T080000Z", "SUMMARY:old time"),
    event("SEQUENCE:1", "DTSTAMP:20261102T000000Z", "DTSTART:20261201T100000Z", "SUMMARY:new time"),
)


@pytest.mark.parametrize("order", list(permutations(VERSIONS)))
def test_the_last_sequence_and_then_the_last_stamp_stands_wherever_it_is(order: tuple[tuple[str, ...], ...]) -> None:
    assert [(event.external_id, event.title) for event in found(read(*sum(order, ())))] == [("a", "new time")]


@pytest.mark.parametrize("order", list(permutations(VERSIONS)))
def test_tasks_likewise(order: tuple[tuple[str, ...], ...]) -> None:
    lines = [line.replace("VEVENT", "VTODO").replace("DTSTART", "DUE") for line in sum(order, ())]
    (signal,) = read(*lines).signals
    assert (signal.task_upserted.external_id, signal.task_upserted.title) == ("a", "new time")


def test_revisions_of_one_instance_likewise() -> None:
    series = event("DTSTART:20261201T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2")
    newer, older = (
        event("RECURRENCE-ID:20261202T090000Z", f"DTSTART:20261202T{hour}0000Z", f"SEQUENCE:{number}")
        for hour, number in ((15, 2), (12, 1))
    )
    for lines in ((*newer, *series, *older), (*older, *newer, *series)):
        assert starts(read(*lines)) == ["2026-12-01T09:00:00Z", "2026-12-02T15:00:00Z"]


@pytest.mark.parametrize("without", ["EXDATE:20261202T090000Z", "RRULE:FREQ=DAILY;UNTIL=20261201"])
def test_a_later_revision_of_the_series_takes_a_change_of_its_instance_back(without: str) -> None:
    rule = () if without.startswith("RRULE") else ("RRULE:FREQ=DAILY;COUNT=2",)
    series = event("DTSTART:20261201T090000Z", "SEQUENCE:2", *rule, without)
    moved = event("RECURRENCE-ID:20261202T090000Z", "DTSTART:20261202T150000Z", "SEQUENCE:1")
    assert starts(read(*series, *moved)) == ["2026-12-01T09:00:00Z"]
    kept = [line.replace("SEQUENCE:1", "SEQUENCE:2") for line in moved]
    assert starts(read(*series, *kept)) == ["2026-12-01T09:00:00Z", "2026-12-02T15:00:00Z"]


def test_two_events_that_share_a_uid_by_mistake_are_both_there() -> None:
    dentist = event("DTSTART:20261201T090000Z", "SUMMARY:Dentist")
    haircut = event("DTSTART:20261202T150000Z", "SUMMARY:Haircut")
    assert [event.title for event in found(read(*dentist, *haircut))] == ["Dentist", "Haircut"]
    moved = event("DTSTART:20261202T150000Z", "SUMMARY:Dentist")
    assert starts(read(*dentist, *moved)) == ["2026-12-02T15:00:00Z"]


# Zones


@pytest.mark.parametrize(
    ("zone", "start", "said"),
    [
        ("tzone://Microsoft/Utc", "2026-12-01T09:00:00Z", False),
        ("/freeassociation.sourceforge.net/Tzfile/America/New_York", "2026-12-01T14:00:00Z", False),
        ("Eastern Standard Time", "2026-12-01T14:00:00Z", False),
        ("utc", "2026-12-01T09:00:00Z", False),
        ("tzone://Microsoft/Custom", "2026-12-01T08:00:00Z", True),
        ("(UTC+01:00) Amsterdam, Berlin", "2026-12-01T08:00:00Z", True),
        ('"Atlantis: here"', "2026-12-01T08:00:00Z", True),
    ],
)
def test_a_zones_name_is_understood_or_said_never_broken(zone: str, start: str, said: bool) -> None:
    parsed = read(*event(f"DTSTART;TZID={zone}:20261201T090000", "DURATION:PT1H"))
    assert (starts(parsed), ["is not known" in str(problem) for problem in parsed.problems]) == ([start], [True] * said)


# Series


EVENING = ("DTSTART;TZID=Europe/Berlin:20261130T200000", "DTEND;TZID=Europe/Berlin:20261130T210000")


@pytest.mark.parametrize(
    "until", ["20261214", "20261214T190000Z", "20261214T200000", "20261214T235959Z", "20261215T000000", "20261214, "]
)
def test_until_is_inclusive_and_a_day_counts_whole(until: str) -> None:
    until = until.rstrip(", ")
    assert [start[:10] for start in starts(read(*event(*EVENING, f"RRULE:FREQ=WEEKLY;UNTIL={until}")))] == [
        "2026-11-30",
        "2026-12-07",
        "2026-12-14",
    ]


def test_until_ends_before_an_instance_that_lies_behind_it() -> None:
    assert len(starts(read(*event(*EVENING, "RRULE:FREQ=WEEKLY;UNTIL=20261214T185959Z")))) == 2


@pytest.mark.parametrize("named", [";VALUE=DATE:20261207", ":20261207T190000Z", ";TZID=Europe/Berlin:20261207T200000"])
def test_a_day_names_the_instance_of_that_day(named: str) -> None:
    series = event(*EVENING, "RRULE:FREQ=WEEKLY;COUNT=3")
    moved = event(f"RECURRENCE-ID{named}", "DTSTART;TZID=Europe/Berlin:20261208T150000")
    assert starts(read(*series, *moved)) == ["2026-11-30T19:00:00Z", "2026-12-08T14:00:00Z", "2026-12-14T19:00:00Z"]
    taken_out = read(*event(*EVENING, "RRULE:FREQ=WEEKLY;COUNT=3", f"EXDATE{named}"))
    assert starts(taken_out) == ["2026-11-30T19:00:00Z", "2026-12-14T19:00:00Z"]


def test_spaces_after_commas_cost_nothing() -> None:
    parsed = read(*event(*EVENING, "RRULE:FREQ=WEEKLY; BYDAY=MO, TU;COUNT=3", "EXDATE;VALUE=DATE:20261130, 20261207"))
    assert starts(parsed) == ["2026-12-01T19:00:00Z"]


def test_a_yearly_rule_since_1601_is_followed() -> None:
    assert starts(read(*event("DTSTART:16011224T090000Z", "RRULE:FREQ=YEARLY"))) == ["2026-12-24T09:00:00Z"]


@pytest.mark.parametrize(
    ("length", "end"),
    [
        ("DURATION:PT24H", "2026-03-29T11:00:00Z"),
        ("DURATION:P1D", "2026-03-29T10:00:00Z"),
        ("DURATION:P1DT1H", "2026-03-29T11:00:00Z"),
        ("DTEND;TZID=Europe/Berlin:20260329T120000", "2026-03-29T10:00:00Z"),
    ],
)
def test_24_hours_are_exact_and_a_day_is_the_calendars(length: str, end: str) -> None:
    now = datetime(2026, 3, 28, tzinfo=BERLIN)
    assert span(only(read(*event("DTSTART;TZID=Europe/Berlin:20260328T120000", length), now=now)))[1] == end


@pytest.mark.parametrize("length", ["DURATION:PT1H", "DTEND;TZID=Europe/Berlin:20260327T033000"])
def test_a_series_keeps_its_length_in_the_hour_that_does_not_exist(length: str) -> None:
    now = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    parsed = read(*event("DTSTART;TZID=Europe/Berlin:20260327T023000", length, "RRULE:FREQ=DAILY;COUNT=4"), now=now)
    assert [span(event) for event in found(parsed)] == [
        ("2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z"),
        ("2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"),
        ("2026-03-30T00:30:00Z", "2026-03-30T01:30:00Z"),
    ]


def test_an_hourly_rule_gives_no_instant_twice_when_the_clocks_go_ahead() -> None:
    now = datetime(2026, 3, 29, 1, tzinfo=BERLIN)
    parsed = read(*event("DTSTART;TZID=Europe/Berlin:20260329T010000", "RRULE:FREQ=HOURLY;COUNT=4"), now=now)
    assert starts(parsed) == [f"2026-03-29T0{hour}:00:00Z" for hour in (0, 1, 2)]


# Tasks


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("DTSTART;VALUE=DATE:20230601", "DUE;VALUE=DATE:20230602", "RRULE:FREQ=WEEKLY"), "2026-11-27T22:59:59Z"),
        (("DUE;VALUE=DATE:20230602", "RRULE:FREQ=WEEKLY"), "2026-11-27T22:59:59Z"),
        (("DTSTART:20230601T090000", "DUE:20230601T100000", "RRULE:FREQ=DAILY"), "2026-11-28T09:00:00Z"),
        (("DTSTART;VALUE=DATE:20230601", "DURATION:P2D", "RRULE:FREQ=WEEKLY"), "2026-11-28T22:59:59Z"),
        (("DUE;VALUE=DATE:20261204", "RRULE:FREQ=WEEKLY"), "2026-12-04T22:59:59Z"),
        (("DUE;VALUE=DATE:20230602", "RRULE:FREQ=WEEKLY;COUNT=2"), "2023-06-09T21:59:59Z"),
    ],
)
def test_a_task_that_repeats_is_due_at_its_open_occurrence(lines: tuple[str, ...], expected: str) -> None:
    assert due(read(*todo("SUMMARY:Water plants", *lines))) == expected


def test_a_task_that_has_not_begun_comes_in_when_it_has() -> None:
    lines = todo("SUMMARY:Taxes", "DTSTART;VALUE=DATE:20270301", "DUE;VALUE=DATE:20270531")
    assert (read(*lines).signals, read(*lines).waiting) == ((), 1)
    (signal,) = read(*lines, now=datetime(2027, 3, 1, tzinfo=BERLIN)).signals
    assert isinstance(signal, Signal) and signal.task_upserted.title == "Taxes"


def test_an_empty_calendar_is_a_valid_one() -> None:
    assert read() == Parsed(signals=())
