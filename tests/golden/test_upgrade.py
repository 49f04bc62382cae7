"""Rows and journals of before step version 5 go on as if they had always been written as they are now.

rows-step4.jsonl holds rows as commit 4816535 wrote them, the last before rows were kept in columns: of the golden journal when half of it
and when all of it was folded, record by record, and that of Ada, who saw a tip and let it expire (`silent` below).
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path

from agents.fold import PartitionState
from agents.step import Entry, Outputs
from deploy.differing import same
from oo.v1 import row_pb2
from streams.units import DAY_MS
from tables.row import BLOCKS, spelled_out
from tests.agents.build import Person, activity, frozen, task
from tests.golden.replay import JOURNAL, PARTITIONS, from_line, versions

ROWS = Path(__file__).parent / "rows-step4.jsonl"
MESSAGES = ["tasks", "events", "tombstones", "sums", "windows", "unasked", "pending", "sources", "event_keys"]

Rows = list[dict[str, bytes]]


@cache
def entries() -> tuple[Entry, ...]:
    return tuple(from_line(line) for line in JOURNAL.read_text("utf-8").splitlines())


def before(after: int) -> Rows:
    """The rows of before, when so many records were folded."""
    found: Rows = [{} for _ in range(PARTITIONS)]
    for line in ROWS.read_text("utf-8").splitlines():
        said = json.loads(line)
        if said["after"] == after:
            found[said["partition"]][said["user"]] = base64.b64decode(said["row"])
    return found


def folded(rows: Rows, *, begin: int, end: int) -> list[Outputs]:
    """What follows from these records; rows are changed in place. Marks of before the first one stand."""
    known = versions()
    partitions = [PartitionState(partition=n, versions=known, rows=rows[n]) for n in range(PARTITIONS)]
    outputs = []
    for at, one in enumerate(entries()[:end]):
        if at >= begin or one.record.HasField("mark"):
            said = partitions[one.partition].apply(one)
            partitions[one.partition].acknowledge()
            if at >= begin:
                outputs.append(said)
    return outputs


@cache
def from_the_beginning(end: int) -> tuple[Rows, list[Outputs]]:
    rows: Rows = [{} for _ in range(PARTITIONS)]
    return rows, folded(rows, begin=0, end=end)


def half() -> int:
    return len(entries()) // 2


def row(message: bytes) -> row_pb2.UserRow:
    return row_pb2.UserRow.FromString(message)


def silent() -> Person:
    """Ada as her row stands in the file."""
    ada = Person(policy=versions()[""])
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    ada.take(activity(), after_ms=2 * DAY_MS)
    return ada


def test_the_file_holds_rows_as_they_were_written_before() -> None:
    for after in (half(), len(entries())):
        old = [row(message) for part in before(after) for message in part.values()]
        assert len(old) == 6
        assert not [name for name in BLOCKS for one in old if getattr(one, name)]
        assert not [
            name
            for name in MESSAGES
            if not any(one.HasField("sums") if name == "sums" else getattr(one, name) for one in old)
        ]


def test_a_row_of_before_says_the_same_as_one_of_now() -> None:
    for after in (half(), len(entries())):
        now, _ = from_the_beginning(after)
        for part, old in zip(now, before(after), strict=True):
            assert part.keys() == old.keys()
            for user, message in old.items():
                assert message != part[user]
                assert spelled_out(row(message)) == spelled_out(row(part[user]))


def test_folded_on_a_row_of_before_gives_what_the_whole_journal_gives() -> None:
    rows = before(half())
    outputs = folded(rows, begin=half(), end=len(entries()))
    whole, all_outputs = from_the_beginning(len(entries()))
    assert outputs == all_outputs[half() :]
    for part, other, start in zip(rows, whole, before(half()), strict=True):
        assert part.keys() == other.keys()
        for user, message in part.items():
            if message == start.get(user):
                # Nothing has come since: it stands as it was written.
                assert spelled_out(row(message)) == spelled_out(row(other[user]))
            else:
                assert message == other[user], user
                assert not [name for name in MESSAGES if name != "sums" and getattr(row(message), name)]
                assert not row(message).HasField("sums")


def test_a_compare_takes_a_row_of_before_for_what_it_says() -> None:
    now, _ = from_the_beginning(len(entries()))
    for part, old in zip(now, before(len(entries())), strict=True):
        for user, message in old.items():
            assert same(part[user], message)
            other = row(message)
            if other.tasks:
                other.tasks[0].title += "!"
                assert not same(part[user], other.SerializeToString(deterministic=True))
            other = row(message)
            other.pending[-1].decided_ms += 1
            assert not same(part[user], other.SerializeToString(deterministic=True))
            other = row(message)
            other.windows.add(width_s=300, key_steps=[1], counts=[1])
            assert not same(part[user], other.SerializeToString(deterministic=True))
            if other.sums.gram:
                other = row(message)
                other.sums.gram[0] += 1
                assert not same(part[user], other.SerializeToString(deterministic=True))


def test_a_row_of_before_of_someone_who_was_silent_says_the_same() -> None:
    # It has sums of zeros, which nothing was ever added to.
    (old,) = before(0)[0].values()
    assert row(old).HasField("sums")
    assert same(frozen(silent().row), old)


def test_a_row_that_nobody_of_ours_wrote_is_not_the_same() -> None:
    (old,) = before(0)[0].values()
    torn = row(frozen(silent().row))
    torn.task_columns = torn.task_columns[:-1]
    assert not same(old, torn.SerializeToString(deterministic=True))
    assert not same(old, b"\xff\xff\xff")


def test_messages_of_rows_keep_their_places_since_frames_name_them_by_it() -> None:
    names = list(row_pb2.DESCRIPTOR.message_types_by_name)
    assert names[:12] == [
        *("UserRow", "SettingStamp", "DayOfKeys", "Task", "Tombstone", "CalendarEvent", "Window", "PendingDecision"),
        *("CoolDown", "Sums", "PartitionRow", "AppliedMark"),
    ]
