"""A person signs in at the certified provider, and is signed in here; signs out, and is not."""

from __future__ import annotations

from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from serving.auth.id_token import AGE_MAX_S
from serving.tokens import LEEWAY_S
from tests.connectors.postgres_cluster import Database
from tests.e2e.outside import eventually
from tests.serving.auth import odd_provider
from tests.serving.auth.odd_provider import OddProvider
from tests.serving.auth.oidc_provider import OidcProvider
from tests.serving.auth.people import SigningEdge
from tests.serving.edges import problem
from tests.serving.valkeys import ValkeyServer


def test_a_person_signs_in_and_is_the_same_person_the_next_time(signing: SigningEdge) -> None:
    with signing.browser() as phone, signing.browser() as laptop:
        assert problem(phone.get("/v1/sessions"), 401) == "no-token"
        done = signing.sign_in(phone, "nora", next="/profile")
        assert (done.status_code, done.headers["location"]) == (303, "/profile")
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        (mine,) = phone.get("/v1/sessions").json()["sessions"]
        assert mine["device"] == "Firefox on Linux"
        assert mine["current"] is True
        signing.sign_in(laptop, "nora")
        assert len(laptop.get("/v1/sessions").json()["sessions"]) == 2


def test_another_person_is_another_person(signing: SigningEdge) -> None:
    with signing.browser() as one, signing.browser() as other:
        signing.sign_in(one, "bob")
        signing.sign_in(other, "eve")
        (session,) = other.get("/v1/sessions").json()["sessions"]
        assert problem(one.delete(f"/v1/sessions/{session['session_id']}"), 404) == "unknown-session"
        assert other.get("/v1/sessions").status_code == 200


def test_a_public_client_signs_in_with_pkce_alone(signing: SigningEdge) -> None:
    with signing.browser() as browser:
        assert signing.sign_in(browser, "ada", at="public").status_code == 303


def test_who_signs_out_is_signed_out_there_or_everywhere(signing: SigningEdge) -> None:
    with signing.browser() as phone, signing.browser() as laptop, signing.browser() as tablet:
        for browser in (phone, laptop, tablet):
            signing.sign_in(browser, "out")
        kept = signing.session_of(phone)
        assert phone.post("/auth/logout").status_code == 204
        assert signing.parts.cookie not in phone.cookies
        with signing.browser() as thief:
            thief.cookies[signing.parts.cookie] = kept
            assert problem(thief.get("/v1/sessions"), 401) == "session-ended"
        assert len(laptop.get("/v1/sessions").json()["sessions"]) == 2
        assert laptop.post("/auth/logout", params={"everywhere": "true"}).status_code == 204
        assert problem(tablet.get("/v1/sessions"), 401) == "session-ended"


def test_a_provider_that_has_other_keys_still_signs_people_in_and_who_is_signed_in_stays(
    signing: SigningEdge, certified: OidcProvider
) -> None:
    with signing.browser() as before, signing.browser() as after:
        signing.sign_in(before, "kim")
        certified.rotate()
        # It is asked for its keys every two seconds at most.
        eventually(lambda: signing.sign_in(after, "kim").status_code == 303)
        signing.forget()
        for browser in (before, after):
            assert len(browser.get("/v1/sessions").json()["sessions"]) == 2


def test_a_providers_clock_may_be_half_a_minute_ahead_and_ten_minutes_behind(
    signing: SigningEdge, certified: OidcProvider
) -> None:
    for off_s, refusal in (
        (LEEWAY_S - 10, None),
        (LEEWAY_S + 30, "sign-in-issued-at"),
        (30 - AGE_MAX_S, None),
        (-AGE_MAX_S - 30, "sign-in-issued-at"),
    ):
        certified.turn_clock(off_s * 1000)
        try:
            with signing.browser() as browser:
                answer = signing.sign_in(browser, "kim")
        finally:
            certified.turn_clock(0)
        assert (None if answer.status_code == 303 else problem(answer, 422)) == refusal, off_s


def test_over_tls_every_cookie_is_bound_to_this_site_and_to_tls(
    tmp_path: Path, valkey: ValkeyServer, database: Database, odd: OddProvider
) -> None:
    providers = f"""public_url = "https://tips.example"
[odd]
issuer = "{odd.issuer}"
client_id = "{odd_provider.CLIENT_ID}"
[posting]
issuer = "{odd.issuer}"
client_id = "{odd_provider.CLIENT_ID}"
response_mode = "form_post"
"""
    behind_tls = {"host": "tips.example", "origin": "https://tips.example", "sec-fetch-site": "same-origin"}
    with (
        SigningEdge(tmp_path, valkey=valkey, database=database, providers=providers) as edge,
        httpx.Client(base_url=edge.url, headers=behind_tls, trust_env=False, timeout=20) as browser,
    ):
        begun, posting = browser.get("/auth/login/odd"), browser.get("/auth/login/posting")
        sent = parse_qs(urlsplit(begun.headers["location"]).query)
        assert sent["redirect_uri"] == ["https://tips.example/auth/callback/odd"]
        made = odd.signed(sent["nonce"][0], sub="over-tls")
        odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        ticket, session = "__Host-oo_sign_in", "__Host-oo_session"
        brought = {"state": sent["state"][0], "code": "c"}
        done = browser.get("/auth/callback/odd", params=brought, headers={"cookie": held(begun, ticket)})
        assert done.status_code == 303, done.text
        kept = {"cookie": held(done, session)}
        assert browser.get("/v1/sessions", headers=kept).status_code == 200
        # Under a name that a site without TLS could set, it is none.
        plain = {"cookie": kept["cookie"].replace("__Host-", "")}
        assert problem(browser.get("/v1/sessions", headers=plain), 401) == "no-token"
        off_tls = {**kept, "origin": "http://tips.example"}
        assert problem(browser.post("/auth/logout", headers=off_tls), 403) == "foreign-origin"
        out = browser.post("/auth/logout", headers=kept)
        for answer, name, same_site in (
            (begun, ticket, "lax"),
            (posting, ticket, "none"),
            (done, session, "lax"),
            (out, session, "lax"),
        ):
            said = cookie(answer, name)
            assert (said["secure"], said["httponly"], said["path"], said["domain"]) == (True, True, "/", ""), name
            assert said["samesite"].lower() == same_site
        assert cookie(out, session)["max-age"] == "0"


def cookie(answer: httpx.Response, name: str) -> Morsel[str]:
    """As an answer sets it."""
    return SimpleCookie(answer.headers["set-cookie"])[name]


def held(answer: httpx.Response, name: str) -> str:
    """What a browser says of it from then on."""
    return f"{name}={cookie(answer, name).value}"
