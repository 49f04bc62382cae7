"""When a new decision is made, and when the one that stands is left alone."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

from agents import candidates
from agents.fold import PartitionState
from agents.step import NOTHING, STARTERS_GIVE_WAY, step
from oo.v1 import journal_pb2, row_pb2, signal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import backlog
from tables.row import spelled_out
from tables.taken import EVENT_KEY_MS, KEYS_MAX, SOURCES_MAX
from tests.agents.build import (
    BLUNT,
    MONDAY_MS,
    PRIOR,
    REACTIONS_ID,
    SIGNALS_ID,
    Person,
    active,
    activity,
    chosen,
    completed,
    entry,
    event,
    event_removed,
    frozen,
    profile,
    reaction,
    removed,
    task,
    tick,
    trigger,
    versions,
)
from tests.agents.build import candidates as written


def person_with_task_on_show(*, seen: bool = True) -> Person:
    """Ada's tip is task a; by default her client has displayed it."""
    ada = Person(policy=BLUNT)
    assert chosen(ada.take(task("a", priority=1)).decision) == "task:todo.txt/a"
    if seen:
        ada.react("SEEN")
    return ada


# When a new decision is made


def test_the_first_record_of_a_person_brings_a_tip() -> None:
    assert trigger(Person().take(activity())) == "NO_TIP"


def test_a_tip_that_ran_out_is_replaced_at_its_tick() -> None:
    ada = person_with_task_on_show(seen=False)
    assert ada.now.next_wake_ms == ada.now.current_valid_until_ms
    assert trigger(ada.wait(4 * HOUR_MS)) == "RAN_OUT"


def test_a_tip_that_ran_out_is_replaced_by_any_record_that_comes_first() -> None:
    ada = person_with_task_on_show()
    assert trigger(ada.take(activity(), after_ms=5 * HOUR_MS)) == "RAN_OUT"


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("gone", [completed("a"), removed("a")], ids=["completed", "removed"])
def test_a_tip_whose_task_is_gone_is_replaced_even_under_their_eyes(*, seen: bool, gone: signal_pb2.Signal) -> None:
    assert trigger(person_with_task_on_show(seen=seen).take(gone)) == "BECAME_WRONG"


def test_a_tip_whose_task_was_snoozed_through_an_older_decision_became_wrong() -> None:
    ada = person_with_task_on_show()
    older = ada.current
    ada.take(activity(), after_ms=5 * HOUR_MS)
    assert chosen(ada.log[-1][1].decision) == "task:todo.txt/a"
    assert trigger(ada.react("SNOOZE", decision_id=older)) == "BECAME_WRONG"


@pytest.mark.parametrize("kind", ["DONE", "SNOOZE", "DISMISS"])
def test_a_reaction_brings_the_next_tip_at_once(kind: str) -> None:
    assert trigger(person_with_task_on_show().react(kind)) == "REACTION"


@pytest.mark.parametrize("kind", ["DONE", "SNOOZE", "DISMISS"])
def test_what_was_reacted_to_is_not_the_next_tip(kind: str) -> None:
    ada = person_with_task_on_show()
    assert chosen(ada.react(kind).decision) != "task:todo.txt/a"


def test_a_new_task_changes_a_tip_that_nobody_has_seen() -> None:
    assert trigger(person_with_task_on_show(seen=False).take(task("b"))) == "SLATE_CHANGED"


def test_a_task_due_within_two_hours_changes_even_a_seen_tip() -> None:
    ada = person_with_task_on_show()
    assert trigger(ada.take(task("b", due_ms=ada.time_ms + HOUR_MS))) == "URGENT_ARRIVAL"


def test_a_known_task_whose_due_date_moves_close_is_an_urgent_arrival() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("b", due_ms=MONDAY_MS + 5 * DAY_MS))
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    assert trigger(ada.take(task("b", due_ms=ada.time_ms + HOUR_MS))) == "URGENT_ARRIVAL"


@pytest.mark.parametrize("seen", [False, True])
def test_a_starter_tip_gives_way_to_the_first_thing_to_do_even_once_seen(*, seen: bool) -> None:
    ada = Person(policy=BLUNT)
    assert chosen(ada.take(activity()).decision).startswith("starter:")
    if seen:
        ada.react("SEEN")
    given = ada.take(task("a", priority=1))
    assert (trigger(given), chosen(given.decision)) == ("SLATE_CHANGED", "task:todo.txt/a")


