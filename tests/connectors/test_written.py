"""Files that are written of tasks and events say to our own readers what the signals had said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from connectors import ical, todo_txt
from connectors.written import calendar
from connectors.written import todo_txt as written
from oo.v1.signal_pb2 import CalendarEventUpserted, TaskUpserted

DATA = Path(__file__).resolve().parents[1] / "data"
UTC_ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
TOLD = {"user_id": "ada", "zone": UTC_ZONE, "now": NOW, "modified": NOW}


def tasks(text: bytes) -> list[TaskUpserted]:
    parsed = todo_txt.parse(text, name="todo.txt", **TOLD)
    return [one.task_upserted for one in parsed.signals if one.HasField("task_upserted")]


def events(text: bytes) -> list[CalendarEventUpserted]:
    parsed = ical.parse(text, **TOLD)
    found = [one.calendar_event_upserted for one in parsed.signals if one.HasField("calendar_event_upserted")]
    return sorted(found, key=lambda one: (one.start.seconds, one.title))


def bare(task: TaskUpserted) -> TaskUpserted:
    """Without the id, which is made from the text, and labels in one order."""
    shown = TaskUpserted()
    shown.CopyFrom(task)
    shown.ClearField("external_id")
    shown.labels[:] = sorted(task.labels)
    return shown


def test_a_todo_txt_that_is_written_holds_the_same_tasks_and_what_is_done_is_ticked_off() -> None:
    told = tasks((DATA / "todo.txt").read_bytes())
    assert len(told) > 10
    text = written([(task, False) for task in told], zone=UTC_ZONE)
    assert [bare(one) for one in tasks(text.encode())] == [bare(one) for one in told]
    assert written([(told[0], True)], zone=UTC_ZONE).startswith("x ")
    assert tasks(written([(one, True) for one in told], zone=UTC_ZONE).encode()) == []


def test_a_calendar_that_is_written_holds_the_same_events_at_the_same_times() -> None:
    told = events((DATA / "google.ics").read_bytes())
    assert len(told) > 3

    def said(found: list[CalendarEventUpserted]) -> list[tuple[str, int, int, bool]]:
        return [(one.title, one.start.seconds, one.end.seconds, one.busy) for one in found]

    assert said(events(calendar(told, now=NOW).encode())) == said(told)


def test_a_line_break_or_a_label_of_many_words_makes_no_second_task() -> None:
    text = written([(TaskUpserted(title="Call\nMum", labels=["at home", "Call"]), False)], zone=UTC_ZONE)
    assert text == "Call Mum @at_home\n"
