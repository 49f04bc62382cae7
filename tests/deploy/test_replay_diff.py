"""`oo replay diff` on runs whose every decision is known, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimators.bandits import ips, snips

from agents.reward import DEFAULT
from deploy.proof import evidence_of, objection
from deploy.replay.diff import LOGGED, diff
from deploy.replay.manifest import Manifest, Run, RunError
from deploy.replay.page import page
from deploy.replay.sink import Sink
from deploy.replay.words import cautions
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome

KINDS = [Decision.NONE, Decision.TASK, Decision.TASK]
LOGGING, BOLD = [0.2, 0.5, 0.3], [0.05, 0.15, 0.8]
DONE = (0.0, 0.2, 0.7)
"""How likely each candidate is to be done, by its place."""
WORTH = (DEFAULT.reward_done - DEFAULT.interruption_cost) / 64


def decision(offset: int, action: int, other: int, **said: Any) -> dict[str, Any]:
    return {
        "offset": offset,
        "decision_id": f"d{offset}",
        "user": f"p{offset % 7}",
        "decided_ms": offset * 1000,
        "policy": "mixed",
        "policy_version": "v",
        "kind": KINDS[action],
        "chosen": action,
        "propensity": LOGGING[action],
        "action": action,
        "kinds": KINDS,
        "propensities": LOGGING,
        "scores": [0.0, 0.1, 0.4],
        "features": bytes([64, 0, 32]),
        "unshared": False,
        "digest": bytes(16),
        "other_action": other,
        "other_propensities": BOLD,
        "other_scores": [0.0, 0.2, 0.5],
        "other_features": bytes([64, 64]),
        **said,
    }


def outcome(one: dict[str, Any], kind: int, index: int = 0) -> dict[str, Any]:
    name = f"{one['decision_id']}-{index}"
    return {
        "offset": one["offset"] + 1,
        "outcome_id": name,
        "decision_id": one["decision_id"],
        "user": one["user"],
        "event_time_ms": one["decided_ms"] + 1,
        "kind": kind,
        "reward": 0.0,
        "digest": bytes(16),
    }


def lived(n: int = 2000) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Decisions by the logged probabilities, and what became of them."""
    chance, decisions, outcomes = np.random.default_rng(7), list[dict[str, Any]](), list[dict[str, Any]]()
    for at in range(n):
        one = decision(2 * at, int(chance.choice(3, p=LOGGING)), int(chance.choice(3, p=BOLD)))
        decisions.append(one)
        if chance.random() < DONE[one["action"]]:
            outcomes += [outcome(one, Outcome.SEEN), outcome(one, Outcome.DONE, 1), outcome(one, Outcome.DISMISS, 2)]
    return decisions, outcomes


def made(
    root: Path,
    name: str,
    decisions: Sequence[dict[str, Any]],
    outcomes: Sequence[dict[str, Any]] = (),
    *,
    policy: str = "linucb",
    end: int = 100_000,
    parts: int = 1,
    **other: Any,
) -> Run:
    """A run that is done."""
    run, start = Run(root, name), other.pop("start", 0)
    manifest = Manifest(name, "00", {0: start}, {0: end}, {}, step_version=6, build="1", policy=policy)
    run.create(replace(manifest, **other))
    sink = Sink(run, 0)
    for part in range(parts):
        low, high = end * part // parts, end * (part + 1) // parts
        sink.write("decisions", high, [one for one in decisions if low <= one["offset"] < high])
        sink.write("outcomes", high, [one for one in outcomes if low <= one["offset"] < high])
    (run.folder / "done.json").write_text("{}")
    return run


def test_what_both_policies_earn_is_told_with_intervals_that_hold_the_truth(tmp_path: Path) -> None:
    decisions, outcomes = lived()
    found = diff(made(tmp_path, "bold", decisions, outcomes, parts=3))
    logged, bold = found.earned
    assert [one.policy for one in found.earned] == [LOGGED, "linucb"]
    truth = {
        name: WORTH * sum(p * q for p, q in zip(pmf, DONE, strict=True))
        for name, pmf in ((LOGGED, LOGGING), ("linucb", BOLD))
    }
    for one in found.earned:
        for value in (one.doubly_robust, one.snips, one.ips):
            assert value.low is not None and value.high is not None and value.low < truth[one.policy] < value.high
    # The same events by the estimators of others; a first outcome counts, and what corrects it later does not.
    became = {one["decision_id"] for one in outcomes if one["kind"] == Outcome.DONE}
    theirs, selfs = ips.Estimator(), snips.Estimator()
    for did in decisions:
        reward = WORTH if did["decision_id"] in became else 0.0
        for each in (theirs, selfs):
            each.add_example(p_log=LOGGING[did["action"]], r=reward, p_pred=BOLD[did["action"]])
    assert bold.ips.value == pytest.approx(theirs.get())
    assert bold.snips.value == pytest.approx(selfs.get())
    assert logged.mean_weight == 1 and logged.effective_n == len(decisions) == found.valued
    low, high = found.ahead.low, found.ahead.high
    assert low is not None and high is not None and 0 < low < truth["linucb"] - truth[LOGGED] < high
    assert found.ahead.value == pytest.approx(bold.doubly_robust.value - logged.doubly_robust.value)
    # On the same decisions, so it is known better than the two apart.
    widths = [each.high - each.low for each in (bold.doubly_robust, logged.doubly_robust)]  # type: ignore[operator]
    assert high - low < sum(widths)
    assert found.answered == len(became)


