"""What a trained model says of candidates comes by the journal, causes nothing, and is heard by the next decision alone."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.active_version import ActiveVersion
from agents.features import NOW, PLACE
from agents.prior import fit
from agents.reward import DEFAULT, hearing
from agents.step import NOTHING, Outputs
from oo.v1.journal_pb2 import Scores
from oo.v1.row_pb2 import UserRow
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables.scored import key_of
from tests.agents.build import (
    MAC_KEY,
    MONDAY_MS,
    Person,
    entry,
    erasure,
    frozen,
    reaction,
    scores,
    task,
    withdrawn,
)

MODEL = "tips@3"
AFTERNOON = 2


def version(model: str = MODEL, *, policy: str = "mixed_hearing", deaf_permille: int = 0) -> ActiveVersion:
    config = hearing(DEFAULT, model)
    if model:
        config.scoring.deaf_permille = deaf_permille
    return ActiveVersion.of(fit(policy, [], before=None, config=config, now_ms=0), mac_key=MAC_KEY)


def heard(outputs: Outputs) -> dict[str, tuple[int, int]]:
    """By candidate of a decision its score, and whether it has one."""
    assert outputs.decision is not None
    return {one.id: (one.x[PLACE["score"]], one.x[PLACE["has_score"]]) for one in outputs.decision.slate if any(one.x)}


def with_tasks(*names: str, policy: ActiveVersion | None = None) -> Person:
    """Ada with these tasks, each told by itself."""
    ada = Person(policy=policy or version())
    for name in names:
        ada.take(task(name))
    return ada


def test_the_next_decision_hears_and_nothing_else_happens() -> None:
    ada = with_tasks("a", "b")
    assert ada.row is not None
    before = frozen(ada.row)
    assert ada.take(scores(2, {"task:todo.txt/a": 40, "task:todo.txt/b": 1_000_000_000, "none": 3})) == NOTHING
    kept = UserRow.FromString(frozen(ada.row))
    assert kept.scored.expected == bytes(sorted_by_key({"task:todo.txt/a": 40, "task:todo.txt/b": 64}))
    # Beside the scores and the fence the row is what it was.
    kept.ClearField("scored")
    kept.journal_offset -= 1
    assert frozen(kept) == before
    said = ada.take(task("c"))
    assert (said.decision.scored_by, said.decision.deaf) == (MODEL, False)
    assert heard(said) == {
        "task:todo.txt/a": (40, 64), "task:todo.txt/b": (64, 64), "task:todo.txt/c": (0, 0),
        **dict.fromkeys((one for one in heard(said) if one.startswith("starter:")), (0, 0)),
    }  # fmt: skip


def sorted_by_key(expected: dict[str, int]) -> list[int]:
    return [one for _, one in sorted((key_of(candidate), one) for candidate, one in expected.items())]


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("of another model", scores(2, {"task:todo.txt/a": 40}, model="tips@2")),
        ("of none", scores(2, {"task:todo.txt/a": 40}, model="")),
        ("of the slate scored last", scores(1, {"task:todo.txt/a": 40})),
        ("of one before it", scores(0, {"task:todo.txt/a": 40})),
        ("of one to come", scores(4, {"task:todo.txt/a": 40})),
        ("of nothing that is there", scores(2, {"task:todo.txt/z": 40})),
        ("torn", Scores(decision=scores(2, {}).decision, model=MODEL, keys=[1, 2], expected=[3])),
        ("of another journal", scores(2, {"task:todo.txt/a": 40}, topic_id=b"K" * 16)),
    ],
)  # fmt: skip
def test_what_is_not_the_newest_word_of_the_model_in_force_leaves_the_very_row(why: str, said: Scores) -> None:
    ada = with_tasks("a")
    ada.take(scores(1, {"task:todo.txt/a": 7}))
    ada.take(task("b"))
    before = ada.row
    assert ada.take(said) == NOTHING, why
    assert ada.row is before, why


def test_nobody_is_made_or_brought_back_by_scores() -> None:
    nobody = Person(policy=version())
    assert nobody.take(scores(0, {"task:todo.txt/a": 40})) == NOTHING
    assert nobody.row is None
    ada = with_tasks("a")
    ada.take(erasure("r"))
    stub = ada.row
    assert ada.take(scores(1, {"task:todo.txt/a": 40})) == NOTHING
    assert ada.row is stub


def test_a_version_without_a_model_hears_nothing_and_one_of_another_model_only_that_one() -> None:
    ada = with_tasks("a", "b")
    ada.take(scores(2, {"task:todo.txt/a": 40}))
    ada.policy = version("tips@4")
    said = ada.take(task("c"))
    assert (said.decision.scored_by, set(heard(said).values())) == ("", {(0, 0)})
    ada.take(scores(4, {"task:todo.txt/a": 9, "task:todo.txt/b": 8}, model="tips@4"))
    # Late, of the model before: two scales never meet in a slate.
    ada.take(scores(5, {"task:todo.txt/a": 40, "task:todo.txt/c": 40}))
    said = ada.take(task("d"))
    assert (said.decision.scored_by, heard(said)["task:todo.txt/c"]) == ("tips@4", (0, 0))
    assert heard(said)["task:todo.txt/a"] == (9, 64)
    ada.policy = version("")
    said = ada.take(task("e"))
    assert (said.decision.feature_version, len(said.decision.slate[0].x)) == (NOW.version, NOW.d)


def test_what_a_model_may_have_seen_of_what_is_withdrawn_is_heard_no_more() -> None:
    ada = with_tasks("a", "b")
    ada.take(scores(2, {"task:todo.txt/a": 40}))
    ada.take(withdrawn("calendar", word="w"))
    assert not UserRow.FromString(frozen(ada.row)).HasField("scored")
    assert ada.take(task("c")).decision.scored_by == ""


def test_what_was_expected_in_the_morning_is_not_heard_in_the_afternoon_until_it_is_said_anew() -> None:
    ada = with_tasks("a", "b")
    ada.take(scores(2, {"task:todo.txt/a": 40}))
    assert ada.take(task("c")).decision.scored_by == MODEL
    assert ada.take(task("d"), after_ms=5 * HOUR_MS).decision.scored_by == ""
    ada.take(scores(5, {"task:todo.txt/a": 7}, moment=AFTERNOON))
    said = ada.take(task("e"))
    assert (said.decision.scored_by, heard(said)["task:todo.txt/a"]) == (MODEL, (7, 64))


def test_a_version_that_went_to_another_process_hears_as_before() -> None:
    there = version()
    gone = replace(there, space=pickle.loads(pickle.dumps(there.space)))
    assert gone.space is not there.space  # Else nothing is shown.
    ada = with_tasks("a", "b", policy=gone)
    ada.take(scores(2, {"task:todo.txt/a": 40}))
    assert heard(ada.take(task("c")))["task:todo.txt/a"] == (40, 64)


def test_one_slate_in_eight_is_deaf_whatever_else_it_is_and_says_so() -> None:
    deaf = []
    for name in range(400):
        ada = Person(policy=version(deaf_permille=125), user=f"u{name}")
        ada.take(task("a", user=ada.user))
        ada.take(scores(1, {"task:todo.txt/a": 40}))
        said = ada.take(task("b", user=ada.user))
        assert said.decision.scored_by == MODEL
        assert heard(said)["task:todo.txt/a"] == ((0, 0) if said.decision.deaf else (40, 64))
        deaf.append(said.decision.deaf)
    assert 25 < sum(deaf) < 80


SAID = st.lists(
    st.tuples(
        st.integers(-1, 450),
        st.sampled_from(["a", "b", "z"]),
        st.integers(-9, 10**9),
        st.sampled_from([MODEL, MODEL, "tips@2"]),
    ),
    max_size=6,
)


def lived(days: list[list[tuple[int, str, int, str]]], *, scored: bool) -> list[object]:
    """What was decided, when and why, and when the row waits to be woken; by a policy that does not hear, over the same records."""
    ada, found = Person(policy=version(policy="mixed")), list[object]()
    for day, said in enumerate(days):
        at, now_ms = 100 * day, MONDAY_MS + day * HOUR_MS
        for n, name in enumerate("ab"):
            found.append(ada.take_entry(entry(task(name, priority=day % 5), offset=at + n, time_ms=now_ms)))
        for n, (offset, name, expected, model) in enumerate(said if scored else []):
            record = entry(
                scores(offset, {f"task:todo.txt/{name}": expected}, model=model),
                offset=at + 10 + n,
                time_ms=now_ms + DAY_MS,
            )
            assert ada.take_entry(record) == NOTHING
        kind = ("DISMISS", "DONE", "SNOOZE")[day % 3]
        found.append(ada.take_entry(entry(reaction(ada.current, kind), offset=at + 50, time_ms=now_ms + MINUTE_MS)))
        found.append(ada.now.next_wake_ms)
    return [
        (one.decision and (one.decision.decision_id, one.decision.decided_ms, one.decision.trigger, one.decision.chosen, one.decision.propensity), one.outcomes)
        if isinstance(one, Outputs) else one
        for one in found
    ]  # fmt: skip


@settings(max_examples=60)
@given(st.lists(SAID, min_size=1, max_size=5))
def test_without_its_scores_a_journal_gives_the_same_decisions_at_the_same_times(
    days: list[list[tuple[int, str, int, str]]],
) -> None:
    assert lived(days, scored=True) == lived(days, scored=False)
