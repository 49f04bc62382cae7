"""Policies that are never served: what they would have done, and what every decision counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from agents import assemble, sample, snapshot
from agents.bandit.learner import Learner
from agents.evaluation.counted import reward_range
from agents.evaluation.gate import Kind, Rule
from agents.features import NOW, SCORED, D
from agents.in_memory import InMemory
from agents.policies import POLICIES, vw
from agents.prior import shape_of
from agents.reward import DEFAULT
from agents.shadows import X_MAX, NotOurs, Shadows, Waits, with_challengers
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2
from streams.units import HOUR_MS
from tables import columns, slates
from tables.totals import Totals
from tests.agents.build import JOURNAL_ID, Person, active, granted, task, withdrawn

KEEN = active(exploration=0, floor_permille=1)
"""The best, but for what the floor leaves to chance."""
WAITS = Waits()
NAMES = ("mixed", "lin_ts", "mixed_rff", "vw")


def learner(name: str) -> Learner:
    if name == vw.NAME:
        return vw.Vw(worth=DEFAULT.interruption_cost / 64)
    return InMemory(name, shape=shape_of(SCORED), config=DEFAULT, refit_every=20)


def shadows(*names: str, learners: Mapping[str, Learner] | None = None) -> Shadows:
    rule = Rule(reward_range(DEFAULT), places=4)
    names = names or NAMES
    return Shadows(
        learners=learners or {name: learner(name) for name in names},
        gate=with_challengers("mixed", names, rule=rule),
        clock=lambda: 0.0,
    )


def busy(user: str = "ada", n: int = 12) -> Person:
    """Tasks come, and each tip is seen and answered."""
    ada = Person(user=user)
    for i in range(n):
        ada.take(task(f"t{i}", priority=i % 5, user=user))
        ada.react("SEEN")
        ada.react(("DONE", "SNOOZE", "DISMISS")[i % 3])
    return ada


def follow(by: Shadows, ada: Person) -> list[decision_pb2.Decision]:
    decisions = []
    for _, outputs in ada.log:
        for outcome in outputs.outcomes:
            by.resolve(outcome)
        if outputs.decision is not None:
            list(by.decide(outputs.decision))
            by.pass_time(outputs.decision.decided_ms)
            decisions.append(outputs.decision)
    return decisions


def n_of(by: Shadows, policy: str) -> int:
    found = by.groups.get((policy, 0, ""))
    return found.n if found is not None else 0


def test_each_shadow_gives_every_eligible_candidate_a_probability() -> None:
    by, ada = shadows(), busy(n=1)
    decision = next(o.decision for _, o in ada.log if o.decision is not None)
    said = list(by.decide(decision))
    eligible = [one for one in decision.slate if not one.ineligible]
    assert [one.policy for one in said] == list(NAMES)
    for one in said:
        assert len(one.propensities) == len(eligible)
        assert abs(sum(one.propensities) - 1) < 1e-12


def test_the_same_log_gives_the_same_shadows() -> None:
    said = []
    for _ in range(2):
        by, one = shadows(), []
        for _, outputs in busy().log:
            for outcome in outputs.outcomes:
                by.resolve(outcome)
            if outputs.decision is not None:
                one += [shadow.SerializeToString(deterministic=True) for shadow in by.decide(outputs.decision)]
        said.append(one)
    assert said[0] == said[1]


def test_a_decision_that_comes_twice_counts_once() -> None:
    by, ada = shadows(), busy(n=2)
    decision = next(o.decision for _, o in ada.log if o.decision is not None)
    assert list(by.decide(decision))
    assert not list(by.decide(decision))


def test_an_outcome_that_comes_before_its_decision_is_kept_for_it() -> None:
    by, ada = shadows(), busy(n=3)
    outcomes = [one for _, o in ada.log for one in o.outcomes]
    for outcome in outcomes:
        by.resolve(outcome)
    assert n_of(by, "mixed") == 0
    for _, outputs in ada.log:
        if outputs.decision is not None:
            list(by.decide(outputs.decision))
            for outcome in by.early(outputs.decision.decision_id):
                by.resolve(outcome)
    assert n_of(by, "mixed") == len({one.decision_id for one in outcomes})


def test_a_decision_counts_once_its_reward_is_known() -> None:
    by, ada = shadows(), Person(policy=KEEN)
    ada.take(task("a"))
    follow(by, ada)
    assert n_of(by, "mixed") == 0
    ada.react("DONE")
    by.resolve(ada.log[-1][1].outcomes[-1])
    assert n_of(by, "mixed") == n_of(by, "lin_ts") == 1


def test_what_nobody_saw_counts_nothing_an_hour_after_it_was_replaced() -> None:
    by, ada = shadows(), Person(policy=KEEN)
    ada.take(task("a"))
    ada.take(task("b"))
    first = follow(by, ada)[0]
    replaced_ms = ada.log[-1][1].decision.decided_ms
    by.pass_time(replaced_ms + WAITS.unseen_ms - 1)
    assert n_of(by, "mixed") == 0
    by.pass_time(replaced_ms + WAITS.unseen_ms)
    assert n_of(by, "mixed") == 1
    late = outcome_pb2.Outcome(decision_id=first.decision_id, kind=outcome_pb2.Outcome.DONE, learned=True, reward=1.0)
    by.resolve(late)
    assert n_of(by, "mixed") == 1


def test_what_was_seen_waits_for_its_answer() -> None:
    by, ada = shadows(), Person(policy=KEEN)
    ada.take(task("a"))
    ada.react("SEEN")
    ada.take(task("b", due_ms=ada.time_ms + HOUR_MS))
    follow(by, ada)
    by.pass_time(ada.time_ms + 2 * WAITS.unseen_ms)
    assert n_of(by, "mixed") == 0


def test_shadows_learn_from_what_was_served() -> None:
    by = shadows()
    for n in range(4):
        follow(by, busy(user=f"user-{n}"))
    assert by.learners["lin_ts"].versions > 0


def test_the_champions_own_value_is_the_mean_of_what_was_earned() -> None:
    by = shadows()
    for n in range(10):
        follow(by, busy(user=f"user-{n}"))
    (mixed,) = [one for one in by.estimates(now_ms=0) if one.policy == "mixed" and not one.kind]
    assert mixed.mean_weight == pytest.approx(1.0)
    assert mixed.effective_n == pytest.approx(mixed.n)
    assert mixed.snips.value == pytest.approx(mixed.ips.value)


def test_what_a_decision_takes_is_told_of_each_shadow() -> None:
    by, now_s = shadows("mixed", "lin_ts"), iter(range(1_000_000))
    by.clock = lambda: next(now_s) / 1000
    said = [one for _, o in busy(n=3).log if o.decision is not None for one in by.decide(o.decision)]
    assert {one.cost_us for one in said} == {1000}
    follow(by, busy(user="bob", n=3))
    assert {one.policy: one.cost_us for one in by.estimates(now_ms=0) if not one.kind} == {
        "mixed": 1000,
        "lin_ts": 1000,
    }


def test_estimates_stand_apart_by_kind_and_add_up() -> None:
    by = shadows()
    for n in range(10):
        follow(by, busy(user=f"user-{n}"))
    whole = {one.policy: one.n for one in by.estimates(now_ms=0) if not one.kind}
    parts = dict.fromkeys(whole, 0)
    for one in by.estimates(now_ms=0):
        if one.kind:
            parts[one.policy] += one.n
    assert parts == whole


def test_a_drift_of_one_kind_is_one_of_its_policy_and_no_other_kinds() -> None:
    by = shadows()
    follow(by, busy())
    champion = by.gate.champion
    for n in range(600):
        by.drifts.update(champion, decision_pb2.Decision.TASK, 0.4 if n < 300 else -0.4, now_ms=n)
        by.drifts.update(champion, decision_pb2.Decision.STARTER, 0.0, now_ms=n)
    found = {(one.policy, one.kind): (one.drifts, one.drift_ms) for one in by.estimates(now_ms=0)}
    task = decision_pb2.Decision.TASK
    assert found[champion, task] == found[champion, 0] > (0, 0)
    assert {one for key, one in found.items() if key not in {(champion, task), (champion, 0)}} == {(0, 0)}


def heed(by: Shadows, ada: Person) -> None:
    """Until the gate has heard of all of it."""
    follow(by, ada)
    by.pass_time(ada.time_ms + WAITS.stale_ms)
    assert list(by.verdicts()) == []
    assert by.gate.comparisons[0].mine.n > 0


def formers(by: Shadows) -> list[str]:
    return [one.policy for one in by.gate.comparisons if one.is_former]


def test_a_promotion_by_hand_begins_an_era_in_which_the_former_champion_watches() -> None:
    by = shadows()
    heed(by, busy())
    for champion, former in (("lin_ts", "mixed"), ("mixed", "lin_ts")):
        before = by.gate.era
        by.champion_is(champion)
        assert (by.gate.champion, by.gate.era, formers(by)) == (champion, before + 1, [former])
        heed(by, busy(user=f"under-{champion}"))


def test_a_champion_that_decided_nothing_has_nothing_to_come_back_for() -> None:
    by = shadows()
    by.champion_is("lin_ts")
    assert by.gate.champion == "lin_ts"
    assert formers(by) == []
    assert [one.policy for one in by.gate.comparisons] == ["mixed"]


def test_who_was_rolled_back_waits_no_more_until_somebody_promotes_by_hand() -> None:
    by = shadows("mixed", "lin_ts", "linucb")
    heed(by, busy())
    by.champion_is("lin_ts")
    by.champion_is("mixed", rolled_back=True)
    assert [one.policy for one in by.gate.comparisons] == ["linucb"]
    by.champion_is("linucb")
    assert {one.policy for one in by.gate.comparisons} == {"mixed", "lin_ts"}


@pytest.mark.parametrize("champion", ["mixed", "lin_ts"])
def test_what_cannot_be_served_is_estimated_and_never_a_challenger(champion: str) -> None:
    by = shadows()
    by.champion_is(champion)
    for n in range(10):
        follow(by, busy(user=f"user-{n}"))
    assert {one.policy for one in by.gate.comparisons} == {"mixed", "lin_ts"} - {champion}
    found = {one.policy: one for one in by.estimates(now_ms=0) if not one.kind}
    assert found["vw"].n == found["mixed_rff"].n == found["mixed"].n > 0
    assert not found["vw"].HasField("ahead")
    assert all(POLICIES[one.policy].servable for one in by.gate.comparisons)


def test_of_a_shadow_without_versions_none_is_said() -> None:
    by = shadows()
    for n in range(4):
        follow(by, busy(user=f"user-{n}"))
    decision = next(o.decision for _, o in busy(user="last").log if o.decision is not None)
    versions = {one.policy: one.version for one in by.decide(decision)}
    assert versions["lin_ts"] > 0
    assert versions["vw"] == 0


def test_vw_shadow_turns_away_from_what_is_dismissed() -> None:
    # Two tips, told apart by one feature: one is always done, the other always dismissed.
    by = shadows("mixed", "vw")
    x = np.zeros((3, 34), dtype=np.int64)
    x[0, 0] = x[1, 1] = 64
    one = by.learners["vw"]
    before = one.pmf("ada", x, silent=2, time_ms=0, key=0)
    for at in range(200):
        one.learn("ada", x, action=at % 2, reward=(1.0, -0.25)[at % 2], propensity=0.5, time_ms=at)
        one.learn("ada", x, action=2, reward=0.0, propensity=0.1, time_ms=at)
    done, dismissed, silent = one.pmf("ada", x, silent=2, time_ms=200, key=0)
    assert before.tolist() == pytest.approx([1 / 3] * 3)
    assert done > 0.9
    assert dismissed < silent < 0.05


def test_a_planted_better_policy_is_promoted_and_rolled_back_when_the_world_turns() -> None:
    # Slates and rewards by hand: "lin_ts" puts its weight on the one that pays, whoever is served draws evenly.
    by, chance = shadows("mixed", "lin_ts"), np.random.default_rng(4)
    verdicts = []
    for n in range(4000):
        pays = len(verdicts)
        decision = decision_pb2.Decision(
            decision_id=str(n),
            feature_version=NOW.version,
            policy="random",
            decided_ms=n,
            chosen=int(chance.integers(2)),
        )
        for at in range(2):
            decision.slate.add(kind=decision_pb2.Decision.TASK, propensity=0.5, x=[64 * (at == i) for i in range(D)])
        decision.slate.add(kind=decision_pb2.Decision.NONE, ineligible=[], propensity=0.0, x=[0] * D)
        list(by.decide(decision))
        one = by.open[str(n)]
        one.pmfs = {"mixed": np.array([0.5, 0.5, 0.0]), "lin_ts": np.array([0.9, 0.1, 0.0]), "random": one.logging}
        kind = outcome_pb2.Outcome.DONE if decision.chosen == pays else outcome_pb2.Outcome.DISMISS
        by.resolve(outcome_pb2.Outcome(decision_id=str(n), kind=kind))
        for verdict in by.verdicts():
            verdicts.append((verdict.kind, verdict.policy))
            assert verdict.evidence is not None
        if len(verdicts) == 2:
            break
    assert verdicts == [(Kind.PROMOTE, "lin_ts"), (Kind.ROLL_BACK, "mixed")]


def test_a_worker_names_the_shadows_there_are() -> None:
    assert isinstance(assemble.learner("lin_ts"), InMemory)
    assert isinstance(assemble.learner("vw"), vw.Vw)
    with pytest.raises(SystemExit, match=r"OO_SHADOWS names 'experts', and there are mixed, .* and vw"):
        assemble.learner("experts")


def test_a_worker_without_vw_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vowpalwabbit", None)
    monkeypatch.delitem(sys.modules, "agents.policies.vw")
    with pytest.raises(SystemExit, match=r"needs vowpalwabbit: pip install 'oo-recommender\[vw\]'"):
        assemble.learner("vw")


def sampled(ada: Person, permille: int) -> Person:
    """The same decisions, as if their version had said so."""
    for _, outputs in ada.log:
        if outputs.decision is not None:
            outputs.decision.policy_version = f"mixed-1-0123456789abcdef{sample.suffix(permille)}"
    return ada


def test_a_shadow_takes_those_decisions_whose_ids_fall_below_what_their_version_says() -> None:
    by, decisions = shadows("mixed"), []
    for n in range(30):
        decisions += follow(by, sampled(busy(user=f"user-{n}"), 300))
    taken = {one.decision_id for one in decisions if sample.is_taken(one.decision_id, 0.3)}
    assert set(by.open) == taken
    assert 0.2 < len(taken) / len(decisions) < 0.4
    (mixed,) = [one for one in by.estimates(now_ms=0) if one.policy == "mixed" and not one.kind]
    assert mixed.n < len(taken)
    assert mixed.stands_for == pytest.approx(mixed.n / 0.3)
    assert mixed.mean_weight == pytest.approx(1.0)


def test_the_gate_hears_that_decisions_were_not_taken_and_begins_anew_with_another_sample() -> None:
    by = shadows("mixed", "lin_ts")
    heed(by, busy())
    era = by.gate.era
    ada = sampled(busy(user="ada-sampled", n=60), 500)
    heed(by, ada)
    assert (by.gate.rule.share, by.gate.era) == (0.5, era + 1)
    (one,) = by.gate.comparisons
    assert one.mine.n < one.difference.below.n
    heed(by, busy(user="bob"))
    assert (by.gate.rule.share, by.gate.era) == (1.0, era + 2)


def heard(by: Shadows) -> int:
    """Decisions that the gate has heard of."""
    assert not list(by.verdicts())
    return by.gate.comparisons[0].mine.n


def test_the_gate_hears_of_decisions_in_the_order_in_which_they_were_made() -> None:
    by, slow, quick = shadows(), Person(policy=KEEN, user="slow"), Person(policy=KEEN, user="quick")
    slow.take(task("a", user="slow"))
    slow.react("SEEN")
    follow(by, slow)
    quick.take(task("a", user="quick"))
    quick.react("DONE")
    follow(by, quick)
    assert (n_of(by, "mixed"), heard(by)) == (1, 0)
    slow.react("DISMISS")
    for outcome in slow.log[-1][1].outcomes:
        by.resolve(outcome)
    assert (n_of(by, "mixed"), heard(by)) == (2, 2)


def test_the_gate_waits_a_day_for_a_reward_and_no_longer() -> None:
    by, ada = shadows(), Person(policy=KEEN)
    ada.take(task("a"))
    ada.react("SEEN")
    follow(by, ada)
    by.pass_time(ada.time_ms + WAITS.stale_ms - HOUR_MS)
    assert heard(by) == 0
    by.pass_time(ada.time_ms + WAITS.stale_ms)
    assert heard(by) == 1


def all_of(by: Shadows) -> list[bytes]:
    return [one.SerializeToString(deterministic=True) for one in by.estimates(now_ms=0)]


def test_one_whose_people_and_decisions_are_on_disk_and_who_is_begun_anew_says_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.shadows.PEOPLE_NEAR_MAX", 2)
    monkeypatch.setattr("agents.shadows.OPEN_NEAR_MAX", 3)
    names, lives = ("mixed", "lin_ts"), [busy(user=f"user-{n}") for n in range(9)]
    whole, by = shadows(*names), shadows(*names)
    for ada in (*lives, *lives[:2]):
        follow(whole, ada)
        heard(whole)
        shelf = assemble._shelf(by, tmp_path / "shadow.sqlite", identity=b"one")
        assert shelf is not None
        if shelf.state is not None:
            by.restore(snapshot.unpacked(shelf.state))
        follow(by, ada)
        heard(by)
        shelf.commit(snapshot.packed(by.state()))
        follow(by, busy(user="nobody hears of this any more", n=3))
        shelf.close()
        by = shadows(*names)
    shelf = assemble._shelf(by, tmp_path / "shadow.sqlite", identity=b"one")
    assert shelf is not None
    by.restore(snapshot.unpacked(shelf.state or b""))
    assert all_of(by) == all_of(whole)
    assert [one.belief.mean.tobytes() for one in by.learners.values()] == [
        one.belief.mean.tobytes() for one in whole.learners.values()
    ]
    shelf.close()


def test_who_leaves_is_forgotten_and_what_was_counted_of_them_stays() -> None:
    by, ada, bob = shadows("mixed", "lin_ts"), busy(n=30), busy(user="bob", n=30)
    for one in (ada, bob):
        follow(by, one)
    holder = by.learners["mixed"]
    assert isinstance(holder, InMemory) and holder.people.get("bob") is not None
    earned = {name: by.groups[name, 0, ""] for name in ("mixed", "lin_ts")}
    waiting = sum(one.user_id == "bob" and one.reward is None for one in by.open.values())  # type: ignore[attr-defined]
    assert waiting
    left = journal_pb2.Position(topic_id=JOURNAL_ID, offset=bob.offset + 1)
    by.forget("bob", left)
    for name, before in earned.items():
        assert by.groups[name, 0, ""].n == before.n + waiting, "what waits counts as what is known of it"
    assert not any(one.user_id == "bob" for one in by.open.values())  # type: ignore[attr-defined]
    holder.refit()
    anew = Totals(epochs=holder._epochs)
    for user in ("ada", "bob"):
        person = holder.people.get(user)
        if person is not None:
            anew.replace(None, person.taught)
    assert holder._totals.to_bytes() == anew.to_bytes()
    assert holder._totals.users == 1

    # Nothing of before is taken again, and who goes on from a snapshot says the same to the bit.
    state = snapshot.packed(by.state())
    assert state.count(b"bob") == 1, "only that they left"
    by.forget("bob", left)
    follow(by, bob)
    assert by.open.keys() == {name for name, whose in by._held.items()}  # type: ignore[attr-defined]
    again = shadows("mixed", "lin_ts")
    again.open, again.learners["mixed"].people = dict(by.open), holder.people  # type: ignore[attr-defined,call-overload]
    again.restore(snapshot.unpacked(state))
    assert [one.SerializeToString() for one in again.estimates(now_ms=1)] == [
        one.SerializeToString() for one in by.estimates(now_ms=1)
    ]


ADA = "ada-lovelace"
"""Too long to stand in numbers by chance, as three letters did."""


def test_what_is_put_away_holds_numbers_and_ids_and_no_words(tmp_path: Path) -> None:
    by, ada = shadows("mixed", "lin_ts"), Person(user=ADA)
    words = ["The dentist", "label-of-hers", "https://example.org/hers", "id-of-hers", "source-of-hers", "Some notes"]
    said = {"title": words[0], "labels": [words[1]], "url": words[2], "notes": words[5]}
    for n in range(12):
        ada.take(task(f"{words[3]}-{n}", source=words[4], priority=n % 5, user=ADA, **said))
        ada.react("SEEN")
        ada.react(("DONE", "SNOOZE", "DISMISS")[n % 3])
    shelf = assemble._shelf(by, tmp_path / "shadow.sqlite", identity=b"one")
    assert shelf is not None
    follow(by, ada)
    by.resolve(outcome_pb2.Outcome(decision_id="of a decision on its way", user_id=ADA))
    shelf.commit(snapshot.packed(by.state()))
    shelf.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert kept.count(ADA.encode()) > 12 and not any(word.encode() in kept for word in words)
    shelf = assemble._shelf(by, tmp_path / "shadow.sqlite", identity=b"one")
    assert shelf is not None
    by.restore(snapshot.unpacked(shelf.state or b""))
    by.forget(ADA, journal_pb2.Position(topic_id=JOURNAL_ID, offset=ada.offset + 1))
    shelf.commit(snapshot.packed(by.state()))
    shelf.close()
    assert b"".join(path.read_bytes() for path in tmp_path.iterdir()).count(ADA.encode()) == 1, "only that they left"


def crowd(n: int = 40, *, displeased: int = 4) -> list[Person]:
    """Every day of theirs is the same; some dismiss whatever they are told."""
    people = []
    for number in range(n):
        one = Person(user=f"user-{number}")
        for i in range(8):
            one.take(task(f"t{i}", priority=(i + number) % 5, user=one.user))
            one.react("SEEN")
            one.react("DISMISS" if number < displeased else ("DONE", "SNOOZE", "DONE", "DISMISS")[(i + number) % 4])
        people.append(one)
    return people


def in_time(people: list[Person]) -> list[Person]:
    """What each record of theirs gave, in the order of time, a record each."""
    log = sorted((one.time_ms, person.user, one, outputs) for person in people for one, outputs in person.log)
    return [Person(user=user, time_ms=time_ms, log=[(one, outputs)]) for time_ms, user, one, outputs in log]


def values(by: Shadows) -> dict[tuple[str, int], tuple[float, ...]]:
    """What every policy is said to earn, by all estimators, of all tips and of each kind."""
    return {
        (one.policy, one.kind): (one.ips.value, one.snips.value, one.doubly_robust.value)
        for one in by.estimates(now_ms=0)
    }


def bits(value: object) -> object:
    """The same where every number in it is the same to the bit."""
    if is_dataclass(value):
        return type(value), *(bits(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, tuple | list):
        return tuple(map(bits, value))
    return np.asarray(value).tobytes() if isinstance(value, float | np.ndarray | np.generic) else value


def test_the_tenth_that_dismisses_most_leaves_and_no_estimate_rises_and_a_restart_gives_the_same_gate_to_the_bit(
    tmp_path: Path,
) -> None:
    names, people = ("mixed", "lin_ts"), crowd()
    log, leavers = in_time(people), people[:4]
    # Some of theirs wait for their answer then.
    at = len(log) * 5 // 8 + len(people)

    def told(by: Shadows, some: list[Person]) -> None:
        for one in some:
            follow(by, one)
            heard(by)

    def leave(by: Shadows) -> None:
        for one in leavers:
            by.forget(one.user, journal_pb2.Position(topic_id=JOURNAL_ID, offset=one.offset + 1))
        heard(by)

    by = shadows(*names)
    told(by, log[:at])
    before, waiting = values(by), [one for one in by.open.values() if one.reward is None]  # type: ignore[attr-defined]
    assert {one.user_id for one in waiting} & {one.user for one in leavers}
    leave(by)
    after = values(by)
    assert before.keys() <= after.keys() and any(before[where] != after[where] for where in before)
    assert all(now <= then for where in before for now, then in zip(after[where], before[where], strict=True))

    # What it is there for: without what was counted of them all would seem to earn more.
    vanished = shadows(*names)
    told(vanished, [one for one in log[:at] if one.user not in {leaver.user for leaver in leavers}])
    assert all(values(vanished)[where][0] > before[where][0] for where in before if not where[1])

    # Who is begun anew, before it and behind it, and who never was.
    told(by, log[at:])
    for stops in ([at], [at, at], [at - 40, at, at + 7, at + 90]):
        again, taken = shadows(*names), 0
        for number, stop in enumerate([*stops, len(log)]):
            shelf = assemble._shelf(again, tmp_path / f"{stops}.sqlite", identity=b"one")
            assert shelf is not None
            if shelf.state is not None:
                again.restore(snapshot.unpacked(shelf.state))
            told(again, log[taken:stop])
            if stop == at and number == stops.index(at):
                leave(again)
            taken = stop
            shelf.commit(snapshot.packed(again.state()))
            shelf.close()
            if number < len(stops):
                again = shadows(*names)
        assert bits((again.gate, sorted(again.groups.items()))) == bits((by.gate, sorted(by.groups.items())))
        assert all_of(again) == all_of(by)


def test_nobody_learns_from_who_has_withdrawn_that_until_they_grant_it_again() -> None:
    by, ada, bob = shadows("mixed", "lin_ts"), busy(n=10), busy(user="bob", n=10)
    for one in (ada, bob):
        follow(by, one)
    holder = by.learners["mixed"]
    assert isinstance(holder, InMemory)
    assert holder.people.get("bob") is not None
    counted = len(bob.log)

    def goes_on(n: int) -> None:
        for i in range(n):
            bob.take(task(f"again{bob.offset}-{i}", priority=1, user="bob"))
            bob.react("DONE")
        rest = Person(user="bob", log=bob.log[counted:], packed=bob.packed)
        follow(by, rest)

    bob.take(withdrawn("learning", word="w", user="bob"))
    goes_on(3)
    assert holder.people.get("bob") is None
    assert not any(one.user_id == "bob" for one in by.open.values())  # type: ignore[attr-defined]
    assert holder.people.get("ada") is not None
    counted = len(bob.log)
    bob.take(granted("learning", word="g", knows_of="w", user="bob"))
    goes_on(3)
    assert holder.people.get("bob") is not None


def test_an_outcome_that_comes_twice_teaches_once() -> None:
    by, again = shadows("mixed"), shadows("mixed")
    for one in (by, again):
        follow(one, busy())
    for _, outputs in busy().log:
        for outcome in outputs.outcomes:
            again.resolve(outcome)
    assert (
        again.learners["mixed"].people["ada"].taught.gram.tobytes()
        == by.learners["mixed"].people["ada"].taught.gram.tobytes()
    )


def test_a_packed_slate_is_read_as_the_same_one_spelled_out() -> None:
    ada = busy()
    spelled_out = [outputs.decision for _, outputs in ada.log if outputs.decision is not None]
    for packed, plain in zip(ada.packed, spelled_out, strict=True):
        assert packed.HasField("packed") > plain.HasField("packed")
        one, other = slates.eligible(packed), slates.eligible(plain)
        assert one.x.flags.c_contiguous
        assert [one.x.tolist(), *one[:2], *one[3:]] == [other.x.tolist(), *other[:2], *other[3:]]


STRANGERS: dict[str, Callable[[decision_pb2.Decision], object]] = {
    "no slate": lambda one: one.ClearField("packed"),
    "columns of something else": lambda one: setattr(one.packed, "columns", b"\x07" + one.packed.columns[1:]),
    "an id without a head": lambda one: one.packed.ClearField("heads"),
    "an id less": lambda one: one.packed.ids.pop(),
    "what was drawn is not there": lambda one: setattr(one, "chosen", len(one.packed.ids)),
    "features beyond their bounds": lambda one: changed(one, slates.X, X_MAX + 1),
    "nobody says nothing": lambda one: changed(one, slates.KIND, decision_pb2.Decision.TASK),
    "a kind that there cannot be": lambda one: changed(one, slates.KIND, 1 << 31),
    "all are out": lambda one: changed(one, slates.OUT, 1),
    "a feature less": lambda one: setattr(
        one.packed, "columns", columns.packed(columns.unpacked(one.packed.columns)[:-1])
    ),
}


def changed(decision: decision_pb2.Decision, row: int, value: int) -> None:
    """All candidates say this in one of the slate's columns."""
    block = columns.unpacked(decision.packed.columns)
    block[row] = value
    decision.packed.columns = columns.packed(block)


@pytest.mark.parametrize("spoil", STRANGERS.values(), ids=STRANGERS)
def test_a_strangers_decision_is_refused_and_leaves_everything_as_it_was(
    spoil: Callable[[decision_pb2.Decision], object],
) -> None:
    by, ada = shadows("mixed", "lin_ts"), busy()
    assert by.decide(ada.packed[0])
    before, strange = snapshot.packed(by.state()), ada.packed[1]
    spoil(strange)
    with pytest.raises(NotOurs):
        by.decide(strange)
    assert (snapshot.packed(by.state()), [*by.open]) == (before, [ada.packed[0].decision_id])


def test_those_who_see_the_same_features_choose_by_one_memory_as_by_one_each() -> None:
    names = ("mixed", "lin_ts", "random", "linucb", "mixed_rff")
    apart, together = shadows(*names), shadows(*names, learners=assemble.learners_of(names))
    for one in together.learners.values():
        assert isinstance(one, InMemory)
        one.refit_every = 20
    for n in range(8):
        for by in (apart, together):
            heed(by, busy(user=f"user-{n}"))
    assert len({id(one) for one in together.learners.values()}) == 2
    assert together.learners["linucb"].versions > 0
    assert all_of(together) == all_of(apart)
