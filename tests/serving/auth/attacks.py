"""What somebody may try against signing in, sessions and tokens, each with the refusal that it meets: docs/sign-in.md has the table."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jws

from tests.serving.auth.odd_provider import CLIENT_SECRET, OddProvider
from tests.serving.auth.oidc_provider import answered
from tests.serving.auth.people import SigningEdge

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class World:
    """Where it is tried."""

    edge: SigningEdge
    odd: OddProvider

    def begun(self, browser: httpx.Client, at: str = "odd", **query: str) -> tuple[str, str]:
        """State and nonce of a sign-in that this browser has begun."""
        begun = browser.get(f"/auth/login/{at}", params=query)
        assert begun.status_code == 303, begun.text
        sent = parse_qs(urlsplit(begun.headers["location"]).query)
        return sent["state"][0], sent["nonce"][0]

    def brought(self, token: Callable[[str], str | None], **beside: Any) -> httpx.Response:
        """The callback's answer where the odd provider gives this ID token, made of the nonce."""
        with self.edge.browser() as browser:
            state, nonce = self.begun(browser)
            made = token(nonce)
            self.odd.answer = lambda: {"token_type": "Bearer", "access_token": "a", "id_token": made, **beside}
            return browser.get("/auth/callback/odd", params={"state": state, "code": "c"})

    def program(self, browser: httpx.Client) -> dict[str, Any]:
        """A program that this browser's person has let in: its tokens."""
        asked = browser.post("/auth/device", data={"client_id": "tests"}).json()
        answer = browser.post("/auth/device/confirm", data={"user_code": asked["user_code"], "answer": "allow"})
        assert answer.status_code == 200, answer.text
        form = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"]}
        tokens: dict[str, Any] = browser.post("/auth/token", data=form).json()
        return tokens

    def refreshed(self, token: str) -> httpx.Response:
        with self.edge.browser() as browser:
            return browser.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})


Attack = Callable[[World], httpx.Response]


def claimed(**changes: Any) -> Attack:
    """An ID token whose claims are right but for these; what can be called is, at the time."""

    def attack(world: World) -> httpx.Response:
        now = {name: value() if callable(value) else value for name, value in changes.items()}
        return world.brought(lambda nonce: world.odd.signed(nonce, **now))

    return attack


def headed(header: dict[str, Any], key: Callable[[OddProvider], Any] = lambda odd: odd.key) -> Attack:
    """An ID token with right claims under this header, signed by this key."""
    return lambda world: world.brought(lambda nonce: world.odd.signed(nonce, header=header, key=key(world.odd)))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], secret: Callable[[OddProvider], bytes] | None = None) -> Attack:
    """As a library refuses to make it: unsigned, or under a MAC."""

    def made(world: World, nonce: str) -> str:
        whole = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(world.odd.claims(nonce)).encode())}"
        mac = b"" if secret is None else hmac.new(secret(world.odd), whole.encode(), hashlib.sha256).digest()
        return f"{whole}.{encoded(mac)}"

    return lambda world: world.brought(lambda nonce: made(world, nonce))


def altered(world: World) -> httpx.Response:
    def made(nonce: str) -> str:
        head, _, tail = world.odd.signed(nonce).split(".")
        return ".".join((head, encoded(json.dumps(world.odd.claims(nonce, sub="ada")).encode()), tail))

    return world.brought(made)


def called(**parameters: Any) -> Attack:
    """A callback that brings this, with the state of a sign-in that is under way."""

    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            state, nonce = world.begun(browser)
            made = world.odd.signed(nonce)
            world.odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
            return browser.get("/auth/callback/odd", params={"state": state, "code": "c", **parameters})

    return attack


