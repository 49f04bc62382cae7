"""A browser's subscription ends with the session that made it, whatever ends that."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from connectors.postgres.accounts import Accounts
from connectors.postgres.notifier import Notifier
from connectors.tickets import Tickets
from serving.auth.sessions import Sessions
from streams.clock import clock_ms
from tests.connectors.postgres_cluster import Database
from tests.push_service import Browser
from tests.sealed import give
from tests.serving.auth.attacks import World
from tests.serving.auth.odd_provider import OddProvider
from tests.serving.auth.people import SigningEdge
from tests.serving.edges import problem
from tests.serving.valkeys import ValkeyServer


def subscribe(browser: httpx.Client, name: str) -> None:
    asked = {"name": name, **Browser(f"https://push.example/{name}").subscription()}
    made = browser.post("/v1/devices", json=asked)
    assert made.status_code == 201, made.text


def told(browser: httpx.Client) -> list[str]:
    """Where this person is told of tips."""
    return sorted(one["name"] or one["channel"] for one in browser.get("/v1/devices").json()["devices"])


def current(browser: httpx.Client) -> str:
    return str(next(one["session_id"] for one in browser.get("/v1/sessions").json()["sessions"] if one["current"]))


def signed_in(edge: SigningEdge, browser: httpx.Client, login: str) -> None:
    """With a key of theirs, as a door gives it."""
    edge.sign_in(browser, login)
    sign_in = edge.parts.sign_in
    assert sign_in is not None
    with edge._database.admin() as admin:
        row = admin.execute("SELECT pseudonym FROM auth.sessions WHERE session_id = %s", (current(browser),)).fetchone()
    assert row is not None
    if edge.parts.people.lacks(row[0].encode()):
        give(edge.parts.people, row[0].encode())


def test_who_is_signed_out_is_told_nothing_more_there(
    signing: SigningEdge, odd: OddProvider, database: Database, valkey: ValkeyServer
) -> None:
    world = World(signing, odd)
    with (
        signing.browser() as phone,
        signing.browser() as laptop,
        signing.browser() as tablet,
        signing.browser() as mallory,
    ):
        for browser, name in ((phone, "phone"), (laptop, "laptop"), (tablet, "tablet")):
            signed_in(signing, browser, "told")
            subscribe(browser, name)
        # An address is the person's, wherever they are signed in.
        assert phone.post("/v1/devices", json={"email": "told@example.org"}).status_code == 201
        assert told(laptop) == ["email", "laptop", "phone", "tablet"]

        signed_in(signing, mallory, "mallory")
        assert problem(mallory.delete(f"/v1/sessions/{current(phone)}"), 404) == "unknown-session"
        assert told(laptop) == ["email", "laptop", "phone", "tablet"]
        assert laptop.delete(f"/v1/sessions/{current(phone)}").status_code == 204
        assert told(laptop) == ["email", "laptop", "tablet"]

        # The same person again in the same browser: another session, and the subscription stays; then somebody else.
        signed_in(signing, tablet, "told")
        assert told(laptop) == ["email", "laptop", "tablet"]
        state, nonce = world.begun(tablet)
        made = odd.signed(nonce, sub="somebody-else")
        odd.answer = lambda: {"token_type": "Bearer", "id_token": made}
        assert tablet.get("/auth/callback/odd", params={"state": state, "code": "c"}).status_code == 303
        assert told(laptop) == ["email", "laptop"]
        assert told(tablet) == []

        assert laptop.post("/auth/logout").status_code == 204
        signed_in(signing, laptop, "told")
        assert told(laptop) == ["email"]
        subscribe(laptop, "laptop")

        # A program's, whose refresh token is used again.
        tokens = world.program(laptop)
        with signing.client(token=tokens["access_token"]) as program:
            subscribe(program, "program")
        assert told(laptop) == ["email", "laptop", "program"]
        newest = world.refreshed(tokens["refresh_token"]).json()["refresh_token"]
        for token in (newest, tokens["refresh_token"]):
            world.refreshed(token)
        assert told(laptop) == ["email", "laptop"]

        # One that nobody uses any more.
        signed_in(signing, phone, "told")
        subscribe(phone, "phone")
        signing.age_tokens(hours=24 * 15, session=phone)
        assert told(laptop) == ["email", "laptop", "phone"]
        asyncio.run(swept(signing, database, valkey))
        assert told(laptop) == ["email", "laptop"]

        signed_in(signing, phone, "told")
        subscribe(phone, "phone")
        assert laptop.post("/auth/logout", params={"everywhere": "true"}).status_code == 204
        signed_in(signing, laptop, "told")
        assert told(laptop) == ["email"]


async def swept(edge: SigningEdge, database: Database, valkey: ValkeyServer) -> None:
    """As each edge does once an hour."""
    sign_in = edge.parts.sign_in
    assert sign_in is not None
    accounts, tickets, devices = Accounts(database.dsn("auth")), Tickets(valkey.url), Notifier(database.dsn("notifier"))
    closing: tuple[Any, ...] = (accounts, tickets, devices)
    await accounts.open()
    await devices.open()
    try:
        await Sessions(
            accounts, tickets, sign_in.seals, devices=devices, valkey_url=valkey.url, now_ms=clock_ms
        ).sweep()
    finally:
        for one in closing:
            await one.close()
