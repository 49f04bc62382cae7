"""A decision holds what it takes to make it again, and the tip says the same."""

from __future__ import annotations

from agents.features import D
from agents.fold import taught
from agents.step import STEP_VERSION, step
from oo.v1 import decision_pb2, row_pb2
from tables import ids, sums
from tables.sums import Taught
from tables.zones import TZDATA_VERSION
from tests.agents.build import (
    JOURNAL_ID,
    MAC_KEY,
    PRIOR,
    Person,
    active,
    activity,
    entry,
    spelled,
    task,
)


def decided(ada: Person) -> list[tuple[decision_pb2.Decision, decision_pb2.Tip]]:
    return [(o.decision, o.tip) for _, o in ada.log if o.decision is not None and o.tip is not None]


def before(ada: Person, decision: decision_pb2.Decision) -> Taught:
    """What she had taught when it was made, the record that it came from included."""
    again = Person()
    for one, outputs in ada.log:
        again.take_entry(one)
        if outputs.decision == decision:
            break
    found = taught(again.now)
    assert found is not None
    return sums.resized(found, D)


def busy() -> Person:
    ada = Person()
    for n in range(15):
        ada.take(task(f"t{n}", priority=n % 5))
        ada.react(("SEEN", "DONE", "SNOOZE", "DISMISS")[n % 4])
    return ada


def test_propensities_of_a_slate_sum_to_one() -> None:
    for decision, _ in decided(busy()):
        assert abs(sum(one.propensity for one in decision.slate) - 1) < 1e-12
        assert decision.propensity == decision.slate[decision.chosen].propensity > 0


def test_a_decision_names_what_it_was_made_with() -> None:
    for decision, _ in decided(busy()):
        assert decision.policy == "mixed"
        assert decision.policy_version == PRIOR.version.version_id
        assert decision.config_hash == PRIOR.config_hash
        assert (decision.step_version, decision.tzdata_version) == (STEP_VERSION, TZDATA_VERSION)
        assert decision.journal.topic_id == JOURNAL_ID


def test_a_decision_can_be_made_again_from_what_it_holds() -> None:
    import numpy as np

    ada = busy()
    for decision, _ in decided(ada):
        eligible = [one for one in decision.slate if not one.ineligible]
        choice = PRIOR.policy.pmf(
            PRIOR.belief,
            before(ada, decision),
            np.array([list(one.x) for one in eligible], dtype=np.int64),
            silent=next(n for n, one in enumerate(eligible) if one.id == "none"),
            now_ms=decision.decided_ms,
            key=ids.draw_key("ada", record_id=decision.record_id),
        )
        assert eligible[choice.chosen].id == decision.slate[decision.chosen].id
        assert [choice.propensity(n) for n in range(len(eligible))] == [one.propensity for one in eligible]


def test_the_tip_says_what_was_decided() -> None:
    for decision, tip in decided(busy()):
        picked = decision.slate[decision.chosen]
        assert tip.journal == decision.journal
        assert (tip.kind, tip.title) == (picked.kind, decision.title)
        assert (tip.decided_ms, tip.valid_until_ms) == (decision.decided_ms, decision.valid_until_ms)
        assert tip.decision_id == ("" if picked.id == "none" else decision.decision_id)
        assert bool(tip.why) == (picked.id != "none")


def test_its_id_is_the_users_and_comes_from_the_record_not_from_its_place() -> None:
    ids_made = set()
    for offset, topic_id in ((1, JOURNAL_ID), (77, JOURNAL_ID), (1, b"K" * 16)):
        _, outputs = step(
            None, entry(activity(), offset=offset, time_ms=10**12, source_offset=5, topic_id=topic_id), PRIOR
        )
        assert outputs.decision is not None
        ids_made.add(outputs.decision.decision_id)
        assert ids.belongs(outputs.decision.decision_id, user_id="ada", mac_key=MAC_KEY)
    assert len(ids_made) == 1


def test_the_draw_comes_from_the_record_not_from_its_place() -> None:
    slates = []
    for offset in (1, 77):
        ada = Person()
        ada.take(task("a"), source_offset=1)
        _, outputs = step(ada.now, entry(task("b"), offset=100 + offset, time_ms=ada.time_ms, source_offset=9), PRIOR)
        assert outputs.decision is not None
        slates.append((list(spelled(outputs.decision).slate), outputs.decision.chosen))
    assert slates[0] == slates[1]


def test_two_people_with_the_same_row_draw_apart() -> None:
    chosen = set()
    for n in range(40):
        who = f"user-{n}"
        policy = active(exploration=64)
        row, outputs = step(
            row_pb2.UserRow(user_id=who, time_zone="UTC"),
            entry(activity(user=who), offset=1, time_ms=10**12, user=who),
            policy,
        )
        assert outputs.decision is not None
        assert row is not None
        chosen.add(tuple(one.draws_won for one in spelled(outputs.decision).slate))
    assert len(chosen) > 10
