"""Only what changed is sent, under ids that the same change always gets; deliveries may fail at any point."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import ical, todo_txt
from connectors.differences import Memory, Patience, differences, settled, waiting
from connectors.source_file import EVENT_MS_MIN, Parsed, Problem
from oo.v1.signal_pb2 import Signal
from streams.units import MINUTE_MS
from tables import message_rules

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def read(text: str, *, modified_ms: int = NOW_MS) -> Parsed:
    return todo_txt.parse(
        text.encode(),
        name="todo.txt",
        user_id="ann",
        zone=ZoneInfo("UTC"),
        now=NOW + timedelta(days=1),
        modified=datetime.fromtimestamp(modified_ms / 1000, UTC),
    )


def step(
    memory: Memory,
    text: str | Parsed,
    *,
    modified_ms: int = NOW_MS,
    now_ms: int = NOW_MS + 60 * MINUTE_MS,
    removals: bool = True,
) -> tuple[list[Signal], Memory]:
    parsed = text if isinstance(text, Parsed) else read(text, modified_ms=modified_ms)
    signals, in_doubt = begin(memory, parsed, modified_ms=modified_ms, now_ms=now_ms, removals=removals)
    return signals, settled(in_doubt)


def begin(
    memory: Memory, parsed: Parsed, *, modified_ms: int, now_ms: int = NOW_MS + 60 * MINUTE_MS, removals: bool = True
) -> tuple[list[Signal], Memory]:
    return differences(memory, parsed, user_id="ann", modified_ms=modified_ms, now_ms=now_ms, removals=removals)


def said(signals: list[Signal]) -> list[str]:
    return [signal.WhichOneof("payload") or "" for signal in signals]


def test_the_first_time_everything_is_said() -> None:
    assert said(step(Memory(), "Call Mom\nx Pay rent")[0]) == ["task_upserted", "task_completed"]


def test_an_unchanged_file_says_nothing() -> None:
    _, memory = step(Memory(), "Call Mom\nx Pay rent")
    assert step(memory, "Call Mom\nx Pay rent", modified_ms=NOW_MS + MINUTE_MS) == ([], memory)


def test_a_line_that_moved_says_nothing() -> None:
    _, memory = step(Memory(), "Call Mom\nPay rent")
    assert step(memory, "\nPay rent\n\nCall Mom")[0] == []


def test_a_ticked_line_is_completed() -> None:
    first, memory = step(Memory(), "(A) Call Mom due:2026-11-30")
    signals, _ = step(memory, "x 2026-11-23 Call Mom due:2026-11-30 pri:A")
    assert said(signals) == ["task_completed"]
    assert signals[0].task_completed.external_id == first[0].task_upserted.external_id


def test_a_new_priority_is_an_upsert_of_the_same_task() -> None:
    first, memory = step(Memory(), "Call Mom")
    signals, _ = step(memory, "(A) Call Mom")
    assert said(signals) == ["task_upserted"]
    assert signals[0].task_upserted.external_id == first[0].task_upserted.external_id


def test_a_new_text_is_a_new_task_and_the_old_one_gone() -> None:
    _, memory = step(Memory(), "Call Mom")
    assert said(step(memory, "Call Dad")[0]) == ["task_upserted", "task_removed"]


def test_a_new_text_under_a_tag_id_is_an_upsert() -> None:
    _, memory = step(Memory(), "Call Mom id:1")
    assert said(step(memory, "Call Dad id:1")[0]) == ["task_upserted"]


def test_a_deleted_line_is_removed_once() -> None:
    _, memory = step(Memory(), "Call Mom\nPay rent")
    signals, memory = step(memory, "Pay rent")
    assert said(signals) == ["task_removed"]
    assert step(memory, "Pay rent")[0] == []


def test_a_completed_line_that_is_archived_says_nothing() -> None:
    _, memory = step(Memory(), "x Call Mom\nPay rent")
    assert step(memory, "Pay rent")[0] == []


def test_an_import_takes_nothing_away() -> None:
    _, memory = step(Memory(), "Call Mom\nPay rent")
    signals, memory = step(memory, "Pay rent", removals=False)
    assert signals == []
    # It is still known: a watch that starts later finds it gone.
    assert said(step(memory, "Pay rent")[0]) == ["task_removed"]


def test_nothing_is_taken_away_by_a_file_that_is_cut_off() -> None:
    _, memory = step(Memory(), "Call Mom\nPay rent")
    parsed = read("Pay rent")
    cut_off = Parsed(parsed.signals, (Problem(1, "cut off", skipped=True, hides=True),))
    assert step(memory, cut_off)[0] == []


def test_a_text_that_comes_back_has_another_event_id_than_its_first_time() -> None:
    first, memory = step(Memory(), "Call Mom")
    ticked, memory = step(memory, "x Call Mom")
    again, memory = step(memory, "Call Mom")
    ticked_again, _ = step(memory, "x Call Mom")
    ids = [signals[0].event_id for signals in (first, ticked, again, ticked_again)]
    assert len(set(ids)) == 4
    assert said(again) == ["task_upserted"]


def test_a_task_that_was_removed_and_comes_back_has_another_event_id() -> None:
    first, memory = step(Memory(), "Call Mom")
    _, memory = step(memory, "")
    again, _ = step(memory, "Call Mom")
    assert again[0].event_id != first[0].event_id


def test_what_may_be_out_is_sent_again_under_the_same_id() -> None:
    first, in_doubt = begin(Memory(), read("Call Mom"), modified_ms=NOW_MS)
    again, _ = begin(in_doubt, read("Call Mom"), modified_ms=NOW_MS)
    assert [signal.event_id for signal in first] == [signal.event_id for signal in again]


def test_the_same_difference_has_the_same_ids_whenever_it_is_found() -> None:
    _, memory = step(Memory(), "Call Mom")
    one, _ = step(memory, "(A) Call Mom\nPay rent", modified_ms=NOW_MS + MINUTE_MS)
    two, _ = step(memory, "(A) Call Mom\nPay rent", modified_ms=NOW_MS + 2 * MINUTE_MS)
    assert [signal.event_id for signal in one] == [signal.event_id for signal in two]


def test_what_is_there_and_cannot_be_read_is_not_absent() -> None:
    both = read("Call Mom\nPay rent")
    _, memory = step(Memory(), both)
    mom, rent = (signal.task_upserted.external_id for signal in both.signals)
    assert step(memory, Parsed((), unread=(f"task:{mom}",)))[0][0].task_removed.external_id == rent


def test_completed_and_removed_are_not_the_same_content() -> None:
    _, memory = step(Memory(), "Call Mom")
    removed, _ = step(memory, "")
    completed, _ = step(memory, "x Call Mom")
    assert removed[0].event_id != completed[0].event_id


def test_event_time_never_goes_back_in_one_file() -> None:
    # A file restored from a backup carries its old time; the last writer would not win with it.
    _, memory = step(Memory(), "Call Mom", modified_ms=NOW_MS)
    signals, _ = step(memory, "(A) Call Mom", modified_ms=NOW_MS - 60 * MINUTE_MS)
    assert signals[0].event_time.ToMilliseconds() == NOW_MS


def test_a_file_from_the_future_speaks_now() -> None:
    now_ms = NOW_MS
    signals, _ = step(Memory(), "Call Mom", modified_ms=NOW_MS + 60 * MINUTE_MS, now_ms=now_ms)
    assert signals[0].event_time.ToMilliseconds() == now_ms


def ics(*events: str) -> Parsed:
    text = "\r\n".join(["BEGIN:VCALENDAR", *events, "END:VCALENDAR", ""])
    return ical.parse(text.encode(), user_id="ann", zone=ZoneInfo("UTC"), now=NOW, modified=NOW)


def event(uid: str, start: str, *, modified: str = "20261120T090000Z") -> str:
    lines = [
        "BEGIN:VEVENT",
        f"UID:{uid}",
        f"LAST-MODIFIED:{modified}",
        f"DTSTART:{start}",
        "DURATION:PT1H",
        "SUMMARY:Talk",
    ]
    return "\r\n".join([*lines, "END:VEVENT"])


def test_an_event_that_is_deleted_is_removed() -> None:
    _, memory = step(Memory(), ics(event("1", "20261124T090000Z"), event("2", "20261124T090000Z")))
    signals, _ = step(memory, ics(event("2", "20261124T090000Z")))
    assert said(signals) == ["calendar_event_removed"]
    assert signals[0].calendar_event_removed.external_id == "1"


def test_an_event_that_is_over_leaves_the_window_without_a_word() -> None:
    _, memory = step(Memory(), ics(event("1", "20261123T110000Z"), event("2", "20261124T090000Z")))
    later_ms = NOW_MS + 2 * 24 * 60 * MINUTE_MS
    signals, memory = step(memory, ics(event("2", "20261124T090000Z")), now_ms=later_ms)
    assert signals == []
    assert list(memory.items) == ["event:2"]


def test_an_event_restored_with_its_old_time_still_wins_over_its_removal() -> None:
    _, memory = step(Memory(), ics(event("1", "20261124T090000Z")))
    removed, memory = step(memory, ics(), modified_ms=NOW_MS + MINUTE_MS)
    restored, _ = step(memory, ics(event("1", "20261124T090000Z")), modified_ms=NOW_MS + 2 * MINUTE_MS)
    assert restored[0].event_time.ToMilliseconds() >= removed[0].event_time.ToMilliseconds()


# A model: whatever a person does to a file, and wherever a crash falls, the receiver ends with what the file says.

lines = st.sampled_from(
    [
        "Call Mom",
        "(A) Call Mom",
        "x Call Mom",
        "Pay rent",
        "x Pay rent",
        "Pay rent due:2026-11-30",
        "Run id:1",
        "Walk id:1",
    ]
)


@given(
    st.lists(
        st.tuples(st.lists(lines, max_size=4), st.sampled_from(["acknowledged", "lost", "cut", "never"])),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_edited_and_whenever_it_crashes_the_receiver_ends_with_what_the_file_says(
    edits: list[tuple[list[str], str]],
) -> None:
    memory, seen_ids = Memory(), set[str]()
    tasks: dict[str, tuple[tuple[int, int], bytes | None]] = {}
    offset = 0
    edits = [*edits, (edits[-1][0], "acknowledged")]
    for number, (text, fate) in enumerate(edits):
        text_read = read("\n".join(text), modified_ms=NOW_MS + number * MINUTE_MS)
        signals, in_doubt = begin(memory, text_read, modified_ms=NOW_MS + number * MINUTE_MS)
        # The crash comes before anything is sent, when half of it is out, when all is, or not at all.
        memory = settled(in_doubt) if fate == "acknowledged" else memory if fate == "never" else in_doubt
        for signal in signals[: {"never": 0, "cut": len(signals) // 2}.get(fate)]:
            if signal.event_id in seen_ids:
                continue  # The door drops what it has seen.
            seen_ids.add(signal.event_id)
            offset += 1
            payload = signal.WhichOneof("payload") or ""
            key = getattr(signal, payload).external_id
            written = (signal.event_time.ToMilliseconds(), offset)
            if key not in tasks or written > tasks[key][0]:
                content = signal.task_upserted.SerializeToString() if payload == "task_upserted" else None
                tasks[key] = (written, content)
    expected = {
        signal.task_upserted.external_id: signal.task_upserted.SerializeToString()
        for signal in read("\n".join(edits[-1][0])).signals
        if signal.HasField("task_upserted")
    }
    assert {key: content for key, (_, content) in tasks.items() if content is not None} == expected


# The same task under another line


DATA = Path(__file__).parents[1] / "data"
LATE = {"patience": Patience(line_ms=10_000, emptied_ms=600_000)}


def look(
    memory: Memory, text: str | Parsed, *, at_ms: int, elsewhere: frozenset[str] = frozenset()
) -> tuple[list[Signal], Memory]:
    """As `oo watch` looks: at the moment at which the file was written, believing in absence late."""
    parsed = text if isinstance(text, Parsed) else read(text, modified_ms=at_ms)
    signals, memory = differences(
        memory, parsed, user_id="ann", modified_ms=at_ms, now_ms=at_ms, removals=True, elsewhere=elsewhere, **LATE
    )
    return signals, settled(memory)


def test_tags_that_tools_write_and_a_context_more_are_no_other_tasks() -> None:
    first, memory = look(Memory(), (DATA / "tools-before.txt").read_text(), at_ms=NOW_MS)
    second, memory = look(memory, (DATA / "tools-after.txt").read_text(), at_ms=NOW_MS + MINUTE_MS)
    # The third is told under its own id too, and says nothing new.
    assert said(second) == ["task_upserted"] * 3
    ids = [signal.task_upserted.external_id for signal in first]
    assert [signal.task_upserted.external_id for signal in second] == [ids[0], ids[1], ids[3]]
    # And they stay known under what their lines say by now.
    assert look(memory, (DATA / "tools-after.txt").read_text(), at_ms=NOW_MS + 30 * MINUTE_MS)[0] == []


def test_what_only_tools_changed_does_not_outrank_what_the_person_said_since() -> None:
    first, memory = look(Memory(), "Write report pm:1", at_ms=NOW_MS)
    second, memory = look(memory, "Write report pm:2", at_ms=NOW_MS + MINUTE_MS)
    assert second[0].event_time == first[0].event_time
    third, _ = look(memory, "(A) Write report pm:2", at_ms=NOW_MS + 2 * MINUTE_MS)
    assert third[0].event_time.ToMilliseconds() == NOW_MS + 2 * MINUTE_MS


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("Draft talk", "Draft a talk", True),
        ("Call mum", "x 2026-11-23 Call mom @phone", True),
        ("Call mum", "Call Mum +family p:2 tmr:on", True),
        ("Read chapter 3", "Read chapter 4", False),
        ("Call Bob", "Call Tom", False),
        ("Pay rent", "Water the plants", False),
    ],
)
def test_a_small_edit_is_the_same_task_and_another_text_another(before: str, after: str, *, same: bool) -> None:
    first, memory = look(Memory(), before, at_ms=NOW_MS)
    second, _ = look(memory, after, at_ms=NOW_MS + MINUTE_MS)
    payload = second[0].WhichOneof("payload") or ""
    assert (getattr(second[0], payload).external_id == first[0].task_upserted.external_id) == same


def test_of_many_like_lines_each_stays_its_own_task() -> None:
    names = [f"Read book number {number}" for number in range(60)]
    first, memory = look(Memory(), "\n".join(names), at_ms=NOW_MS)
    second, _ = look(memory, "\n".join(f"{name} pm:1" for name in names[1:]), at_ms=NOW_MS + MINUTE_MS)
    assert [s.task_upserted.external_id for s in second] == [s.task_upserted.external_id for s in first[1:]]


def test_a_line_that_went_to_the_archive_since_is_completed_and_one_that_was_deleted_is_not() -> None:
    _, memory = look(Memory(), "Call Mom pm:1\nPay rent\nRun", at_ms=NOW_MS)
    archived = todo_txt.completions(b"x 2026-11-23 Call Mom pm:4 @phone\nx 2025-01-01 Pay rent", zone=ZoneInfo("UTC"))
    parsed = replace(read("Run"), archived=archived)
    done, memory = look(memory, parsed, at_ms=NOW_MS + MINUTE_MS)
    assert said(done) == ["task_completed"]
    removed, _ = look(memory, parsed, at_ms=NOW_MS + 2 * MINUTE_MS)
    assert said(removed) == ["task_removed"]


def test_absence_is_believed_late_and_later_still_where_nothing_is_left() -> None:
    _, memory = look(Memory(), "Call Mom\nPay rent", at_ms=NOW_MS)
    for text, believed_ms in (("Call Mom", 10_000), ("", 600_000)):
        signals, doubted = look(memory, text, at_ms=NOW_MS + MINUTE_MS)
        assert (signals, doubted.doubtful) == ([], True)
        assert look(doubted, text, at_ms=NOW_MS + MINUTE_MS + believed_ms - 1)[0] == []
        assert "task_removed" in said(look(doubted, text, at_ms=NOW_MS + MINUTE_MS + believed_ms)[0])
        back, memory = look(doubted, "Call Mom\nPay rent", at_ms=NOW_MS + 2 * MINUTE_MS)
        assert (back, memory.doubtful) == ([], False)


@pytest.mark.parametrize("calendar", [True, False])
def test_what_was_away_and_comes_back_has_the_time_of_its_first_word(*, calendar: bool) -> None:
    first_text: str | Parsed = ics(event("1", "20261124T090000Z")) if calendar else "Call Mom"
    nothing: str | Parsed = ics() if calendar else ""
    first, memory = look(Memory(), first_text, at_ms=NOW_MS)
    _, memory = look(memory, nothing, at_ms=NOW_MS + MINUTE_MS)
    away, memory = look(memory, nothing, at_ms=NOW_MS + 30 * MINUTE_MS)
    back, _ = look(memory, first_text, at_ms=NOW_MS + 40 * MINUTE_MS)
    assert [s.event_time for s in (*away, *back)] == [first[0].event_time] * 2
    assert len({s.event_id for s in (*first, *away, *back)}) == 3


def test_what_stands_in_another_file_is_not_taken_away_until_it_leaves_that_too() -> None:
    both = ics(event("meet", "20261124T090000Z"), event("home", "20261124T110000Z"))
    _, memory = look(Memory(), both, at_ms=NOW_MS)
    alone = ics(event("home", "20261124T110000Z"))
    _, memory = look(memory, alone, at_ms=NOW_MS + MINUTE_MS)
    there = frozenset({"event:meet"})
    signals, memory = look(memory, alone, at_ms=NOW_MS + 30 * MINUTE_MS, elsewhere=there)
    assert (signals, memory.doubtful) == ([], True)
    assert said(look(memory, alone, at_ms=NOW_MS + 31 * MINUTE_MS)[0]) == ["calendar_event_removed"]


def test_a_file_from_before_2000_speaks_now() -> None:
    signals, _ = look(Memory(), read("(A) Buy milk", modified_ms=0), at_ms=NOW_MS)
    assert signals[0].event_time.ToMilliseconds() == NOW_MS


def test_the_oldest_time_that_is_sent_is_the_oldest_that_the_door_takes() -> None:
    assert EVENT_MS_MIN == message_rules.EVENT_MS_MIN


def test_what_did_not_fit_at_first_is_sent_once_there_is_room() -> None:
    names = [f"Read book number {number}" for number in range(299)] + ["(A) Call the dentist"]
    first, memory = look(Memory(), "\n".join(names), at_ms=NOW_MS)
    assert (len(first), waiting(read("\n".join(names)), memory)) == (256, 44)
    assert "Call the dentist" in [signal.task_upserted.title for signal in first]
    ticked = [f"x {name}" for name in names[:100]] + names[100:]
    second, memory = look(memory, "\n".join(ticked), at_ms=NOW_MS + MINUTE_MS)
    assert sum(not item.gone for item in memory.items.values()) == 200
    # First what makes room, then what needs it.
    assert said(second) == sorted(said(second), key=["task_completed", "task_upserted"].index)


def test_events_that_do_not_fit_are_sent_once_others_have_gone() -> None:
    signals = tuple(_numbered(ics(event("1", "20261124T090000Z")).signals[0], f"{n}") for n in range(300))
    first, memory = look(Memory(), Parsed(signals=signals), at_ms=NOW_MS)
    assert len(first) == 256
    left = Parsed(signals=signals[100:])
    _, memory = look(memory, left, at_ms=NOW_MS + MINUTE_MS)
    _, memory = look(memory, left, at_ms=NOW_MS + 2 * MINUTE_MS)
    assert sum(not item.gone for item in memory.items.values()) == 200


def _numbered(signal: Signal, name: str) -> Signal:
    numbered = Signal()
    numbered.CopyFrom(signal)
    numbered.calendar_event_upserted.external_id = name
    return numbered
