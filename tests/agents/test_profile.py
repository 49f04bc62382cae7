"""The person's settings: each by its own last word, and none wiped by another."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.profile import apply, consents
from oo.v1 import decision_pb2, row_pb2, settings_pb2, signal_pb2
from streams.units import DAY_MS, HOUR_MS
from tables.backlog import Stamp
from tests.agents.build import BLUNT, MONDAY_MS, Person, activity, erasure, profile, task, withdrawn

TASK, GENERATED = decision_pb2.Decision.TASK, decision_pb2.Decision.GENERATED


def test_a_setting_that_is_not_named_stays_as_it_was() -> None:
    ada = Person()
    ada.take(profile("Europe/Berlin", quiet=(1320, 420), tips_per_day=9))
    ada.take(profile(tips_per_hour=3))
    ada.take(profile("Asia/Tokyo"))
    stands = ada.now.profile
    assert stands.quiet_hours.start_minute == 1320
    assert (stands.tips_per_hour, stands.tips_per_day, ada.now.time_zone) == (3, 9, "Asia/Tokyo")


def test_a_profile_without_a_time_zone_leaves_the_clock_alone() -> None:
    ada = Person()
    ada.take(profile("Europe/Berlin"))
    ada.take(profile(task_tips=False))
    assert ada.now.time_zone == "Europe/Berlin"


def test_an_older_word_changes_nothing_for_its_setting_and_counts_for_others() -> None:
    ada = Person()
    ada.take(profile(tips_per_day=5), event_ms=MONDAY_MS)
    ada.take(profile(tips_per_day=50, tips_per_hour=2), event_ms=MONDAY_MS - HOUR_MS)
    assert (ada.now.profile.tips_per_day, ada.now.profile.tips_per_hour) == (5, 2)


def test_of_two_words_of_the_same_time_the_greater_source_offset_stands() -> None:
    ada = Person()
    ada.take(profile(tips_per_day=5), event_ms=MONDAY_MS, source_offset=9, partition=0)
    ada.take(profile(tips_per_day=6), event_ms=MONDAY_MS, source_offset=8, partition=1)
    assert ada.now.profile.tips_per_day == 5


BEFORE = {"step_version": 5}
"""Of records in which each kind of tips is a setting like others; from version 6 on see test_consents."""


def test_before_step_version_6_a_consent_of_a_clock_that_is_ahead_does_not_outlive_a_withdrawal() -> None:
    ada = Person()
    ada.take(profile(generated_tips=True), event_ms=MONDAY_MS + 20 * HOUR_MS, **BEFORE)
    ada.take(profile(generated_tips=False), **BEFORE)
    assert not consents(ada.now, GENERATED)


def test_before_step_version_6_consent_stands_until_it_is_withdrawn_and_again_once_it_is_given() -> None:
    ada = Person()
    ada.take(profile("UTC"), **BEFORE)
    assert consents(ada.now, GENERATED)
    ada.take(profile(generated_tips=False), **BEFORE)
    assert (consents(ada.now, GENERATED), consents(ada.now, TASK)) == (False, True)
    ada.take(profile(generated_tips=True), **BEFORE)
    assert consents(ada.now, GENERATED)


def test_a_person_who_set_nothing_has_nothing_of_it_in_their_row() -> None:
    ada = Person()
    ada.take(profile("Europe/Berlin"))
    assert not ada.now.HasField("profile")
    assert not ada.now.profile_stamps


def test_saying_the_same_again_is_no_change_of_the_slate() -> None:
    ada = Person(policy=BLUNT)
    ada.take(profile(tips_per_day=5))
    assert ada.take(profile(tips_per_day=5)).decision is None
    assert ada.take(profile(tips_per_day=6)).decision is not None


words = st.fixed_dictionaries(
    {},
    optional={
        "tips_per_hour": st.integers(0, 60),
        "task_tips": st.booleans(),
        "generated_tips": st.booleans(),
        "quiet_hours": st.builds(
            signal_pb2.QuietHours, start_minute=st.integers(0, 1439), end_minute=st.integers(0, 1440)
        ),
    },
)


@settings(max_examples=200, deadline=None)
@given(said=st.lists(st.tuples(st.integers(0, 3), words), max_size=8), chance=st.randoms(use_true_random=False))
def test_in_whatever_order_words_arrive_the_same_stands(*, said: list, chance: object) -> None:  # type: ignore[type-arg]
    def fold(order: list) -> row_pb2.UserRow:  # type: ignore[type-arg]
        row = row_pb2.UserRow(now_ms=MONDAY_MS + DAY_MS)
        for offset, (hour, one) in order:
            stamp = Stamp(time_ms=MONDAY_MS + hour * HOUR_MS, offset=offset)
            apply(row, signal_pb2.ProfileChanged(**one), stamp=stamp)
        return row

    numbered = list(enumerate(said))
    shuffled = list(numbered)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(numbered).profile == fold(shuffled).profile
    for name in ("tips_per_hour", "task_tips", "generated_tips", "quiet_hours"):
        last = max(
            ((hour, offset, one[name]) for offset, (hour, one) in numbered if name in one),
            key=lambda it: it[:2],
            default=None,
        )
        assert fold(numbered).profile.HasField(name) == (last is not None)
        if last is not None:
            assert getattr(fold(numbered).profile, name) == last[2]


@pytest.mark.parametrize("kind", [decision_pb2.Decision.TASK, decision_pb2.Decision.STARTER, GENERATED])
def test_there_is_a_consent_for_every_kind_of_tip(kind: int) -> None:
    assert consents(row_pb2.UserRow(), kind)


# What the person is shown


def settings_of(ada: Person) -> list[settings_pb2.Settings]:
    return [outputs.settings for _, outputs in ada.log if outputs.settings is not None]


def test_what_a_person_has_set_is_told_when_it_changes_and_not_before_nor_again() -> None:
    ada = Person()
    ada.take(activity())
    assert settings_of(ada) == []
    ada.take(profile("Europe/Berlin", tips_per_day=5))
    ada.take(profile("Europe/Berlin", tips_per_day=5))
    ada.take(task("a"))
    ada.take(withdrawn("calendar", word="w"))
    first, second = settings_of(ada)
    assert (first.time_zone, first.profile.tips_per_day, list(first.consents)) == ("Europe/Berlin", 5, [])
    assert (first.user_id, first.journal.offset, first.told_ms) == ("ada", 2, MONDAY_MS + 2000)
    assert [(one.granted, one.withdrawal) for one in second.consents] == [(False, "w")]
    assert second.journal.offset == 5


def test_what_was_set_before_step_version_6_is_told_with_the_next_record() -> None:
    ada = Person()
    ada.take(profile("Europe/Berlin", quiet=(1320, 420)), **BEFORE)
    assert settings_of(ada) == []
    ada.wait(HOUR_MS)
    ada.take(activity())
    (told,) = settings_of(ada)
    assert (told.time_zone, told.profile.quiet_hours.start_minute) == ("Europe/Berlin", 1320)


def test_of_who_leaves_nothing_is_told_but_from_where_on() -> None:
    ada = Person()
    ada.take(profile("Europe/Berlin", tips_per_day=5))
    ada.take(erasure("receipt-of-ada-1"))
    last = settings_of(ada)[-1]
    assert [field.name for field, _ in last.ListFields()] == ["user_id", "journal", "told_ms"]
