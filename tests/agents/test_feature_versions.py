"""A version that only adds features goes on with what was taught, and decides to the bit as before where what is new is 0."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.active_version import ActiveVersion
from agents.bandit.belief import belief, packed
from agents.features import FIRST, NOW, PLACE, SCORED, SPACES, D, Q, Space, writer
from agents.fold import PartitionState, taught
from agents.learn import SIZE, _read
from agents.policies import POLICIES
from agents.prior import SHAPE, fit, prior
from agents.reward import DEFAULT
from agents.step import Entry, Outputs
from oo.v1 import policy_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS
from tables import marginal, sums
from tables.linear import Ints
from tables.row import spelled_out
from tables.sums import Taught
from tables.totals import Totals, merged, messages
from tests.agents.build import (
    MAC_KEY,
    MONDAY_MS,
    Person,
    activity,
    asking,
    event,
    said,
    task,
    withdrawn,
)
from tests.agents.test_features import asked

OF_BEFORE = ActiveVersion.of(prior(config=asking(runs_out_ms=30 * DAY_MS), space=FIRST), mac_key=MAC_KEY)
OF_NOW = ActiveVersion.of(prior(config=asking(runs_out_ms=30 * DAY_MS)), mac_key=MAC_KEY)


def slate(chance: np.random.Generator, d: int, k: int = 6) -> Ints:
    x = chance.integers(0, 65, size=(k, d)) * (chance.random((k, d)) < 0.4)
    x[-1] = 0
    return np.ascontiguousarray(x)


def taught_by(chance: np.random.Generator, d: int, *, epoch: int, n: int = 20) -> Taught:
    one = sums.nothing(d)
    for x in slate(chance, d, n + 1)[:-1]:
        sums.add(one, x=x, reward=int(chance.integers(-16, 65)), time_ms=MONDAY_MS)
    one.epoch = epoch
    return one


def fitted(chance: np.random.Generator) -> policy_pb2.PolicyVersion:
    """A version of before, with a belief that something was taught to."""
    version = prior(space=FIRST)
    root = np.tril(chance.normal(size=(FIRST.d, FIRST.d)) * 0.05) + np.eye(FIRST.d) * 0.2
    version.mean, version.factor = packed(chance.normal(size=FIRST.d) * 0.1), packed(root)
    return version


def padded(version: policy_pb2.PolicyVersion, to: Space) -> policy_pb2.PolicyVersion:
    """The same belief, and of what is new what stood before anything was learned."""
    old, made = belief(version), policy_pb2.PolicyVersion()
    made.CopyFrom(version)
    factor = np.eye(to.d) * np.sqrt(SHAPE.variance)
    factor[: FIRST.d, : FIRST.d] = old.factor[:, : FIRST.d]
    made.mean = version.mean.ljust(to.d * 8, b"\0")
    made.epoch_mean = version.epoch_mean.ljust(to.d * 8, b"\0")
    made.factor, made.feature_version = packed(factor), to.version
    return made


@pytest.mark.parametrize("to", [NOW, SCORED], ids=["now", "scored"])
@pytest.mark.parametrize("name", [name for name, one in POLICIES.items() if one.servable])
def test_padded_sums_decide_as_before_to_the_bit_where_what_is_new_is_0(name: str, to: Space) -> None:
    chance = np.random.default_rng(1)
    for key in range(20):
        version = fitted(chance)
        person, x = taught_by(chance, FIRST.d, epoch=version.epoch), slate(chance, FIRST.d)
        pmf = POLICIES[name].pmf
        before = said(pmf(belief(version), person, x, silent=5, now_ms=MONDAY_MS + HOUR_MS, key=key))
        more, taught = np.ascontiguousarray(np.pad(x, ((0, 0), (0, to.d - FIRST.d)))), sums.resized(person, to.d)
        again = pmf(belief(padded(version, to)), taught, more, silent=5, now_ms=MONDAY_MS + HOUR_MS, key=key)
        assert said(again) == before


@pytest.mark.parametrize("to", [NOW, SCORED], ids=["now", "scored"])
def test_what_padded_sums_add_to_everybodys_is_what_they_added_before(to: Space) -> None:
    chance = np.random.default_rng(2)
    first = belief(prior(space=FIRST)).epoch
    for _ in range(20):
        person = taught_by(chance, FIRST.d, epoch=0)
        before = marginal.contribution(person, first)
        now = marginal.contribution(sums.resized(person, to.d), first)
        assert (now == marginal.resized(before, d=FIRST.d, to=to.d)).all()
        assert (before == marginal.resized(now, d=to.d, to=FIRST.d)).all()


def test_a_version_goes_on_with_totals_and_the_epoch_of_before() -> None:
    chance, before = np.random.default_rng(3), prior(space=FIRST)
    totals = Totals(epochs={before.epoch: belief(before).epoch})
    for _ in range(12):
        totals.replace(None, taught_by(chance, FIRST.d, epoch=before.epoch))
    published = messages(totals, feature_version=FIRST.version)
    version = fit("mixed", merged(map(_read, published), size=SIZE), before=before, config=DEFAULT, now_ms=MONDAY_MS)
    assert version.feature_version == version.features.version == NOW.version
    assert version.n == sum(one.n for one in published) > 0
    # Its people are those of the epoch that stood: enough have spoken in it to begin the next one.
    assert version.epoch_people == 12
    mean = belief(version).mean
    assert np.abs(mean[: FIRST.d] - np.array(SHAPE.mean[: FIRST.d])).max() > 0.01
    assert (mean[FIRST.d :] == 0).all()


def journal() -> tuple[list[Entry], list[Outputs]]:
    """Ada of version 2: tasks, a written tip, reactions."""
    ada = Person(policy=OF_BEFORE)
    ada.take(event("e", start_ms=MONDAY_MS + 2 * HOUR_MS, end_ms=MONDAY_MS + 3 * HOUR_MS))
    asked(ada, task("a", priority=1, labels=["home"]), about=["task:todo.txt/a"])
    for n, kind in enumerate(("SNOOZE", "DONE", "DISMISS", "DONE") * 3):
        ada.take(task(f"t{n}", priority=1 + n % 4))
        ada.react(kind, **({"until_ms": ada.time_ms + HOUR_MS} if kind == "SNOOZE" else {}))
    return [one for one, _ in ada.log], [outputs for _, outputs in ada.log]


def folded(by: list[ActiveVersion]) -> tuple[row_pb2.UserRow, list[Outputs]]:
    """The journal, its parts decided by these versions in turn; totals are held against a recount at each record."""
    entries, _ = journal()
    known = {"": by[0]}
    epochs = {one.version.epoch: one.belief.epoch for one in by}
    part = PartitionState(partition=0, versions=known, totals=Totals(epochs=epochs))
    said = []
    for at, one in enumerate(entries):
        known[""] = by[at * len(by) // len(entries)]
        said.append(part.apply(one))
        assert not said[-1].fault
        part.acknowledge()
        anew, row = Totals(epochs=epochs), part.row("ada")
        assert row is not None and part.totals is not None
        anew.replace(None, taught(row))
        assert anew.to_bytes() == part.totals.to_bytes()
    row = part.row("ada")
    assert row is not None
    return row, said


def test_a_version_of_before_decides_as_it_did() -> None:
    _, said = folded([OF_BEFORE])
    assert {one.decision.feature_version for one in said if one.decision is not None} == {2}


@pytest.mark.parametrize("by", [[OF_BEFORE, OF_NOW], [OF_NOW, OF_BEFORE], [OF_BEFORE, OF_NOW, OF_BEFORE, OF_NOW]])
def test_sums_and_decisions_go_on_from_one_version_to_another(by: list[ActiveVersion]) -> None:
    row, said = folded(by)
    versions = [one.decision.feature_version for one in said if one.decision is not None]
    assert {*versions} == {2, 3}
    alone, _ = folded([by[0]])
    shown, other = spelled_out(row), spelled_out(alone)
    assert shown.sums.feature_version == by[-1].space.version
    # As much was taught, whichever version it was taught in.
    assert shown.sums.n == other.sums.n > 0
    assert not Person(policy=by[-1], row=row, offset=99, time_ms=row.now_ms).take(activity()).fault


@pytest.mark.parametrize("purpose", ["tasks", "generated", "calendar"])
def test_what_is_withdrawn_after_the_upgrade_leaves_what_was_taught_before(purpose: str) -> None:
    row, _ = folded([OF_BEFORE])
    ada = Person(policy=OF_NOW, row=row, offset=99, time_ms=row.now_ms)
    assert not ada.take(withdrawn(purpose, word="w")).fault
    assert ada.row is not None
    kept = sums.read(ada.row, d=D, feature_version=NOW.version, alike=SPACES)
    places = [PLACE[name] for name in ("generated", "prompt_0", "model_3") if purpose == "generated"]
    assert not kept.moment[places].any()
    assert marginal.contribution(kept, OF_BEFORE.belief.epoch).any()


def test_what_a_source_told_is_not_learned_by_a_written_tip_once_that_is_withdrawn() -> None:
    for policy, learned in ((OF_BEFORE, True), (OF_NOW, False)):
        ada = Person(policy=policy)
        asked(ada, task("a", priority=1), about=["task:todo.txt/a"])
        # Whoever the draw fell on: the tip that was written is what she saw.
        tries = 0
        while "generated:" not in ada.row.current_candidate and tries < 40:  # type: ignore[union-attr]
            ada.take(task("a", title=f"Another title {tries}", priority=1))
            tries += 1
        assert "generated:" in ada.row.current_candidate  # type: ignore[union-attr]
        decided = ada.current
        ada.react("SEEN")
        ada.take(withdrawn("source:todo.txt", word="w"))
        said = [one.learned for one in ada.react("DONE", decision_id=decided).outcomes]
        assert said == [learned]


def vector(prompt: str, model: str) -> Ints:
    x = np.zeros(D, dtype=np.int64)
    x[PLACE["generated"]] = 64
    for place in writer(prompt, model, space=NOW):
        x[place] = 32
    return x


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_prompts_and_models_of_different_buckets_are_learned_apart(seed: int) -> None:
    """One prompt is liked and the other is not, likewise of models; one of the four pairs nobody has seen."""
    chance, first = np.random.default_rng(seed), prior()
    liked = {"tips@1": 0.5, "tips@2": 0.0, "tip-generator": 0.3, "tip-generator-2": 0.0}
    assert (
        len({vector(p, m).tobytes() for p in ("tips@1", "tips@2") for m in ("tip-generator", "tip-generator-2")}) == 4
    )
    totals = Totals(epochs={first.epoch: belief(first).epoch})
    for n in range(100):
        one = sums.nothing(D)
        for prompt, model in (
            ("tips@1", "tip-generator-2"),
            ("tips@2", "tip-generator"),
            ("tips@2", "tip-generator-2"),
        ):
            done = chance.random() < 0.1 + liked[prompt] + liked[model]
            sums.add(one, x=vector(prompt, model), reward=64 * done, time_ms=MONDAY_MS + n)
        one.epoch = first.epoch
        totals.replace(None, one)
    version = fit(
        "mixed", merged(totals.all(), size=marginal.size(d=D, q=Q)), before=first, config=DEFAULT, now_ms=MONDAY_MS
    )
    mean = belief(version).mean
    worth = {
        (p, m): float(vector(p, m) @ mean) / 64
        for p in ("tips@1", "tips@2")
        for m in ("tip-generator", "tip-generator-2")
    }
    assert worth["tips@1", "tip-generator-2"] > worth["tips@2", "tip-generator-2"] + 0.2
    assert worth["tips@2", "tip-generator"] > worth["tips@2", "tip-generator-2"] + 0.05
    # The pair that nobody saw is thought to be the best: both of it are liked.
    assert max(worth, key=worth.__getitem__) == ("tips@1", "tip-generator")


def test_every_space_is_the_beginning_of_the_next() -> None:
    assert [*SPACES.values()] == sorted(SPACES.values())
    assert Space(FIRST.version, FIRST.d) == (2, 40)
    assert FIRST.d >= Q


@pytest.mark.parametrize("of", [OF_BEFORE, OF_NOW], ids=["before", "now"])
def test_a_version_that_went_to_another_process_sees_what_it_saw_before(of: ActiveVersion) -> None:
    gone = pickle.loads(pickle.dumps(of.space))
    assert gone is not of.space  # Else nothing is shown.
    entries, _ = journal()
    for there in (of, replace(of, space=gone)):
        person = Person(policy=there)
        for one in entries:
            person.take_entry(one)
        if there is of:
            before = person.packed
    assert person.packed == before and any(one.packed.writers for one in before)
