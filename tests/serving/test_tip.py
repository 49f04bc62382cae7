"""GET /v1/tip: what stands, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

from oo.v1 import decision_pb2
from tests.serving.edges import LiveEdge, problem
from tests.serving.valkeys import ValkeyServer


def test_the_tip_that_stands_is_read_whole(edge: LiveEdge) -> None:
    decision_id = edge.put_tip(
        "whole",
        1,
        title="Ruf Mama an ☎",
        detail="Sie wartet",
        url="https://example.org/a?b=1",
        why=["Heute", "Kurz"],
        decided_ms=1_700_000_000_123,
    )
    with edge.client("whole") as client:
        answer = client.get("/v1/tip")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, no-cache"
    body = answer.json()
    assert body.pop("valid_until").endswith("Z")
    assert body == {
        "decision_id": decision_id,
        "kind": "task",
        "title": "Ruf Mama an ☎",
        "detail": "Sie wartet",
        "source": "todo.txt",
        "url": "https://example.org/a?b=1",
        "why": ["Heute", "Kurz"],
        "phrases": {"title": None, "detail": None, "why": [None, None]},
        "decided_at": "2023-11-14T22:13:20.123Z",
    }


def test_there_is_no_content_before_the_first_tip(edge: LiveEdge) -> None:
    with edge.client("nobody") as client:
        answer = client.get("/v1/tip")
    assert (answer.status_code, answer.content) == (204, b"")


def test_each_user_sees_only_their_own_tip(edge: LiveEdge) -> None:
    edge.put_tip("ada", 1, title="Ada's")
    with edge.client("bob") as client:
        assert client.get("/v1/tip", params={"user": "ada", "user_id": "ada"}).status_code == 204


def test_a_tip_that_has_run_out_is_not_served(edge: LiveEdge) -> None:
    edge.put_tip("ran-out", 1, valid_until_ms=int(time.time() * 1000) - 1)
    with edge.client("ran-out") as client:
        assert client.get("/v1/tip").status_code == 204


def test_a_decision_for_silence_is_not_served(edge: LiveEdge) -> None:
    edge.put_tip("silence", 1, decision_id="", kind=decision_pb2.Decision.NONE)
    edge.put_tip("silence-with-id", 1, kind=decision_pb2.Decision.NONE)
    for user in ("silence", "silence-with-id"):
        with edge.client(user) as client:
            assert client.get("/v1/tip").status_code == 204


def test_a_known_etag_is_answered_with_304_until_the_tip_changes(edge: LiveEdge) -> None:
    edge.put_tip("etag", 1)
    with edge.client("etag") as client:
        tag = client.get("/v1/tip").headers["etag"]
        again = client.get("/v1/tip", headers={"if-none-match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        edge.put_tip("etag", 2)
        changed = client.get("/v1/tip", headers={"if-none-match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag


def test_a_link_that_is_no_web_address_is_left_out(edge: LiveEdge) -> None:
    edge.put_tip("link", 1, url="javascript:alert(1)")
    with edge.client("link") as client:
        assert client.get("/v1/tip").json()["url"] == ""


def test_with_valkey_down_the_answer_is_503_and_never_a_remembered_tip(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as valkey, LiveEdge(tmp_path / "edge", valkey_url=valkey.url) as edge:
        edge.put_tip("down", 1)
        with edge.client("down") as client:
            assert client.get("/v1/tip").status_code == 200
            valkey.stop()
            time.sleep(0.1)  # For 80 ms memory counts.
            away = client.get("/v1/tip")
            assert problem(away, 503) == "tips-unavailable"
            assert int(away.headers["retry-after"]) >= 1
            assert "valkey" in client.get("/readyz").json()["missing"]
            valkey.start()
            assert client.get("/v1/tip").status_code == 204
            edge.put_tip("down", 2)
            assert client.get("/v1/tip").json()["title"] == "Tip 2"
