"""What the door lets in, and what it says to the rest: never a person's own words."""

from __future__ import annotations

from datetime import UTC, datetime

import protovalidate
import pytest

from agents.admission import Door, Refused
from oo.v1 import journal_pb2, reaction_pb2, signal_pb2
from streams.record import Record
from streams.units import DAY_MS
from tables import ids
from tables.backlog import from_ms
from tables.message_rules import AHEAD_MS_MAX, EVENT_MS_MIN
from tests.agents.build import MAC_KEY, MONDAY_MS, Person, activity, entry, event, profile, reaction, task

DOOR = Door(validator=protovalidate.Validator(), mac_key=MAC_KEY)
TOPIC_ID = b"S" * 16
SECRET = "Xylophone divorce lawyer"
MINE = ids.decision_id("ada", record_id=b"r" * 16, mac_key=MAC_KEY)

Message = signal_pb2.Signal | reaction_pb2.Reaction


def record(*, offset: int = 7, headers: tuple[tuple[str, bytes | None], ...] = ()) -> Record:
    return Record(
        topic="oo.signals", partition=2, offset=offset, timestamp_ms=MONDAY_MS, key=b"", value=b"", headers=headers
    )


def admit(message: Message, **rest: object) -> journal_pb2.JournalRecord:
    return DOOR.admit(message, record(**rest), pseudonym=message.user_id, topic_id=TOPIC_ID, now_ms=MONDAY_MS + 500)  # type: ignore[arg-type]


def refused(message: Message, **rest: object) -> Refused:
    with pytest.raises(Refused) as caught:
        admit(message, **rest)
    return caught.value


def at(message: Message, time_ms: int) -> Message:
    message.event_time.CopyFrom(from_ms(time_ms))
    return message


def with_seconds(name: str, seconds: int) -> Message:
    """A message that says this time in one of its fields, as only a wire format that checks nothing can."""
    if name == "due":
        made = task("a")
        made.task_upserted.due.seconds = seconds
        return made
    if name == "snooze_until":
        clicked = reaction(MINE, "SNOOZE")
        clicked.snooze_until.seconds = seconds
        return clicked
    met = event("e", start_ms=MONDAY_MS, end_ms=MONDAY_MS)
    getattr(met.calendar_event_upserted, name).seconds = seconds
    if name == "start":
        met.calendar_event_upserted.end.seconds = seconds
    return met


