"""What the policy sees: whole numbers within their bounds, and each says what its name says."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import FIRST, NAMES, D, Q, feature_set
from agents.prior import prior
from oo.v1 import decision_pb2, signal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables.purposes import BY_NAME
from tests.agents.build import (
    BLUNT,
    MONDAY_MS,
    Person,
    active,
    activity,
    answer,
    asking,
    candidates,
    completed,
    event,
    profile,
    task,
    withdrawn,
)

PLACE = {name: place for place, name in enumerate(NAMES[:D])}


def seen_of(ada: Person, candidate: str = "task:todo.txt/a") -> dict[str, int]:
    """The features of a candidate in the last decision, those that are not 0."""
    decision = next(o.decision for _, o in reversed(ada.log) if o.decision is not None)
    x = next(one.x for one in decision.slate if one.id == candidate)
    assert len(x) == D
    return {name: x[place] for name, place in PLACE.items() if x[place]}


def with_task(**rest: int) -> dict[str, int]:
    ada = Person(policy=BLUNT)
    ada.take(task("a", **rest))  # type: ignore[arg-type]
    return seen_of(ada)


def test_silence_has_no_features() -> None:
    ada = Person()
    ada.take(task("a"))
    assert seen_of(ada, "none") == {}


def test_there_are_at_most_48() -> None:
    # A row holds a number for each pair of them (docs/adr/0023).
    assert len(NAMES) == len(set(NAMES)) and D <= 48


def test_a_label_has_its_own_place_in_each_part_of_the_day() -> None:
    found = {}
    for zone in ("UTC", "Asia/Kolkata", "Pacific/Auckland", "America/New_York"):
        ada = Person(policy=BLUNT)
        ada.take(profile(zone))
        ada.take(task("a", labels=["home"]))
        found[zone] = {name for name in seen_of(ada) if name.startswith("label_")}
    (bucket,) = found["America/New_York"]
    assert found["UTC"] == {bucket, f"{bucket}_morning"}
    assert found["Asia/Kolkata"] == {bucket, f"{bucket}_afternoon"}
    assert found["Pacific/Auckland"] == {bucket, f"{bucket}_evening"}


def buckets(seen: dict[str, int], of: str) -> set[str]:
    return {name for name in seen if name.startswith(f"{of}_")}


def test_a_written_tip_shows_who_wrote_it() -> None:
    models = set()
    for model in (f"model {n}" for n in range(12)):
        ada = Person(policy=BLUNT)
        ada.take(candidates("w", expires_ms=MONDAY_MS + DAY_MS, model=model))
        seen = seen_of(ada, "generated:w")
        (bucket,) = buckets(seen, "model")
        models.add(bucket)
        assert seen[bucket] == 32
        assert not buckets(seen, "prompt"), "nobody said by which"
    assert models == {f"model_{i}" for i in range(4)}


def test_until_version_3_prompt_and_model_were_one_bit() -> None:
    seen = set()
    for model in ("one", "another", "a third", "a fourth", "a fifth"):
        ada = Person(policy=active(prior(space=FIRST)))
        ada.take(candidates("w", expires_ms=MONDAY_MS + DAY_MS, model=model))
        decision = ada.log[-1][1].decision
        assert decision is not None and decision.feature_version == 2
        (x,) = [one.x for one in decision.slate if one.id == "generated:w"]
        assert len(x) == 40
        seen.add(x[PLACE["prompt"]])
    assert seen == {0, 64}


WROTE = re.compile(r"task|generated|(done|dismiss|snooze)_rate.*|(prompt|model)_.*")
"""What depends on the kind of a candidate, or on who wrote it."""


def of_its_subject(seen: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in seen.items() if not WROTE.fullmatch(name)}


def asked(ada: Person, *tasks: signal_pb2.Signal, about: list[str]) -> str:
    """The id of a written tip about these, by which the request that stands is answered once these are told."""
    for one in tasks:
        ada.take(one)
    assert ada.row is not None
    request = decision_pb2.CandidateRequest(request_id=ada.row.asked.request_id)
    ada.take(answer(request, "Begin with a small step", about=about))
    return f"generated:{request.request_id}-0"


def asks() -> Person:
    return Person(policy=active(prior(config=asking(runs_out_ms=30 * DAY_MS))))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 4), st.integers(-2 * DAY_MS, 10 * DAY_MS) | st.none(), st.integers(0, 300),
    st.lists(st.sampled_from(["home", "work", "phone"]), max_size=2), st.integers(0, 10 * HOUR_MS), st.booleans(),
)  # fmt: skip
def test_a_written_tip_has_the_features_of_the_first_task_that_it_is_about(
    priority: int, due_in_ms: int | None, minutes: int, labels: list[str], later_ms: int, event_first: bool
) -> None:
    ada = asks()
    due_ms = 0 if due_in_ms is None else MONDAY_MS + due_in_ms
    first = task("a", priority=priority, due_ms=due_ms, minutes=minutes, labels=labels)
    ada.take(event("e", start_ms=MONDAY_MS + 5 * DAY_MS, end_ms=MONDAY_MS + 5 * DAY_MS + HOUR_MS))
    ada.take(first)
    ada.take(activity(), after_ms=later_ms)
    about = ["event:ical/e"] * event_first + ["task:todo.txt/a", "task:todo.txt/b"]
    name = asked(ada, task("b", priority=4 - priority, minutes=5), about=about)
    written, own = seen_of(ada, name), seen_of(ada)
    assert of_its_subject(written) == of_its_subject(own)
    assert written["generated"] == own["task"] == 64
    assert len(buckets(written, "prompt")) == len(buckets(written, "model")) == 1


def test_a_written_tip_about_an_event_alone_has_no_features_of_a_task() -> None:
    ada = asks()
    ada.take(task("a", priority=1, due_ms=MONDAY_MS + HOUR_MS))
    near = event("e", start_ms=MONDAY_MS + 2 * HOUR_MS, end_ms=MONDAY_MS + 3 * HOUR_MS)
    name = asked(ada, near, about=["event:ical/e"])
    of_tasks = {one for one in BY_NAME["tasks"].features if one != "task"}
    assert of_tasks & set(seen_of(ada)) and not of_tasks & set(seen_of(ada, name))


def test_what_it_is_about_no_longer_shows_once_that_is_gone_or_withdrawn() -> None:
    for gone in (completed("a"), withdrawn("source:todo.txt", word="w")):
        ada = asks()
        name = asked(ada, task("a", priority=1, labels=["home"]), about=["task:todo.txt/a"])
        assert seen_of(ada, name)["priority"] == 64
        ada.take(gone)
        last = next(outputs.decision for _, outputs in reversed(ada.log) if outputs.decision is not None)
        seen = {feature for one in last.slate if one.id == name for feature in NAMES[:D] if one.x[PLACE[feature]]}
        assert not (set(BY_NAME["tasks"].features) - {"task"}) & seen


def chances(decision: decision_pb2.Decision) -> dict[str, float]:
    return {one.id: one.propensity for one in decision.slate}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4), st.booleans(), st.integers(0, 10**6))
def test_in_a_fresh_slate_a_written_tip_is_drawn_about_as_often_as_its_task(
    priority: int, due: bool, offset: int
) -> None:
    # Of either the same is expected; of who wrote it less is known, which is drawn a little more often.
    ada = asks()
    ada.offset = offset
    about = task("a", priority=priority, due_ms=MONDAY_MS + HOUR_MS if due else 0)
    name = asked(ada, about, about=["task:todo.txt/a"])
    last = next(outputs.decision for _, outputs in reversed(ada.log) if outputs.decision is not None)
    said = chances(last)
    assert said[name] + said["task:todo.txt/a"] > 0.99
    assert 0.25 <= said[name] <= 0.9, said


def test_the_set_says_what_every_entry_is() -> None:
    said = feature_set()
    assert [one.name for one in said.features] == list(NAMES[:D])
    assert [one.own for one in said.features] == [place < Q for place in range(D)]
    assert all(one.low <= one.high and one.meaning for one in said.features)


def test_priority() -> None:
    assert [with_task(priority=p).get("priority", 0) for p in range(5)] == [0, 64, 48, 32, 16]


def test_due_dates() -> None:
    assert "has_due" not in with_task()
    late = with_task(due_ms=MONDAY_MS - DAY_MS)
    assert (late["has_due"], late["overdue"], late["due_within_day"], late["due_within_week"]) == (64, 64, 64, 64)
    soon = with_task(due_ms=MONDAY_MS + 1000 + DAY_MS // 2)
    assert (soon["due_within_day"], soon.get("overdue", 0)) == (32, 0)
    far = with_task(due_ms=MONDAY_MS + 30 * DAY_MS)
    assert (far["has_due"], far.get("due_within_day", 0), far.get("due_within_week", 0)) == (64, 0, 0)


def test_a_short_task() -> None:
    assert with_task(minutes=0)["short"] == with_task(minutes=30)["short"] == 48
    assert with_task(minutes=60)["short"] == 32
    assert "short" not in with_task(minutes=120)


def test_what_fits_before_the_next_event() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", start_ms=MONDAY_MS + HOUR_MS, end_ms=MONDAY_MS + 2 * HOUR_MS))
    ada.take(task("a", minutes=45))
    assert seen_of(ada)["fits_gap"] == 64
    ada.take(task("a", minutes=75))
    assert "fits_gap" not in seen_of(ada)


def test_while_busy_nothing_fits() -> None:
    ada = Person(policy=BLUNT)
    ada.take(event("e", start_ms=MONDAY_MS, end_ms=MONDAY_MS + 2 * HOUR_MS))
    ada.take(task("a", minutes=5))
    assert seen_of(ada)["busy_now"] == 64
    assert "fits_gap" not in seen_of(ada)


def test_the_part_of_the_day_is_the_persons_own() -> None:
    for zone, name in (
        ("UTC", "morning"),
        ("Asia/Kolkata", "afternoon"),
        ("Pacific/Auckland", "evening"),
        ("America/New_York", None),
    ):
        ada = Person(policy=BLUNT)
        ada.take(profile(zone))
        ada.take(task("a"))
        assert {part for part in ("morning", "afternoon", "evening") if part in seen_of(ada)} == ({name} - {None})


def test_the_weekend_is_the_persons_own() -> None:
    sunday_ms = int(datetime(2026, 9, 27, 22, tzinfo=UTC).timestamp() * 1000)
    for zone, weekend in (("UTC", True), ("Europe/Berlin", False), ("America/New_York", True)):
        ada = Person(policy=BLUNT, time_ms=sunday_ms)
        ada.take(profile(zone))
        ada.take(task("a"))
        assert ("weekend" in seen_of(ada)) == weekend


def test_showing_and_dismissing_are_remembered() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    ada.react("SEEN")
    ada.react("DISMISS")
    ada.take(activity(), after_ms=25 * HOUR_MS)
    seen = seen_of(ada)
    assert (seen["shown"], seen["dismissed"]) == (64 // 3, 32)


def test_rates_follow_the_reactions() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    before = seen_of(ada)
    for n in range(4):
        ada.take(task(f"b{n}", priority=1, due_ms=MONDAY_MS + HOUR_MS * 3))
        ada.react("DONE")
    after = seen_of(ada)
    assert after["done_rate_28d"] > before["done_rate_28d"]
    assert after["dismiss_rate_7d"] < before["dismiss_rate_7d"]
    assert after["done_in_this_part"] > 0


def test_age_grows_with_the_days() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("a"))
    assert "age" not in seen_of(ada)
    ada.take(activity(), after_ms=7 * DAY_MS)
    assert seen_of(ada)["age"] == 32


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["task", "event", "DONE", "SNOOZE", "DISMISS", "SEEN"]),
            st.integers(0, 3 * DAY_MS),
            st.integers(-400 * DAY_MS, 400 * DAY_MS),
            st.integers(0, 10_080),
        ),
        max_size=12,
    )
)
def test_every_feature_is_a_whole_number_within_64(said: list[tuple[str, int, int, int]]) -> None:
    ada = Person()
    ada.take(activity())
    for n, (what, after_ms, distance_ms, minutes) in enumerate(said):
        if what == "task":
            ada.take(
                task(f"t{n}", due_ms=ada.time_ms + distance_ms, minutes=minutes, priority=n % 5), after_ms=after_ms
            )
        elif what == "event":
            start_ms = ada.time_ms + distance_ms
            ada.take(event(f"e{n}", start_ms=start_ms, end_ms=start_ms + minutes * MINUTE_MS), after_ms=after_ms)
        else:
            ada.react(what, after_ms=after_ms)
    for _, outputs in ada.log:
        for one in outputs.decision.slate if outputs.decision is not None else ():
            assert all(0 <= value <= 64 for value in one.x)
            assert (one.kind == decision_pb2.Decision.NONE) == (not any(one.x))
