"""A stranger's way, in a browser, with no hook: they sign in at the certified provider, connect a calendar server and a file, see a tip, allow notifications, are told of
the next one, press Done on the notification, find the task completed at its source, and see the next tip.

All that is theirs holds a marked word: none is found at rest but where docs/privacy.md says so, and what is theirs in PostgreSQL goes when they leave.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import http_ece
import httpx
import psycopg
import pytest
from canary import mark, sightings
from command import oo
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from outside import eventually, settled, verify
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from connectors.valkey import LEFT_S
from deploy.stack.running import RunningStack, open_stack
from deploy.stack.state import free_port
from tests.connectors.sources.caldav_world import radicale, todo
from tests.serving.auth.oidc_provider import CLIENT_ID, CLIENT_SECRET, provider
from tests.serving.test_page import CHROMIUM, FLAGS, RENEW, SCREENSHOTS

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")

WHO = "p1"
"""At the calendar server."""
LOGIN = mark("login")
"""At the provider, which makes an address of it."""
DENTIST = f"Call the dentist {mark('caldav_title')}"
OPEN = {"kafka oo.signals"}
"""Where words stand as they came, for their time."""
TRIES = 4
"""Urgent things that come, since whether one is said is drawn."""


class PushService:
    """Where a browser would be told to have its pushes sent: keeps what comes, encrypted for one subscription."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        self.came: list[bytes] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.came.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(201)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def subscription(self) -> dict[str, Any]:
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {
            "endpoint": f"http://127.0.0.1:{self.server.server_port}/push/{mark('endpoint')}",
            "keys": {"p256dh": _text(point), "auth": _text(self.secret)},
        }

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(http_ece.decrypt(one, private_key=self.key, auth_secret=self.secret)) for one in self.came]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def calendar_server(folder: Path) -> Iterator[httpx.Client]:
    """A real Radicale with an empty list of tasks, and the client of who keeps it."""
    folder.mkdir()
    with radicale(folder) as server:
        with httpx.Client(base_url=server.url, auth=(WHO, "secret"), trust_env=False, timeout=30) as client:
            client.request("MKCALENDAR", f"/{WHO}/tasks/").raise_for_status()
            yield client


def put(server: httpx.Client, name: str, title: str, *lines: str) -> None:
    headers = {"content-type": "text/calendar; charset=utf-8"}
    server.put(f"/{WHO}/tasks/{name}.ics", content=todo(name, title, *lines), headers=headers).raise_for_status()


@contextmanager
def a_stack(folder: Path, oidc_table: str, port: int) -> Iterator[RunningStack]:
    """With people, who sign in; the edge where the provider expects it."""
    providers, state = folder / "providers.toml", folder / "state"
    providers.write_text(oidc_table)
    providers.chmod(0o600)
    at = f"--state={state}"
    oo("up", "--detach", "--no-demo", "--people", f"--providers={providers}", f"--port=edge={port}", at)
    try:
        yield open_stack(state)
    finally:
        oo("down", at)