BAD: dict[str, tuple[Message, str, str]] = {
    "no user": (task("a", user=""), "invalid", "user_id"),
    "a user of 129 characters": (task("a", user="u" * 129), "invalid", "user_id"),
    "a control character in the user": (task("a", user=f"{SECRET}\x00"), "invalid", "user_id"),
    "a line break in the user": (task("a", user=f"{SECRET}\n"), "invalid", "user_id"),
    "nothing said": (signal_pb2.Signal(user_id="ada"), "invalid", "payload"),
    "a source with a slash": (task("a", source="a/b"), "invalid", "source"),
    "no external id": (task(""), "invalid", "external_id"),
    "a title of 100 kB": (task("a", title=SECRET + "x" * 100_000), "invalid", "title"),
    "a title with a control character": (task("a", title=f"{SECRET}\x07"), "invalid", "title"),
    "an empty title": (
        signal_pb2.Signal(user_id="ada", task_upserted=signal_pb2.TaskUpserted(external_id="a")),
        "invalid",
        "title",
    ),
    "a blank title": (task("a", title=" \t "), "invalid", "title"),
    "a blank title of an event": (event("e", start_ms=1, end_ms=2, title=" \n"), "invalid", "title"),
    "notes of 4,001 characters": (task("a", notes=SECRET + "n" * 4000), "invalid", "notes"),
    "33 labels": (task("a", labels=[SECRET] * 33), "invalid", "labels"),
    "a priority of 5": (task("a", priority=5), "invalid", "priority"),
    "a script as link": (task("a", url="javascript:alert('Xylophone')"), "invalid", "url"),
    "a link of 2,001 bytes": (task("a", url="https://" + "\U0001f600" * 499), "invalid", "url"),
    "more than a week of work": (task("a", minutes=10_081), "invalid", "estimated_minutes"),
    "an event that ends before it starts": (
        event("e", start_ms=MONDAY_MS, end_ms=MONDAY_MS - 1, title=SECRET),
        "invalid",
        "end must not be before start",
    ),
    "an event without times": (
        signal_pb2.Signal(
            user_id="ada",
            calendar_event_upserted=signal_pb2.CalendarEventUpserted(external_id="e", title=SECRET),
        ),
        "invalid",
        "start",
    ),
    "an activity that is no number": (
        signal_pb2.Signal(user_id="ada", activity=signal_pb2.Activity(kind="steps", value=float("nan"))),
        "invalid",
        "value",
    ),
    "an unknown zone": (profile("Xylophone/Divorce"), "unknown-time-zone", "time_zone"),
    "a path as zone": (profile("../../Xylophone"), "unknown-time-zone", "time_zone"),
    "a profile that sets nothing": (profile(), "invalid", "names no setting"),
    "quiet hours from the 25th hour on": (profile(quiet=(1440, 0)), "invalid", "quiet_hours.start_minute"),
    "quiet hours on an eighth day": (profile(quiet=(0, 60, 128)), "invalid", "quiet_hours.weekdays"),
    "61 tips an hour": (profile(tips_per_hour=61), "invalid", "tips_per_hour"),
    "a year ahead": (at(task("a", title=SECRET), MONDAY_MS + 365 * DAY_MS), "time-ahead", "24 hours"),
    "the last century": (at(task("a", title=SECRET), 0), "time-behind", "2000"),
    "no reaction": (reaction_pb2.Reaction(user_id="ada", decision_id=MINE), "invalid", "kind"),
    "no decision": (reaction("", "DONE"), "invalid", "decision_id"),
    "somebody else's decision": (reaction(MINE, "DONE", user="Xylophone"), "unknown-decision", "decision_id"),
    "an unknown decision": (reaction("xylophone", "DONE"), "unknown-decision", "decision_id"),
    **{
        f"{name} of {seconds} seconds": (with_seconds(name, seconds), "invalid", name)
        for name in ("due", "start", "end", "snooze_until")
        for seconds in (1 << 60, -(1 << 60), 253_402_300_800, -62_135_596_801)
        if not (name == "end" and seconds < 0)
    },
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_with_its_reason_and_without_a_persons_words(name: str) -> None:
    message, reason, says = BAD[name]
    fault = refused(message)
    assert fault.reason == reason
    assert says in fault.detail
    assert "xylophone" not in fault.detail.lower()
    assert len(fault.detail) < 1000


@pytest.mark.parametrize("seconds", [1 << 62, -(1 << 62), 253_402_300_800])
def test_an_event_time_that_no_calendar_has_is_refused(seconds: int) -> None:
    message = task("a")
    message.event_time.seconds = seconds
    assert refused(message).reason in {"time-ahead", "time-behind"}


@pytest.mark.parametrize("seconds", [-62_135_596_800, 0, 253_402_300_799])
@pytest.mark.parametrize("name", ["due", "start", "snooze_until"])
def test_every_time_that_the_door_lets_in_can_be_folded(name: str, seconds: int) -> None:
    message = with_seconds(name, seconds)
    ada = Person()
    ada.take(profile("Pacific/Kiritimati"))
    if isinstance(message, reaction_pb2.Reaction):
        message.decision_id = ada.current
    journal = admit(message)
    one = entry(message, offset=99, time_ms=MONDAY_MS)
    one.record.CopyFrom(journal)
    ada.take_entry(one)
    assert ada.now.journal_offset == 99


@pytest.mark.parametrize(
    "title",
    [
        "קנה חלב",
        "اشتر الحليب",
        "👩‍👩‍👧‍👦 cake",
        "e\u0301\u0323",
        "two\nlines\tand a tab",
        "x" * 500,
        "\U0001f600" * 500,
    ],
)
def test_any_language_is_let_in_unchanged(title: str) -> None:
    message = task("a", title=title)
    assert admit(message).signal == message


def test_the_envelope_says_where_the_record_came_from() -> None:
    journal = admit(activity())
    assert journal.source == journal_pb2.Position(topic_id=TOPIC_ID, partition=2, offset=7)
    assert journal.record_id == ids.source_record_id(TOPIC_ID, partition=2, offset=7)
    assert journal.source_time_ms == MONDAY_MS
    assert journal.now_ms == 0


def test_the_same_record_is_admitted_to_the_same_bytes() -> None:
    assert admit(task("a")).SerializeToString() == admit(task("a")).SerializeToString()


# Time


def test_the_messages_own_time_comes_first() -> None:
    journal = admit(at(activity(), MONDAY_MS - 5), headers=(("ce_time", b"2026-09-01T00:00:00Z"),))
    assert journal.event_time_ms == MONDAY_MS - 5


def test_then_cloud_events_time() -> None:
    journal = admit(activity(), headers=(("ce_time", b"2026-09-01T02:00:00.250+02:00"),))
    assert journal.event_time_ms == int(datetime(2026, 9, 1, tzinfo=UTC).timestamp() * 1000) + 250


def test_then_the_kafka_records_time() -> None:
    assert admit(activity()).event_time_ms == MONDAY_MS


@pytest.mark.parametrize("said", [b"yesterday", b"2026-13-01T00:00:00Z", b"\xff\xfe", b"2026-09-01"])
def test_a_cloud_events_time_that_is_none_is_refused(said: bytes) -> None:
    assert refused(activity(), headers=(("ce_time", said),)).reason == "invalid"


def test_a_day_ahead_is_let_in_and_a_moment_more_is_not() -> None:
    now_ms = MONDAY_MS + 500
    assert admit(at(activity(), now_ms + AHEAD_MS_MAX)).event_time_ms == now_ms + AHEAD_MS_MAX
    assert refused(at(activity(), now_ms + AHEAD_MS_MAX + 1)).reason == "time-ahead"


def test_the_year_2000_is_let_in_and_the_moment_before_is_not() -> None:
    assert admit(at(activity(), EVENT_MS_MIN)).event_time_ms == EVENT_MS_MIN
    assert refused(at(activity(), EVENT_MS_MIN - 1)).reason == "time-behind"


# Ids of events


def key_of(message: Message, *headers: tuple[str, bytes | None]) -> int:
    return admit(message, headers=headers).event_key


def named(event_id: str, source: str = "todo.txt") -> signal_pb2.Signal:
    made = task("a", source=source)
    made.event_id = event_id
    return made


def test_without_an_id_only_the_position_names_an_event() -> None:
    assert key_of(activity()) == 0


def test_the_same_cloud_events_source_and_id_are_the_same_event() -> None:
    headers = (("ce_id", b"1"), ("ce_source", b"file"))
    assert key_of(activity(), *headers) == key_of(named("other"), *headers) != 0


def test_cloud_events_headers_are_found_in_any_case() -> None:
    assert key_of(activity(), ("CE_ID", b"1")) == key_of(activity(), ("ce_id", b"1"))


def test_another_cloud_events_source_is_another_event() -> None:
    assert key_of(activity(), ("ce_id", b"1"), ("ce_source", b"a")) != key_of(
        activity(), ("ce_id", b"1"), ("ce_source", b"b")
    )


def test_an_empty_cloud_events_id_is_none() -> None:
    assert key_of(named("own"), ("ce_id", b"")) == key_of(named("own"))
    assert key_of(named("own"), ("ce_id", None)) == key_of(named("own"))


def test_the_messages_own_id_counts_within_its_source() -> None:
    assert key_of(named("1")) == key_of(named("1")) != 0
    assert key_of(named("1")) != key_of(named("1", source="ical"))


def test_a_signal_and_a_reaction_of_the_same_id_are_two_events() -> None:
    clicked = reaction(MINE, "DONE")
    clicked.event_id, clicked.source = "1", "todo.txt"
    assert key_of(named("1")) != key_of(clicked)


def test_a_cloud_events_id_is_not_a_messages_own_id() -> None:
    assert key_of(activity(), ("ce_id", b"1"), ("ce_source", b"todo.txt")) != key_of(named("1"))


@pytest.mark.parametrize("name", ["ce_id", "ce_source"])
@pytest.mark.parametrize("said", [b"\xff\xfe", b"a\x00b", "a\u0085".encode()])
def test_a_cloud_events_header_keeps_the_rule_for_texts(name: str, said: bytes) -> None:
    """Else two ids that are not UTF-8 would be one, and the second event a copy of the first."""
    told = {"ce_id": b"1", name: said}
    assert refused(named(""), headers=tuple(told.items())).reason == "invalid"
