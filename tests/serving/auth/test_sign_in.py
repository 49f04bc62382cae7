"""A person signs in at the certified provider, and is signed in here; signs out, and is not."""

from __future__ import annotations

from tests.e2e.outside import eventually
from tests.serving.auth.oidc_provider import OidcProvider
from tests.serving.auth.people import SigningEdge
from tests.serving.edges import problem


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


def test_a_provider_that_has_other_keys_still_signs_people_in(signing: SigningEdge, certified: OidcProvider) -> None:
    with signing.browser() as before, signing.browser() as after:
        signing.sign_in(before, "kim")
        certified.rotate()
        # It is asked for its keys every two seconds at most.
        eventually(lambda: signing.sign_in(after, "kim").status_code == 303)
        assert len(after.get("/v1/sessions").json()["sessions"]) == 2