def test_a_run_is_proof_for_the_gate_against_the_policy_that_decides_and_no_other(tmp_path: Path) -> None:
    decisions, outcomes = lived()
    better = diff(made(tmp_path, "better", decisions, outcomes))
    assert better.gate is not None and better.gate.verdict == "promote" and better.gate.low > 0
    assert better.logged == {"mixed": len(decisions)} and objection(better, champion="mixed") == ""
    assert "decisions of the run were made by mixed" in objection(better, champion="squarecb")
    evidence = evidence_of(better)
    assert evidence is not None and (evidence.n, evidence.ahead.low) == (len(decisions), better.gate.low)
    # Everything turned round: what was logged earns more, and a few decisions prove nothing.
    silent = [{**one, "other_action": 0, "other_propensities": [1.0, 0.0, 0.0]} for one in decisions]
    for name, some in (("worse", silent), ("few", decisions[:20])):
        found = diff(made(tmp_path, name, some, outcomes))
        assert found.gate is not None and found.gate.verdict == "hold"
        assert "The gate holds: linucb" in objection(found, champion="mixed")
    never = [{**one, "propensities": [0.3, 0.7, 0.0], "action": 1, "kind": Decision.TASK} for one in decisions]
    assert "says nothing" in objection(diff(made(tmp_path, "never", never, outcomes)), champion="mixed")


def test_what_differs_is_counted_by_kind_and_person_and_the_farthest_say_why(tmp_path: Path) -> None:
    far = {"other_propensities": [0.9, 0.05, 0.05], "other_action": 0}
    decisions = [decision(0, 1, 1), decision(2, 1, 2), decision(7, 2, 0, **far), decision(14, 0, 0)]
    found = diff(made(tmp_path, "one", decisions))
    assert (found.decisions, found.otherwise, found.without) == (4, 2, 0)
    assert {kind: (one.otherwise, one.decisions) for kind, one in found.by_kind.items()} == {
        "task": (2, 3),
        "none": (0, 1),
    }
    assert (found.people, found.people_otherwise) == (2, 2)
    assert [(one.user, one.otherwise, one.decisions) for one in found.most] == [("p0", 1, 3), ("p2", 1, 1)]
    assert [one.decision_id for one in found.examples] == ["d7", "d2"]
    mine, theirs = found.examples[0].choices
    assert (mine.policy, mine.kind, mine.probability, mine.worth) == (LOGGED, "task", (0.3, 0.05), (0.4, 0.5))
    assert (theirs.policy, theirs.kind, theirs.probability) == ("linucb", "none", (0.2, 0.9))
    assert list(theirs.features.values()) == [1.0, 1.0] and len(mine.features) == 2
    assert found.distance == pytest.approx((0.5 * 3 + 0.7) / 4)
    assert sum(found.distances) == 4 and found.distances[14] == 1


def test_two_runs_are_held_against_each_other_where_both_have_something(tmp_path: Path) -> None:
    decisions, outcomes = lived(200)
    timid = [{**one, "other_action": 0, "other_propensities": [1.0, 0.0, 0.0]} for one in decisions]
    first = made(tmp_path, "first", decisions, outcomes)
    second = made(tmp_path, "second", timid, outcomes, policy="random", end=100)
    found = diff(first, second)
    assert "the ranges differ" in found.ranges and found.ranges in cautions(found)
    assert found.decisions == found.valued == 50 and (found.first, found.second) == ("linucb", "random")
    assert [one.policy for one in found.earned] == [LOGGED, "linucb", "random"]
    assert found.earned[2].ips.value == 0  # Saying nothing earns nothing.
    plain = made(tmp_path, "plain", decisions, outcomes, policy="")
    assert diff(plain, first).first == LOGGED and not diff(plain, first).ranges
    assert diff(plain, first).earned == diff(first).earned
    with pytest.raises(RunError, match="no other policy was asked"):
        diff(plain)
    with pytest.raises(RunError, match="no record in common"):
        diff(first, made(tmp_path, "later", [], start=100_000, end=100_001))
    with pytest.raises(RunError, match="different journals"):
        diff(first, made(tmp_path, "elsewhere", [], journal_id="01"))


def test_what_has_no_counterpart_or_teaches_nobody_has_no_value(tmp_path: Path) -> None:
    silent = {f"other_{name}": None for name in ("action", "propensities", "scores", "features")}
    decisions = [decision(0, 1, 1), decision(2, 1, 0, **silent), decision(4, 1, 2, unshared=True)]
    found = diff(made(tmp_path, "one", decisions))
    assert (found.decisions, found.without, found.unshared, found.valued) == (2, 1, 1, 1)
    assert any("1 decisions have no counterpart" in one for one in cautions(found))
    set_ = made(tmp_path, "set", decisions, policy="", settings={"cap_hour": 4})
    Sink(set_, 0).write("unlogged", 100_000, [{"offset": 3, "user": "p3"}, {"offset": 9, "user": "p2"}])
    assert (diff(set_).second, diff(set_).without) == ("cap_hour=4", 3)
    never = [decision(0, 1, 2, propensities=[0.4, 0.6, 0.0])]
    assert diff(made(tmp_path, "two", never)).out_of_reach == 1


def test_the_page_holds_all_of_it_and_fetches_nothing(tmp_path: Path) -> None:
    decisions, outcomes = lived(60)
    decisions[0]["user"] = "<script>alert(1)</script>"
    told = page(diff(made(tmp_path, "bold", decisions, outcomes)))
    assert told.count("<img") == 3 and 'src="data:image/svg+xml' in told
    assert "http" not in told.lower().split("<body>")[1] and "<script" not in told
    assert "linucb held against logged" in told