def test_a_seen_starter_tip_stays_while_what_there_is_to_do_cannot_be_said() -> None:
    ada = Person(policy=BLUNT)
    ada.take(activity())
    ada.react("SEEN")
    ada.take(event("e", start_ms=MONDAY_MS, end_ms=MONDAY_MS + HOUR_MS))
    assert ada.take(task("a", minutes=60)).decision is None


def test_a_record_of_an_earlier_step_leaves_a_seen_starter_tip_as_it_did() -> None:
    ada = Person(policy=BLUNT)
    ada.take(activity())
    ada.react("SEEN")
    old = entry(task("a", priority=1), offset=9, time_ms=ada.time_ms + 1000)
    old.record.step_version = STARTERS_GIVE_WAY - 1
    assert ada.take_entry(old).decision is None


# When it is left alone


@pytest.mark.parametrize(
    "record",
    [
        task("b"),
        task("b", priority=1, due_ms=MONDAY_MS + 3 * DAY_MS),
        task("a", priority=4, title="Renamed"),
        removed("unknown"),
        completed("unknown"),
        event("e", start_ms=MONDAY_MS + HOUR_MS, end_ms=MONDAY_MS + 2 * HOUR_MS),
        event_removed("unknown"),
        activity(),
        profile("Europe/Berlin"),
        written("x", expires_ms=MONDAY_MS + DAY_MS),
    ],
    ids=lambda record: str(record.WhichOneof("payload") if isinstance(record, signal_pb2.Signal) else "candidates"),
)
def test_a_seen_tip_does_not_change_for_less(record: signal_pb2.Signal) -> None:
    assert person_with_task_on_show().take(record).decision is None


def test_seeing_a_tip_does_not_change_it() -> None:
    assert person_with_task_on_show(seen=False).react("SEEN").decision is None


def test_an_edit_of_a_task_that_was_urgent_before_is_no_arrival() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("b", due_ms=MONDAY_MS + HOUR_MS))
    ada.react("SEEN")
    assert ada.take(task("b", due_ms=MONDAY_MS + HOUR_MS, title="The same, better said")).decision is None


def test_the_same_task_told_again_does_not_change_an_unseen_tip() -> None:
    ada = person_with_task_on_show(seen=False)
    assert ada.take(task("a", priority=1)).decision is None


def test_an_urgent_task_that_is_snoozed_stays_quiet_when_it_is_edited() -> None:
    ada = person_with_task_on_show()
    ada.react("SNOOZE", until_ms=ada.time_ms + 10 * HOUR_MS)
    ada.react("SEEN")
    assert ada.take(task("a", due_ms=ada.time_ms + HOUR_MS)).decision is None


def test_a_tip_about_a_coming_event_ends_when_the_event_begins() -> None:
    ada = Person(policy=BLUNT)
    start_ms = MONDAY_MS + 20 * MINUTE_MS
    ada.take(event("dentist", start_ms=start_ms, end_ms=start_ms + HOUR_MS))
    for _ in range(8):
        said = next(o.decision for _, o in reversed(ada.log) if o.decision is not None)
        if chosen(said) == "starter:prepare":
            assert said.valid_until_ms == start_ms
            return
        ada.react("DISMISS")
    pytest.fail("the tip about the event never came")


def test_a_written_tip_ends_when_what_it_says_expires() -> None:
    ada = Person(policy=BLUNT)
    until_ms = MONDAY_MS + HOUR_MS
    said = ada.take(written("x", expires_ms=until_ms)).decision
    assert chosen(said) == "generated:x"
    assert said is not None
    assert said.valid_until_ms == until_ms


# Ticks


def test_a_tick_of_a_stranger_makes_no_row() -> None:
    assert step(None, entry(tick(MONDAY_MS), offset=1, time_ms=MONDAY_MS), PRIOR) == (None, NOTHING)


def test_a_tick_that_the_row_no_longer_waits_for_changes_nothing() -> None:
    ada = person_with_task_on_show()
    before = ada.row
    outputs = ada.take(tick(ada.now.next_wake_ms - 1), after_ms=9 * HOUR_MS)
    assert outputs == NOTHING
    assert ada.row is before


def test_a_tick_that_comes_before_its_time_changes_nothing() -> None:
    ada = person_with_task_on_show()
    before = ada.row
    outputs = ada.take(tick(ada.now.next_wake_ms))
    assert outputs == NOTHING
    assert ada.row is before


