"""A line of a decision log says what it says, or why it cannot be used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.dsjson import Decision, Labelled, Observation, SeveralSlots, Unusable, read


def joined(**changes: Any) -> bytes:
    said = {
        "_label_cost": -1,
        "_label_probability": 0.7,
        "_label_Action": 2,
        "_labelIndex": 1,
        "o": [{"v": 1.0, "EventId": "e"}],
        "Timestamp": "2026-01-01T00:00:00Z",
        "Version": "1",
        "EventId": "e",
        "a": [2, 1, 3],
        "c": {"User": {"age": 3}, "_multi": [{}, {}, {}]},
        "p": [0.7, 0.2, 0.1],
    }
    return json.dumps({key: one for key, one in {**said, **changes}.items() if one is not None}).encode()


def test_a_joined_line_is_a_decision_with_its_reward() -> None:
    said = read(joined())
    assert isinstance(said, Labelled)
    assert (said.reward, said.counts, said.is_late) == (1.0, True, False)
    assert (said.decision.action, said.decision.probabilities) == (1, (0.2, 0.7, 0.1))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"_label_Action": 1}, "the label is of action 1, and 2 was ranked first"),
        ({"_labelIndex": 0}, "_labelIndex is 0"),
        ({"_label_probability": 0.2}, "_label_probability is 0.2, and 'p' says 0.7"),
        ({"_label_probability": 0, "p": [0, 0.5, 0.5]}, "it could not have been chosen"),
        ({"_label_probability": 1.5, "p": None}, "it could not have been chosen"),
        ({"p": [0.7, 0.2]}, "a probability for each of the 3 actions"),
        ({"p": [0.7, 0.2, 0.3]}, "adds up to 1.2"),
        ({"p": None, "_label_probability": None}, "no probabilities"),
        ({"a": [2, 2, 3]}, "no ranking"),
        ({"a": []}, "no ranking"),
        ({"a": [2, True, 3]}, "no ranking"),
        ({"_label_cost": "1"}, "_label_cost is no number"),
        ({"_label_cost": True}, "_label_cost is no number"),
        ({"pdrop": 1}, "no probability below 1"),
        ({"c": {"_multi": [{}]}}, "each of the 3 actions"),
        ({"c": []}, "'c' is no JSON object"),
        ({"EventId": 7}, "EventId is no text"),
    ],
)
def test_what_cannot_be_used_says_why(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(joined(**changes))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "no JSON"),
        (b"7", "no JSON object"),
        (b'{"_label_cost":NaN}', "NaN is no number"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"EventId":"e"}', "neither a decision"),
        (b'{"EventId":"e","v":"much"}', "v is no number"),
        (b'{"EventId":"e","v":1,"EnqueuedTimeUtc":"soon"}', "no time"),
    ],
)
def test_nor_can_these(line: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"Timestamp":"2026-01-01T00:00:00Z","Version":"1","c":{"_multi":[{}],"_slots":[{}]},"_outcomes":[]}',
        b'{"_label_ca":{"cost":0,"pdf_value":0.02,"action":185.5},"EventId":"e","c":{}}',
        joined(c={"_multi": [{}, {}, {}], "_slots": [{"_id": "s"}]}),
    ],
)
def test_a_log_of_another_kind_is_said_to_be_one(line: bytes) -> None:
    with pytest.raises(SeveralSlots):
        read(line)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"_skipLearn": True}, False),
        ({"_skipLearn": False, "DeferredAction": True}, True),
        ({"_deferred": True, "DeferredAction": True, "o": None}, False),
        ({"_deferred": True, "o": [{"EventId": "e", "ActionTaken": True}]}, True),
        # As joiners of before wrote it.
        ({"DeferredAction": True, "o": [{"EventId": "e", "DeferredAction": False}]}, True),
    ],
)
def test_a_deferred_action_counts_once_it_was_taken(changes: dict[str, Any], counts: bool) -> None:
    said = read(joined(**changes))
    assert isinstance(said, Labelled)
    assert said.counts == counts


def test_what_is_not_joined_is_a_decision_or_something_that_came_of_one() -> None:
    label = ("_label_cost", "_label_probability", "_label_Action", "_labelIndex", "o")
    decision = read(joined(DeferredAction=True, **dict.fromkeys(label)))
    assert isinstance(decision, Decision)
    assert (decision.event_id, decision.action, decision.is_deferred) == ("e", 1, True)
    assert read(b'{"EventId":"e","v":0.5}') == Observation("e", 0.5, None, is_activation=False, is_dangling=False)
    assert read(b'{"EventId":"e","ActionTaken":true}') == Observation(
        "e", None, None, is_activation=True, is_dangling=False
    )
    dangling = b'{"RewardValue":1,"EnqueuedTimeUtc":"1970-01-01T00:00:01.5Z","EventId":"e"}'
    assert read(dangling) == Observation("e", 1.0, 1500, is_activation=False, is_dangling=True)


def test_a_label_behind_the_context_is_read_and_said() -> None:
    said = json.loads(joined())
    cost = said.pop("_label_cost")
    found = read(json.dumps({**said, "_label_cost": cost}))
    assert isinstance(found, Labelled)
    assert found.is_late
    assert found.reward == 1.0


def test_without_the_others_probabilities_they_are_taken_to_be_equal_and_it_is_said() -> None:
    found = read(joined(p=None))
    assert isinstance(found, Labelled)
    assert not found.decision.rest_is_known
    assert found.decision.probabilities == pytest.approx((0.15, 0.7, 0.15))
