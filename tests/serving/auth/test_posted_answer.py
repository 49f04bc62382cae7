"""A provider that posts its answer, as Apple does: the certified one, asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.connectors.postgres_cluster import Database
from tests.serving.auth.oidc_provider import CLIENT_ID, OidcProvider, posted
from tests.serving.auth.people import SigningEdge
from tests.serving.edges import problem
from tests.serving.valkeys import ValkeyServer


def begun(browser: httpx.Client, **query: str) -> str:
    answer = browser.get("/auth/login/posting", params=query)
    assert answer.status_code == 303, answer.text
    address = answer.headers["location"]
    assert parse_qs(urlsplit(address).query)["response_mode"] == ["form_post"]
    return str(address)


@contextmanager
def from_there(signing: SigningEdge, certified: OidcProvider, browser: httpx.Client) -> Iterator[httpx.Client]:
    """The browser as the provider's page has it post: from another site, with the one cookie that is let through then."""
    assert signing.parts.sign_in is not None
    name = signing.parts.sign_in.ticket_cookie
    headers = {"origin": certified.issuer, "sec-fetch-site": "cross-site", "user-agent": browser.headers["user-agent"]}
    with httpx.Client(base_url=signing.url, headers=headers, timeout=20, trust_env=False) as posting:
        posting.cookies[name] = browser.cookies[name]
        yield posting


def test_a_posted_answer_signs_in_once_in_the_browser_that_began(signing: SigningEdge, certified: OidcProvider) -> None:
    with signing.browser() as browser, signing.browser() as other:
        address, form = posted(browser, begun(browser, next="/profile"), login="posts")
        assert urlsplit(address).path == "/auth/callback/posting" and "code" in form
        begun(other)
        with from_there(signing, certified, other) as posting:
            assert problem(posting.post(address, data=form), 422) == "sign-in-state"
        with from_there(signing, certified, browser) as posting:
            assert problem(posting.post(address, json=form), 415) == "unsupported-media-type"
            doubled = [*form.items(), ("state", form["state"])]
            twice = {"content-type": "application/x-www-form-urlencoded"}
            body = str(httpx.QueryParams(doubled))
            assert posting.post(address, content=body, headers=twice).status_code == 422
            done = posting.post(address, data=form)
            assert (done.status_code, done.headers["location"]) == (303, "/profile")
            assert posting.get("/v1/sessions").status_code == 200
            assert problem(posting.post(address, data=form), 422) == "sign-in-state"


def test_who_joins_an_account_by_a_posted_answer_is_known_by_what_they_began(
    signing: SigningEdge, certified: OidcProvider
) -> None:
    with signing.browser() as browser:
        signing.sign_in(browser, "joins")
        address, form = posted(browser, begun(browser, link="true"), login="joins-posting")
        with from_there(signing, certified, browser) as posting:
            assert posting.post(address, data=form).status_code == 303
            # Both sessions are of one person, though no session's cookie came with the form.
            assert len(posting.get("/v1/sessions").json()["sessions"]) == 2


def test_who_says_no_is_back_where_they_were(signing: SigningEdge, certified: OidcProvider) -> None:
    with signing.browser() as browser:
        address, form = posted(browser, begun(browser, next="/profile"), login="no", allows=False)
        assert form["error"] == "access_denied"
        with from_there(signing, certified, browser) as posting:
            assert posting.post(address, data=form).headers["location"] == "/profile?sign-in=cancelled"
            assert problem(posting.get("/v1/sessions"), 401) == "no-token"


def test_over_tls_the_cookie_of_a_sign_in_comes_with_a_posted_answer_and_with_no_other_sites_request_else(
    valkey: ValkeyServer, database: Database, certified: OidcProvider, tmp_path: Path
) -> None:
    table = f'issuer = "{certified.issuer}"\nclient_id = "{CLIENT_ID}"\n'
    providers = f'[posting]\n{table}response_mode = "form_post"\n[other]\n{table}'
    public = "https://tips.example"
    with SigningEdge(tmp_path, valkey=valkey, database=database, providers=providers, public_url=public) as edge:
        with edge.browser() as browser:
            said = [
                browser.get(f"/auth/login/{name}", headers={"host": "tips.example"}) for name in ("posting", "other")
            ]
    cookies = [one.headers["set-cookie"].lower() for one in said]
    assert all("; secure" in one and "; httponly" in one for one in cookies)
    assert ["samesite=none" in one for one in cookies] == [True, False]
    assert "samesite=lax" in cookies[1]
