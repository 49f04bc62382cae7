"""POST /v1/signals: all of a call or nothing, and only about oneself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.stack.running import RunningStack
from oo.v1 import signal_pb2
from serving.routes.signals import SIGNALS_MAX
from tests.serving.edges import LiveEdge, problem
from tests.serving.topic import messages


def task(external_id: str = "1", title: str = "Water the plants", **more: Any) -> dict[str, Any]:
    return {"source": "test", "task_upserted": {"external_id": external_id, "title": title}, **more}


def signals(stack: RunningStack, user_id: str) -> list[signal_pb2.Signal]:
    return messages(stack, "signals", signal_pb2.Signal, user_id=user_id)


def test_one_signal_is_taken_for_the_tokens_user(whole_edge: LiveEdge, servers: RunningStack) -> None:
    with whole_edge.client("sg-one") as client:
        answer = client.post("/v1/signals", json=task(event_id="e1"))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    (signal,) = signals(servers, "sg-one")
    assert (signal.user_id, signal.event_id, signal.task_upserted.title) == ("sg-one", "e1", "Water the plants")


def test_many_signals_are_taken_in_their_order(whole_edge: LiveEdge, servers: RunningStack) -> None:
    with whole_edge.client("sg-many") as client:
        answer = client.post("/v1/signals", json=[task(str(n)) for n in range(SIGNALS_MAX)])
    assert answer.json() == {"accepted": SIGNALS_MAX}
    taken = [signal.task_upserted.external_id for signal in signals(servers, "sg-many")]
    assert taken == [str(n) for n in range(SIGNALS_MAX)]


def test_both_spellings_of_protobuf_json_are_read(whole_edge: LiveEdge, servers: RunningStack) -> None:
    body = {
        "eventId": "c",
        "userId": "sg-case",
        "taskUpserted": {"externalId": "1", "title": "x", "estimatedMinutes": 5},
    }
    with whole_edge.client("sg-case") as client:
        assert client.post("/v1/signals", json=body).status_code == 202
    assert signals(servers, "sg-case")[0].task_upserted.estimated_minutes == 5


def test_an_idempotency_key_gives_ids_to_signals_that_have_none(whole_edge: LiveEdge, servers: RunningStack) -> None:
    with whole_edge.client("sg-key") as client:
        for _ in range(2):
            assert client.post("/v1/signals", json=[task("1"), task("2")], headers={"idempotency-key": "k"}).is_success
    ids = [signal.event_id for signal in signals(servers, "sg-key")]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


def test_one_bad_signal_keeps_the_whole_call_out_and_each_fault_is_named(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    body = [
        task(),
        task(title=""),
        task(user_id="somebody-else"),
        {"source": "test"},
        {"task_upserted": {"external_id": "1", "title": "x", "url": "javascript:alert(1)"}},
        {"nonsense": 1},
        7,
    ]
    with whole_edge.client("sg-bad") as client:
        answer = client.post("/v1/signals", json=body)
    assert problem(answer, 422) == "invalid-signals"
    pointers = [fault["pointer"] for fault in answer.json()["errors"]]
    assert pointers == ["/1/task_upserted/title", "/2/user_id", "/3/payload", "/4/task_upserted/url", "/5", "/6"]
    assert signals(servers, "sg-bad") == []


@pytest.mark.parametrize(
    "entry",
    [
        task(title="x" * 501),
        task(title="nul\0"),
        task(title="\ud800"),
        {"activity": {"kind": "steps", "value": "NaN"}},
        {"event_time": "yesterday", **task()},
        {"task_upserted": {"external_id": "1", "title": "x", "priority": 5}},
        {"task_upserted": {"external_id": "1", "title": "x", "labels": ["a"] * 33}},
        {"task_upserted": {"external_id": "1", "title": "x"}, "task_completed": {"external_id": "1"}},
        {"user_id": 7, **task()},
        {"task_upserted": "water"},
        None,
        {},
    ],
)
def test_a_signal_past_its_bounds_is_422(edge: LiveEdge, entry: object) -> None:
    with edge.client("sg-bounds") as client:
        # Dumped here: a lone surrogate must reach the edge.
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/signals", content=json.dumps([entry]), headers=headers)
    assert problem(answer, 422) == "invalid-signals"


@pytest.mark.parametrize("count", [0, SIGNALS_MAX + 1])
def test_a_call_has_one_to_500_signals(edge: LiveEdge, count: int) -> None:
    with edge.client("sg-count") as client:
        assert problem(client.post("/v1/signals", json=[task()] * count), 422) == "invalid-request"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 500_000])
def test_what_is_no_json_is_400(edge: LiveEdge, body: bytes) -> None:
    with edge.client("sg-json") as client:
        answer = client.post("/v1/signals", content=body, headers={"content-type": "application/json"})
    assert problem(answer, 400) == "not-json"


def test_deep_nesting_is_refused(edge: LiveEdge) -> None:
    body = '{"task_upserted":' * 60 + "{}" + "}" * 60
    with edge.client("sg-deep") as client:
        answer = client.post("/v1/signals", content=body, headers={"content-type": "application/json"})
    assert problem(answer, 422) == "invalid-signals"


def test_another_content_type_is_refused(edge: LiveEdge) -> None:
    with edge.client("sg-type") as client:
        answer = client.post("/v1/signals", content=json.dumps(task()), headers={"content-type": "text/plain"})
    assert problem(answer, 415) == "unsupported-media-type"


def test_without_kafka_nothing_is_accepted(edge: LiveEdge) -> None:
    with edge.client("sg-down") as client:
        assert problem(client.post("/v1/signals", json=task()), 503) == "log-unavailable"
