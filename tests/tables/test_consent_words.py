"""Words on purposes and sources: which of them stands, whatever order they come in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import NAMES
from oo.v1 import decision_pb2, settings_pb2, subject_request_pb2
from tables.consents import SOURCES_MAX, Consents, Word, find, grants, take, withdrawn_sources
from tables.purposes import BY_NAME, CALENDAR, EMAIL, LEARNING, PURPOSES, TASKS


def withdraws(word: str, *, purpose: int = CALENDAR, source: str = "") -> Word:
    return Word(0 if source else purpose, source, granted=False, id=word)  # type: ignore[arg-type]


def grants_again(word: str, *, knows_of: str, purpose: int = CALENDAR, source: str = "") -> Word:
    return Word(0 if source else purpose, source, granted=True, id=word, knows_of=knows_of)  # type: ignore[arg-type]


def said(*words: Word) -> Consents:
    stand: Consents = []
    for at, word in enumerate(words):
        stand, _ = take(stand, word, now_ms=at + 1)
    return stand


def test_a_grant_that_names_the_last_withdrawal_counts() -> None:
    assert grants(said(withdraws("w1"), grants_again("g1", knows_of="w1")), CALENDAR)


@pytest.mark.parametrize("knows_of", ["", "w1", "g1", "other"])
def test_a_grant_that_names_another_counts_nothing(knows_of: str) -> None:
    stand = said(withdraws("w1"), withdraws("w2"))
    assert take(stand, grants_again("g", knows_of=knows_of), now_ms=9) == (stand, [])


def test_a_withdrawal_that_comes_again_after_a_grant_of_it_is_the_same_word() -> None:
    stand = said(withdraws("w1"), grants_again("g1", knows_of="w1"))
    assert take(stand, withdraws("w1"), now_ms=9) == (stand, [])


def test_a_grant_that_comes_again_after_another_withdrawal_gives_nothing_back() -> None:
    stand = said(withdraws("w1"), grants_again("g1", knows_of="w1"), withdraws("w2"))
    assert take(stand, grants_again("g1", knows_of="w1"), now_ms=9) == (stand, [])


def test_a_second_withdrawal_is_the_one_to_be_named_and_changes_nothing_else() -> None:
    before, after = said(withdraws("w1")), said(withdraws("w1"), withdraws("w2"))
    assert (before[0].withdrawal, after[0].withdrawn_by) == ("w1", "w2")
    assert after[0].withdrawal not in ("w1", "w2")
    assert (before[0].since_ms, after[0].since_ms) == (1, 1)
    assert take(before, withdraws("w2"), now_ms=2)[1] == []


def test_what_nobody_has_spoken_of_stands_at_its_default() -> None:
    assert {one.name for one in PURPOSES if not grants([], one.number)} == {"notifications", "email"}
    assert grants(said(grants_again("g", knows_of="", purpose=EMAIL)), EMAIL)


def test_a_word_on_one_purpose_says_nothing_of_another_nor_of_a_source() -> None:
    stand = said(withdraws("w1"), withdraws("w2", source="ical"))
    assert (grants(stand, CALENDAR), grants(stand, TASKS), withdrawn_sources(stand)) == (False, True, {"ical"})
    assert take(stand, grants_again("g", knows_of="w2"), now_ms=3)[1] == []


def test_what_stands_does_not_depend_on_the_order_in_which_different_things_were_said() -> None:
    words = [withdraws("a", source="x"), withdraws("b", source="b"), withdraws("c"), withdraws("d", purpose=LEARNING)]
    names = [(one.purpose, one.source) for one in said(*words)]
    assert names == [(one.purpose, one.source) for one in said(*reversed(words))]


def test_past_64_sources_one_that_is_granted_is_forgotten() -> None:
    stand = said(
        *(withdraws(f"w{n}", source=f"s{n}") for n in range(SOURCES_MAX)),
        grants_again("g", knows_of="w3", source="s3"),
        withdraws("more", source="more"),
    )
    assert withdrawn_sources(stand) == {*(f"s{n}" for n in range(SOURCES_MAX) if n != 3), "more"}
    assert len(stand) == SOURCES_MAX


def test_whoever_withdraws_one_more_than_can_be_noted_has_withdrawn_all_that_sources_tell() -> None:
    stand = said(*(withdraws(f"w{n}", source=f"s{n}") for n in range(SOURCES_MAX)))
    after, changed = take(stand, withdraws("more", source="more"), now_ms=9)
    assert [word.purpose for word in changed] == [TASKS, CALENDAR]
    assert not grants(after, TASKS)
    assert not grants(after, CALENDAR)
    assert grants(after, LEARNING)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(["withdraw", "ask", "deliver"]), st.integers(0, 2)), max_size=16))
def test_whatever_comes_again_a_purpose_is_granted_only_by_who_knew_of_every_withdrawal(
    story: list[tuple[str, int]],
) -> None:
    stand: Consents = []
    asked: dict[int, Word] = {}
    knew: dict[int, set[int]] = {}
    heard: set[int] = set()
    delivered: set[int] = set()
    for at, (what, n) in enumerate(story):
        if what == "withdraw":
            heard.add(n)
            stand, _ = take(stand, withdraws(f"w{n}"), now_ms=at)
        elif what == "ask":
            found = find(stand, purpose=CALENDAR)
            asked.setdefault(n, grants_again(f"g{n}", knows_of=found.withdrawal if found else ""))
            knew.setdefault(n, set(heard))
        elif n in asked:
            stand, _ = take(stand, asked[n], now_ms=at)
            delivered.add(n)
        if grants(stand, CALENDAR):
            assert not heard or any(knew[n] == heard for n in delivered)
    assert len(stand) <= 1


# The table


def test_every_purpose_of_the_contract_stands_in_the_table_once() -> None:
    numbers = [value for name, value in subject_request_pb2.Purpose.items() if value]
    assert sorted(one.number for one in PURPOSES) == sorted(numbers)
    for one in PURPOSES:
        assert subject_request_pb2.Purpose.Name(one.number) == f"PURPOSE_{one.name.upper()}"


def test_it_names_features_kinds_and_messages_that_there_are() -> None:
    from agents.eligibility import REASONS
    from streams.topics import NAMES as TOPICS

    for one in PURPOSES:
        assert set(one.features) <= set(NAMES), one.name
        assert set(one.kinds) <= set(decision_pb2.Decision.TipKind.values())
        assert set(one.rails) <= REASONS.keys()
        assert {*one.requests, *one.deliveries, *one.shared} <= set(TOPICS)
        assert one.text
        assert one.text_version
        assert one.again


def test_all_features_rest_on_a_purpose_but_those_of_the_clock_and_of_reactions() -> None:
    resting = {name for one in PURPOSES for name in one.features}
    assert set(NAMES) - resting == {
        *("morning", "afternoon", "evening", "weekend"),
        *("done_rate_28d", "dismiss_rate_7d", "snooze_rate_24h", "done_in_this_part"),
        # Whatever is withdrawn, what a model said before is gone with it (agents.step); what it says then, it says without that.
        *("score", "has_score"),
    }


def test_a_consent_is_of_one_purpose_or_of_one_source() -> None:
    assert [field.name for field in settings_pb2.Consent.DESCRIPTOR.oneofs_by_name["of"].fields] == [
        "purpose",
        "source",
    ]
    assert BY_NAME["tasks"].number == TASKS
