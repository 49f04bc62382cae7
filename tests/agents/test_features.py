"""What the policy sees: whole numbers within their bounds, and each says what its name says."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import NAMES, D, Q, feature_set
from oo.v1 import decision_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tests.agents.build import BLUNT, MONDAY_MS, Person, activity, candidates, event, profile, task

PLACE = {name: place for place, name in enumerate(NAMES)}


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


def test_there_are_at_most_40() -> None:
    # A row holds a number for each pair of them (docs/adr/0023).
    assert D == len(set(NAMES)) <= 40


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


def test_a_written_tip_shows_who_wrote_it() -> None:
    seen = set()
    for model in ("one", "another", "a third", "a fourth", "a fifth"):
        ada = Person(policy=BLUNT)
        ada.take(candidates("w", expires_ms=MONDAY_MS + DAY_MS, model=model))
        seen.add(seen_of(ada, "generated:w").get("prompt", 0))
    assert seen == {0, 64}


def test_the_set_says_what_every_entry_is() -> None:
    said = feature_set()
    assert [one.name for one in said.features] == list(NAMES)
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
