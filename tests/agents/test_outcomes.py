"""What becomes of a decision, and that each is learned from exactly once."""

from __future__ import annotations

import pytest

from agents import features
from agents.outcomes import PENDING_MS
from agents.step import NOTHING
from oo.v1 import outcome_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import ids, sums, windows
from tables.row import spelled_out
from tests.agents.build import BLUNT, Person, active, activity, chosen, completed, frozen, removed, task, told, trigger


def with_tip() -> Person:
    """Ada has a tip about task a that nobody has seen yet."""
    ada = Person(policy=BLUNT)
    ada.take(task("a", priority=1))
    return ada


def learned_once(ada: Person, decision_id: str, reward: int) -> row_pb2.Sums:
    """What the sums are if this decision was learned from once with this reward, and no other was."""
    decision = next(o.decision for _, o in ada.log if o.decision is not None and o.decision.decision_id == decision_id)
    pending = ada.pending(decision_id)
    only = sums.nothing(features.D)
    sums.add(
        only,
        x=decision.slate[decision.chosen].x,
        reward=reward,
        time_ms=decision.decided_ms,
        predicted=sums.Predicted(pending.shared_prediction, pending.own_prediction, pending.known),
    )
    only.epoch = ada.now.sums.epoch
    row = row_pb2.UserRow()
    sums.write(only, row, feature_version=features.NOW.version)
    return spelled_out(row).sums


def unpacked(message: row_pb2.Sums) -> sums.Taught:
    return sums.read(row_pb2.UserRow(sums=message), d=features.D, feature_version=features.NOW.version)


def counted(ada: Person, kind: str) -> int:
    """How many such reactions the last hour holds."""
    return windows.count(
        windows.kept(ada.now),
        now_ms=ada.now.now_ms,
        span_ms=HOUR_MS,
        reaction=outcome_pb2.Outcome.Kind.Value(kind),
    )


# Seen


def test_a_decision_is_seen_once() -> None:
    ada = with_tip()
    assert told(ada.react("SEEN")) == [("SEEN", False, 0.0)]
    before = ada.pending(ada.current).seen_ms
    assert ada.react("SEEN") == NOTHING
    assert ada.pending(ada.current).seen_ms == before


def test_seeing_teaches_nothing() -> None:
    ada = with_tip()
    ada.react("SEEN")
    assert not ada.now.HasField("sums")


def test_a_decision_that_nobody_saw_is_never_learned_from() -> None:
    ada = with_tip()
    for _ in range(10):
        ada.wait(4 * HOUR_MS)
    assert not ada.now.HasField("sums")
    assert not [o for _, out in ada.log for o in out.outcomes]


def test_a_reaction_implies_seen() -> None:
    ada = with_tip()
    tip = ada.current
    assert told(ada.react("DISMISS")) == [("DISMISS", True, -16 / 64)]
    assert ada.pending(tip).seen_ms
    assert ada.now.tasks[0].shown == 1


def test_a_task_counts_as_shown_once_per_decision_that_was_seen() -> None:
    ada = with_tip()
    ada.react("SEEN")
    ada.react("SEEN")
    tip = ada.current
    ada.react("SNOOZE", decision_id=tip)
    assert ada.now.tasks[0].shown == 1


# Rewards


@pytest.mark.parametrize(("kind", "reward"), [("DONE", 64), ("SNOOZE", 8), ("DISMISS", -16)])
def test_a_reaction_is_learned_with_its_reward(kind: str, reward: int) -> None:
    ada = with_tip()
    tip = ada.current
    assert told(ada.react(kind)) == [(kind, True, reward / 64)]
    assert ada.now.sums == learned_once(ada, tip, reward)


def test_another_configuration_pays_another_reward() -> None:
    ada = Person(policy=active(reward_snooze=-5, exploration=0, floor_permille=0))
    ada.take(task("a"))
    assert told(ada.react("SNOOZE")) == [("SNOOZE", True, -5 / 64)]


# Expired


