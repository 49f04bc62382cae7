"""POST /v1/feedback over a real Kafka: accepted means acknowledged, counted once, and that tip is gone."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from deploy.stack.running import RunningStack
from oo.v1 import reaction_pb2
from tests.serving.edges import LiveEdge, events, problem
from tests.serving.topic import messages
from tests.serving.valkeys import ValkeyServer


def react(
    client: httpx.Client, decision_id: str, reaction: str = "done", *, key: str | None = None, **more: object
) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return client.post("/v1/feedback", json={"decision_id": decision_id, "reaction": reaction, **more}, headers=headers)


def reactions(stack: RunningStack, user_id: str) -> list[reaction_pb2.Reaction]:
    return messages(stack, "reactions", reaction_pb2.Reaction, user_id=user_id)


def test_accepted_feedback_stands_in_kafka(whole_edge: LiveEdge, servers: RunningStack) -> None:
    decision_id = whole_edge.put_tip("fb-kafka", 1)
    with whole_edge.client("fb-kafka") as client:
        answer = react(client, decision_id, "DoNe")
    assert answer.status_code == 202, answer.text
    (reaction,) = reactions(servers, "fb-kafka")
    assert (reaction.user_id, reaction.decision_id, reaction.kind) == (
        "fb-kafka",
        decision_id,
        reaction_pb2.Reaction.DONE,
    )
    assert reaction.event_id == answer.json()["event_id"]
    assert abs(reaction.event_time.ToMilliseconds() / 1000 - time.time()) < 60


@pytest.mark.parametrize("reaction", ["done", "snooze", "dismiss"])
def test_a_tip_with_feedback_is_served_no_more_and_the_next_one_is(whole_edge: LiveEdge, reaction: str) -> None:
    user = f"fb-{reaction}"
    decision_id = whole_edge.put_tip(user, 1)
    with whole_edge.client(user) as client:
        assert react(client, decision_id, reaction).status_code == 202
        assert client.get("/v1/tip").status_code == 204
        whole_edge.put_tip(user, 2)
        assert client.get("/v1/tip").json()["title"] == "Tip 2"


def test_seen_does_not_take_the_tip_away(whole_edge: LiveEdge, servers: RunningStack) -> None:
    decision_id = whole_edge.put_tip("fb-seen", 1)
    with whole_edge.client("fb-seen") as client:
        assert react(client, decision_id, "seen").status_code == 202
        assert client.get("/v1/tip").json()["decision_id"] == decision_id
    assert [one.kind for one in reactions(servers, "fb-seen")] == [reaction_pb2.Reaction.SEEN]


def test_reading_a_tip_sends_nothing(whole_edge: LiveEdge, servers: RunningStack) -> None:
    whole_edge.put_tip("fb-read", 1)
    with whole_edge.client("fb-read") as client:
        client.get("/v1/tip")
        with events(client) as stream:
            stream.next()
    assert reactions(servers, "fb-read") == []


def test_another_edge_stops_serving_it_too(whole_edge: LiveEdge, valkey: ValkeyServer, tmp_path: Path) -> None:
    decision_id = whole_edge.put_tip("fb-two", 1)
    with LiveEdge(tmp_path, valkey_url=valkey.url) as other, other.client("fb-two") as there:
        assert there.get("/v1/tip").json()["decision_id"] == decision_id
        with whole_edge.client("fb-two") as here:
            assert react(here, decision_id).status_code == 202
        other.until_heard()
        assert there.get("/v1/tip").status_code == 204


def test_somebody_elses_decision_is_404_and_reaches_nobody(whole_edge: LiveEdge, servers: RunningStack) -> None:
    theirs = whole_edge.put_tip("fb-victim", 1)
    with whole_edge.client("fb-thief") as client:
        assert problem(react(client, theirs), 404) == "unknown-decision"
    assert reactions(servers, "fb-thief") == []
    with whole_edge.client("fb-victim") as client:
        assert client.get("/v1/tip").status_code == 200


@pytest.mark.parametrize("decision_id", ["x", "a" * 32, "a" * 64, "../../etc", "%00"])
def test_an_unknown_decision_is_404(whole_edge: LiveEdge, decision_id: str) -> None:
    with whole_edge.client("fb-unknown") as client:
        assert problem(react(client, decision_id), 404) == "unknown-decision"


def test_feedback_sent_twice_counts_once(whole_edge: LiveEdge, servers: RunningStack) -> None:
    decision_id = whole_edge.put_tip("fb-twice", 1)
    with whole_edge.client("fb-twice") as client:
        first, second = react(client, decision_id), react(client, decision_id)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert len(reactions(servers, "fb-twice")) == 1


def test_feedback_sent_twice_at_the_same_moment_carries_one_event_id(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    decision_id = whole_edge.put_tip("fb-race", 1)
    answers: list[int] = []

    def send() -> None:
        with whole_edge.client("fb-race") as client:
            answers.append(react(client, decision_id).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 8
    assert len({one.event_id for one in reactions(servers, "fb-race")}) == 1


def test_the_same_key_with_the_same_body_is_accepted_again_and_counts_once(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    decision_id = whole_edge.put_tip("fb-key", 1)
    with whole_edge.client("fb-key") as client:
        answers = [react(client, decision_id, key="k1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(reactions(servers, "fb-key")) == 1


def test_the_same_key_with_another_body_is_refused(whole_edge: LiveEdge, servers: RunningStack) -> None:
    decision_id = whole_edge.put_tip("fb-reuse", 1)
    with whole_edge.client("fb-reuse") as client:
        assert react(client, decision_id, "seen", key="k1").status_code == 202
        assert problem(react(client, decision_id, "dismiss", key="k1"), 422) == "idempotency-key-reused"
        assert client.get("/v1/tip").status_code == 200
    assert len(reactions(servers, "fb-reuse")) == 1


def test_another_edge_knows_the_key(
    whole_edge: LiveEdge, valkey: ValkeyServer, servers: RunningStack, tmp_path: Path
) -> None:
    decision_id = whole_edge.put_tip("fb-key-two", 1)
    with whole_edge.client("fb-key-two") as client:
        assert react(client, decision_id, "seen", key="k1").status_code == 202
    (tmp_path / "mac").write_bytes(whole_edge.mac_key)
    with LiveEdge(tmp_path, valkey_url=valkey.url, stack=servers) as other, other.client("fb-key-two") as client:
        other.until_ready()
        assert problem(react(client, decision_id, "done", key="k1"), 422) == "idempotency-key-reused"


def test_one_users_key_means_nothing_for_another(whole_edge: LiveEdge) -> None:
    for user in ("fb-own-1", "fb-own-2"):
        decision_id = whole_edge.put_tip(user, 1)
        with whole_edge.client(user) as client:
            assert react(client, decision_id, key="same").status_code == 202


def test_a_snooze_says_until_when(whole_edge: LiveEdge, servers: RunningStack) -> None:
    decision_id = whole_edge.put_tip("fb-until", 1)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    with whole_edge.client("fb-until") as client:
        assert react(client, decision_id, "snooze", snooze_until=until.isoformat()).status_code == 202
    (reaction,) = reactions(servers, "fb-until")
    assert reaction.snooze_until.ToDatetime(tzinfo=UTC) == until


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision_id": "x"},
        {"decision_id": "", "reaction": "done"},
        {"decision_id": "a" * 65, "reaction": "done"},
        {"decision_id": "\ud800", "reaction": "done"},
        {"decision_id": 7, "reaction": "done"},
        {"decision_id": "x", "reaction": "love"},
        {"decision_id": "x", "reaction": None},
        {"decision_id": "x", "reaction": "snooze", "snooze_until": "tomorrow"},
        {"decision_id": "x", "reaction": "snooze", "snooze_until": "2026-01-01T00:00:00"},
        {"decision_id": "x", "reaction": "snooze", "snooze_until": "9999-01-01T00:00:00Z"},
        {"decision_id": "x", "reaction": "done", "user_id": "bob"},
        [],
        "done",
        None,
    ],
)
def test_feedback_with_values_to_mend_is_422_and_says_which(edge: LiveEdge, body: object) -> None:
    with edge.client("fb-mend") as client:
        # Dumped here: a lone surrogate must reach the edge.
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/feedback", content=json.dumps(body), headers=headers)
    assert problem(answer, 422) == "invalid-request"
    assert all({"pointer", "detail"} == fault.keys() for fault in answer.json()["errors"])


def test_a_time_to_snooze_until_goes_with_snooze_only(edge: LiveEdge) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    with edge.client("fb-mix") as client:
        answer = react(client, edge.decision("fb-mix", 1), "done", snooze_until=until)
    assert problem(answer, 422) == "invalid-request"
    assert answer.json()["errors"][0]["pointer"] == "/snooze_until"


def test_why_a_tip_was_dismissed_goes_with_the_reaction_which_counts_once(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    decision_id = whole_edge.decision("fb-why", 1)
    with whole_edge.client("fb-why") as client:
        answer = react(client, decision_id, "done", reason="not_now")
        assert problem(answer, 422) == "invalid-request"
        assert answer.json()["errors"][0]["pointer"] == "/reason"
        assert problem(react(client, decision_id, "dismiss", reason="bored"), 422) == "invalid-request"
        said = [react(client, decision_id, "dismiss", reason=why) for why in ("done_already", None, "not_mine")]
        assert react(client, decision_id, "dismiss", reason="not_now", key="k").status_code == 202
        again = react(client, decision_id, "dismiss", reason="not_mine", key="k")
    assert len({one.json()["event_id"] for one in said}) == 1
    assert problem(again, 422) == "idempotency-key-reused"
    first, _ = reactions(servers, "fb-why")
    assert (first.kind, first.reason) == (reaction_pb2.Reaction.DISMISS, reaction_pb2.Reaction.DONE_ALREADY)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 30, b"]" * 4_000])
def test_feedback_that_is_no_json_is_refused(edge: LiveEdge, body: bytes) -> None:
    with edge.client("fb-json") as client:
        answer = client.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
    assert problem(answer, 400) == "not-json"


def test_feedback_is_short(edge: LiveEdge) -> None:
    with edge.client("fb-long") as client:
        answer = client.post("/v1/feedback", json={f"x{n}": 1 for n in range(70_000)})
    assert problem(answer, 413) == "too-large"


@pytest.mark.parametrize(
    "until",
    [
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59+23:59",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00.1e999Z",
        "2026-13-01T00:00:00Z",
        "1e400",
        "1767225600",
        1767225600,
        10**60,
        True,
        [],
        "\ud800",
    ],
)
def test_a_time_to_snooze_until_that_is_none_or_too_far_is_422(edge: LiveEdge, until: object) -> None:
    body = {"decision_id": edge.decision("fb-calendar", 1), "reaction": "snooze", "snooze_until": until}
    with edge.client("fb-calendar") as client:
        answer = client.post("/v1/feedback", content=json.dumps(body), headers={"content-type": "application/json"})
    assert problem(answer, 422) == "invalid-request"
    assert answer.json()["errors"][0]["pointer"] == "/snooze_until"


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-23:59", "1969-12-31T23:59:59Z"])
def test_a_time_long_past_is_as_good_as_none(whole_edge: LiveEdge, servers: RunningStack, until: str) -> None:
    user_id = f"fb-past-{until}"
    decision_id = whole_edge.put_tip(user_id, 1)
    with whole_edge.client(user_id) as client:
        assert react(client, decision_id, "snooze", snooze_until=until).status_code == 202
    (reaction,) = reactions(servers, user_id)
    assert reaction.snooze_until.ToMilliseconds() == 0


@pytest.mark.parametrize("odd", ["\ud800", "a\udfff", "\0", "\x85", "a" * 900])
@pytest.mark.parametrize("field", ["decision_id", "reaction", "odd/~"])
def test_an_odd_text_in_feedback_is_422_with_its_field(edge: LiveEdge, field: str, odd: str) -> None:
    body = {"decision_id": "x", "reaction": "done", field: odd}
    with edge.client("fb-odd") as client:
        answer = client.post("/v1/feedback", content=json.dumps(body), headers={"content-type": "application/json"})
    assert problem(answer, 422) == "invalid-request"
    assert answer.json()["errors"][0]["pointer"].startswith(f"/{field[:3]}")


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\there"])
def test_an_idempotency_key_has_its_bounds(edge: LiveEdge, key: str) -> None:
    with edge.client("fb-bounds") as client:
        assert problem(react(client, edge.decision("fb-bounds", 1), key=key), 422) == "invalid-request"


def test_without_kafka_the_feedback_is_not_accepted_and_the_tip_stays(edge: LiveEdge) -> None:
    decision_id = edge.put_tip("fb-no-kafka", 1)
    with edge.client("fb-no-kafka") as client:
        answer = react(client, decision_id)
        assert problem(answer, 503) == "log-unavailable"
        assert "retry-after" in answer.headers
        assert client.get("/v1/tip").json()["decision_id"] == decision_id


def test_with_valkey_away_feedback_is_accepted_and_the_marker_is_written_once_it_is_back(
    tmp_path: Path, servers: RunningStack
) -> None:
    with (
        ValkeyServer(tmp_path) as valkey,
        LiveEdge(tmp_path / "edge", valkey_url=valkey.url, stack=servers) as edge,
        edge.client("fb-away") as client,
    ):
        decision_id = edge.put_tip("fb-away", 1)
        edge.until_ready()
        valkey.stop()
        assert react(client, decision_id, key="k").status_code == 202
        # Kafka has it; other edges do not know, so this one says that it is not ready.
        assert [one.decision_id for one in reactions(servers, "fb-away")] == [decision_id]
        missing = client.get("/readyz")
        assert missing.status_code == 503
        assert any(name.startswith("spent markers (1 ") for name in missing.json()["missing"])
        valkey.start()
        # The publisher writes the old tip again before the next one comes: it is still not served.
        edge.put_tip("fb-away", 1)
        assert client.get("/v1/tip").status_code == 204
        edge.until_ready()
        with LiveEdge(tmp_path / "edge", valkey_url=valkey.url) as other, other.client("fb-away") as there:
            assert there.get("/v1/tip").status_code == 204


def test_the_accepting_edge_remembers_even_if_valkey_forgets(whole_edge: LiveEdge, valkey: ValkeyServer) -> None:
    decision_id = whole_edge.put_tip("fb-forget", 1)
    with whole_edge.client("fb-forget") as client:
        assert react(client, decision_id).status_code == 202
        from valkey import Valkey

        with Valkey.from_url(valkey.url) as plain:
            plain.delete("oo:spent:{fb-forget}")
        assert client.get("/v1/tip").status_code == 204