def test_a_tick_sent_twice_is_taken_once() -> None:
    ada = person_with_task_on_show(seen=False)
    due_ms = ada.now.next_wake_ms
    ada.wait(4 * HOUR_MS)
    before = ada.row
    assert ada.take(tick(due_ms)) == NOTHING
    assert ada.row is before


def test_the_next_wake_is_always_after_now() -> None:
    ada = Person()
    ada.take(task("a", due_ms=MONDAY_MS + HOUR_MS))
    for n in range(60):
        kind = ("SEEN", "DISMISS", "SEEN", "SNOOZE", "SEEN", "DONE")[n % 6]
        ada.react(kind, after_ms=7 * MINUTE_MS)
        assert ada.now.next_wake_ms > ada.now.now_ms
        if n % 4 == 3:
            ada.wait(ada.now.next_wake_ms - ada.time_ms)
            assert ada.now.next_wake_ms > ada.now.now_ms
        ada.take(task(f"n{n}"), after_ms=1)


def test_the_next_wake_is_after_now_under_a_configuration_that_gives_no_time_at_all() -> None:
    ada = Person(policy=active(tip_valid_ms=0, none_valid_ms=0, reaction_window_ms=0, snooze_default_ms=0))
    for n in range(20):
        ada.take(task(f"n{n}"))
        ada.react(("SEEN", "SNOOZE")[n % 2])
        assert ada.now.next_wake_ms > ada.now.now_ms


def test_a_snoozed_task_comes_back_when_its_time_is_up() -> None:
    ada = person_with_task_on_show()
    until_ms = ada.time_ms + 20 * MINUTE_MS
    ada.react("SNOOZE", until_ms=until_ms)
    assert ada.now.next_wake_ms == until_ms
    assert chosen(ada.wait(20 * MINUTE_MS).decision) == "task:todo.txt/a"


def test_a_snooze_into_the_past_means_the_default_hour() -> None:
    ada = person_with_task_on_show()
    ada.react("SNOOZE", until_ms=MONDAY_MS - DAY_MS)
    assert ada.now.tasks[0].quiet_until_ms == ada.now.now_ms + HOUR_MS


# Time


def test_time_never_runs_backwards_in_a_row() -> None:
    ada = person_with_task_on_show()
    now_ms = ada.now.now_ms
    ada.take(activity(), after_ms=-3 * HOUR_MS)
    assert ada.now.now_ms == now_ms


def test_a_copied_journal_decides_at_the_time_of_the_first() -> None:
    copied = entry(activity(), offset=3, time_ms=MONDAY_MS + 90 * DAY_MS)
    copied.record.now_ms = MONDAY_MS
    copied.record.source_time_ms = MONDAY_MS - 40
    row, outputs = step(None, copied, PRIOR)
    assert row is not None
    assert row.now_ms == MONDAY_MS
    assert outputs.decision is not None
    assert outputs.decision.latency_ms == 40


# The fence and duplicates


def test_a_record_below_the_fence_is_skipped() -> None:
    ada = person_with_task_on_show()
    before = ada.row
    assert ada.take_entry(entry(task("z"), offset=1, time_ms=ada.time_ms)) == NOTHING
    assert ada.row is before


def test_the_record_at_the_fence_gives_the_same_row_object_and_no_outputs() -> None:
    ada = person_with_task_on_show()
    before = ada.row
    assert ada.take_entry(ada.log[-1][0]) == NOTHING
    assert ada.row is before


@pytest.mark.parametrize("offset", [1, 2])
def test_the_fence_alone_holds_back_what_no_rule_about_duplicates_knows(offset: int) -> None:
    # Tips from a language model have neither a source position nor a producer's id.
    ada = Person()
    ada.take(activity())
    ada.take(written("x", expires_ms=MONDAY_MS + DAY_MS))
    before = ada.row
    again = entry(written("y", expires_ms=MONDAY_MS + DAY_MS), offset=offset, time_ms=ada.time_ms)
    assert ada.take_entry(again) == NOTHING
    assert ada.row is before


def test_an_offset_of_another_journal_is_not_below_the_fence() -> None:
    ada = person_with_task_on_show()
    ada.take_entry(entry(task("b"), offset=0, time_ms=ada.time_ms, topic_id=b"K" * 16, source_offset=99))
    assert (ada.now.topic_id, ada.now.journal_offset) == (b"K" * 16, 0)


