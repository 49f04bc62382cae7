"""Programs that act for a person; how sessions end, everywhere; and who leaves."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from typer.testing import CliRunner

from deploy.cli import create_app
from oo.v1 import erased_pb2, journal_pb2
from tables.leavers import Leavers
from tests.connectors.postgres_cluster import Database
from tests.e2e.outside import eventually
from tests.serving.auth.attacks import DEVICE_GRANT, World
from tests.serving.auth.conftest import table
from tests.serving.auth.odd_provider import OddProvider
from tests.serving.auth.oidc_provider import OidcProvider
from tests.serving.auth.people import SigningEdge
from tests.serving.edges import AUDIENCE, problem
from tests.serving.valkeys import ValkeyServer


def bearer(edge: SigningEdge, token: str) -> httpx.Client:
    return edge.client(token=token)


def test_a_program_is_let_in_refreshes_and_says_who_it_acts_for(signing: SigningEdge, odd: OddProvider) -> None:
    with signing.browser() as browser:
        signing.sign_in(browser, "olga")
        tokens = World(signing, odd).program(browser)
        keys = KeySet.import_key_set(browser.get("/.well-known/jwks.json").json())
        claims = jwt.decode(tokens["access_token"], keys, algorithms=["ES256"]).claims
        assert (claims["iss"], claims["aud"]) == (signing.url, AUDIENCE)
        # Olga is one of the operators that the file names, by an address that her provider says is hers.
        assert claims["roles"] == ["operator", "person"]
        assert 0 < claims["exp"] - claims["iat"] <= 600
        with bearer(signing, tokens["access_token"]) as program:
            listed = {one["kind"]: one for one in program.get("/v1/sessions").json()["sessions"]}
            assert listed["program"]["current"] is True
            assert listed["program"]["device"] == "tests"
        fresh = World(signing, odd).refreshed(tokens["refresh_token"]).json()
        assert fresh["refresh_token"] != tokens["refresh_token"]
        assert browser.delete(f"/v1/sessions/{listed['program']['session_id']}").status_code == 204
        with bearer(signing, fresh["access_token"]) as program:
            assert problem(program.get("/v1/sessions"), 401) == "session-ended"


def test_a_refresh_whose_answer_was_lost_is_asked_for_again(signing: SigningEdge, odd: OddProvider) -> None:
    world = World(signing, odd)
    with signing.browser() as browser:
        signing.sign_in(browser, "ada")
        token = world.program(browser)["refresh_token"]
    # Twice nobody hears what is answered.
    assert [world.refreshed(token).status_code for _ in range(2)] == [200, 200]
    heard = world.refreshed(token).json()
    newest = world.refreshed(heard["refresh_token"])
    assert newest.status_code == 200, newest.text
    with bearer(signing, newest.json()["access_token"]) as program:
        assert program.get("/v1/sessions").status_code == 200


def test_while_nothing_can_be_signed_no_refresh_token_is_used_up(
    signing: SigningEdge, odd: OddProvider, database: Database
) -> None:
    world, sign_in = World(signing, odd), signing.parts.sign_in
    assert sign_in is not None
    with signing.browser() as browser:
        signing.sign_in(browser, "ada")
        tokens = world.program(browser)
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute("LOCK TABLE auth.signing_keys IN ACCESS EXCLUSIVE MODE")
        sign_in.signing_keys._private.clear()
        assert problem(world.refreshed(tokens["refresh_token"]), 503) == "sessions-unavailable"
    with bearer(signing, tokens["access_token"]) as program:
        signing.age_tokens(hours=1, session=program)
    # It was never used: one that was used an hour ago ends its session.
    assert world.refreshed(tokens["refresh_token"]).status_code == 200


def test_a_device_code_counts_until_a_session_has_begun(signing: SigningEdge, database: Database) -> None:
    with signing.browser() as browser:
        signing.sign_in(browser, "dora")
        asked = browser.post("/auth/device", data={"client_id": "tests"}).json()
        browser.post("/auth/device/confirm", data={"user_code": asked["user_code"], "answer": "allow"})
        form = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"]}
        with database.admin() as admin:
            # As a server says that is about to stop.
            admin.execute(
                "CREATE FUNCTION auth.stops() RETURNS trigger LANGUAGE plpgsql AS"
                " $$BEGIN RAISE EXCEPTION 'stopping' USING ERRCODE = 'admin_shutdown'; END$$"
            )
            admin.execute(
                "CREATE TRIGGER stops BEFORE INSERT ON auth.tokens FOR EACH ROW EXECUTE FUNCTION auth.stops()"
            )
            try:
                assert problem(browser.post("/auth/token", data=form), 503) == "sessions-unavailable"
            finally:
                admin.execute("DROP FUNCTION auth.stops CASCADE")
        assert browser.post("/auth/token", data=form).status_code == 200
        assert problem(browser.post("/auth/token", data=form), 400) == "expired-token"
        assert len(browser.get("/v1/sessions").json()["sessions"]) == 2


def test_oo_login_signs_a_machine_in(signing: SigningEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("deploy.commands.login.print", lambda *words, **_: said.append(" ".join(words)), raising=False)
    said: list[str] = []
    with signing.browser() as browser:
        signing.sign_in(browser, "ada")

        def allow() -> None:
            eventually(lambda: said)
            code = said[0].rpartition(" ")[2].rstrip(".")
            page = browser.get("/auth/device/confirm", params={"user_code": code})
            assert "oo" in page.text
            # As a browser's form says it, from a page that tells nobody where it is.
            headers = {"origin": "null", "sec-fetch-site": "same-origin"}
            form = {"user_code": code, "answer": "allow"}
            assert browser.post("/auth/device/confirm", data=form, headers=headers).status_code == 200

        person = threading.Thread(target=allow)
        person.start()
        done = CliRunner().invoke(create_app(), ["login", signing.url])
        person.join()
        assert done.exit_code == 0, done.output
        logins = tmp_path / "oo" / "logins.json"
        assert logins.stat().st_mode & 0o077 == 0
        before = json.loads(logins.read_text())
        assert CliRunner().invoke(create_app(), ["login", signing.url, "--token"]).exit_code == 0
        assert json.loads(logins.read_text()) != before
        with bearer(signing, said[-1]) as program:
            assert program.get("/v1/sessions").status_code == 200


def test_a_session_that_ends_at_one_edge_ends_at_another_within_a_second(
    signing: SigningEdge,
    valkey: ValkeyServer,
    database: Database,
    certified: OidcProvider,
    odd: OddProvider,
    tmp_path: Path,
) -> None:
    with (
        SigningEdge(tmp_path, valkey=valkey, database=database, providers=table(certified, odd), like=signing) as other,
        signing.browser() as here,
        other.browser() as there,
    ):
        signing.sign_in(here, "ada")
        there.cookies[other.parts.cookie] = signing.session_of(here)
        token = World(signing, odd).program(here)["access_token"]
        with bearer(other, token) as program:
            for _ in range(3):
                assert there.get("/v1/sessions").status_code == 200
                assert program.get("/v1/sessions").status_code == 200
            here.post("/auth/logout", params={"everywhere": "true"})
            ended_s = time.monotonic()
            refused_s: list[float] = []
            while len(refused_s) < 50 and time.monotonic() < ended_s + 30:
                answers = (there.get("/v1/sessions").status_code, program.get("/v1/sessions").status_code)
                refused_s = [*refused_s, time.monotonic()] if answers == (401, 401) else []
        assert len(refused_s) == 50
        print(f"ended there {1000 * (refused_s[0] - ended_s):.0f} ms after it was ended here")


def test_while_valkey_is_silent_memory_does_not_count_and_postgresql_is_asked(
    signing: SigningEdge, valkey: ValkeyServer
) -> None:
    sign_in = signing.parts.sign_in
    assert sign_in is not None
    with signing.browser() as browser:
        signing.sign_in(browser, "ada")
        assert browser.get("/v1/sessions").status_code == 200
        eventually(lambda: sign_in.sessions.feed.fresh)
        valkey.pause()
        try:
            eventually(lambda: not sign_in.sessions.feed.fresh)
            # PostgreSQL is asked instead, each time.
            assert browser.get("/v1/sessions").status_code == 200
        finally:
            valkey.resume()
        eventually(lambda: sign_in.sessions.feed.fresh)


def test_a_session_ends_when_nobody_uses_it_and_after_its_time_in_any_case(signing: SigningEdge) -> None:
    with signing.browser() as idle, signing.browser() as old:
        signing.sign_in(idle, "idle")
        signing.age_tokens(hours=24 * 14 + 1, session=idle)
        assert problem(idle.get("/v1/sessions"), 401) == "session-ended"
        signing.sign_in(old, "old")
        for _ in range(7):
            signing.age_tokens(hours=24 * 13, session=old)
            last = old.get("/v1/sessions").status_code
        assert last == 401


def test_two_accounts_are_joined_where_the_person_asks_for_it(signing: SigningEdge, odd: OddProvider) -> None:
    world = World(signing, odd)

    def brought(browser: httpx.Client, **query: str) -> httpx.Response:
        state, nonce = world.begun(browser, **query)
        made = odd.signed(nonce, sub="tina-at-odd", email="tina@example.org", email_verified=True)
        odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        return browser.get("/auth/callback/odd", params={"state": state, "code": "c"})

    with signing.browser() as first, signing.browser() as second:
        signing.sign_in(first, "tina")
        assert brought(first, link="true").status_code == 303
        assert brought(second).status_code == 303
        assert len(second.get("/v1/sessions").json()["sessions"]) == 2


def test_the_same_address_alone_joins_nobody(signing: SigningEdge, odd: OddProvider, database: Database) -> None:
    world = World(signing, odd)
    with signing.browser() as first, signing.browser() as second:
        signing.sign_in(first, "uma")
        state, nonce = world.begun(second)
        made = odd.signed(nonce, sub="uma-at-odd", email="uma@example.org", email_verified=True)
        odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        assert second.get("/auth/callback/odd", params={"state": state, "code": "c"}).status_code == 303
        assert len(second.get("/v1/sessions").json()["sessions"]) == 1


def test_who_leaves_has_no_identity_and_no_session_and_comes_back_as_somebody_new(
    signing: SigningEdge, odd: OddProvider, database: Database
) -> None:
    sign_in = signing.parts.sign_in
    assert sign_in is not None
    with signing.browser() as browser, signing.browser() as again:
        signing.sign_in(browser, "lea")
        token = World(signing, odd).program(browser)["access_token"]
        (user_id,) = _subject(token)
        # As this edge hears it of oo.erasures, which it follows.
        leavers = Leavers(bytes(16))
        place = journal_pb2.Position(topic_id=bytes(16), offset=7)
        leavers.add(erased_pb2.Erased(user_id=user_id, receipt="r", journal=place))
        signing.parts.departed.leavers = leavers
        eventually(lambda: browser.get("/v1/sessions").status_code == 401)
        with bearer(signing, token) as program:
            assert program.get("/v1/sessions").status_code == 401
        with database.admin() as admin:
            for of in ("people", "identities", "sessions"):
                left = admin.execute(f"SELECT count(*) FROM auth.{of} WHERE pseudonym = %s", (user_id,)).fetchone()
                assert left == (0,)
        signing.sign_in(again, "lea")
        assert _subject(World(signing, odd).program(again)["access_token"]) != (user_id,)


def test_nothing_in_postgresql_or_valkey_says_who_somebody_is_or_lets_anybody_in(
    signing: SigningEdge, odd: OddProvider, database: Database, valkey: ValkeyServer
) -> None:
    with signing.browser() as browser:
        signing.sign_in(browser, "canary-of-auth")
        tokens = World(signing, odd).program(browser)
        secrets = [
            "canary-of-auth",
            "Firefox",
            signing.session_of(browser),
            tokens["refresh_token"],
            tokens["access_token"],
            signing.parts.sign_in.seals._secret.hex(),  # type: ignore[union-attr]
        ]
    with psycopg.connect(database.admin_dsn) as admin:
        rows = [
            str(row)
            for of in ("people", "identities", "sessions", "tokens", "signing_keys")
            for row in admin.execute(f"SELECT * FROM auth.{of}").fetchall()
        ]
    assert rows
    assert not [secret for secret in secrets if any(secret in row for row in rows)]


def test_one_address_may_try_so_often_in_a_minute(
    valkey: ValkeyServer, database: Database, certified: OidcProvider, odd: OddProvider, tmp_path: Path
) -> None:
    few = table(certified, odd).replace("per_minute = 100000", "per_minute = 3")
    with SigningEdge(tmp_path, valkey=valkey, database=database, providers=few) as edge, edge.browser() as browser:
        answers = [browser.get("/auth/login/certified") for _ in range(8)]
        # A minute may begin between two of them.
        assert problem(next(one for one in answers if one.status_code == 429), 429) == "too-often"
        assert 0 < int(next(one for one in answers if one.status_code == 429).headers["retry-after"]) <= 60


def _subject(token: str) -> tuple[Any]:
    import base64

    body = token.split(".")[1]
    return (json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"],)