@pytest.mark.long(
    "tests/serving/auth/test_sign_in.py::test_a_person_signs_in_and_is_the_same_person_the_next_time",
    "tests/agents/test_connect.py::test_a_task_that_was_done_is_told_to_its_source_once_and_its_log_says_what_came_of_it",
    "tests/agents/test_notify.py::test_a_tip_is_one_push_that_the_browser_alone_opens_and_every_device_gets_its_own",
)
def test_a_stranger_signs_in_connects_is_told_and_finds_it_done_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, push = free_port(), PushService()
    with tempfile.TemporaryDirectory(prefix="oo-stranger-") as name:
        folder = Path(name)
        file = folder / "files" / f"{mark('file_name')}.txt"
        file.parent.mkdir()
        file.write_text(f"Water the plants {mark('todo_title')}\n")
        # Strangers sign in, so this machine is closed to what they name, unless it is said.
        monkeypatch.setenv("OO_CONNECT_INSIDE", "127.0.0.0/8")
        monkeypatch.setenv("OO_NOTIFY_INSIDE", "127.0.0.0/8")
        monkeypatch.setenv("OO_CONNECT_FILES", str(folder / "files"))
        with (
            provider([f"http://127.0.0.1:{port}/auth/callback/certified"]) as oidc,
            calendar_server(folder / "radicale") as server,
        ):
            table = f'[certified]\nissuer = "{oidc.issuer}"\nclient_id = "{CLIENT_ID}"\nclient_secret = "{CLIENT_SECRET}"\nname = "Certified"\n'
            put(server, "dentist-0", DENTIST)
            with a_stack(folder, table, port) as stack:
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-GB")
                    context.grant_permissions(["notifications"], origin=stack.edge_url)
                    # Chromium has no push service here: what it would have given is of the test's own keys.
                    given = json.dumps(push.subscription)
                    context.add_init_script(
                        f"{{ let had = null; const given = {{ toJSON: () => ({given}) }};"
                        " PushManager.prototype.subscribe = async () => (had = given);"
                        " PushManager.prototype.getSubscription = async () => had; }"
                    )
                    page = context.new_page()
                    sign_in(page, stack.edge_url)
                    connect(page, server, file)
                    turn_on_notifications(page)
                    worker = context.service_workers[0]
                    page.close()
                    notice = told_unasked(context, server, stack, push)
                    press_done(context, worker, stack.edge_url, notice)
                    eventually(lambda: completed(server))
                    page = context.new_page()
                    page.goto(stack.edge_url)
                    expect(page.locator("#title")).not_to_have_text(notice["title"], timeout=30_000)
                    cookies = {one["name"]: one["value"] for one in context.cookies()}
                    browser.close()
                settled(stack)
                found = verify(stack)
                assert (found["differences"], found["deliveries"] > 0) == (0, True), json.dumps(found)
                with httpx.Client(base_url=stack.edge_url, cookies=cookies, trust_env=False, timeout=30) as person:
                    person.headers.update({"origin": stack.edge_url, "sec-fetch-site": "same-origin"})
                    name_all_else(person)
                    stands_where_the_page_says(stack)
                    once_more = person.delete("/v1/me").json()["confirm"]
                    person.delete("/v1/me", params={"confirm": once_more}).raise_for_status()
                eventually(lambda: left_in_postgres(stack), lambda rows: rows == [])
                stands_where_the_page_says(stack)


def sign_in(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("#signin .ways a").first.click()
    page.locator('input[name="login"]').fill(LOGIN)
    page.locator('input[name="password"]').fill("any")
    page.locator('button[type="submit"]').click()
    page.locator('button[type="submit"]').click()
    page.wait_for_url(f"{url}/**")
    expect(page.locator("#settings-open")).to_be_visible(timeout=30_000)


def connect(page: Page, server: httpx.Client, file: Path) -> None:
    """Both; says how long it took until a task of theirs was the tip."""
    page.locator("#settings-open").click()
    page.get_by_role("button", name="Connections").click()
    page.get_by_role("button", name="CalDAV").click()
    page.locator('input[name="url"]').fill(str(server.base_url))
    page.locator('input[name="username"]').fill(WHO)
    page.locator('input[name="password"]').fill("secret")
    began_s = time.monotonic()
    page.get_by_role("button", name="Connect", exact=True).click()
    for number in range(1, TRIES):
        # Whether a task is said, or nothing, is drawn.
        try:
            expect(page.locator("#title")).to_have_text(DENTIST, timeout=15_000)
            break
        except AssertionError:
            put(server, f"dentist-{number}", DENTIST)
            page.get_by_role("button", name="Read now: CalDAV").click()
    expect(page.locator("#title")).to_have_text(DENTIST, timeout=60_000)
    took_s = time.monotonic() - began_s
    expect(page.locator("#connections-list li")).to_have_count(1, timeout=60_000)
    page.get_by_role("button", name="todo.txt").click()
    page.locator('input[name="path"]').fill(str(file))
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.locator("#connections-list li")).to_have_count(2, timeout=60_000)
    draw(page, "connections")
    page.keyboard.press("Escape")
    print(f"from a connection to its first tip: {took_s:.1f} s")