def test_a_signal_journaled_again_at_a_new_offset_counts_once() -> None:
    # A crash between the door's produce and its commit.
    ada = person_with_task_on_show(seen=False)
    ada.take(completed("a"))
    before = ada.row
    assert ada.take(task("a", priority=1), source_offset=1) == NOTHING
    assert ada.row is before


def test_a_reaction_journaled_again_at_a_new_offset_counts_once() -> None:
    ada = person_with_task_on_show()
    tip = ada.current
    ada.react("DISMISS", source_offset=50)
    before = frozen(ada.row)
    assert ada.react("DISMISS", decision_id=tip, source_offset=50) == NOTHING
    assert frozen(ada.row) == before


def test_signals_and_reactions_of_the_same_offset_are_two_records() -> None:
    ada = Person()
    ada.take(task("a"), source_offset=7)
    ada.react("SEEN", source_offset=7)
    assert {position.topic_id for position in ada.now.sources} == {SIGNALS_ID, REACTIONS_ID}


def test_source_partitions_do_not_hide_each_other() -> None:
    ada = Person()
    ada.take(task("a"), source_offset=1000, partition=0)
    assert ada.take(task("b"), source_offset=5, partition=3) != NOTHING
    assert [t.external_id for t in ada.now.tasks] == ["a", "b"]


def test_a_source_topic_made_anew_starts_again_at_zero() -> None:
    ada = Person()
    ada.take(task("a"), source_offset=1000)
    again = entry(task("b"), offset=2, time_ms=ada.time_ms, source_offset=0)
    again.record.source.topic_id = b"T" * 16
    ada.take_entry(again)
    assert len(ada.now.tasks) == 2


def test_an_event_that_its_producer_sends_twice_counts_once() -> None:
    ada = person_with_task_on_show(seen=False)
    ada.take(removed("a"), event_id="one")
    ada.take(task("a"), event_id="two")
    before = frozen(ada.row)
    assert ada.take(removed("a"), event_id="one") == NOTHING
    assert frozen(ada.row) == before


def test_a_producers_duplicate_is_known_for_seven_days() -> None:
    ada = Person()
    ada.take(task("a"), event_id="one")
    assert ada.take(task("a"), event_id="one", after_ms=EVENT_KEY_MS) == NOTHING
    assert ada.take(task("a"), event_id="one", after_ms=DAY_MS) != NOTHING


def test_a_producers_duplicate_is_known_for_256_ids() -> None:
    ada = Person()
    for n in range(KEYS_MAX + 1):
        ada.take(activity(), event_id=f"e{n}")
    assert sum(len(day.keys) for day in ada.now.event_keys) == KEYS_MAX
    before = ada.row
    ada.take(activity(), event_id="e1")
    assert ada.row is before
    ada.take(activity(), event_id="e0")
    assert ada.row is not before


def test_producers_ids_of_more_than_seven_days_ago_leave_the_row() -> None:
    ada = Person()
    ada.take(activity(), event_id="one")
    ada.take(activity(), event_id="two", after_ms=EVENT_KEY_MS + DAY_MS)
    assert [len(day.keys) for day in ada.now.event_keys] == [1]


def test_source_partitions_are_remembered_up_to_64() -> None:
    ada = Person()
    for number in range(SOURCES_MAX + 10):
        ada.take(activity(), partition=number)
    assert [position.partition for position in ada.now.sources] == list(range(10, SOURCES_MAX + 10))


def test_a_partition_puts_the_row_at_the_fence_again() -> None:
    partition = PartitionState(partition=0, versions=versions())
    one = entry(task("a"), offset=5, time_ms=MONDAY_MS)
    partition.apply(one)
    written = dict(partition.changed())
    partition.acknowledge()
    assert partition.apply(one) == NOTHING
    assert dict(partition.changed()) == written


def test_a_partition_does_not_put_a_row_that_a_record_below_the_fence_left_alone() -> None:
    partition = PartitionState(partition=0, versions=versions())
    for offset in (5, 6):
        partition.apply(entry(activity(), offset=offset, time_ms=MONDAY_MS))
    partition.acknowledge()
    partition.apply(entry(activity(), offset=5, time_ms=MONDAY_MS))
    assert dict(partition.changed()) == {}


# The last writer wins


