"""Tasks and events as a row keeps them: each written where it changed, and named by sources that come and go."""

from collections.abc import Callable

from oo.v1 import row_pb2, signal_pb2
from tables import backlog
from tables.backlog import Stamp

STAMP = Stamp(time_ms=1000, offset=1)
LATER = Stamp(time_ms=2000, offset=2)


def with_an_event() -> row_pb2.UserRow:
    row = row_pb2.UserRow()
    items = backlog.read(row)
    event = signal_pb2.CalendarEventUpserted(external_id="e", title="Dentist")
    event.start.FromMilliseconds(5000)
    event.end.FromMilliseconds(9000)
    backlog.upsert_event(row, items, event, source="calendar", stamp=STAMP, now_ms=0)
    backlog.write(items, row)
    return row


def told(row: row_pb2.UserRow, *, source: str) -> None:
    items = backlog.read(row)
    task = signal_pb2.TaskUpserted(external_id="1", title="Call mum")
    backlog.upsert_task(row, items, task, source=source, stamp=STAMP)
    backlog.write(items, row)


def removed(row: row_pb2.UserRow, remove: Callable[..., bool], *, source: str, external_id: str) -> None:
    items = backlog.read(row)
    assert remove(items, source=source, external_id=external_id, stamp=LATER, now_ms=2000)
    backlog.write(items, row)


def sources(row: row_pb2.UserRow) -> tuple[list[str], list[str]]:
    shown = row_pb2.UserRow()
    shown.CopyFrom(row)
    backlog.spell_out(shown)
    return [one.source for one in shown.tasks], [one.source for one in shown.events]


def test_a_task_of_a_source_that_comes_before_leaves_events_with_theirs() -> None:
    row = with_an_event()
    told(row, source="apples")
    told(row, source="zebras")
    assert sources(row) == (["apples", "zebras"], ["calendar"])


def test_the_last_task_of_a_source_leaves_events_with_theirs() -> None:
    row = with_an_event()
    told(row, source="apples")
    removed(row, backlog.remove_task, source="apples", external_id="1")
    assert list(row.item_sources) == ["calendar"]
    assert sources(row) == ([], ["calendar"])


def test_the_last_event_of_a_source_leaves_tasks_with_theirs() -> None:
    row = with_an_event()
    told(row, source="zebras")
    removed(row, backlog.remove_event, source="calendar", external_id="e")
    assert list(row.item_sources) == ["zebras"]
    assert sources(row) == (["zebras"], [])
