"""What people have elsewhere is connected by signing in there: at an authorization server, with the calendars of the contract suite behind it, an edge, and workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from connectors.oauth import OAuthClients, client_of_operators
from connectors.sources.registry import BY_NAME
from connectors.sources.source import Failed, FaultKind
from streams.clock import clock_ms
from tests.serving.auth.elsewhere import PATH, There, clients
from tests.serving.auth.oidc_provider import answered
from tests.serving.edges import problem


def stands(browser: httpx.Client, connection_id: str) -> tuple[str, str]:
    """State and trouble, as its person is told."""
    one = browser.get(f"/v1/connections/{connection_id}").json()
    return one["state"], one["trouble"]


def test_a_calendar_is_connected_by_signing_in_there_and_its_tokens_are_refreshed_by_one_of_two_workers(
    there: There,
) -> None:
    there.service.put("a", "Dentist")
    with there.person("connects") as browser:
        asked = parse_qs(urlsplit(there.begun(browser)).query)
        assert (asked["code_challenge_method"], asked["prompt"]) == (["S256"], ["consent"])
        workers = [there.worker(), there.worker()]
        connection_id = there.connect(browser, "connects")
        there.until_told(connection_id, "Dentist")
        # They last for less than is left to a turn, so that each refreshes before it reads, and a refresh token counts once.
        granted, refused = there.provider.refreshes()
        there.until(lambda: there.provider.refreshes()[0] >= granted + 6)
        assert there.provider.refreshes()[1] == refused
        assert stands(browser, connection_id) == ("active", "")
        assert all(worker.running() for worker in workers)
        there.service.put("b", "Choir")
        there.until_told(connection_id, "Choir", "Dentist")
        tokens = there.credentials(connection_id)
    assert there.provider.lets_in(tokens["access_token"])
    with there.database.admin() as admin:
        tables = ("connections", "authorizations", "log")
        rows = [
            row for table in tables for row in admin.execute(f"SELECT * FROM integrations.{table}".encode()).fetchall()
        ]
    kept = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    logs = "".join(worker.log() for worker in workers)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert token.encode() not in kept and token not in logs
    assert there.told(connection_id).counted == 2


def test_a_token_that_counts_no_more_is_refreshed_and_one_that_lasts_is_not(there: There) -> None:
    there.provider.have_tokens_last(3600)
    try:
        with there.person("lasts") as browser:
            there.service.put("a", "Dentist")
            there.worker()
            connection_id = there.connect(browser, "lasts")
            there.until_told(connection_id, "Dentist")
            before, _ = there.provider.refreshes()
            there.service.put("c", "Swim")
            there.until(lambda: "Swim" in there.told(connection_id).titles)
            assert there.provider.refreshes()[0] == before
            there.service.expired.add(there.credentials(connection_id)["access_token"])
            there.service.put("d", "Run")
            there.until(lambda: "Run" in there.told(connection_id).titles)
            assert there.provider.refreshes()[0] == before + 1
            assert stands(browser, connection_id) == ("active", "")
    finally:
        there.provider.have_tokens_last(240)


def test_a_token_that_still_counts_is_read_with_while_nobody_gives_out_a_new_one(there: There) -> None:
    there.service.put("a", "Dentist")
    with there.person("early") as browser:
        there.worker()
        connection_id = there.connect(browser, "early")
        there.until_told(connection_id, "Dentist")
        with there.provider.away():
            there.service.put("b", "Swim")
            there.until(lambda: "Swim" in there.told(connection_id).titles)
            assert stands(browser, connection_id) == ("active", "")
        before, _ = there.provider.refreshes()
        there.until(lambda: there.provider.refreshes()[0] > before)


def test_what_was_taken_away_there_is_broken_until_its_person_signs_in_there_again_and_nothing_is_doubled(
    there: There,
) -> None:
    there.service.put("a", "Dentist")
    with there.person("revokes") as browser, there.person("nosy") as other:
        there.worker()
        there.worker()
        connection_id = there.connect(browser, "revokes")
        there.until(lambda: "Dentist" in there.told(connection_id).titles)
        before = there.told(connection_id)

        # Between two turns a worker may hold a newer one: then that goes.
        def gone() -> bool:
            there.provider.take_away(there.credentials(connection_id)["refresh_token"])
            return stands(browser, connection_id) == ("broken", "token-revoked")

        there.until(gone)
        refused = there.provider.refreshes()[1]
        one = browser.get(f"/v1/connections/{connection_id}").json()
        assert one["authorize"] == f"{PATH}/authorize?connection={connection_id}"
        assert problem(other.get(one["authorize"]), 404) == "unknown-connection"
        assert problem(browser.post(f"/v1/connections/{connection_id}/sync"), 409) == "not-active"
        # Taken away is not deleted: what was told stands.
        assert there.told(connection_id).titles == before.titles
        assert there.provider.refreshes()[1] == refused
        done = there.brought(browser, "revokes", one["authorize"])
        assert done.headers["location"] == f"/?connection=connected&id={connection_id}"
        assert len(browser.get("/v1/connections").json()["connections"]) == 1
        there.service.put("e", "Walk")
        there.until(lambda: "Walk" in there.told(connection_id).titles)
        assert stands(browser, connection_id) == ("active", "")
        assert there.told(connection_id).counted == before.counted + 1


def test_an_answer_counts_once_for_who_began_it_in_time_and_at_its_source(there: There) -> None:
    with there.person("begins") as browser, there.person("another") as other, there.edge.browser() as nobody:
        address = answered(browser, there.begun(browser), login="begins")
        for answer in (
            other.get(address),
            browser.get(address.replace("state=", "state=x")),
            browser.get(f"{PATH}/callback", params={"code": "x"}),
        ):
            assert problem(answer, 400) == "unknown-state"
        assert problem(browser.get(address.replace("google_calendar", "github")), 404) == "unknown-source"
        # Who comes without a cookie is sent once more from a page of ours, and then has to be somebody.
        once_more = nobody.get(address)
        assert 'http-equiv="refresh"' in once_more.text and "again=1" in once_more.text
        assert problem(nobody.get(f"{address}&again=1"), 401) == "no-token"
        # None of them took it from who began it.
        assert browser.get(address).status_code == 303
        assert problem(browser.get(address), 400) == "unknown-state"
        late = answered(browser, there.begun(browser), login="begins")
        with there.database.admin() as admin:
            admin.execute("UPDATE integrations.authorizations SET expires_ms = 0")
        assert problem(browser.get(late), 400) == "unknown-state"
        assert len(browser.get("/v1/connections").json()["connections"]) == 1
        assert other.get("/v1/connections").json() == {"connections": []}


def test_who_says_no_there_or_brings_anothers_code_has_nothing_connected(there: There) -> None:
    with there.person("says-no") as browser, there.person("attacks") as attacker:
        denied = answered(browser, there.begun(browser), login="says-no", allows=False)
        assert "error=access_denied" in denied
        assert browser.get(denied).headers["location"] == "/?connection=refused"
        assert problem(browser.get(denied), 400) == "unknown-state"
        [state] = parse_qs(urlsplit(there.begun(browser)).query)["state"]
        odd = browser.get(f"{PATH}/callback", params={"state": state, "error": "server_error"})
        assert odd.headers["location"] == "/?connection=failed"
        # Without PKCE a code of the attacker's would put the attacker's calendar into the victim's account.
        theirs = answered(attacker, there.begun(attacker), login="attacks")
        [code] = parse_qs(urlsplit(theirs).query)["code"]
        [state] = parse_qs(urlsplit(there.begun(browser)).query)["state"]
        brought = browser.get(f"{PATH}/callback", params={"state": state, "code": code})
        assert brought.headers["location"] == "/?connection=refused"
        forced = browser.get(f"{PATH}/authorize", headers={"sec-fetch-site": "cross-site"})
        assert problem(forced, 403) == "foreign-origin"
        assert browser.get("/v1/connections").json() == {"connections": []}


@pytest.mark.parametrize(
    ("more", "token", "kind"),
    [
        ({}, "x", FaultKind.TOKEN_REVOKED),
        ({"client_secret": "of yesterday"}, "x", FaultKind.ODD_ANSWER),
        ({"client_id": "nobody"}, "x", FaultKind.ODD_ANSWER),
        ({"token_url": "http://127.0.0.1:1/token"}, "x", FaultKind.UNREACHABLE),
    ],
)
def test_what_only_the_operator_can_mend_breaks_nobodys_connection(
    there: There, tmp_path: Path, more: dict[str, str], token: str, kind: FaultKind
) -> None:
    file = tmp_path / "oauth.toml"
    file.write_text(clients(there.provider, there.service, **more))

    async def refresh() -> FaultKind:
        found = OAuthClients.of(file, BY_NAME, client_of_operators(), clock_ms=clock_ms)
        try:
            await found.refresh("google_calendar", {"refresh_token": token})
        except Failed as failed:
            return failed.fault.kind
        finally:
            await found.close()
        raise AssertionError("it was refreshed")

    assert asyncio.run(refresh()) is kind