def test_an_older_upsert_does_not_overwrite_a_newer_one() -> None:
    ada = Person()
    ada.take(task("a", title="New"), event_ms=MONDAY_MS)
    ada.take(task("a", title="Old"), event_ms=MONDAY_MS - 1)
    assert ada.now.tasks[0].title == "New"


def test_of_two_upserts_of_the_same_time_the_greater_source_offset_wins() -> None:
    ada = Person()
    ada.take(task("a", title="First"), event_ms=MONDAY_MS, source_offset=8)
    ada.take(task("a", title="Second"), event_ms=MONDAY_MS, source_offset=9)
    assert ada.now.tasks[0].title == "Second"


def test_of_two_upserts_of_the_same_time_and_offset_in_two_partitions_the_later_in_the_journal_wins() -> None:
    ada = Person()
    ada.take(task("a", title="First"), event_ms=MONDAY_MS, source_offset=8, partition=0)
    ada.take(task("a", title="Second"), event_ms=MONDAY_MS, source_offset=8, partition=1)
    assert ada.now.tasks[0].title == "Second"


def test_an_older_upsert_does_not_bring_a_removed_task_back() -> None:
    ada = Person()
    ada.take(removed("a"), event_ms=MONDAY_MS)
    ada.take(task("a"), event_ms=MONDAY_MS - 1)
    assert not ada.now.tasks


def test_a_newer_upsert_brings_a_removed_task_back() -> None:
    ada = Person()
    ada.take(removed("a"), event_ms=MONDAY_MS)
    ada.take(task("a"), event_ms=MONDAY_MS + 1)
    assert len(ada.now.tasks) == 1
    assert not ada.now.tombstones


def test_an_older_removal_does_not_take_a_newer_task_away() -> None:
    ada = Person()
    ada.take(task("a"), event_ms=MONDAY_MS)
    ada.take(removed("a"), event_ms=MONDAY_MS - 1)
    assert len(ada.now.tasks) == 1


def test_a_removed_event_does_not_come_back_with_an_older_upsert() -> None:
    ada = Person()
    ada.take(event_removed("e"), event_ms=MONDAY_MS)
    ada.take(event("e", start_ms=MONDAY_MS + DAY_MS, end_ms=MONDAY_MS + DAY_MS), event_ms=MONDAY_MS - 1)
    assert not ada.now.events


def test_the_same_id_from_two_sources_is_two_tasks() -> None:
    ada = Person()
    ada.take(task("a", source="todo.txt"))
    ada.take(task("a", source="ical"))
    ada.take(removed("a", source="ical"))
    assert [t.source for t in ada.now.tasks] == ["todo.txt"]


def test_an_update_keeps_what_the_person_did_with_the_task() -> None:
    ada = person_with_task_on_show()
    ada.react("SNOOZE", until_ms=ada.time_ms + DAY_MS)
    ada.take(task("a", title="Renamed"))
    kept = ada.now.tasks[0]
    assert (kept.title, kept.shown, kept.snoozed) == ("Renamed", 1, 1)
    assert kept.quiet_until_ms > ada.now.now_ms


# What a tip says


def test_a_task_of_a_source_without_a_name_can_be_reacted_to() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("x/y//z", source="", priority=1))
    assert ada.now.current_candidate == "task:/x/y//z"
    ada.react("DONE")
    assert not ada.now.tasks


def test_saying_nothing_is_a_tip_without_a_decision_id() -> None:
    ada = Person(policy=BLUNT)
    ada.take(activity())
    for _ in range(5):
        ada.react("DONE")
        if ada.now.current_candidate == candidates.NONE_ID:
            break
    tip = ada.log[-1][1].tip
    assert tip is not None
    assert (tip.decision_id, tip.title, list(tip.why)) == ("", "", [])


def test_emoji_and_right_to_left_titles_come_out_as_they_went_in() -> None:
    title = "קנה חלב 👩‍👩‍👧‍👦 لبن"
    tip = Person(policy=BLUNT).take(task("a", title=title, priority=1)).tip
    assert tip is not None
    assert tip.title == title


def test_a_task_due_in_the_first_or_last_years_of_the_calendar_is_no_trouble() -> None:
    for seconds in (-62_135_596_800, 253_402_300_799):
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            ada = Person(policy=BLUNT)
            ada.take(profile(zone))
            far = task("a", priority=1)
            far.task_upserted.due.seconds = seconds
            assert ada.take(far).tip is not None


# Bounds


