"""Tips that are said to people who do not look: who gets them, how often, what takes them back, and what is learned of them."""

from __future__ import annotations

import pytest

from agents.active_version import ActiveVersion
from agents.interrupting import CELLS, LEARNED_MAX, draw
from agents.prior import prior
from agents.reward import INTERRUPTING, interrupting
from agents.step import Outputs
from oo.v1 import policy_pb2, row_pb2, signal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import ids
from tables.purposes import EMAIL, NOTIFICATIONS
from tests.agents.build import Person, active, activity, config, erasure, frozen, granted, profile, task, withdrawn


def policy(**changes: int) -> ActiveVersion:
    """As `oo up --people` has it, but that it is worth it whatever is drawn."""
    made = interrupting(config())
    for name, value in {"cost": -64, "prior": 1000, "floor_permille": 0, **changes}.items():
        setattr(made.interrupting, name, value)
    return active(prior(config=made))


def somebody(*of: str, settings: signal_pb2.Signal | None = None, **changes: int) -> Person:
    """Who has a tip that they did not look at, and has granted these purposes since; notifications, where none is named."""
    ada = Person(policy=policy(**changes))
    ada.take(task("first"))
    if settings is not None:
        ada.take(settings)
    for number, one in enumerate(of or ("notifications",)):
        assert ada.take(granted(one, word=f"grant-{number}-of-sixteen")).delivery is None
    return ada


def more(ada: Person, external_id: str) -> signal_pb2.Signal:
    """A task by which the tip that nobody has seen becomes another one."""
    return task(external_id, due_ms=ada.time_ms + HOUR_MS)


def said(outputs: Outputs) -> str:
    """The title that is to be said; empty where something is taken back."""
    assert outputs.delivery is not None
    assert outputs.delivery.HasField("tip") == bool(outputs.delivery.runs_out_ms)
    return outputs.delivery.tip.title


def test_who_granted_it_is_told_of_a_new_tip_with_its_chance_and_the_times_it_may_be_said() -> None:
    settings = profile("Europe/Berlin", quiet=(22 * 60, 7 * 60), languages=["de", "en"])
    ada = somebody("notifications", "email", settings=settings)
    outputs = ada.take(more(ada, "a"))
    delivery, decision = outputs.delivery, outputs.decision
    assert delivery is not None and decision is not None and outputs.tip is not None
    assert delivery.tip == outputs.tip and delivery.journal == decision.journal
    assert delivery.delivery_id == ids.delivery_id("ada", record_id=decision.record_id)
    assert list(delivery.purposes) == [NOTIFICATIONS, EMAIL]
    assert (list(delivery.languages), delivery.time_zone) == (["de", "en"], "Europe/Berlin")
    assert (delivery.quiet_hours.start_minute, delivery.quiet_hours.end_minute) == (22 * 60, 7 * 60)
    assert (delivery.chance, delivery.chances) == (64_000, 64_000)
    assert delivery.runs_out_ms == min(decision.valid_until_ms, ada.time_ms + INTERRUPTING.valid_ms)


def test_nobody_is_told_who_did_not_grant_it_nor_where_nothing_tells() -> None:
    ada = Person(policy=policy())
    assert ada.take(task("a")).delivery is None
    bob = Person(policy=active(prior(config=config())))
    bob.take(task("first"))
    bob.take(granted("notifications", word="grant-0-of-sixteen"))
    assert bob.take(more(bob, "a")).delivery is None
    assert not ada.now.HasField("interrupted") and not bob.now.HasField("interrupted")


def test_a_record_of_an_earlier_step_says_nothing() -> None:
    ada = somebody()
    assert ada.take(more(ada, "a"), step_version=9).delivery is None


def test_what_was_said_is_taken_back_once_it_is_seen_and_not_a_second_time() -> None:
    ada = somebody()
    assert said(ada.take(more(ada, "a"))) != ""
    assert said(ada.react("SEEN", after_ms=MINUTE_MS)) == ""
    assert ada.react("SEEN").delivery is None
    assert ada.react("DONE").delivery is None