def test_seen_and_no_reaction_inside_the_window_is_recorded_and_not_learned() -> None:
    ada = with_tip()
    ada.react("SEEN")
    assert told(ada.take(activity(), after_ms=4 * HOUR_MS)) == [("EXPIRED", False, 0.0)]
    assert not ada.now.sums.n


def test_a_decision_expires_once() -> None:
    ada = with_tip()
    ada.react("SEEN")
    ada.take(activity(), after_ms=4 * HOUR_MS)
    assert told(ada.take(activity(), after_ms=4 * HOUR_MS)) == []


def test_expired_is_learned_where_the_configuration_says_so() -> None:
    ada = Person(policy=active(learn_expired=True, reward_expired=-2, exploration=0, floor_permille=0))
    ada.take(task("a"))
    tip = ada.current
    ada.react("SEEN")
    assert told(ada.take(activity(), after_ms=4 * HOUR_MS)) == [("EXPIRED", True, -2 / 64)]
    assert ada.now.sums == learned_once(ada, tip, -2)


def test_a_decision_does_not_expire_before_its_window_ends() -> None:
    ada = with_tip()
    ada.take(activity(), after_ms=HOUR_MS)
    ada.react("SEEN")
    assert told(ada.take(activity(), after_ms=4 * HOUR_MS - 1)) == []
    assert told(ada.take(activity(), after_ms=1)) == [("EXPIRED", False, 0.0)]


# Late reactions


@pytest.mark.parametrize("learn_expired", [False, True])
@pytest.mark.parametrize("kind", ["DONE", "SNOOZE", "DISMISS"])
def test_a_late_reaction_corrects_to_the_bit_what_was_learned(kind: str, *, learn_expired: bool) -> None:
    ada = Person(policy=active(exploration=0, floor_permille=0, learn_expired=learn_expired, reward_expired=-3))
    ada.take(task("a", priority=1))
    tip = ada.current
    ada.react("SEEN")
    ada.take(activity(), after_ms=5 * HOUR_MS)
    (outcome,) = ada.react(kind, decision_id=tip).outcomes
    assert outcome.corrects == outcome_pb2.Outcome.EXPIRED
    assert ada.now.sums == learned_once(ada, tip, {"DONE": 64, "SNOOZE": 8, "DISMISS": -16}[kind])


def test_a_second_correction_is_ignored() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SEEN")
    ada.take(activity(), after_ms=5 * HOUR_MS)
    ada.react("SNOOZE", decision_id=tip)
    before, reactions = ada.now.sums, counted(ada, "DONE")
    outputs = ada.react("DONE", decision_id=tip)
    assert outputs.outcomes == ()
    assert ada.now.sums == before
    assert counted(ada, "DONE") == reactions


def test_a_change_of_mind_replaces_the_first_reaction_once() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SNOOZE")
    (outcome,) = ada.react("DONE", decision_id=tip).outcomes
    assert outcome.corrects == outcome_pb2.Outcome.SNOOZE
    assert ada.now.sums == learned_once(ada, tip, 64)
    assert ada.react("DISMISS", decision_id=tip).outcomes == ()


