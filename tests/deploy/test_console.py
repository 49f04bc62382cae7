"""The console without a stack: who is let in, and that the committed page is the one that these sources make."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from deploy.built import BUILT
from deploy.console.access import HEADER, ROLE, Access
from deploy.console.app import PATH, create_app
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder
from serving.issuer import LocalIssuer
from serving.keys import Keys
from serving.tokens import Verifier
from streams.cluster import Cluster
from streams.security import Security
from tables.pseudonyms import Pseudonyms

NOWHERE = RunningStack(
    Cluster("127.0.0.1:1"), StateFolder(Path()), recommender_dsn="postgresql://127.0.0.1:1/oo?connect_timeout=1"
)
READS = f"{PATH}/v1/decisions"
WRITES = f"{PATH}/v1/letters/redrive"


@pytest.fixture(scope="module")
def issuer() -> LocalIssuer:
    from joserfc.jwk import ECKey

    key = ECKey.generate_key("P-256").as_pem(private=True)
    return LocalIssuer(key, issuer="https://issuer", audience="oo")


@pytest.fixture
def console(issuer: LocalIssuer) -> TestClient:
    async def keys() -> bytes:
        return issuer.jwks()

    found = Keys(keys)
    asyncio.run(found.refresh())
    verifier = Verifier(found, issuer="https://issuer", audience="oo", pseudonyms=Pseudonyms(b""))
    app = create_app(NOWHERE, Access(cookie="c", verifier=verifier, code="the code"))
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def problem(answer: object) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]  # type: ignore[attr-defined]


def test_nobody_reads_without_the_link_or_a_token(console: TestClient) -> None:
    answer = console.get(READS)
    assert answer.status_code == 401 and problem(answer) == "no-session"
    assert console.get(f"{PATH}/enter", params={"code": "another"}).status_code == 401
    assert console.get(READS, headers={"cookie": "c=guessed"}).status_code == 401


def test_the_link_begins_a_session_and_does_not_stay_in_the_address_bar(console: TestClient) -> None:
    answer = console.get(f"{PATH}/enter", params={"code": "the code"})
    assert answer.status_code == 303 and answer.headers["location"] == PATH
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "the code" not in cookie
    # Let in: what fails now is PostgreSQL, which is not there, and that is said.
    found = console.get(READS)
    assert found.status_code == 503 and problem(found) == "history-unavailable"


def test_a_page_of_another_site_cannot_write_with_the_operators_cookie(console: TestClient) -> None:
    console.get(f"{PATH}/enter", params={"code": "the code"})
    refused = console.post(WRITES, json={"ids": ["oo.signals/0/1"]})
    assert refused.status_code == 403 and problem(refused) == "no-header"
    # With the header it is the page's own, and what it says is looked at.
    asked = console.post(WRITES, json={"ids": []}, headers={HEADER: "1"})
    assert asked.status_code == 422 and problem(asked) == "invalid-request"


def test_letters_go_again_only_as_who_the_console_was_told_to_be() -> None:
    signs_in = Security(protocol="SASL_PLAINTEXT", mechanism="PLAIN", username="operator", password="x")
    cluster = Cluster("127.0.0.1:1", security=signs_in)
    app = create_app(replace(NOWHERE, cluster=cluster, as_password=""), Access(cookie="c", code="the code"))
    console = TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)
    console.get(f"{PATH}/enter", params={"code": "the code"})
    refused = console.post(WRITES, json={"ids": ["oo.signals/0/1"]}, headers={HEADER: "1"})
    assert refused.status_code == 403 and problem(refused) == "no-right"
    assert "--as redriver" in refused.json()["detail"]


def test_a_token_counts_only_with_the_role(console: TestClient, issuer: LocalIssuer) -> None:
    def ask(**how: object) -> tuple[int, str]:
        answer = console.get(READS, headers={"authorization": f"Bearer {issuer.mint('op', **how)}"})  # type: ignore[arg-type]
        return answer.status_code, problem(answer)

    assert ask(roles=[ROLE]) == (503, "history-unavailable")
    assert ask() == (403, "no-operator")
    assert ask(roles=["reader"]) == (403, "no-operator")
    assert ask(roles=[ROLE], lifetime_s=-3600) == (401, "invalid-token")


def test_it_answers_to_names_of_this_machine_only(console: TestClient) -> None:
    assert console.get(PATH, headers={"host": "evil.example"}).status_code == 400
    answer = console.get(PATH)
    assert answer.status_code == 200 and "script-src 'self'" in answer.headers["content-security-policy"]


def test_the_committed_page_was_built_from_these_sources() -> None:
    built = BUILT["console"]
    assert built.openapi.read_text() == built.said(), "the app changed: make console-page"
    assert built.note.read_text().strip() == built.digest(), "the page's sources changed: make console-page"
