"""POST /v1/signals: all of a call or nothing, and only about oneself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.stack.running import RunningStack
from oo.v1 import signal_pb2
from serving.problems import ERRORS_MAX
from serving.routes.signals import SIGNALS_MAX
from tests.serving.edges import LiveEdge, problem
from tests.serving.topic import messages
from tests.serving.valkeys import ValkeyServer


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


def test_an_idempotency_key_that_stood_for_another_body_is_422(whole_edge: LiveEdge, servers: RunningStack) -> None:
    headers = {"idempotency-key": "reused"}
    with whole_edge.client("sg-reused") as client:
        assert client.post("/v1/signals", json=task("1"), headers=headers).status_code == 202
        answer = client.post("/v1/signals", json=task("2"), headers=headers)
        assert problem(answer, 422) == "idempotency-key-reused"
        # The same request, written in another way, is still the same.
        again = {"taskUpserted": {"title": "Water the plants", "externalId": "1"}, "source": "test"}
        assert client.post("/v1/signals", json=again, headers=headers).status_code == 202
        # A key is one address's: feedback knows nothing of it.
        decision_id = whole_edge.put_tip("sg-reused", 1)
        feedback = {"decision_id": decision_id, "reaction": "seen"}
        assert client.post("/v1/feedback", json=feedback, headers=headers).status_code == 202
    first, second = signals(servers, "sg-reused")
    assert first.event_id == second.event_id


def test_an_idempotency_key_is_known_to_every_edge(
    whole_edge: LiveEdge, servers: RunningStack, valkey: ValkeyServer, tmp_path: Path
) -> None:
    # All edges of one cluster have one.
    (tmp_path / "mac").write_bytes(whole_edge.mac_key)
    with LiveEdge(tmp_path, valkey_url=valkey.url, stack=servers) as other:
        other.until_ready()
        headers = {"idempotency-key": "both"}
        with whole_edge.client("sg-both") as here, other.client("sg-both") as there:
            assert here.post("/v1/signals", json=task("1"), headers=headers).status_code == 202
            assert problem(there.post("/v1/signals", json=task("2"), headers=headers), 422) == "idempotency-key-reused"
            assert there.post("/v1/signals", json=task("1"), headers=headers).status_code == 202
    assert len({signal.event_id for signal in signals(servers, "sg-both")}) == 1


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
        task(title="\udc00 tail"),
        {"\ud800": 1},
        {**task(), "source": "\ud800"},
        {"activity": {"kind": "k", "value": 10**63}, "event_id": "\ud800"},
        {"activity": {"kind": "steps", "value": "1" + "0" * 400}},
        {"task_upserted": {"external_id": "1", "title": "x", "estimated_minutes": "1" + "0" * 400}},
        {"task_upserted": {"external_id": "1", "title": "x", "estimated_minutes": 1e300}},
        {"task_upserted": {"external_id": "1", "title": "x", "due": "0001-01-01T00:00:00+18:00"}},
        {"task_upserted": {"external_id": "1", "title": "x", "due": "9999-12-31T23:59:59-18:00"}},
        {"event_time": "2026-01-01T00:00:00.1e999Z", **task()},
        {"event_time": "2026-01-01T00:00:00.inf" + "Z", **task()},
        {"event_time": "2026-01-01T00:00:00.nanZ", **task()},
        {"event_time": "2026-01-01T00:00:00+99999999999:00", **task()},
        {"event_time": 10**60, **task()},
        {"task_upserted": {"external_id": "1", "title": "x", "labels": ["a"] * 1_000}},
        {"task_upserted": {"external_id": "1", "title": "x", "notes": "a" * 900_000}},
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


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"]" * 500_000,
        b'"' + b'\\"' * 50_000,
        b"[}" * 10_000,
        b"NaN",
        b"[Infinity]",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_json_is_400(edge: LiveEdge, body: bytes) -> None:
    with edge.client("sg-json") as client:
        answer = client.post("/v1/signals", content=body, headers={"content-type": "application/json"})
    assert problem(answer, 400) == "not-json"


@pytest.mark.parametrize("path", ["/v1/signals", "/v1/feedback"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"task_upserted":' * 60 + "{}" + "}" * 60, id="deep"),
        pytest.param("[" * 1500 + "]" * 1500, id="deeper"),
        pytest.param("[" * 4_000, id="deep without end"),
        pytest.param('{"activity": {"kind": "k", "value": 1' + "0" * 400 + "}}", id="long number"),
        pytest.param('{"activity": {"kind": "k", "value": 0.' + "1" * 400 + "}}", id="long fraction"),
        pytest.param('{"snooze_until": -1' + "0" * 3000 + "}", id="longer number"),
    ],
)
def test_json_past_its_levels_or_with_endless_numbers_is_refused(edge: LiveEdge, path: str, body: str) -> None:
    with edge.client("sg-deep") as client:
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert problem(answer, 422) == "invalid-request"


@pytest.mark.parametrize(
    "body", [b"[" * 500_000, b"[" + b"{}," * 300_000 + b"{}]", b'"' * 1_000_000, b"[" + b"0," * 99_999 + b"0]"]
)
def test_more_values_than_any_call_has_are_not_looked_at(edge: LiveEdge, body: bytes) -> None:
    with edge.client("sg-values") as client:
        answer = client.post("/v1/signals", content=body, headers={"content-type": "application/json"})
    assert problem(answer, 422) == "invalid-request"


def test_a_fault_names_its_field_however_odd_the_text(edge: LiveEdge) -> None:
    body = [task(), {"task_upserted": {"external_id": "1", "title": "a\udfffb"}}]
    with edge.client("sg-odd") as client:
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/signals", content=json.dumps(body), headers=headers)
    assert answer.json()["errors"][0]["pointer"] == "/1/task_upserted/title"


def test_after_the_first_faults_the_rest_is_not_looked_for(edge: LiveEdge) -> None:
    with edge.client("sg-first") as client:
        answer = client.post("/v1/signals", json=[task(title="")] * SIGNALS_MAX)
    assert len(answer.json()["errors"]) == ERRORS_MAX
    assert answer.json()["detail"].startswith(f"More than {ERRORS_MAX}")


@pytest.mark.parametrize("path", ["/v1/signals", "/v1/feedback"])
@pytest.mark.parametrize("stated", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
def test_another_content_type_is_refused(edge: LiveEdge, path: str, stated: str | None) -> None:
    with edge.client("sg-type") as client:
        headers = {} if stated is None else {"content-type": stated}
        answer = client.post(path, content=json.dumps(task()), headers=headers)
    assert problem(answer, 415) == "unsupported-media-type"


def test_without_kafka_nothing_is_accepted(edge: LiveEdge) -> None:
    with edge.client("sg-down") as client:
        assert problem(client.post("/v1/signals", json=task()), 503) == "log-unavailable"


@pytest.mark.parametrize(
    ("signal", "where", "reason"),
    [
        (task(event_time="2999-01-01T00:00:00Z"), "/event_time", "time-ahead"),
        (task(event_time="1999-12-31T23:59:59Z"), "/event_time", "time-behind"),
        (task(title=" \t "), "/task_upserted/title", "invalid"),
        (task(title=""), "/task_upserted/title", "invalid"),
        ({"profile_changed": {"time_zone": "CEST"}}, "/profile_changed/time_zone", "unknown-time-zone"),
        ({"profile_changed": {"time_zones": "CEST"}}, "", "bad-json"),
    ],
    ids=["ahead", "behind", "blank", "empty", "zone", "unknown field"],
)
def test_what_the_door_would_refuse_is_refused_here_in_the_same_word(
    edge: LiveEdge, signal: dict[str, Any], where: str, reason: str
) -> None:
    with edge.client("sg-door") as client:
        answer = client.post("/v1/signals", json=[task(), signal])
    assert problem(answer, 422) == "invalid-signals"
    ((pointer, word),) = [(one["pointer"], one["reason"]) for one in answer.json()["errors"]]
    assert (pointer, word) == (f"/1{where}", reason)
