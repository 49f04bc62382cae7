"""A partition as a fold: which version decides, and that nothing depends on where a batch ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.active_version import ActiveVersion
from agents.fold import PartitionState, VersionMissing, taught
from agents.step import NOTHING, Entry, Outputs
from oo.v1 import journal_pb2, row_pb2
from streams.units import MINUTE_MS
from tables.totals import Totals
from tests.agents.build import (
    JOURNAL_ID,
    MONDAY_MS,
    PRIOR,
    active,
    activity,
    current_id,
    entry,
    reaction,
    task,
    versions,
)

SECOND = active(interruption_cost=40)
THIRD = active(interruption_cost=0)
EPOCHS = {one.version.epoch: one.belief.epoch for one in (PRIOR, SECOND, THIRD)}


def known() -> dict[str, ActiveVersion]:
    return versions(also={"second": SECOND, "third": THIRD})


def partition(**rest: object) -> Any:
    """With its rows in a dict."""
    totals = Totals(epochs=EPOCHS)
    return PartitionState(partition=0, versions=known(), totals=totals, **rest)  # type: ignore[arg-type]


def mark(offset: int, *, sequence: int, version_id: str) -> Entry:
    """A mark, published by hand."""
    made = journal_pb2.Mark(sequence=sequence, version_id=version_id)
    return entry(made, offset=offset, time_ms=MONDAY_MS, user="")


def journal(n: int = 30, *, marks: Iterable[Entry] = ()) -> list[Entry]:
    """A new task for one of three people at each offset that no mark takes."""
    taken = {one.offset: one for one in marks}
    return [
        taken.get(
            offset,
            entry(
                task(f"t{offset}", user="abc"[offset % 3], priority=1 + offset % 4),
                offset=offset,
                time_ms=MONDAY_MS + offset * MINUTE_MS,
                user="abc"[offset % 3],
            ),
        )
        for offset in range(n)
    ]


def fold(partition: PartitionState, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Outputs]]:
    """One record a batch."""
    for one in entries:
        yield one, partition.apply(one)
        partition.acknowledge()


def decided_with(entries: Iterable[Entry], *, by: PartitionState | None = None) -> dict[int, str]:
    """Version id by journal offset of each decision."""
    return {
        one.offset: outputs.decision.policy_version
        for one, outputs in fold(by or partition(), entries)
        if outputs.decision is not None
    }


# Marks


def test_a_hand_published_second_version_decides_from_its_offset_on_exactly() -> None:
    with_versions = decided_with(journal(marks=[mark(12, sequence=1, version_id="second")]))
    prior = known()[""].version.version_id
    assert {offset for offset, version in with_versions.items() if version == prior} == set(range(12))
    assert {o for o, v in with_versions.items() if v == SECOND.version.version_id} == set(range(13, 30))


def test_several_marks_switch_each_at_its_own_offset() -> None:
    told = [mark(5, sequence=1, version_id="second"), mark(20, sequence=2, version_id="third")]
    with_versions = decided_with(journal(marks=told))
    assert with_versions[4] == known()[""].version.version_id
    assert with_versions[6] == with_versions[19] == SECOND.version.version_id
    assert with_versions[21] == THIRD.version.version_id


def test_a_mark_of_a_lower_sequence_switches_nothing() -> None:
    told = [mark(5, sequence=7, version_id="second"), mark(20, sequence=2, version_id="third")]
    assert decided_with(journal(marks=told))[29] == SECOND.version.version_id


@pytest.mark.parametrize("crash_at", [3, 5, 6, 12, 20, 21, 29])
@pytest.mark.parametrize("rows_survive", [False, True])
def test_reading_from_before_a_mark_again_decides_as_the_first_time(crash_at: int, *, rows_survive: bool) -> None:
    told = [mark(5, sequence=1, version_id="second"), mark(20, sequence=2, version_id="third")]
    entries = journal(marks=told)
    whole = partition()
    said = dict(fold_bytes(whole, entries))
    # The marks row was written, the rows of people perhaps not, and nothing was committed.
    first = partition()
    list(fold(first, entries[: crash_at + 1]))
    again = partition(rows=dict(first.rows) if rows_survive else {}, marks=first.marks)
    for offset, outputs in fold_bytes(again, entries):
        if not rows_survive or offset > crash_at:
            assert outputs == said[offset]
        else:
            assert outputs == (b"", b"", ())
    assert (again.rows, again.marks) == (whole.rows, whole.marks)


def fold_bytes(
    by: PartitionState, entries: Iterable[Entry]
) -> Iterable[tuple[int, tuple[bytes, bytes, tuple[bytes, ...]]]]:
    """Outputs by offset, as bytes."""
    for one, outputs in fold(by, entries):
        yield (
            one.offset,
            (
                outputs.decision.SerializeToString(deterministic=True) if outputs.decision else b"",
                outputs.tip.SerializeToString(deterministic=True) if outputs.tip else b"",
                tuple(o.SerializeToString(deterministic=True) for o in outputs.outcomes),
            ),
        )


def test_a_mark_whose_version_is_not_there_stops_the_partition_before_anything_changes() -> None:
    by = partition()
    list(fold(by, journal(3)))
    before = (dict(by.rows), by.marks)
    with pytest.raises(VersionMissing, match="fourth"):
        by.apply(mark(3, sequence=9, version_id="fourth"))
    assert (by.rows, by.marks) == before
    assert not list(by.changed())


def test_a_mark_is_written_once_and_carries_its_place() -> None:
    by = partition()
    one = mark(4, sequence=1, version_id="second")
    assert by.apply(one) == NOTHING
    written = by.changed_marks()
    assert written is not None
    assert (written.topic_id, written.journal_offset) == (JOURNAL_ID, 4)
    by.acknowledge()
    by.apply(one)
    assert by.changed_marks() is None


def test_marks_below_the_committed_offset_are_dropped_and_the_one_in_force_stays() -> None:
    told = [mark(n, sequence=n, version_id="second" if n % 2 else "third") for n in range(1, 9)]
    by = partition(committed=5)
    list(fold(by, told))
    assert [a.offset for a in by.marks.marks] == [5, 6, 7, 8]


# Faults of our own


def test_a_record_that_step_fails_on_changes_nothing_and_the_next_one_goes_through() -> None:
    by = partition()
    bad = task("a", title="Xylophone divorce lawyer")
    # No door lets this in; a row cannot hold it.
    bad.task_upserted.due.seconds = 1 << 60
    outputs = by.apply(entry(bad, offset=0, time_ms=MONDAY_MS))
    by.acknowledge()
    assert outputs.fault
    assert "Xylophone" not in outputs.fault
    assert (outputs.decision, by.rows) == (None, {})
    assert by.apply(entry(activity(), offset=1, time_ms=MONDAY_MS)).decision is not None


def test_a_fault_is_the_same_at_every_fold() -> None:
    bad = task("a")
    bad.task_upserted.due.seconds = 1 << 60
    one = entry(bad, offset=0, time_ms=MONDAY_MS)
    assert partition().apply(one) == partition().apply(one)


# Batches


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 40)))
def test_nothing_depends_on_where_a_batch_ends(ends: set[int]) -> None:
    entries = busy_journal()
    one_by_one, batched = partition(), partition()
    said = dict(fold_bytes(one_by_one, entries))
    for one in entries:
        outputs = batched.apply(one)
        assert (outputs.decision.SerializeToString(deterministic=True) if outputs.decision else b"") == said[
            one.offset
        ][0]
        if one.offset in ends:
            batched.acknowledge()
    batched.acknowledge()
    assert batched.rows == one_by_one.rows
    assert batched.totals.to_bytes() == one_by_one.totals.to_bytes()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 41), max_size=4))
def test_batches_read_again_change_nothing(crashes: list[int]) -> None:
    entries = busy_journal()
    once, again = partition(), partition()
    list(fold(once, entries))
    read = [one for crash in sorted(crashes) for one in entries[:crash]] + entries
    list(fold(again, read))
    assert (again.rows, again.marks) == (once.rows, once.marks)
    assert again.totals.to_bytes() == once.totals.to_bytes()


def busy_journal() -> list[Entry]:
    """Tasks, reactions to what was served, and a mark in between, for three people."""
    by, entries = partition(), []
    for offset in range(41):
        user, time_ms = "abc"[offset % 3], MONDAY_MS + offset * 7 * MINUTE_MS
        row = by.row(user)
        if offset == 17:
            one = mark(offset, sequence=1, version_id="second")
        elif row is not None and offset % 4:
            kind = ("SEEN", "DONE", "SNOOZE", "DISMISS")[offset % 4]
            one = entry(reaction(current_id(row), kind, user=user), offset=offset, time_ms=time_ms, user=user)
        else:
            one = entry(task(f"t{offset}", user=user), offset=offset, time_ms=time_ms, user=user)
        by.apply(one)
        by.acknowledge()
        entries.append(one)
    return entries


# Totals


def test_totals_kept_up_equal_totals_counted_anew() -> None:
    by = partition()
    list(fold(by, busy_journal()))
    assert by.totals.users
    anew = Totals(epochs=EPOCHS)
    for message in by.rows.values():
        anew.replace(None, taught(row_pb2.UserRow.FromString(message)))
    assert anew.to_bytes() == by.totals.to_bytes()


def test_people_of_one_partition_do_not_touch_each_other() -> None:
    alone = partition()
    entries = [one for one in busy_journal() if one.user_id in {"a", ""}]
    list(fold(alone, entries))
    together = partition()
    list(fold(together, busy_journal()))
    assert alone.rows["a"] == together.rows["a"]


def test_a_row_is_settled_only_when_the_batch_is() -> None:
    by = partition()
    by.apply(entry(activity(), offset=0, time_ms=MONDAY_MS))
    assert by.rows == {}
    by.acknowledge()
    assert list(by.rows) == ["ada"]
    assert not list(by.changed())