@pytest.mark.parametrize("kind", ["DONE", "SNOOZE", "DISMISS"])
def test_a_reaction_takes_it_back(kind: str) -> None:
    ada = somebody()
    ada.take(more(ada, "a"))
    assert said(ada.react(kind, after_ms=MINUTE_MS)) == ""


def test_a_tip_that_gave_way_is_taken_back_and_the_next_one_waits() -> None:
    ada = somebody(apart_ms=45 * MINUTE_MS, again_ms=0)
    ada.take(more(ada, "a"))
    found = [
        ada.take(task(f"more-{n}", priority=1, due_ms=ada.time_ms + MINUTE_MS), after_ms=MINUTE_MS) for n in range(20)
    ]
    assert [said(one) for one in found if one.delivery is not None] == [""]
    assert said(ada.take(more(ada, "later"), after_ms=26 * MINUTE_MS)) != ""


@pytest.mark.parametrize("purpose", ["notifications", "email"])
def test_a_withdrawal_takes_it_back_whichever_way_it_was_to_be_said(purpose: str) -> None:
    ada = somebody("notifications", "email", same_apart_ms=0)
    ada.take(more(ada, "a"))
    assert said(ada.take(withdrawn(purpose, word="w" * 16))) == ""
    delivery = ada.take(more(ada, "b"), after_ms=HOUR_MS).delivery
    assert delivery is not None
    assert list(delivery.purposes) == [EMAIL if purpose == "notifications" else NOTIFICATIONS]


def test_who_withdraws_both_is_forgotten_and_told_nothing_more() -> None:
    ada = somebody()
    ada.take(more(ada, "a"))
    assert said(ada.take(withdrawn("notifications", word="w" * 16))) == ""
    assert not ada.now.HasField("interrupted")
    assert ada.take(more(ada, "b"), after_ms=HOUR_MS).delivery is None


def test_who_leaves_takes_back_whatever_was_to_be_said() -> None:
    ada = somebody()
    ada.take(more(ada, "a"))
    assert said(ada.take(erasure("r" * 16))) == ""


def test_the_one_who_just_reacted_is_there_and_is_not_interrupted() -> None:
    ada = somebody(apart_ms=0, again_ms=0, same_apart_ms=0)
    for n in range(4):
        ada.take(more(ada, f"task-{n}"), after_ms=HOUR_MS)
    ada.react("SEEN", after_ms=HOUR_MS)
    assert ada.react("DONE").delivery is None
    assert said(ada.take(more(ada, "b"), after_ms=INTERRUPTING.there_ms)) != ""


def test_no_more_a_day_than_the_policy_says_or_the_person_and_a_day_is_one_of_their_clock() -> None:
    ada = somebody(settings=profile("Pacific/Auckland"), apart_ms=0, again_ms=0, same_apart_ms=0, cap_day=3)
    assert said_within(ada, hours=2) == 3
    ada.take(profile(notifications_per_day=1))
    # Their midnight comes in the afternoon of UTC.
    assert said_within(ada, hours=24) == 1


def said_within(ada: Person, *, hours: int) -> int:
    found = [ada.take(more(ada, f"{ada.offset}"), after_ms=30 * MINUTE_MS) for _ in range(2 * hours)]
    return sum(bool(one.delivery and one.delivery.HasField("tip")) for one in found)


def test_the_same_candidate_is_not_said_twice() -> None:
    ada = somebody(apart_ms=0, again_ms=0)
    first = said(ada.take(more(ada, "a")))
    again = [ada.take(activity(), after_ms=HOUR_MS).delivery for _ in range(16)]
    assert first not in [one.tip.title for one in again if one is not None]


def test_where_it_is_not_worth_it_nothing_is_said_and_it_is_weighed_again_only_after_a_while() -> None:
    ada = somebody(cost=1000, prior=0)
    assert ada.take(more(ada, "a")).delivery is None
    considered_ms = ada.now.interrupted.considered_ms
    assert considered_ms == ada.time_ms
    ada.take(task("b", priority=1), after_ms=MINUTE_MS)
    assert ada.now.interrupted.considered_ms == considered_ms


