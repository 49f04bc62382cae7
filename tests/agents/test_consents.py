"""Consent by purpose and by source: what is withdrawn is not used from that place in the journal on, however words come."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import NOW, PLACE, D
from agents.fold import PartitionState, taught
from agents.step import Entry, Outputs, step
from oo.v1 import decision_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import consents, ids, sums
from tables.purposes import BY_NAME, CALENDAR, GENERATED, LEARNING, PURPOSES, TASKS, Purpose
from tables.row import spelled_out
from tables.totals import Totals
from tests.agents.build import (
    BLUNT,
    MONDAY_MS,
    PRIOR,
    Payload,
    Person,
    activity,
    candidates,
    completed,
    current_id,
    entry,
    erasure,
    event,
    frozen,
    granted,
    last_slate,
    profile,
    reaction,
    slate,
    spelled,
    task,
    told,
    trigger,
    versions,
    withdrawn,
)


def busy_soon(ada: Person, *, in_ms: int = 40 * MINUTE_MS) -> Any:
    """An event of an hour that begins soon."""
    start_ms = ada.time_ms + in_ms
    return event("e", start_ms=start_ms, end_ms=start_ms + HOUR_MS, title="Dentist")


def with_calendar() -> Person:
    ada = Person(policy=BLUNT)
    ada.take(busy_soon(ada))
    ada.take(task("a", priority=1, minutes=20))
    return ada


# Which word counts


def test_a_withdrawal_counts_from_its_place_whatever_its_event_time() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    outputs = ada.take(withdrawn("tasks", word="w"), event_ms=MONDAY_MS - 300 * DAY_MS)
    assert slate(outputs)["task:todo.txt/a"] == ("consent",)


def test_a_grant_that_does_not_know_of_the_withdrawal_counts_nothing() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.take(withdrawn("tasks", word="w"))
    assert ada.take(granted("tasks", word="g", knows_of="")).decision is None
    assert not consents.grants(ada.now.consents, TASKS)
    assert ada.take(granted("tasks", word="g2", knows_of="w")).decision is not None
    assert consents.grants(ada.now.consents, TASKS)


@pytest.mark.parametrize("setting", ["task_tips", "starter_tips", "generated_tips"])
def test_a_producer_may_withdraw_a_kind_of_tips_and_never_give_it_again(setting: str) -> None:
    ada = Person()
    purpose = BY_NAME[{"task_tips": "tasks"}.get(setting, setting.removesuffix("_tips"))].number
    ada.take(profile(**{setting: False}), event_ms=MONDAY_MS - DAY_MS)
    assert not consents.grants(ada.now.consents, purpose)
    ada.take(profile(**{setting: True}), event_ms=MONDAY_MS + DAY_MS)
    assert not consents.grants(ada.now.consents, purpose)
    assert not ada.now.HasField("profile")


def test_a_producers_withdrawal_is_named_by_its_own_id_and_the_same_word_sent_again_is_one() -> None:
    ada = Person()
    ada.take(profile(task_tips=False), event_id="p1")
    name = ada.now.consents[0].withdrawal
    ada.take(granted("tasks", word="g", knows_of=name))
    assert consents.grants(ada.now.consents, TASKS)
    # 8 days later the row has forgotten that it took this id.
    ada.take(activity(), after_ms=8 * DAY_MS)
    ada.take(profile(task_tips=False), event_id="p1")
    assert consents.grants(ada.now.consents, TASKS)


@pytest.mark.parametrize("meanwhile", ["8 days", "257 ids"])
def test_a_word_that_comes_again_when_its_id_is_forgotten_changes_nothing(meanwhile: str) -> None:
    ada = Person()
    ada.take(withdrawn("calendar", word="w1"))
    ada.take(granted("calendar", word="g1", knows_of="w1"))
    stood = list(ada.now.consents)
    if meanwhile == "8 days":
        ada.take(activity(), after_ms=8 * DAY_MS)
    else:
        for n in range(257):
            ada.take(activity(), event_id=f"other-{n}")
    for one in (withdrawn("calendar", word="w1"), granted("calendar", word="g1", knows_of="w1")):
        ada.take(one)
        assert list(ada.now.consents) == stood


def test_a_request_of_before_step_version_6_makes_no_row() -> None:
    ada = Person()
    ada.take(withdrawn("tasks", word="w"), step_version=5)
    assert ada.row is None


def test_who_begins_again_after_leaving_grants_by_naming_that_and_has_withdrawn_nothing() -> None:
    ada = Person()
    ada.take(withdrawn("calendar", word="w"))
    ada.take(erasure("receipt-of-ada-1"))
    ada.take(granted("email", word="g", knows_of="receipt-of-ada-1"))
    assert consents.grants(ada.now.consents, BY_NAME["email"].number)
    assert consents.grants(ada.now.consents, CALENDAR)


def test_what_a_row_of_before_has_of_kinds_is_a_withdrawal_from_the_next_record_on() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1), step_version=5)
    ada.take(profile(task_tips=False, starter_tips=True, tips_per_day=9), step_version=5)
    assert not ada.now.consents
    ada.take(activity())
    assert [(one.purpose, one.granted, one.withdrawal) for one in ada.now.consents] == [(TASKS, False, "")]
    assert [field.name for field, _ in ada.now.profile.ListFields()] == ["tips_per_day"]
    assert [one.setting for one in ada.now.profile_stamps] == [7]
    # What a door of before still writes gives nothing back.
    ada.take(profile(task_tips=True), event_ms=MONDAY_MS + DAY_MS, step_version=5)
    assert last_slate(ada)["task:todo.txt/a"] == ("consent",)
    ada.take(granted("tasks", word="g", knows_of=""))
    assert ada.now.current_candidate == "task:todo.txt/a"


# What is no longer used


def test_a_withdrawn_calendar_masks_its_features_and_leaves_no_trace_in_the_tip() -> None:
    ada = with_calendar()
    before = ada.log[-1][1]
    assert before.tip is not None
    assert "It fits into the 39 minutes before Dentist" in before.tip.why
    assert any(one.x[PLACE["fits_gap"]] for one in before.decision.slate if one.x)  # type: ignore[union-attr]
    ada.react("SEEN")
    outputs = ada.take(withdrawn("calendar", word="w"))
    assert trigger(outputs) == "BECAME_WRONG"
    assert outputs.tip is not None
    assert outputs.decision is not None
    assert outputs.tip.title == "Task a"
    assert not [line for line in outputs.tip.why if line.startswith(BY_NAME["calendar"].why)]
    for one in outputs.decision.slate:
        assert not one.x[PLACE["fits_gap"]]
        assert not one.x[PLACE["busy_now"]]
    assert not {"starter:gap", "starter:prepare"} & slate(outputs).keys()


def test_an_event_keeps_nobody_busy_while_the_calendar_is_withdrawn_and_does_again_once_it_is_granted() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", start_ms=ada.time_ms, end_ms=ada.time_ms + 2 * HOUR_MS))
    ada.take(task("a", priority=1, minutes=60))
    assert last_slate(ada)["task:todo.txt/a"] == ("conflict",)
    ada.take(withdrawn("calendar", word="w"))
    assert last_slate(ada)["task:todo.txt/a"] == ()
    ada.take(granted("calendar", word="g", knows_of="w"))
    assert last_slate(ada)["task:todo.txt/a"] == ("conflict",)


def test_until_when_a_tip_stands_does_not_tell_of_a_calendar_that_is_withdrawn() -> None:
    ada = Person(policy=BLUNT)
    ada.take(busy_soon(ada, in_ms=HOUR_MS))
    ada.take(task("a", priority=1, minutes=30))
    assert ada.now.current_valid_until_ms == MONDAY_MS + HOUR_MS
    ada.take(withdrawn("calendar", word="w"))
    assert ada.now.current_valid_until_ms == ada.time_ms + 4 * HOUR_MS


def test_a_silence_is_looked_at_again_when_something_is_withdrawn() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", start_ms=ada.time_ms, end_ms=ada.time_ms + 2 * HOUR_MS))
    ada.take(withdrawn("starter", word="w0"))
    ada.take(task("a", priority=1, minutes=60))
    assert ada.now.current_candidate == "none"
    assert ada.take(withdrawn("calendar", word="w")).tip.title == "Task a"  # type: ignore[union-attr]


def test_of_a_withdrawn_source_no_task_and_no_event_is_used_and_the_slate_says_why() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", start_ms=ada.time_ms, end_ms=ada.time_ms + HOUR_MS, source="work"))
    ada.take(task("a", priority=1, source="work", minutes=5))
    ada.take(task("b", priority=4, source="home", minutes=60))
    assert last_slate(ada) | {"task:home/b": ("conflict",), "task:work/a": ()} == last_slate(ada)
    outputs = ada.take(withdrawn("source:work", word="w"))
    assert outputs.decision is not None
    assert trigger(outputs) == "BECAME_WRONG"
    assert slate(outputs)["task:work/a"] == ("source",)
    assert slate(outputs)["task:home/b"] == ()
    hidden = next(one for one in outputs.decision.slate if one.id == "task:work/a")
    assert not any(hidden.x)
    ada.take(granted("source:work", word="g", knows_of="w"))
    assert last_slate(ada)["task:work/a"] == ()


def test_tasks_of_a_withdrawn_source_push_no_other_from_the_slate() -> None:
    ada = Person(policy=BLUNT)
    for n in range(45):
        ada.take(task(f"t{n}", priority=1, source="work"))
    ada.take(task("b", priority=4, source="home"))
    assert "task:home/b" not in last_slate(ada)
    assert slate(ada.take(withdrawn("source:work", word="w")))["task:home/b"] == ()


def test_what_comes_of_a_withdrawn_source_is_no_news() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", source="work"))
    ada.take(withdrawn("source:work", word="w"))
    now_ms = ada.time_ms
    for one in (
        task("b", source="work", priority=1, due_ms=now_ms + HOUR_MS),
        completed("a", source="work"),
        event("e", start_ms=now_ms, end_ms=now_ms + HOUR_MS, source="work"),
    ):
        assert ada.take(one)[:3] == (None, None, ())


def test_a_task_of_a_withdrawn_source_wakes_nobody() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", source="work", priority=1))
    ada.react("SNOOZE", until_ms=ada.time_ms + 10 * MINUTE_MS)
    wakes_ms = ada.now.next_wake_ms
    ada.take(withdrawn("source:work", word="w"))
    assert wakes_ms == MONDAY_MS + 10 * MINUTE_MS + 1000
    assert ada.now.next_wake_ms > wakes_ms
    assert ada.take(activity(), after_ms=HOUR_MS).decision is None


def test_generated_tips_go_with_their_purpose_and_do_not_come_back() -> None:
    ada = Person(policy=BLUNT)
    ada.take(candidates("x", expires_ms=ada.time_ms + DAY_MS))
    ada.take(withdrawn("generated", word="w"))
    ada.take(candidates("y", expires_ms=ada.time_ms + DAY_MS))
    assert not ada.now.generated
    ada.take(granted("generated", word="g", knows_of="w"))
    assert not ada.now.generated
    ada.take(candidates("z", expires_ms=ada.time_ms + DAY_MS))
    assert [one.external_id for one in ada.now.generated] == ["z"]


def test_without_tasks_a_starter_tip_does_not_speak_of_a_list() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    outputs = ada.take(withdrawn("tasks", word="w"))
    assert outputs.tip is not None
    assert outputs.tip.kind == decision_pb2.Decision.STARTER
    assert not [line for line in outputs.tip.why if line.startswith(BY_NAME["tasks"].why)]


# What is learned


def test_a_decision_that_rests_on_what_was_withdrawn_is_not_learned_from_also_after_granting_again() -> None:
    ada = with_calendar()
    decided = ada.current
    ada.react("SEEN")
    ada.take(withdrawn("calendar", word="w"))
    ada.take(granted("calendar", word="g", knows_of="w"))
    outputs = ada.react("DONE", decision_id=decided)
    assert told(outputs) == [("DONE", False, 0.0)]
    assert not ada.now.sums.n


def test_what_was_learned_with_a_feature_is_learned_without_it_once_it_is_withdrawn() -> None:
    ada = with_calendar()
    ada.react("DONE")
    ada.take(withdrawn("calendar", word="w"))
    assert ada.row is not None
    learned = sums.read(ada.row, d=D, feature_version=NOW.version)
    places = [PLACE[name] for name in BY_NAME["calendar"].features]
    assert learned.weight
    assert not learned.moment[places].any()
    assert learned.moment.any()
    rows, others = sums.triangle(D)
    assert not learned.gram[[at for at in range(len(rows)) if rows[at] in places or others[at] in places]].any()


def test_a_purpose_on_which_no_tip_rests_leaves_the_tip_alone() -> None:
    ada = with_calendar()
    ada.react("SEEN")
    for name in ("learning", "notifications", "email"):
        assert ada.take(withdrawn(name, word=f"w-{name}")).decision is None


# What others get


EPOCHS = {PRIOR.version.epoch: PRIOR.belief.epoch}


def partition() -> PartitionState:
    return PartitionState(partition=0, versions=versions(), totals=Totals(epochs=EPOCHS))


def recounted(by: PartitionState) -> bytes:
    anew = Totals(epochs=EPOCHS)
    rows = by.rows
    assert isinstance(rows, dict)
    for message in rows.values():
        anew.replace(None, taught(row_pb2.UserRow.FromString(message)))
    return anew.to_bytes()


def test_what_a_person_taught_leaves_the_totals_with_learning_and_comes_back_when_it_is_granted_again() -> None:
    by = partition()
    story = [
        task("a", user="ada"),
        "DONE",
        withdrawn("learning", word="w"),
        granted("learning", word="g", knows_of="w"),
    ]
    users, kept = [], []
    for offset, one in enumerate(story):
        row = by.row("ada")
        payload = reaction(current_id(row), one) if isinstance(one, str) and row is not None else one
        by.apply(entry(payload, offset=offset, time_ms=MONDAY_MS + offset * MINUTE_MS))  # type: ignore[arg-type]
        by.acknowledge()
        assert by.totals is not None
        users.append(by.totals.users)
        kept.append(by.totals.to_bytes())
    assert users == [0, 1, 0, 1]
    assert kept[3] == kept[1]
    assert kept[2] == b""


def test_without_learning_decisions_and_outcomes_say_that_they_are_not_for_others() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.take(task("b", priority=2))
    ada.take(withdrawn("learning", word="w"))
    outputs = ada.react("DONE")
    assert outputs.decision is not None
    assert outputs.decision.unshared
    assert outputs.outcomes
    assert all(one.unshared for one in outputs.outcomes)
    assert not any(one.decision.unshared for _, one in ada.log[:-1] if one.decision is not None)


def test_without_learning_a_person_goes_on_learning_for_themselves() -> None:
    ada = Person(policy=BLUNT)
    ada.take(withdrawn("learning", word="w"))
    ada.take(task("a", priority=1))
    ada.react("DONE")
    assert ada.row is not None
    assert ada.now.sums.n
    assert taught(ada.row) is None


# Any history

WORDS = st.one_of(
    # Of three withdrawals and three grants each may come any number of times; a grant knows what stood when it was asked for.
    st.tuples(st.just("withdraw"), st.integers(0, 2)),
    st.tuples(st.just("ask"), st.integers(0, 2)),
    st.tuples(st.just("grant"), st.integers(0, 2)),
    st.tuples(st.just("producer"), st.booleans(), st.integers(-300, 20)),
)
HAPPENINGS = st.one_of(
    st.tuples(st.just("task"), st.integers(0, 5), st.sampled_from([0, 10, 60]), st.integers(-2, 5)),
    st.tuples(st.just("gone"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("event"), st.integers(0, 2), st.integers(-30, 120)),
    st.tuples(st.just("written"), st.integers(0, 3)),
    st.tuples(st.just("react"), st.sampled_from(["SEEN", "DONE", "SNOOZE", "DISMISS"]), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.integers(1, 9 * 24 * 60)),
    st.tuples(st.just("tick")),
)
STORIES = st.lists(st.one_of(HAPPENINGS, HAPPENINGS, WORDS), min_size=4, max_size=30)
NAMES = [one.name for one in PURPOSES]
SOURCE = "source:todo.txt"
PRODUCERS_MAY = ("tasks", "starter", "generated")


def payload_of(ada: Person, one: tuple, *, of: str, asked: dict[int, str]) -> Payload | None:  # type: ignore[type-arg]
    now_ms = ada.time_ms
    match one:
        case ("task", n, minutes, due):
            return task(f"t{n}", priority=n % 5, minutes=minutes, due_ms=now_ms + due * HOUR_MS, labels=[f"l{n}"])
        case ("gone", n, done):
            return completed(f"t{n}") if done else task(f"t{n}", title=f"Again {n}")
        case ("event", n, starts):
            start_ms = now_ms + starts * MINUTE_MS
            return event(f"e{n}", start_ms=start_ms, end_ms=start_ms + HOUR_MS, source=("ical", "todo.txt")[n % 2])
        case ("written", n):
            return candidates(f"w{n}", expires_ms=now_ms + 5 * HOUR_MS)
        case ("react", kind, back):
            held = [] if ada.row is None else spelled_out(ada.row).pending
            return reaction(ids.spelled(held[-1 - back % len(held)].decision_id), kind) if held else None
        case ("withdraw", n):
            return withdrawn(of, word=f"w{n}")
        case ("ask", n):
            asked.setdefault(n, names_now(ada, of))
            return None
        case ("grant", n):
            return granted(of, word=f"g{n}", knows_of=asked[n]) if n in asked else None
        case ("producer", on, _):
            setting = {"tasks": "task_tips", "starter": "starter_tips", "generated": "generated_tips"}.get(of)
            return profile(**{setting: on}) if setting else None  # type: ignore[arg-type]
        case ("tick",):
            return None
        case _:
            return activity()


def names_now(ada: Person, of: str) -> str:
    """What the row calls the last withdrawal."""
    about = {"source": of.removeprefix("source:")} if of.startswith("source:") else {"purpose": BY_NAME[of].number}
    found = None if ada.row is None else consents.find(ada.row.consents, **about)  # type: ignore[arg-type]
    return "" if found is None else found.withdrawal


def tell(ada: Person, one: tuple, *, of: str, asked: dict[int, str]) -> bool:  # type: ignore[type-arg]
    """Fold one happening in; says whether there was anything to fold."""
    if one == ("tick",):
        if ada.row is None or not ada.row.next_wake_ms:
            return False
        ada.wait(max(ada.row.next_wake_ms - ada.time_ms, 1))
        return True
    payload = payload_of(ada, one, of=of, asked=asked)
    if payload is None:
        return False
    rest: dict[str, Any] = {"after_ms": one[1] * MINUTE_MS} if one[0] == "wait" else {}
    if one[0] == "producer":
        rest["event_ms"] = ada.time_ms + one[2] * DAY_MS // 20
    ada.take(payload, **rest)
    return True


class Oracle:
    """Whether a purpose or source may be granted: only if a grant has come that was asked for when every withdrawal had."""

    def __init__(self, of: str) -> None:
        self._default = of.startswith("source:") or BY_NAME[of].default
        self._heard: set[object] = set()
        self._knew: dict[int, set[object]] = {}
        self._came: set[int] = set()

    def hear(self, one: tuple, *, at: int) -> None:  # type: ignore[type-arg]
        match one:
            case ("withdraw", n):
                self._heard.add(n)
            case ("ask", n):
                self._knew.setdefault(n, set(self._heard))
            case ("grant", n) if n in self._knew:
                self._came.add(n)
            case ("producer", False, _):
                self._heard.add(("producer", at))
            case _:
                pass

    @property
    def may_be_granted(self) -> bool:
        if not self._heard:
            return self._default or bool(self._came)
        return any(self._knew[n] == self._heard for n in self._came)


def uses(ada: Person, outputs: Outputs, purpose: Purpose | None, released: set[bytes]) -> list[str]:
    """Every use of a withdrawn purpose (None: of the source) that the last record made, in words."""
    found: list[str] = []
    assert ada.row is not None
    row = ada.now
    decision, tip = outputs.decision, outputs.tip
    kinds = () if purpose is None else purpose.kinds
    masked = [] if purpose is None else [PLACE[name] for name in purpose.features]
    if row.pending and row.pending[-1].kind in kinds:
        found.append("a tip of its kind stands")
    if purpose is None and row.current_candidate.startswith("task:todo.txt/"):
        found.append("a tip of its source stands")
    if decision is not None:
        for one in decision.slate:
            of_source = purpose is None and one.id.startswith("task:todo.txt/")
            if (one.kind in kinds or of_source) and not one.ineligible:
                found.append(f"{one.id} may be chosen")
            if (one.kind in kinds or of_source) and any(one.x):
                found.append(f"{one.id} shows features")
            if one.x and any(one.x[at] for at in masked):
                found.append(f"{one.id} has a feature that is withdrawn")
            if purpose is not None and one.id in purpose.starters:
                found.append(f"{one.id} is there")
        reasons = {reason for one in decision.slate for reason in one.ineligible}
        if purpose is not None and purpose.number in (TASKS, CALENDAR) and reasons & set(purpose.rails):
            own = reasons & set(purpose.rails)
            # What is no task is put off too.
            tasks = [one for one in decision.slate if one.kind == decision_pb2.Decision.TASK]
            if own - {"snoozed", "cooling-down"} or any(set(one.ineligible) & own for one in tasks):
                found.append(f"a rail that rests on it: {own}")
    if tip is not None and purpose is not None:
        found += [f"says {line!r}" for line in tip.why if line.startswith(purpose.why)]
    if purpose is not None and purpose.number == GENERATED and row.generated:
        found.append("keeps what a model wrote")
    if purpose is not None and purpose.number == LEARNING and taught(ada.row) is not None:
        found.append("teaches others")
    learned = sums.read(ada.row, d=D, feature_version=NOW.version)
    rows, others = sums.triangle(D)
    if any(learned.moment[at] for at in masked) or any(
        learned.gram[at] for at in range(len(rows)) if rows[at] in masked or others[at] in masked
    ):
        found.append("has learned with it")
    found += [
        f"learns from {one.decision_id}"
        for one in outputs.outcomes
        if one.learned and ids.packed(one.decision_id) in released
    ]
    return found


def rest_on(row: row_pb2.UserRow, purpose: Purpose | None) -> set[bytes]:
    """Decisions that can be reacted to, and were made of it."""
    if purpose is None:
        return {one.decision_id for one in row.pending if one.kind == decision_pb2.Decision.TASK}
    places = [PLACE[name] for name in purpose.features]
    return {
        one.decision_id
        for one in row.pending
        if one.kind in purpose.kinds or (one.x and any(one.x[at] for at in places))
    }


@pytest.mark.parametrize("of", [*NAMES, SOURCE])
@settings(max_examples=60, deadline=None)
@given(story=STORIES)
def test_nothing_withdrawn_is_used_whatever_comes_in_whatever_order(of: str, story: list) -> None:  # type: ignore[type-arg]
    ada, oracle = Person(), Oracle(of)
    purpose = None if of == SOURCE else BY_NAME[of]
    released: set[bytes] = set()
    asked: dict[int, str] = {}
    for one in story:
        before = None if ada.row is None else ada.now
        if of in PRODUCERS_MAY or one[0] != "producer":
            oracle.hear(one, at=ada.offset)
        if not tell(ada, one, of=of, asked=asked) or ada.row is None:
            continue
        stands = (
            "todo.txt" not in consents.withdrawn_sources(ada.row.consents)
            if purpose is None
            else consents.grants(ada.row.consents, purpose.number)
        )
        assert oracle.may_be_granted or not stands, one
        if not stands:
            if before is not None:
                released |= rest_on(before, purpose)
            assert uses(ada, ada.log[-1][1], purpose, released) == [], one


@pytest.mark.parametrize("name", ["tasks", "calendar", "generated"])
@settings(max_examples=60, deadline=None)
@given(before=STORIES, after=STORIES, seed=st.integers(0, 1 << 30))
def test_what_is_said_after_a_withdrawal_is_the_same_whatever_stood_or_came_of_it(
    name: str,
    before: list,  # type: ignore[type-arg]
    after: list,  # type: ignore[type-arg]
    seed: int,
) -> None:
    ada = Person()
    ada.take(activity())
    for one in before:
        tell(ada, one, of="email", asked={})
    ada.take(withdrawn(name, word="last"))
    bob = Person(row=scrambled(ada.row, name, random.Random(seed)), offset=ada.offset, time_ms=ada.time_ms)
    for one in after:
        if one[0] == "react":
            one = (*one[:2], 0)  # noqa: PLW2901 - the one that stands: decisions of before may be of what is scrambled
        if not tell(ada, one, of="email", asked={}):
            continue
        told_ada = ada.log[-1]
        record = told_ada[0]
        other = (
            entry(
                in_its_place(record, name),
                offset=record.offset,
                time_ms=record.time_ms,
                source_offset=record.offset,
                event_ms=record.record.event_time_ms,
            )
            if in_its_place(record, name) is not None
            else record
        )
        bob.offset, bob.time_ms = ada.offset, ada.time_ms
        told_bob = bob.take_entry(other)
        assert what_shows(told_ada[1]) == what_shows(told_bob)


def in_its_place(record: Entry, name: str) -> Payload | None:
    """Of a record that tells something of the purpose: one that tells nothing at all."""
    payload = record.record.signal.WhichOneof("payload") or ""
    if {"tasks": "task_", "calendar": "calendar_"}.get(name, "-") in payload:
        return activity()
    return None


def scrambled(row: row_pb2.UserRow | None, name: str, chance: random.Random) -> row_pb2.UserRow:
    """The same row, had sources told something else of this purpose."""
    assert row is not None
    other = spelled_out(row)
    if name == "calendar":
        del other.events[:]
    if name == "tasks":
        del other.tasks[:]
    if name == "generated":
        assert not other.generated
    return other


def what_shows(outputs: Outputs) -> object:
    """What a person sees, and with what chance."""
    tip, decision = outputs.tip, outputs.decision
    if tip is None or decision is None:
        return None
    eligible = {
        one.id: (one.propensity, one.score, list(one.x)) for one in spelled(decision).slate if not one.ineligible
    }
    shown = (tip.title, tip.detail, list(tip.why), tip.decision_id, tip.valid_until_ms)
    return shown, decision.trigger, decision.propensity, eligible


@settings(max_examples=40, deadline=None)
@given(
    story=st.lists(
        st.tuples(st.sampled_from("abc"), st.one_of(HAPPENINGS, WORDS), st.sampled_from(NAMES)), max_size=40
    ),
    ends=st.sets(st.integers(0, 40)),
    again=st.integers(0, 40),
)
def test_after_any_history_of_consents_the_totals_equal_a_recount(
    story: Sequence[tuple[str, tuple, str]],  # type: ignore[type-arg]
    ends: set[int],
    again: int,
) -> None:
    entries: list[Entry] = []
    people = {user: Person(user=user) for user in "abc"}
    asked: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    by = partition()
    for user, one, of in story:
        person = people[user]
        person.offset = len(entries)
        if tell(person, one, of=of, asked=asked[user, of]):
            entries.append(person.log[-1][0])
    for at, one in enumerate([*entries, *entries[again:]]):
        by.apply(one)
        if at in ends:
            by.acknowledge()
    by.acknowledge()
    assert by.totals is not None
    assert by.totals.to_bytes() == recounted(by)


def test_folding_it_again_gives_the_same_row() -> None:
    ada = with_calendar()
    ada.react("DONE")
    for one in (
        withdrawn("calendar", word="w"),
        granted("calendar", word="g", knows_of="w"),
        withdrawn("source:ical", word="s"),
    ):
        ada.take(one)
    row: row_pb2.UserRow | None = None
    for one, _ in ada.log:
        row, _ = step(row, one, BLUNT)
    assert frozen(row) == frozen(ada.row)