def turn_on_notifications(page: Page) -> None:
    page.locator("#settings-open").click()
    page.get_by_role("button", name="Notifications").click()
    page.get_by_role("button", name="Tell me").click()
    expect(page.get_by_text("Chrome, Linux")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Turn off")).to_be_visible()
    draw(page, "notifications")


def name_all_else(person: httpx.Client) -> None:
    """Whatever else a person may name: it stays where it is."""
    hook = {"webhook": f"http://127.0.0.1:9/{mark('webhook')}", "name": mark("device_name")}
    for one in (hook, {"email": f"{mark('mail')}@example.org"}):
        person.post("/v1/devices", json=one).raise_for_status()
    calendar = {"url": f"http://127.0.0.1:9/{mark('calendar_path')}?key={mark('calendar_query')}"}
    person.post("/v1/connections", json={"source": "webcal", "fields": calendar}).raise_for_status()


def stands_where_the_page_says(stack: RunningStack) -> None:
    found = {place: sorted(words) for place, words in sightings(stack).items()}
    assert "caldav_title" in found["kafka oo.signals"], "the search finds nothing"
    assert {place: words for place, words in found.items() if place not in OPEN} == {}


def left_in_postgres(stack: RunningStack) -> list[tuple[str, int]]:
    """Tables that have a row of the person's still: there is nobody else."""
    with psycopg.connect(stack.dsn("postgres")) as connection:
        tables = [
            *(f"integrations.{one}" for one in ("connections", "log", "write_backs", "posted", "authorizations")),
            *(f"notifier.{one}" for one in ("devices", "standing", "deliveries")),
            *(f"auth.{one}" for one in ("people", "identities", "sessions", "tokens")),
            *(f"recommender.{one}" for one in ("decisions", "outcomes")),
        ]
        counts = [(one, connection.execute(f"SELECT count(*) FROM {one}").fetchone()) for one in tables]
    return [(one, count[0]) for one, count in counts if count and count[0]]


def draw(page: Page, name: str) -> None:
    if RENEW:
        page.screenshot(path=SCREENSHOTS / f"{name}-phone.png", animations="disabled")


def told_unasked(
    context: BrowserContext, server: httpx.Client, stack: RunningStack, push: PushService
) -> dict[str, Any]:
    """Something urgent comes while nobody looks; whether to say so is drawn, so it may take another one."""
    # Who has just closed the page may still be there.
    time.sleep(LEFT_S + 1)
    for number in range(TRIES):
        soon = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 1800))
        put(
            server, f"urgent-{number}", f"Fetch the parcel {number} {mark('urgent_title')}", f"DUE:{soon}", "PRIORITY:1"
        )
        for one in context.request.get(f"{stack.edge_url}/v1/connections").json()["connections"]:
            headers = {"origin": stack.edge_url, "sec-fetch-site": "same-origin"}
            assert context.request.post(
                f"{stack.edge_url}/v1/connections/{one['connection_id']}/sync", headers=headers
            ).ok
        for _ in range(450):
            if push.came:
                return push.said()[-1]
            time.sleep(0.1)
    said = [
        context.request.get(f"{stack.edge_url}/v1/{what}").text() for what in ("deliveries", "connections", "me", "tip")
    ]
    raise AssertionError("nobody was told", said)


def press_done(context: BrowserContext, worker: Any, url: str, notice: dict[str, Any]) -> None:
    """The push comes to the page's worker, which shows it; then its button is pressed."""
    page = context.new_page()
    page.goto(f"{url}/static/icon.svg")
    devtools = context.new_cdp_session(page)
    registrations: list[dict[str, Any]] = []
    devtools.on("ServiceWorker.workerRegistrationUpdated", lambda said: registrations.extend(said["registrations"]))
    devtools.send("ServiceWorker.enable")
    eventually(lambda: (page.wait_for_timeout(50), bool(registrations))[1])
    devtools.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": url, "registrationId": registrations[0]["registrationId"], "data": json.dumps(notice)},
    )
    shown = "self.registration.getNotifications().then((all) => all.map((one) => one.title))"
    eventually(
        lambda: (page.wait_for_timeout(50), worker.evaluate(shown))[1], lambda titles: titles == [notice["title"]]
    )
    worker.evaluate(
        """async () => {
            const [shown] = await self.registration.getNotifications();
            self.dispatchEvent(new NotificationEvent("notificationclick", { notification: shown, action: "done" }));
        }"""
    )
    page.close()


def completed(server: httpx.Client) -> list[str]:
    """The tasks that are done at the calendar server."""
    names = [f"urgent-{number}" for number in range(TRIES)]
    texts = [server.get(f"/{WHO}/tasks/{name}.ics") for name in names]
    return [one.text for one in texts if one.is_success and "STATUS:COMPLETED" in one.text]