def test_of_ten_thousand_tasks_the_256_best_stay_and_every_other_is_handed_back() -> None:
    ada = Person(policy=BLUNT)
    handed_back = []
    total = 10_000
    # A step copies the row: fill it, then go on through the backlog alone.
    for n in range(300):
        handed_back += ada.take(task(f"t{n}", priority=1 + n % 4)).overflows
    row = row_pb2.UserRow()
    row.CopyFrom(ada.now)
    items = backlog.read(row)
    for n in range(300, total):
        signal = task(f"t{n}", priority=1 + n % 4)
        stamp = backlog.Stamp(time_ms=MONDAY_MS + n, offset=n)
        found = backlog.upsert_task(row, items, signal.task_upserted, source="todo.txt", stamp=stamp)
        if found.overflow is not None:
            handed_back.append(found.overflow)
    backlog.write(items, row)
    row = spelled_out(row)
    assert len(row.tasks) == backlog.TASKS_MAX
    assert {one.reason for one in handed_back} == {"backlog-full"}
    known = {t.external_id for t in row.tasks} | {o.signal.task_upserted.external_id for o in handed_back}
    assert known == {f"t{n}" for n in range(total)}
    assert len(handed_back) == total - backlog.TASKS_MAX == row.tasks_refused
    assert {t.priority for t in row.tasks} == {1}


def test_a_task_that_finds_no_place_is_handed_back_whole() -> None:
    ada = Person(policy=BLUNT)
    for n in range(backlog.TASKS_MAX):
        ada.take(task(f"t{n}", priority=1))
    refused = task("late", notes="n" * 4000, labels=[f"l{n}" for n in range(32)], due_ms=MONDAY_MS + DAY_MS)
    (overflow,) = ada.take(refused).overflows
    assert overflow.signal.task_upserted == refused.task_upserted


def test_a_full_calendar_keeps_the_256_next_events_and_hands_back_the_rest() -> None:
    ada = Person(policy=BLUNT)
    handed_back = []
    for n in range(300):
        start_ms = MONDAY_MS + (300 - n) * HOUR_MS
        handed_back += ada.take(event(f"e{n}", start_ms=start_ms, end_ms=start_ms)).overflows
    assert len(ada.now.events) == backlog.EVENTS_MAX
    assert [o.reason for o in handed_back] == ["calendar-full"] * 44
    known = {e.external_id for e in ada.now.events}
    known |= {o.signal.calendar_event_upserted.external_id for o in handed_back}
    assert len(known) == 300
    assert [e.start_ms for e in ada.now.events] == sorted(e.start_ms for e in ada.now.events)


def test_an_event_that_finds_no_place_changes_nothing_for_an_unseen_tip() -> None:
    ada = Person(policy=BLUNT)
    for n in range(backlog.EVENTS_MAX):
        ada.take(event(f"e{n}", start_ms=MONDAY_MS + DAY_MS, end_ms=MONDAY_MS + DAY_MS), after_ms=1)
    outputs = ada.take(event("late", start_ms=MONDAY_MS + 2 * DAY_MS, end_ms=MONDAY_MS + 2 * DAY_MS))
    assert [one.reason for one in outputs.overflows] == ["calendar-full"]
    assert outputs.decision is None


def test_tombstones_are_bounded() -> None:
    ada = Person(policy=BLUNT)
    for n in range(backlog.TOMBSTONES_MAX + 20):
        ada.take(removed(f"t{n}"))
    assert len(ada.now.tombstones) == backlog.TOMBSTONES_MAX


def test_written_tips_are_bounded_in_number_and_length() -> None:
    ada = Person(policy=BLUNT)
    long = written(*(f"w{n}" for n in range(100)), expires_ms=MONDAY_MS + DAY_MS)
    for tip in long.tips:
        tip.title, tip.detail = "t" * 100_000, "d" * 100_000
    ada.take(long)
    assert len(ada.now.generated) == candidates.GENERATED_MAX
    assert len(frozen(ada.row)) < 64 * 1024