def replayed(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        state, nonce = world.begun(browser)
        made = world.odd.signed(nonce)
        world.odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        first = browser.get("/auth/callback/odd", params={"state": state, "code": "c"})
        assert first.status_code == 303, first.text
        return browser.get("/auth/callback/odd", params={"state": state, "code": "c"})


def in_another_browser(*, with_its_own: bool) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as attacker, world.edge.browser() as victim:
            if with_its_own:
                world.begun(victim)
            state, _ = world.begun(attacker)
            return victim.get("/auth/callback/odd", params={"state": state, "code": "c"})

    return attack


def at_another_callback(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        state, _ = world.begun(browser)
        return browser.get("/auth/callback/certified", params={"state": state, "code": "c", "iss": world.odd.issuer})


def without_the_promised_iss(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        state, _ = world.begun(browser, "certified")
        return browser.get("/auth/callback/certified", params={"state": state, "code": "c"})


def code_of_another_sign_in(world: World) -> httpx.Response:
    """The attacker's code in the victim's sign-in: PKCE ties a code to the sign-in that asked for it."""
    with world.edge.browser() as attacker, world.edge.browser() as victim:
        begun = attacker.get("/auth/login/certified")
        brought = parse_qs(urlsplit(answered(attacker, begun.headers["location"], login="mallory")).query)
        state, _ = world.begun(victim, "certified")
        parameters = {"state": state, "code": brought["code"][0], "iss": brought["iss"][0]}
        return victim.get("/auth/callback/certified", params=parameters)


def code_twice(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        begun = browser.get("/auth/login/certified")
        address = answered(browser, begun.headers["location"], login="mallory")
        assert browser.get(address).status_code == 303
        brought = parse_qs(urlsplit(address).query)
        state, _ = world.begun(browser, "certified")
        parameters = {"state": state, "code": brought["code"][0], "iss": brought["iss"][0]}
        return browser.get("/auth/callback/certified", params=parameters)


def going_to(destination: str) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            return browser.get("/auth/login/odd", params={"next": destination})

    return attack


def linked_from_elsewhere(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        return browser.get("/auth/login/odd", params={"link": "true"}, headers={"sec-fetch-site": "cross-site"})


def linked_though_anothers(world: World) -> httpx.Response:
    """Mallory's account at the odd provider signs Mallory in; Ada may not have it joined to her."""
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        state, nonce = world.begun(browser, link="true")
        made = world.odd.signed(nonce)
        world.odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        return browser.get("/auth/callback/odd", params={"state": state, "code": "c"})


def linked_after_signing_out(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        state, nonce = world.begun(browser, link="true")
        browser.post("/auth/logout")
        made = world.odd.signed(nonce, sub="new")
        world.odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        return browser.get("/auth/callback/odd", params={"state": state, "code": "c"})


def at(name: str) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            return browser.get(f"/auth/login/{name}")

    return attack


def with_cookie(made: Callable[[World], str]) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            browser.cookies[world.edge.parts.cookie] = made(world)
            return browser.get("/v1/sessions")

    return attack


def from_elsewhere(method: str, path: str, **headers: str) -> Attack:
    """A page of somebody else's makes the browser of a person who is signed in say this."""

    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            world.edge.sign_in(browser, "ada")
            return browser.request(method, path, headers=headers)

    return attack


def signed_out(world: World) -> str:
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        kept = world.edge.session_of(browser)
        browser.post("/auth/logout")
        return kept


def rotated_away(world: World) -> str:
    """A cookie that gave way to a newer one more than a minute ago."""
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        kept = world.edge.session_of(browser)
        world.edge.age_tokens(hours=2, session=browser)
        assert browser.get("/v1/sessions").status_code == 200
        assert world.edge.session_of(browser) != kept
        assert browser.get("/v1/sessions").status_code == 200
        world.edge.age_tokens(hours=1, session=browser)
        return kept


def bearer(made: Callable[[World, httpx.Client], str]) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            world.edge.sign_in(browser, "ada")
            token = made(world, browser)
        return httpx.get(f"{world.edge.url}/v1/sessions", headers={"authorization": f"Bearer {token}"}, trust_env=False)

    return attack


def access_token_of_ended(world: World, browser: httpx.Client) -> str:
    token = str(world.program(browser)["access_token"])
    assert browser.post("/auth/logout", params={"everywhere": "true"}).status_code == 204
    return token


def access_token_of_a_stranger(world: World, browser: httpx.Client) -> str:
    head, body, _ = str(world.program(browser)["access_token"]).split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    return jws.serialize_compact(header, claims, world.odd.stranger)


def id_token_as_access_token(world: World, browser: httpx.Client) -> str:
    return world.odd.signed("n", aud="oo")


def refresh(*which: int, after_hours: float = 0.0) -> Attack:
    """Refresh tokens of one session, by the order in which they were given, brought in this one; the last after so long."""

    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            world.edge.sign_in(browser, "ada")
            tokens = world.program(browser)
        known = [tokens["refresh_token"]]
        for number in which[:-1]:
            known.append(world.refreshed(known[number]).json().get("refresh_token", "none"))
        if after_hours:
            with world.edge.client(token=tokens["access_token"]) as program:
                world.edge.age_tokens(hours=after_hours, session=program)
        return world.refreshed(known[which[-1]])

    return attack


def cookie_as_refresh_token(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        return world.refreshed(world.edge.session_of(browser))


def device_code(*, times: int = 1, answer: str | None = None) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            world.edge.sign_in(browser, "ada")
            asked = browser.post("/auth/device", data={"client_id": "tests"}).json()
            if answer is not None:
                browser.post("/auth/device/confirm", data={"user_code": asked["user_code"], "answer": answer})
            form = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"]}
            for _ in range(times - 1):
                browser.post("/auth/token", data=form)
            return browser.post("/auth/token", data=form)

    return attack


def device_allowed_from_elsewhere(world: World) -> httpx.Response:
    with world.edge.browser() as browser:
        world.edge.sign_in(browser, "ada")
        asked = browser.post("/auth/device", data={"client_id": "tests"}).json()
        form = {"user_code": asked["user_code"], "answer": "allow"}
        headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        return browser.post("/auth/device/confirm", data=form, headers=headers)


def grant(**form: str) -> Attack:
    def attack(world: World) -> httpx.Response:
        with world.edge.browser() as browser:
            return browser.post("/auth/token", data=form)

    return attack


def session_of_another(world: World) -> httpx.Response:
    with world.edge.browser() as ada, world.edge.browser() as mallory:
        world.edge.sign_in(ada, "ada")
        world.edge.sign_in(mallory, "mallory")
        theirs = next(one for one in ada.get("/v1/sessions").json()["sessions"] if one["current"])
        refusal = mallory.delete(f"/v1/sessions/{theirs['session_id']}")
        assert ada.get("/v1/sessions").status_code == 200
        return refusal


HOUR_S = 3600
EVIL = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


def now_s() -> int:
    return int(time.time())


ATTACKS: tuple[tuple[str, str, Attack], ...] = (
    # What the provider answers.
    ("an ID token with the nonce of another sign-in", "422 sign-in-nonce", claimed(nonce="another")),
    ("an ID token without a nonce", "422 sign-in-nonce", claimed(nonce=None)),
    ("an ID token for another client", "422 sign-in-audience", claimed(aud="another-client")),
    ("an ID token for nobody", "422 sign-in-audience", claimed(aud=None)),
    (
        "an ID token for several, without saying to whom it was issued",
        "422 sign-in-azp",
        claimed(aud=["odd-client", "x"]),
    ),
    ("an ID token that was issued to another client", "422 sign-in-azp", claimed(azp="another-client")),
    ("an ID token of another issuer", "422 sign-in-issuer", claimed(iss="https://id.example")),
    (
        "an ID token of an issuer that differs by a slash",
        "422 sign-in-issuer",
        lambda world: claimed(iss=world.odd.issuer + "/")(world),
    ),
    ("an ID token of no issuer", "422 sign-in-issuer", claimed(iss=None)),
    ("an ID token that has expired", "422 sign-in-expired", claimed(exp=lambda: now_s() - 60)),
    ("an ID token that never expires", "422 sign-in-expired", claimed(exp=None)),
    ("an ID token whose end is no number", "422 sign-in-expired", claimed(exp=True)),
    ("an ID token of the future", "422 sign-in-issued-at", claimed(iat=lambda: now_s() + 120)),
    ("an ID token of an hour ago", "422 sign-in-issued-at", claimed(iat=lambda: now_s() - HOUR_S)),
    ("an ID token without the time of its issue", "422 sign-in-issued-at", claimed(iat=None)),
    ("an ID token that is not valid yet", "422 sign-in-not-yet-valid", claimed(nbf=lambda: now_s() + 120)),
    ("an ID token without a subject", "422 sign-in-subject", claimed(sub=None)),
    ("an ID token with an empty subject", "422 sign-in-subject", claimed(sub="")),
    ("an ID token whose subject is a number", "422 sign-in-subject", claimed(sub=7)),
    ("an ID token beside another access token", "422 sign-in-at-hash", claimed(at_hash="AAAAAAAAAAAAAAAAAAAAAA")),
    ("an ID token without a signature (alg none)", "422 sign-in-unsigned", by_hand({"alg": "none"})),
    (
        "an ID token under a MAC with the client's secret (HS256)",
        "422 sign-in-algorithm",
        by_hand({"alg": "HS256", "kid": "signs"}, lambda odd: CLIENT_SECRET.encode()),
    ),
    (
        "an ID token under a MAC with the public key (HS256)",
        "422 sign-in-algorithm",
        by_hand({"alg": "HS256", "kid": "signs"}, lambda odd: odd.key.as_pem(private=False)),
    ),
    (
        "an ID token signed with a key that is for encryption",
        "422 sign-in-unknown-key",
        headed({"kid": "encrypts"}, lambda odd: odd.misused),
    ),
    (
        "an ID token signed with a key that the provider does not publish",
        "422 sign-in-unknown-key",
        headed({"kid": "unknown"}, lambda odd: odd.stranger),
    ),
    (
        "an ID token signed by a stranger under a known key's name",
        "422 sign-in-signature",
        headed({}, lambda odd: odd.stranger),
    ),
    (
        "an ID token that names a key of another kind than its algorithm",
        "422 sign-in-algorithm",
        headed({"kid": "rsa"}),
    ),
    (
        "an ID token that brings its own key",
        "422 sign-in-signature",
        lambda world: headed({"jwk": world.odd.stranger.as_dict(private=False)}, lambda odd: odd.stranger)(world),
    ),
    (
        "an ID token that says where its key is",
        "422 sign-in-signature",
        headed({"jku": "https://evil.example/keys"}, lambda odd: odd.stranger),
    ),
    ("an ID token with claims changed after it was signed", "422 sign-in-signature", altered),
    (
        "an ID token with a condition that we do not know (crit)",
        "422 sign-in-malformed",
        by_hand({"alg": "ES256", "kid": "signs", "crit": ["x"], "x": 1}, lambda odd: b"x"),
    ),
    ("a token of another kind than an ID token", "422 sign-in-kind", headed({"typ": "logout+jwt"})),
    ("something that is no token", "422 sign-in-malformed", lambda world: world.brought(lambda nonce: "no.token")),
    ("a token of a hundred kilobytes", "422 sign-in-malformed", claimed(x="x" * 100_000)),
    ("no ID token at all", "422 sign-in-malformed", lambda world: world.brought(lambda nonce: None)),
    # What the provider says of itself.
    ("a provider that says it is another", "503 provider-unavailable", at("other-issuer")),
    ("a provider that takes codes without TLS", "503 provider-unavailable", at("plain-http")),
    ("a provider that does not know PKCE with S256", "503 provider-unavailable", at("no-s256")),
    # What the browser brings.
    ("a state that nobody made", "422 sign-in-state", called(state="A" * 43)),
    ("a state that is none", "422 sign-in-state", called(state="' OR 1=1")),
    ("an answer that comes twice", "422 sign-in-state", replayed),
    ("an answer in a browser that began nothing", "422 sign-in-state", in_another_browser(with_its_own=False)),
    ("the attacker's answer in the victim's browser", "422 sign-in-state", in_another_browser(with_its_own=True)),
    ("a parameter twice", "422 sign-in-state", called(code=["c", "d"])),
    ("an answer without a code", "422 sign-in-code", called(code="")),
    ("an answer at another provider's address", "422 sign-in-provider", at_another_callback),
    ("an answer that says it is another provider's (iss)", "422 sign-in-provider", called(iss="https://id.example")),
    ("an answer without the iss that its provider promises", "422 sign-in-provider", without_the_promised_iss),
    ("the attacker's code in the victim's sign-in (PKCE)", "422 sign-in-code", code_of_another_sign_in),
    ("a code that was used before", "422 sign-in-code", code_twice),
    ("a page of another site to come back to", "422 sign-in-next", going_to("https://evil.example/")),
    ("another site without its scheme", "422 sign-in-next", going_to("//evil.example/")),
    ("another site behind a backslash", "422 sign-in-next", going_to("/\\evil.example/")),
    ("a line break in the page to come back to", "422 sign-in-next", going_to("/x\r\nset-cookie: a=b")),
    ("an account joined from another site", "403 sign-in-link", linked_from_elsewhere),
    ("an account joined that is another person's", "422 sign-in-taken", linked_though_anothers),
    ("an account joined to who has signed out meanwhile", "422 sign-in-link", linked_after_signing_out),
    # Sessions.
    ("a session's cookie that nobody gave out", "401 session-ended", with_cookie(lambda world: "A" * 43)),
    ("the cookie of a session that was signed out", "401 session-ended", with_cookie(signed_out)),
    ("a cookie that gave way to a newer one", "401 session-ended", with_cookie(rotated_away)),
    ("an access token as a cookie", "401 session-ended", with_cookie(lambda world: world.edge.token("ada"))),
    (
        "a request of another site's page that changes something",
        "403 foreign-origin",
        from_elsewhere("DELETE", "/v1/me", **EVIL),
    ),
    ("the same, with the origin left out", "403 foreign-origin", from_elsewhere("DELETE", "/v1/me", origin="")),
    (
        "the same, with our origin but said to be another site's",
        "403 foreign-origin",
        from_elsewhere("DELETE", "/v1/me", **{"sec-fetch-site": "same-site"}),
    ),
    ("signing somebody out from another site", "403 foreign-origin", from_elsewhere("POST", "/auth/logout", **EVIL)),
    ("ending another person's session", "404 unknown-session", session_of_another),
    # Tokens.
    ("the access token of a session that has ended", "401 session-ended", bearer(access_token_of_ended)),
    ("an access token signed by a stranger", "401 token-signature", bearer(access_token_of_a_stranger)),
    ("a provider's ID token as an access token", "401 token-unknown-key", bearer(id_token_as_access_token)),
    (
        "a refresh token as an access token",
        "401 token-malformed",
        bearer(lambda world, browser: str(world.program(browser)["refresh_token"])),
    ),
    (
        "a session's cookie as an access token",
        "401 token-malformed",
        bearer(lambda world, browser: world.edge.session_of(browser)),
    ),
    ("a refresh token that was used two minutes ago", "400 invalid-grant", refresh(0, 0, after_hours=2 / 60)),
    ("a refresh token just used, when what came of it was used too", "400 invalid-grant", refresh(0, 1, 0)),
    ("a refresh token that gave way, as the one before it came again", "400 invalid-grant", refresh(0, 0, 1)),
    ("the newest refresh token, after one that gave way was used", "400 invalid-grant", refresh(0, 0, 1, 2)),
    ("the newest refresh token, after an older one was used again", "400 invalid-grant", refresh(0, 1, 0, 2)),
    ("a session's cookie as a refresh token", "400 invalid-grant", cookie_as_refresh_token),
    ("a password", "400 unsupported-grant-type", grant(grant_type="password", username="ada", password="x")),
    ("a device's code before anybody allowed it", "400 authorization-pending", device_code()),
    ("a device that asks too often", "400 slow-down", device_code(times=2)),
    ("a device's code that the person refused", "400 access-denied", device_code(answer="deny")),
    ("a device's code a second time", "400 expired-token", device_code(times=2, answer="allow")),
    ("a device allowed by another site's page", "403 foreign-origin", device_allowed_from_elsewhere),
)
