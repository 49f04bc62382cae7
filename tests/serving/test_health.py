"""Liveness, readiness by name, metrics, and what holds for every answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.middleware import BODY_BYTES_MAX
from serving.settings import Settings
from tests.patience import PATIENCE_S
from tests.serving.edges import LiveEdge, problem
from tests.serving.valkeys import ValkeyServer

SETTINGS = {
    "kafka_bootstrap": "127.0.0.1:1",
    "registry_url": "http://127.0.0.1:1",
    "valkey_url": "valkey://127.0.0.1:1",
    "mac_key_file": "mac",
    "name_key_file": "name",
    "kek_dir": "kek",
    "jwt_issuer": "i",
    "jwt_audience": "a",
}


def test_the_process_says_that_it_is_alive(edge: LiveEdge) -> None:
    with edge.client() as client:
        assert client.get("/healthz").json() == {"status": "ok"}


def test_what_is_missing_is_named(edge: LiveEdge) -> None:
    with edge.client() as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "missing": ["registry", "kafka"], "degraded": ["history"]}


def test_with_everything_there_the_edge_is_ready(whole_edge: LiveEdge) -> None:
    ready = 200, {"ready": True, "missing": [], "degraded": []}
    deadline_s = time.monotonic() + PATIENCE_S
    with whole_edge.client() as client:
        # A busy machine answers some probe too late; the next one is two seconds later.
        while ((answer := client.get("/readyz")).status_code, answer.json()) != ready:
            assert time.monotonic() < deadline_s, answer.text
            time.sleep(0.2)


def test_metrics_count_by_route_and_name_no_user(edge: LiveEdge) -> None:
    edge.put_tip("metrics-user", 1)
    with edge.client("metrics-user") as client:
        client.get("/v1/tip")
        client.get("/v1/nowhere/metrics-user")
        text = client.get("/metrics").text
    assert 'oo_edge_requests_total{method="GET",route="/v1/tip",status="200"}' in text
    assert "metrics-user" not in text
    assert "nowhere" not in text


def test_unknown_addresses_and_methods_are_problems(edge: LiveEdge) -> None:
    with edge.client("ada") as client:
        assert problem(client.get("/v2/tip"), 404) == "not-found"
        wrong = client.delete("/v1/tip")
        assert problem(wrong, 405) == "method-not-allowed"
        assert wrong.headers["allow"] == "GET, HEAD"


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(valkey: ValkeyServer, tmp_path: Path) -> None:
    with LiveEdge(tmp_path, valkey_url=valkey.url) as edge, edge.client("ada") as client:

        @edge.app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("secret inside")

        answer = client.get("/broken")
        assert problem(answer, 500) == "fault"
        assert "secret" not in answer.text
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/tip", "/nowhere", "/healthz", "/openapi.json", "/"])
def test_every_answer_carries_safe_headers(edge: LiveEdge, path: str) -> None:
    with edge.client() as client:
        headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers


def test_a_body_past_a_mebibyte_is_refused_before_it_is_read(edge: LiveEdge) -> None:
    with edge.client("big") as client:
        answer = client.post(
            "/v1/signals", content=b" " * (BODY_BYTES_MAX + 1), headers={"content-type": "application/json"}
        )
        assert problem(answer, 413) == "too-large"


def test_a_body_that_does_not_tell_its_length_is_bounded_too(edge: LiveEdge) -> None:
    with edge.client("big") as client:
        parts = (b" " * 65_536 for _ in range(BODY_BYTES_MAX // 65_536 + 1))
        answer = client.post("/v1/signals", content=parts, headers={"content-type": "application/json"})
        assert problem(answer, 413) == "too-large"
        assert client.get("/healthz").status_code == 200


BY_A_SIGNED_WORD = (
    "/v1/deliveries/unsubscribe",
    "/v1/deliveries/{delivery_id}/reaction",
    "/v1/devices/confirm",
    "/v1/hooks/{connection_id}",
)
"""Of who comes there it is known by what they bring: nobody signs in."""


def test_the_openapi_document_names_every_public_route_and_its_errors(edge: LiveEdge) -> None:
    with edge.client() as client:
        document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/auth/callback/{provider}",
        "/auth/device",
        "/auth/login/{provider}",
        "/auth/logout",
        "/auth/providers",
        "/auth/token",
        "/healthz",
        "/metrics",
        "/readyz",
        "/v1/connections",
        "/v1/connections/{connection_id}",
        "/v1/connections/{connection_id}/sync",
        "/v1/connections/{source}/authorize",
        "/v1/connections/{source}/callback",
        "/v1/deliveries",
        "/v1/deliveries/unsubscribe",
        "/v1/deliveries/{delivery_id}/reaction",
        "/v1/devices",
        "/v1/devices/confirm",
        "/v1/devices/key",
        "/v1/devices/{device_id}",
        "/v1/feedback",
        "/v1/hooks/{connection_id}",
        "/v1/me",
        "/v1/me/export",
        "/v1/sessions",
        "/v1/sessions/{session_id}",
        "/v1/signals",
        "/v1/sources",
        "/v1/tip",
        "/v1/tips",
        "/v1/tips/stream",
    }
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1/"):
                assert bool(operation["security"]) == (path not in BY_A_SIGNED_WORD)
                assert "401" in operation["responses"] or not operation["security"]
                for status, answer in operation["responses"].items():
                    if method == "head":
                        assert "content" not in answer, (path, status)
                    elif status.startswith(("4", "5")):
                        assert "application/problem+json" in answer["content"], (path, status)


# Local mode: one machine's page, and nobody else's.


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""])
def test_in_local_mode_other_host_names_are_refused(edge: LiveEdge, host: str) -> None:
    with edge.client() as client:
        answer = client.get("/", headers={"host": host})
    assert problem(answer, 400) == "unknown-host"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:80"])
def test_in_local_mode_this_machines_names_are_accepted(edge: LiveEdge, host: str) -> None:
    with edge.client() as client:
        assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_the_page_signs_the_local_user_in_with_a_cookie_that_scripts_cannot_read(edge: LiveEdge) -> None:
    edge.put_tip("demo", 1)
    with edge.client() as client:
        cookie = client.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/v1/tip").json()["title"] == "Tip 1"


def test_another_site_cannot_choose_the_local_user(edge: LiveEdge) -> None:
    edge.put_tip("chosen", 1, title="Chosen")
    with edge.client() as client:
        client.get("/", params={"user": "chosen"}, headers={"sec-fetch-site": "cross-site"})
        answer = client.get("/v1/tip")
        assert answer.status_code == 204 or answer.json()["title"] != "Chosen"
        client.get("/", params={"user": "chosen"})
        assert client.get("/v1/tip").json()["title"] == "Chosen"


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://SELF"])
def test_a_cookie_does_not_count_in_another_pages_post(edge: LiveEdge, origin: str | None) -> None:
    with edge.client() as client:
        client.get("/")
        headers = {} if origin is None else {"origin": origin.replace("SELF", f"127.0.0.1:{edge.port}")}
        answer = client.post("/v1/feedback", json={"decision_id": "x", "reaction": "done"}, headers=headers)
        assert problem(answer, 403) == "foreign-origin"


def test_a_cookie_counts_in_our_own_pages_post(edge: LiveEdge) -> None:
    with edge.client() as client:
        client.get("/")
        answer = client.post(
            "/v1/feedback", json={"decision_id": "x", "reaction": "done"}, headers={"origin": edge.url}
        )
        assert problem(answer, 404) == "unknown-decision"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "index.html", "FONTS-LICENSE.txt", ""])
def test_only_the_pages_own_files_are_served(edge: LiveEdge, name: str) -> None:
    with edge.client() as client:
        assert client.get(f"/static/{name}").status_code == 404


def test_outside_local_mode_there_is_no_page_and_no_issuer(valkey: ValkeyServer, tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    with LiveEdge(
        tmp_path / "edge", valkey_url=valkey.url, local=False, local_signing_key_file=None, jwks_file=jwks
    ) as edge:
        jwks.write_bytes(edge.issuer.jwks())
        for path in ("/", "/static/page.js", "/.well-known/jwks.json"):
            with edge.client() as client:
                assert problem(client.get(path), 404) == "not-found"
        with edge.client("ada") as client:
            # The keys were not there at the start: the first look was a moment ago.
            assert client.get("/v1/tip", headers={"host": "tips.example"}).status_code in (204, 503)


def test_local_mode_listens_on_loopback_only() -> None:
    local = {**SETTINGS, "local": True, "local_signing_key_file": "key"}
    assert Settings.model_validate(local).edge_host == "127.0.0.1"
    with pytest.raises(ValidationError, match="loopback"):
        Settings.model_validate({**local, "edge_host": "0.0.0.0"})
    assert Settings.model_validate({**local, "edge_host": "0.0.0.0", "local_any_host": True}).local_any_host


def test_settings_that_cannot_verify_a_token_are_refused() -> None:
    with pytest.raises(ValidationError, match="OO_JWKS_URL"):
        Settings.model_validate(SETTINGS)