def test_it_is_drawn_apart_from_the_tip_and_as_often_as_its_chance_says() -> None:
    rules, noted = policy_pb2.Interrupting(cost=3, prior=-102, prior_n=8, floor_permille=50), row_pb2.Interrupted()
    found = [draw(noted, 0, 160, rules, ids.interruption_key("ada", bytes([n % 256, n // 256]))) for n in range(2000)]
    share = sum(says for _, _, says in found) / len(found)
    expected = sum(chance / over for chance, over, _ in found) / len(found)
    assert abs(share - expected) < 0.035
    assert all(0.05 * over <= chance <= 0.95 * over for chance, over, _ in found)
    assert [says for *_, says in found[:50]] == [
        draw(noted, 0, 160, rules, ids.interruption_key("ada", bytes([n % 256, n // 256])))[2] for n in range(50)
    ]


def test_the_chance_follows_what_the_tip_is_expected_to_bring_and_what_was_learned_of_such_a_time() -> None:
    rules = policy_pb2.Interrupting(cost=3, prior=-102, prior_n=8, floor_permille=0)

    def chance(expected: int, *, n: int = 0, total: int = 0, cell: int = 1) -> float:
        noted = row_pb2.Interrupted(counts=[0, n, *[0] * (CELLS - 2)], sums=[0, total, *[0] * (CELLS - 2)])
        found = [draw(noted, cell, expected, rules, ids.interruption_key("ada", bytes([k]))) for k in range(64)]
        return sum(one / over for one, over, _ in found) / len(found)

    assert chance(50) < chance(150) < chance(300)
    assert chance(150, n=30, total=-30 * 400) < 0.05 < chance(150) < chance(150, n=30, total=30 * 300)
    assert chance(150, n=30, total=-30 * 400, cell=2) == chance(150, cell=2)


def test_reactions_teach_what_an_interruption_at_such_a_time_is_worth_beyond_the_tip() -> None:
    ada = somebody()
    ada.take(more(ada, "a"))
    (one,) = ada.now.interrupted.said
    assert one.expected > 0
    ada.react("DISMISS", after_ms=MINUTE_MS)
    assert list(ada.now.interrupted.counts) == [0, 1, 0, 0, 0, 0, 0, 0], "a Monday's morning"
    assert ada.now.interrupted.sums[1] == -256 - one.expected
    ada.react("DONE", decision_id=ids.spelled(one.decision_id))
    assert list(ada.now.interrupted.counts)[1] == 1, "it teaches once"


def test_what_nobody_looked_at_teaches_that_it_was_worth_nothing() -> None:
    ada = somebody()
    ada.take(more(ada, "a"))
    (one,) = ada.now.interrupted.said
    ada.take(activity(), after_ms=9 * HOUR_MS)
    assert ada.now.interrupted.sums[1] == -one.expected


def test_who_sees_it_at_once_had_the_page_open_and_it_teaches_nothing() -> None:
    ada = somebody()
    ada.take(more(ada, "a"))
    ada.react("SEEN")
    ada.react("DONE", after_ms=MINUTE_MS)
    assert not ada.now.interrupted.counts


def test_what_was_learned_long_ago_counts_half() -> None:
    ada = somebody(apart_ms=0, again_ms=0, same_apart_ms=0, cap_day=60)
    for n in range(LEARNED_MAX + 20):
        ada.take(more(ada, f"task-{n}"), after_ms=DAY_MS)
        ada.react("DONE", after_ms=MINUTE_MS)
    assert all(0 <= one < LEARNED_MAX for one in ada.now.interrupted.counts)
    assert len(ada.now.interrupted.said) <= 16


def test_the_same_journal_says_the_same_to_the_byte() -> None:
    def life() -> tuple[bytes, list[bytes]]:
        ada = somebody(cost=3, prior=-102, floor_permille=50, apart_ms=0, again_ms=0)
        for n in range(40):
            ada.take(more(ada, f"task-{n}"), after_ms=HOUR_MS)
        found = [out.delivery.SerializeToString(deterministic=True) for _, out in ada.log if out.delivery is not None]
        return frozen(ada.row), found

    assert life() == life()
    assert len(life()[1]) > 5