@cache
def fullest() -> Person:
    """Everything at its maximum, in characters of four bytes."""
    wide = "\U0001f600"
    ada = Person(policy=BLUNT)
    for n in range(backlog.TASKS_MAX):
        ada.take(
            task(
                f"{n:04d}" + wide * 252,
                title=wide * 500,
                priority=1,
                due_ms=MONDAY_MS + 30 * DAY_MS,
                source="s" * 64,
                notes=wide * 4000,
                url="https://" + wide * 498,
                labels=[wide * 64] * 32,
            ),
            event_id=f"t{n}",
            partition=n,
        )
    for n in range(backlog.EVENTS_MAX):
        start_ms = MONDAY_MS + 30 * DAY_MS
        ada.take(
            event(f"{n:04d}" + wide * 252, title=wide * 500, start_ms=start_ms, end_ms=start_ms, source="s" * 64),
            event_id=f"e{n}",
        )
    ada.take(written(*(f"{n:04d}" + wide * 252 for n in range(16)), expires_ms=MONDAY_MS + DAY_MS))
    for n in range(backlog.TOMBSTONES_MAX):
        ada.take(removed(f"r{n}"))
    for n in range(40):
        ada.react(("SEEN", "SNOOZE", "SEEN", "DISMISS")[n % 4], after_ms=11 * MINUTE_MS)
    return ada


def test_a_row_with_everything_at_its_maximum_stays_below_the_topics_4_mib() -> None:
    ada = fullest()
    assert len(ada.now.tasks) == backlog.TASKS_MAX
    assert len(frozen(ada.row)) < 4 * 1024 * 1024 - 1024


def test_a_decision_over_the_fullest_row_stays_below_256_kib() -> None:
    assert max(one.ByteSize() for one in fullest().packed) < 256 * 1024


# Purity


def test_a_step_never_changes_the_row_it_is_given() -> None:
    ada = Person()
    for record in (task("a"), event("e", start_ms=MONDAY_MS, end_ms=MONDAY_MS + HOUR_MS), task("b", priority=2)):
        ada.take(record)
    for payload in (
        reaction(ada.current, "SEEN"),
        reaction(ada.current, "DONE"),
        task("a", title="Renamed"),
        removed("a"),
        profile("Asia/Tokyo"),
        written("x", expires_ms=MONDAY_MS + DAY_MS),
        tick(ada.now.next_wake_ms),
    ):
        given = ada.now
        before = frozen(given)
        step(given, entry(payload, offset=99, time_ms=MONDAY_MS + 9 * HOUR_MS), PRIOR)
        assert frozen(given) == before


def test_a_step_never_changes_the_record_it_is_given() -> None:
    one = entry(task("a", title="  two\nlines "), offset=1, time_ms=MONDAY_MS)
    before = one.record.SerializeToString(deterministic=True)
    step(None, one, PRIOR)
    assert one.record.SerializeToString(deterministic=True) == before


def test_the_next_record_does_not_change_what_was_said_before() -> None:
    ada = Person()
    first = ada.take(task("a")).decision
    assert first is not None
    before = first.SerializeToString(deterministic=True)
    ada.react("SEEN")
    ada.react("DONE")
    assert first.SerializeToString(deterministic=True) == before


def test_the_same_row_and_record_give_the_same_bytes() -> None:
    rows = []
    for _ in range(2):
        ada = Person()
        for n in range(12):
            ada.take(task(f"t{n}", priority=n % 5))
        ada.react("DONE")
        rows.append((frozen(ada.row), [o.decision for _, o in ada.log]))
    assert rows[0] == rows[1]


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_pythons_hash_seed_changes_nothing(seed: str) -> None:
    program = (
        "import hashlib\n"
        "from tests.agents.build import *\n"
        "p = Person()\n"
        "for n in range(12): p.take(task(f't{n}', priority=n % 5, labels=['x', 'y'])); p.react('SNOOZE')\n"
        "said = [o.decision.SerializeToString(deterministic=True) for _, o in p.log if o.decision]\n"
        "print(hash('x') % 997, hashlib.sha256(frozen(p.row) + b''.join(said)).hexdigest())\n"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": one}, capture_output=True, text=True, check=True
        ).stdout.split()
        for one in ("0", seed)
    ]
    assert prints[0][0] != prints[1][0], "the seed did not take effect"
    assert prints[0][1] == prints[1][1]


def test_a_mark_or_an_empty_record_leaves_a_person_alone() -> None:
    for payload in ({}, {"sealed": b"x"}, {"mark": journal_pb2.Mark(sequence=1)}):
        one = entry(activity(), offset=1, time_ms=MONDAY_MS)
        one.record.ClearField("signal")
        one.record.MergeFrom(journal_pb2.JournalRecord(**payload))
        assert step(None, one, PRIOR) == (None, NOTHING)