@pytest.mark.parametrize("first", ["DONE", "SNOOZE"])
def test_windows_count_the_reaction_that_stands_alone(first: str) -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SEEN")
    ada.react(first)
    ada.take(activity(), after_ms=HOUR_MS // 2)
    (outcome,) = ada.react("DISMISS", decision_id=tip).outcomes
    assert outcome.kind == outcome_pb2.Outcome.DISMISS
    assert (counted(ada, first), counted(ada, "DISMISS")) == (0, 1)


def test_a_completion_elsewhere_that_a_reaction_replaces_leaves_the_windows() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SEEN")
    ada.take(completed("a"))
    assert counted(ada, "DONE") == 1
    ada.react("DISMISS", decision_id=tip)
    assert (counted(ada, "DONE"), counted(ada, "DISMISS")) == (0, 1)


def test_features_stay_in_the_row_for_as_long_as_they_can_be_learned_from() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SNOOZE")
    assert len(ada.pending(tip).x) == features.D
    ada.react("DONE", decision_id=tip)
    assert not ada.pending(tip).x


def test_a_double_click_counts_once() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("DONE")
    before = ada.now.sums
    assert ada.react("DONE", decision_id=tip) == NOTHING
    assert ada.now.sums == before
    assert counted(ada, "DONE") == 1


def test_a_correction_over_a_landmark_leaves_at_most_half_a_unit_an_entry() -> None:
    # Halving rounds; seven days of corrections seldom straddle the end of a half-life of 28.
    ada = Person(policy=BLUNT)
    ada.time_ms = (ada.time_ms // sums.HALF_LIFE_MS + 1) * sums.HALF_LIFE_MS - 2 * HOUR_MS
    ada.take(task("a", priority=1))
    tip = ada.current
    ada.react("SNOOZE")
    ada.take(task("b", priority=1), after_ms=3 * HOUR_MS)
    later = ada.current
    ada.react("DONE")
    ada.react("DONE", decision_id=tip)
    assert ada.now.sums.landmark == learned_once(ada, later, 64).landmark
    want, plus, got = (
        unpacked(one) for one in (learned_once(ada, tip, 64), learned_once(ada, later, 64), ada.now.sums)
    )
    sums.move(want, landmark=got.landmark)
    for name in ("gram", "moment", "losses"):
        assert abs(getattr(got, name) - getattr(want, name) - getattr(plus, name)).max() <= 1


# Completed elsewhere


def test_a_seen_task_completed_elsewhere_is_done() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SEEN")
    assert told(ada.take(completed("a"))) == [("DONE", True, 1.0)]
    assert ada.now.sums == learned_once(ada, tip, 64)


def test_an_unseen_task_completed_elsewhere_is_recorded_and_not_learned() -> None:
    ada = with_tip()
    assert told(ada.take(completed("a"))) == [("DONE_ELSEWHERE", False, 0.0)]
    assert not ada.now.sums.n


def test_done_in_the_app_and_then_in_the_file_is_done_once() -> None:
    ada = with_tip()
    ada.react("DONE")
    before = ada.now.sums
    assert told(ada.take(completed("a"))) == []
    assert ada.now.sums == before


def test_done_in_the_file_and_then_in_the_app_is_done_once() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SEEN")
    ada.take(completed("a"))
    before = ada.now.sums
    assert told(ada.react("DONE", decision_id=tip)) == []
    assert ada.now.sums == before


def test_a_task_completed_after_its_tip_expired_corrects_it() -> None:
    ada = with_tip()
    tip = ada.current
    ada.react("SEEN")
    ada.take(activity(), after_ms=4 * HOUR_MS - 1)
    ada.take(task("b"), after_ms=1)
    if ada.now.current_candidate == "task:todo.txt/a":
        ada.react("SEEN")
        tip = ada.current
        ada.take(activity(), after_ms=4 * HOUR_MS)
    (outcome,) = [o for o in ada.take(completed("a")).outcomes if o.decision_id == tip] or [None]
    if outcome is not None:
        assert outcome.corrects == outcome_pb2.Outcome.EXPIRED


def test_a_removed_task_is_no_reaction() -> None:
    ada = with_tip()
    ada.react("SEEN")
    assert told(ada.take(removed("a"))) == []
    assert not ada.now.sums.n


def test_a_seen_tip_ticked_off_in_the_file_counts_as_done_in_the_windows() -> None:
    ada = with_tip()
    ada.react("SEEN")
    ada.take(completed("a"))
    assert counted(ada, "DONE") == 1


def test_an_unseen_tip_ticked_off_in_the_file_is_no_reaction() -> None:
    ada = with_tip()
    ada.take(completed("a"))
    assert counted(ada, "DONE") == 0


def test_a_reaction_that_claims_to_be_of_tomorrow_counts_as_of_now() -> None:
    ada = with_tip()
    ada.react("DISMISS", event_ms=ada.time_ms + 20 * HOUR_MS)
    assert counted(ada, "DISMISS") == 1
    ada.take(activity(), after_ms=3 * HOUR_MS)
    assert counted(ada, "DISMISS") == 0


# Superseded decisions


def superseded() -> tuple[Person, str]:
    """Ada's first decision, unseen, gave way to a second."""
    ada = with_tip()
    first = ada.current
    assert trigger(ada.take(task("b", priority=1))) == "SLATE_CHANGED"
    return ada, first


def test_a_new_decision_names_the_one_it_supersedes() -> None:
    ada, first = superseded()
    decision = ada.log[-1][1].decision
    assert decision is not None
    assert decision.supersedes == first


def test_a_superseded_decision_can_still_be_seen_and_learned_from() -> None:
    ada, first = superseded()
    assert told(ada.react("SEEN", decision_id=first)) == [("SEEN", False, 0.0)]
    assert told(ada.react("DISMISS", decision_id=first)) == [("DISMISS", True, -0.25)]
    assert ada.now.sums == learned_once(ada, first, -16)


def test_seeing_a_superseded_decision_does_not_make_the_present_one_seen() -> None:
    ada, first = superseded()
    ada.react("SEEN", decision_id=first)
    assert not ada.pending(ada.current).seen_ms


def test_a_reaction_to_a_superseded_decision_leaves_a_tip_about_something_else() -> None:
    ada, first = superseded()
    now = ada.pending(ada.current).task_key
    ada.react("SEEN")
    outputs = ada.react("DISMISS", decision_id=first)
    assert (outputs.decision is None) == (ada.pending(first).task_key != now)


def test_a_superseded_decision_that_was_seen_expires_too() -> None:
    ada, first = superseded()
    ada.react("SEEN", decision_id=first)
    outputs = ada.take(activity(), after_ms=4 * HOUR_MS)
    assert (first, outcome_pb2.Outcome.EXPIRED) in [(o.decision_id, o.kind) for o in outputs.outcomes]


# Bounds


def test_the_row_holds_the_last_sixteen_decisions() -> None:
    ada = Person(policy=BLUNT)
    for n in range(40):
        ada.take(task(f"t{n}", priority=1), after_ms=MINUTE_MS)
    assert len(ada.now.pending) == 16
    made = [outputs.decision.decision_id for _, outputs in ada.log if outputs.decision is not None]
    assert [ids.spelled(one.decision_id) for one in ada.now.pending] == made[-16:]


def test_unseen_decisions_leave_before_seen_ones() -> None:
    ada = Person(policy=BLUNT)
    ada.take(task("t0", priority=1))
    first = ada.current
    ada.react("SEEN")
    ada.react("DISMISS")
    for n in range(1, 40):
        ada.take(task(f"t{n}", priority=1), after_ms=MINUTE_MS)
    assert ada.pending(first).outcome == outcome_pb2.Outcome.DISMISS


def test_a_reaction_to_a_decision_that_is_gone_counts_in_the_windows_only() -> None:
    ada = with_tip()
    tip = ada.current
    ada.take(activity(), after_ms=PENDING_MS + HOUR_MS)
    ada.take(activity())
    before = ada.now.tasks[0]
    outputs = ada.react("DONE", decision_id=tip)
    assert outputs.outcomes == ()
    assert counted(ada, "DONE") == 1
    assert list(ada.now.tasks) == [before]
    assert not ada.now.sums.n


def test_a_reaction_to_saying_nothing_changes_no_more_than_the_fence() -> None:
    ada = Person(policy=BLUNT)
    ada.take(activity())
    while chosen(next(o.decision for _, o in reversed(ada.log) if o.decision is not None)) != "none":
        ada.react("DONE")
    before = ada.now
    assert ada.react("DONE") == NOTHING
    after = ada.now
    for row in (before, after):
        row.journal_offset, row.now_ms = 0, 0
        row.ClearField("sources")
    assert frozen(before) == frozen(after)


def test_outcome_ids_are_unique_and_the_same_again() -> None:
    made = []
    for _ in range(2):
        ada = with_tip()
        ada.react("SEEN")
        ada.react("DONE")
        ada.take(task("b"))
        ada.react("SEEN")
        ada.take(activity(), after_ms=DAY_MS)
        made.append([o.outcome_id for _, out in ada.log for o in out.outcomes])
    assert made[0] == made[1]
    assert len(set(made[0])) == len(made[0]) == 4
