"""The tip page in Debian's Chromium: what a person sees and does, on a phone and on a desktop."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib.image import imread
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, reaction_pb2
from tests.sealed import give
from tests.serving.edges import LiveEdge
from tests.serving.test_history import past
from tests.serving.topic import messages

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESKTOP = (390, 844), (1280, 800)
SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
RENEW = os.environ.get("OO_RENEW_SCREENSHOTS") == "1"
"""Screenshots in docs are drawn anew on request only: most pixels differ between machines."""
GROUND = (4, 4)
"""A pixel, row and column, where nothing is ever drawn."""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page_of(browser: Browser, whole_edge: LiveEdge) -> Iterator[Open]:
    """Opens the page as a user; at the end nothing may have been said on the console."""
    contexts, said = [], []

    def open_page(
        user: str,
        *,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        quiet: bool = True,
        wait: bool = True,
        locale: str = "en-GB",
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            is_mobile=size == PHONE,
            has_touch=size == PHONE,
            locale=locale,
        )
        contexts.append(context)
        page = context.new_page()
        if quiet:
            page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{whole_edge.url}/?user={user}")
        if wait:
            page.wait_for_selector("body[data-state=tip], body[data-state=empty]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def kinds(stack: RunningStack, user: str) -> list[str]:
    return [
        reaction_pb2.Reaction.Kind.Name(one.kind).lower()
        for one in messages(stack, "reactions", reaction_pb2.Reaction, user_id=user)
    ]


def eventually(read: Callable[[], list[str]], expected: list[str]) -> None:
    deadline_s = time.monotonic() + 20
    while (found := read()) != expected:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.1)


def test_the_tip_and_its_reasons_are_shown(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-show", 1, title="Water the plants", why=["Due today", "Dry week"], detail="All three")
    page = page_of("pg-show")
    expect(page.get_by_role("heading", level=1)).to_have_text("Water the plants")
    expect(page.locator("#why li")).to_have_text(["Due today", "Dry week"])
    expect(page.locator("#detail")).to_have_text("All three")
    expect(page.get_by_role("button", name="Done")).to_be_visible()
    expect(page.locator("#link-text")).to_have_text("Live")


def test_a_new_tip_takes_its_place_without_a_reload(page_of: Open, whole_edge: LiveEdge) -> None:
    page = page_of("pg-live")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing worth doing now.")
    expect(page.locator("#hint-import")).to_contain_text("--user pg-live")
    whole_edge.put_tip("pg-live", 1, title="First")
    expect(page.get_by_role("heading", level=1)).to_have_text("First")
    whole_edge.put_tip("pg-live", 2, title="Second")
    expect(page.get_by_role("heading", level=1)).to_have_text("Second")
    expect(page.locator("#said")).to_contain_text("Second")


def test_a_tip_to_begin_with_says_how_to_bring_in_what_is_ones_own(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-begin", 1, kind=decision_pb2.Decision.STARTER, source="oo")
    page = page_of("pg-begin")
    expect(page.locator("#begin-import")).to_have_text("oo import todo.txt calendar.ics --user pg-begin")
    whole_edge.put_tip("pg-begin", 2)
    expect(page.get_by_role("heading", level=1)).to_have_text("Tip 2")
    expect(page.locator("#begin")).to_be_hidden()


@pytest.mark.parametrize(("button", "kind"), [("Done", "done"), ("Dismiss", "dismiss")])
def test_a_button_sends_the_reaction_and_the_next_tip_comes(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack, button: str, kind: str
) -> None:
    user = f"pg-{kind}"
    whole_edge.put_tip(user, 1, title="First")
    page = page_of(user)
    # Finished: what is answered and not read ends as failed, when the page's patience does.
    with page.expect_request_finished(lambda sent: kind in (sent.post_data or ""), timeout=10_000) as sent:
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text("First")).to_be_hidden()
        expect(page.get_by_role("button", name="Undo")).to_be_focused()
        page.get_by_role("button", name="Next").click()
    answer = sent.value.response()
    assert answer is not None and answer.status == 202
    expect(page.locator("#between-text")).to_be_focused()
    whole_edge.put_tip(user, 2, title="Second")
    expect(page.get_by_role("heading", level=1)).to_have_text("Second")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert kind in kinds(servers, user)


def test_with_no_next_tip_the_page_comes_to_rest(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-rest", 1)
    page = page_of("pg-rest")
    page.keyboard.press("d")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Nothing worth doing now.")).to_be_visible(timeout=15_000)


def test_snooze_offers_times_and_sends_the_chosen_one(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack
) -> None:
    whole_edge.put_tip("pg-snooze", 1)
    page = page_of("pg-snooze", size=PHONE)
    page.get_by_role("button", name="Snooze").click()
    expect(page.get_by_role("button", name="In an hour")).to_be_focused()
    page.get_by_role("button", name="Tomorrow").click()
    with page.expect_response("**/v1/feedback"):
        page.get_by_role("button", name="Next").click()
    (reaction,) = (
        one
        for one in messages(servers, "reactions", reaction_pb2.Reaction, user_id="pg-snooze")
        if one.kind == reaction_pb2.Reaction.SNOOZE
    )
    assert reaction.snooze_until.ToMilliseconds() > time.time() * 1000


def test_everything_can_be_done_by_keyboard(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-keys", 1, url="https://example.org/")
    page = page_of("pg-keys")
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", reached
    assert reached == ["earlier-open", "settings-open", "url", "done", "snooze", "dismiss"]
    page.keyboard.press("s")
    expect(page.get_by_role("button", name="In an hour")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Snooze")).to_be_focused()
    with page.expect_response("**/v1/feedback") as answer:
        page.keyboard.press("x")
        expect(page.get_by_role("button", name="Undo")).to_be_focused()
        page.keyboard.press("n")
    assert answer.value.request.post_data_json["reaction"] == "dismiss"


def test_keys_with_a_modifier_are_the_browsers(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-modifier", 1)
    page = page_of("pg-modifier")
    page.keyboard.press("Control+d")
    page.keyboard.press("Alt+x")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tip 1")


def test_seen_is_sent_once_the_tip_has_stood_on_the_screen(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack
) -> None:
    whole_edge.put_tip("pg-seen", 1)
    page = page_of("pg-seen", wait=False)
    with page.expect_response("**/v1/feedback") as answer:
        pass
    assert answer.value.request.post_data_json["reaction"] == "seen"
    eventually(lambda: kinds(servers, "pg-seen"), ["seen"])


def test_seen_is_not_sent_from_a_hidden_page(page_of: Open, whole_edge: LiveEdge, servers: RunningStack) -> None:
    page = page_of("pg-hidden")
    page.evaluate(
        """() => {
            Object.defineProperty(document, 'visibilityState', { get: () => 'hidden', configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    whole_edge.put_tip("pg-hidden", 1)
    expect(page.get_by_role("heading", level=1)).to_have_text("Tip 1")
    page.wait_for_timeout(1500)
    assert kinds(servers, "pg-hidden") == []
    page.evaluate("() => { delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange')); }")
    eventually(lambda: kinds(servers, "pg-hidden"), ["seen"])


def test_feedback_that_is_refused_brings_the_tip_back_and_says_so(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-fail", 1, title="Stay")
    page = page_of("pg-fail", quiet=False)

    def refuse(route: Route) -> None:
        route.fulfill(status=422, content_type="application/problem+json", body='{"detail": "Not like this."}')

    page.route("**/v1/feedback", refuse)
    page.keyboard.press("d")
    page.keyboard.press("n")
    expect(page.get_by_role("alert")).to_contain_text("Not like this")
    expect(page.get_by_role("heading", level=1)).to_have_text("Stay")
    page.unroute("**/v1/feedback")
    page.keyboard.press("d")
    with page.expect_response("**/v1/feedback") as answer:
        page.keyboard.press("n")
    assert answer.value.status == 202
    expect(page.get_by_role("alert")).to_be_hidden()


def test_feedback_that_fails_waits_and_is_sent_once(page_of: Open, whole_edge: LiveEdge, servers: RunningStack) -> None:
    whole_edge.put_tip("pg-waits", 1)
    page = page_of("pg-waits", quiet=False)
    page.route("**/v1/feedback", lambda route: route.fulfill(status=503, json={"detail": "Kafka is away; try again."}))
    page.keyboard.press("d")
    page.keyboard.press("n")
    expect(page.locator("#waiting")).to_have_text("1 reaction waits for the connection.")
    page.unroute("**/v1/feedback")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#waiting")).to_be_hidden()
    assert kinds(servers, "pg-waits").count("done") == 1


def test_a_reaction_can_be_taken_back_for_ten_seconds(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack
) -> None:
    whole_edge.put_tip("pg-undo", 1, title="Not yet")
    page = page_of("pg-undo")
    eventually(lambda: kinds(servers, "pg-undo"), ["seen"])
    page.clock.install()
    page.keyboard.press("d")
    page.clock.run_for(9_000)
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not yet")
    page.clock.run_for(20_000)
    assert kinds(servers, "pg-undo") == ["seen"]
    page.keyboard.press("x")
    with page.expect_response("**/v1/feedback"):
        page.clock.run_for(10_100)
    assert kinds(servers, "pg-undo") == ["seen", "dismiss"]


def test_what_can_be_taken_back_is_sent_by_no_other_tab_either(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack
) -> None:
    whole_edge.put_tip("pg-tabs", 1, title="Not yet")
    page = page_of("pg-tabs")
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    until(page, f"{KEPT}.then(({{ outbox }}) => outbox?.length === 1)")
    other = page.context.new_page()
    other.goto(whole_edge.url + "/?user=pg-tabs")
    expect(other.locator("#link-text")).to_have_text("Live")
    # It sends what it finds as soon as it is live: asked after that, so its flush has ended.
    until(other, "navigator.locks.request('oo-outbox', () => true)")
    page.bring_to_front()
    page.keyboard.press("u")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not yet")
    until(page, f"{KEPT}.then(({{ outbox }}) => outbox.length === 0)")
    assert [kind for kind in kinds(servers, "pg-tabs") if kind != "seen"] == []


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_who_dismisses_may_say_why_and_it_goes_with_the_reaction(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack, size: tuple[int, int], scheme: str
) -> None:
    user = f"pg-because-{scheme}"
    whole_edge.put_tip(user, 1)
    page = page_of(user, size=size, scheme=scheme)
    page.keyboard.press("x")
    expect(page.locator("#said")).to_have_text("Not this one, then. Why? If you like to say.")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    group = page.get_by_role("group", name="Why? If you like to say.")
    expect(group.get_by_role("button")).to_have_count(4)
    assert Axe().run(page).violations_count == 0
    page.keyboard.press("1")
    expect(group.get_by_role("button", name="Not now", pressed=True)).to_be_visible()
    page.keyboard.press("Shift+Tab")
    expect(group.get_by_role("button", name="Not mine")).to_be_focused()
    page.keyboard.press("Enter")
    expect(group.get_by_role("button", pressed=True)).to_have_text(re.compile("^Not mine"))
    with page.expect_response(lambda answer: "dismiss" in (answer.request.post_data or "")) as answer:
        page.keyboard.press("n")
    assert answer.value.status == 202
    said = messages(servers, "reactions", reaction_pb2.Reaction, user_id=user)
    assert [one.reason for one in said if one.kind == reaction_pb2.Reaction.DISMISS] == [reaction_pb2.Reaction.NOT_MINE]


def test_a_page_that_goes_away_sends_at_once(page_of: Open, whole_edge: LiveEdge, servers: RunningStack) -> None:
    whole_edge.put_tip("pg-away", 1)
    page = page_of("pg-away")
    stands_by(page)  # As it mostly is; what leaves while the worker takes over goes with the next look.
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.goto("about:blank")
    eventually(lambda: [kind for kind in kinds(servers, "pg-away") if kind != "seen"], ["done"])


def until(page: Page, expression: str) -> None:
    """Asked from here: the page's own rules forbid that a text is taken for a program in it."""
    deadline_s = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline_s, expression
        page.wait_for_timeout(100)


def stands_by(page: Page) -> None:
    """Until the page is the worker's, and knows whose it is."""
    page.evaluate(
        """() => navigator.serviceWorker.ready.then(() => new Promise((done) =>
            navigator.serviceWorker.controller ? done() : navigator.serviceWorker.addEventListener('controllerchange', done)))"""
    )
    until(page, f"{KEPT}.then((kept) => !!kept.account && (!document.getElementById('title') || !!kept.tip))")


KEPT = """new Promise((done) => {
    const asked = indexedDB.open('oo');
    asked.onsuccess = () => {
        const all = {}, cursor = asked.result.transaction('kept').objectStore('kept').openCursor();
        cursor.onsuccess = () => {
            if (!cursor.result) { asked.result.close(); return done(all); }
            all[cursor.result.key] = cursor.result.value;
            cursor.result.continue();
        };
    };
})"""
"""All that the page keeps on this device."""


def test_without_a_connection_the_last_tip_is_there_and_a_reaction_is_sent_once_there_is_one(
    page_of: Open, whole_edge: LiveEdge, servers: RunningStack
) -> None:
    whole_edge.put_tip("pg-offline", 1, title="Water the plants")
    page = page_of("pg-offline", quiet=False)
    stands_by(page)
    page.context.set_offline(True)
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Water the plants")
    assert Axe().run(page).violations_count == 0
    page.keyboard.press("d")
    page.keyboard.press("n")
    expect(page.locator("#waiting")).to_have_text("1 reaction waits for the connection.")
    page.reload()
    expect(page.locator("#link-text")).to_contain_text("Not connected")
    expect(page.get_by_text("Water the plants")).to_be_hidden()
    page.context.set_offline(False)
    eventually(lambda: [kind for kind in kinds(servers, "pg-offline") if kind != "seen"], ["done"])
    page.reload()
    expect(page.locator("#link-text")).to_have_text("Live")
    assert kinds(servers, "pg-offline").count("done") == 1


def test_nothing_is_kept_of_somebody_when_another_comes(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-first", 1, title="Of the first")
    page = page_of("pg-first", quiet=False)
    stands_by(page)
    assert page.evaluate(KEPT)["tip"]["tip"]["title"] == "Of the first"
    account = page.evaluate(KEPT)["account"]
    page.goto(f"{whole_edge.url}/?user=pg-second")
    page.wait_for_selector("body[data-state=empty]")
    until(page, f"{KEPT}.then((kept) => kept.account !== '{account}')")
    assert "tip" not in page.evaluate(KEPT)
    names = page.evaluate(
        "caches.keys().then((names) => Promise.all(names.map((name) => caches.open(name).then((one) => one.keys()))))"
    )
    assert len(names) == 1
    held = page.evaluate(
        "caches.keys().then(([name]) => caches.open(name)).then((one) => one.keys()).then((all) => all.map((one) => new URL(one.url).pathname))"
    )
    assert "/" in held and not [path for path in held if path.startswith(("/v1", "/auth"))]
    page.context.set_offline(True)
    page.goto(f"{whole_edge.url}/?user=pg-first")
    expect(page.locator("#link-text")).to_contain_text("Not connected")
    expect(page.get_by_text("Of the first")).to_be_hidden()


def test_a_push_shows_a_notification_and_its_button_answers_without_the_page(
    page_of: Open, whole_edge: LiveEdge
) -> None:
    page = page_of("pg-push", quiet=False)
    context = page.context
    context.grant_permissions(["notifications"], origin=whole_edge.url)
    stands_by(page)
    devtools, registrations = context.new_cdp_session(page), list[dict[str, str]]()
    devtools.on("ServiceWorker.workerRegistrationUpdated", lambda said: registrations.extend(said["registrations"]))
    devtools.send("ServiceWorker.enable")
    said = {
        "title": "Call the dentist",
        "body": "Due today",
        "tag": "d1",
        "lang": "en",
        "decision_id": "d1",
        "delivery_id": "l1",
        "reaction_token": "word",
        "actions": [{"action": "done", "title": "Done"}, {"action": "snooze", "title": "Later"}],
    }
    while not registrations:
        page.wait_for_timeout(50)
    pushed = {"origin": whole_edge.url, "registrationId": registrations[0]["registrationId"], "data": json.dumps(said)}
    for _ in range(2):  # A repeat of a tag is no second notification.
        devtools.send("ServiceWorker.deliverPushMessage", pushed)
    worker = context.service_workers[0]
    shown = "() => registration.getNotifications().then((all) => all.map(({ title, body, tag }) => [title, body, tag]))"
    eventually(lambda: worker.evaluate(shown), [["Call the dentist", "Due today", "d1"]])  # type: ignore[list-item]
    context.set_offline(True)
    worker.evaluate(
        """async () => {
            const [notification] = await registration.getNotifications();
            dispatchEvent(new NotificationEvent('notificationclick', { notification, action: 'done' }));
        }"""
    )
    until(page, f"{KEPT}.then(({{ outbox }}) => outbox?.length === 1)")
    (kept,) = page.evaluate(KEPT)["outbox"]
    assert (kept["reaction"], kept["by"]) == ("done", {"delivery_id": "l1", "token": "word"})
    assert worker.evaluate(shown) == []
    # Of a tip that was shown, a repeat says nothing, though its notification is gone; of another one it does.
    for tag in ("d1", "d2"):
        pushed["data"] = json.dumps({**said, "tag": tag, "title": f"Again {tag}"})
        devtools.send("ServiceWorker.deliverPushMessage", pushed)
    eventually(lambda: worker.evaluate(shown), [["Again d2", "Due today", "d2"]])  # type: ignore[list-item]
    # The edge hears of it once it can be reached, and knows no such delivery.
    context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    until(page, f"{KEPT}.then(({{ outbox }}) => outbox.length === 0)")


def test_it_speaks_german_to_who_asks_for_it(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-german", 1)
    page = page_of("pg-german", locale="de-AT")
    expect(page.get_by_role("button", name="Erledigt")).to_be_visible()
    expect(page.locator("#kind")).to_have_text("Eine Aufgabe aus todo.txt")
    expect(page.locator("#why li")).to_have_text("Heute fällig")
    expect(page.locator("#link-text")).to_have_text("Verbunden")
    assert page.evaluate("document.documentElement.lang") == "de"
    page.keyboard.press("s")
    page.get_by_role("button", name="Morgen").click()
    expect(page.get_by_role("button", name="Zurücknehmen")).to_be_focused()


ONE_OF_EACH = pytest.mark.long(
    "tests/serving/test_page.py::test_connections_and_notifications_can_be_used_by_everybody[phone-dark]",
    "tests/serving/test_page.py::test_connections_and_notifications_can_be_used_by_everybody[desktop-light]",
)


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        pytest.param(PHONE, "dark", id="phone-dark"),
        pytest.param(DESKTOP, "light", id="desktop-light"),
        pytest.param(PHONE, "light", id="phone-light", marks=ONE_OF_EACH),
        pytest.param(DESKTOP, "dark", id="desktop-dark", marks=ONE_OF_EACH),
    ],
)
def test_connections_and_notifications_can_be_used_by_everybody(
    page_of: Open, whole_edge: LiveEdge, size: tuple[int, int], scheme: str
) -> None:
    user = f"pg-sheets-{size[0]}-{scheme}"
    give(whole_edge.parts.people, user.encode())
    with whole_edge.client(user) as client:
        fields = {"url": "https://dav.example/", "username": "ada", "password": "any"}
        made = client.post("/v1/connections", json={"source": "caldav", "fields": fields})
        assert made.status_code == 201, made.text
        assert client.post("/v1/devices", json={"email": f"{user}@example.org"}).status_code == 201
    page = page_of(user, size=size, scheme=scheme)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Connections").click()
    sheet = page.get_by_role("dialog", name="Connections")
    expect(sheet.get_by_role("listitem")).to_contain_text("https://dav.example/")
    sheet.get_by_role("button", name=re.compile("^Disconnect")).click()
    sheet.get_by_role("button", name="Calendar by address").click()
    expect(sheet.get_by_label("Address of the calendar")).to_be_focused()
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sheet.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Notifications").click()
    sheet = page.get_by_role("dialog", name="Notifications")
    expect(sheet.get_by_text("not confirmed yet")).to_be_visible()
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_who_comes_back_from_a_service_that_did_not_allow_it_is_told_so_once(
    page_of: Open, whole_edge: LiveEdge
) -> None:
    page = page_of("pg-refused")
    page.goto(f"{whole_edge.url}/?connection=refused")
    sheet = page.get_by_role("dialog", name="Connections")
    expect(sheet).to_contain_text("Nothing was connected: it was not allowed there.")
    assert page.url == f"{whole_edge.url}/"
    sheet.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Connections").click()
    expect(sheet.get_by_role("button", name="Todoist")).to_be_visible()
    expect(sheet).not_to_contain_text("Nothing was connected")


def test_of_somebody_new_a_device_waits_until_they_are_known(page_of: Open, whole_edge: LiveEdge) -> None:
    page = page_of("pg-newcomer", quiet=False)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Notifications").click()
    sheet = page.get_by_role("dialog", name="Notifications")
    sheet.get_by_label("Address").fill("pg-newcomer@example.org")
    with page.expect_response(lambda answer: answer.request.method == "POST" and answer.status == 503):
        sheet.get_by_role("button", name="Add the address").click()
    expect(sheet.get_by_role("status")).to_contain_text("oO is getting ready for you")
    give(whole_edge.parts.people, b"pg-newcomer")
    expect(sheet.get_by_text("not confirmed yet")).to_be_visible(timeout=10_000)


def test_it_can_be_installed(page_of: Open) -> None:
    page = page_of("pg-install")
    devtools = page.context.new_cdp_session(page)
    manifest = devtools.send("Page.getAppManifest")
    assert manifest["errors"] == [] and '"start_url": "/"' in manifest["data"]
    page.evaluate("navigator.serviceWorker.ready")
    hindered = {one["errorId"] for one in devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]}
    assert hindered <= {"in-incognito"}, "contexts of tests are"


def test_a_lost_edge_is_told_and_found_again(
    browser: Browser, valkey: object, tmp_path: Path, whole_edge: LiveEdge
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{whole_edge.url}/?user=pg-lost")
    expect(page.locator("#link-text")).to_have_text("Live")
    context.set_offline(True)
    # Chromium keeps an open stream when it goes offline: end it as a lost edge would.
    whole_edge.parts.subscriptions.closing = True
    whole_edge.parts.subscriptions.changed("pg-lost")
    expect(page.locator("#link-text")).to_contain_text("Not connected", timeout=15_000)
    whole_edge.parts.subscriptions.closing = False
    context.set_offline(False)
    whole_edge.put_tip("pg-lost", 1, title="Back again")
    expect(page.get_by_role("heading", level=1)).to_have_text("Back again", timeout=20_000)
    expect(page.locator("#link-text")).to_have_text("Live")
    context.close()


def test_markup_in_a_title_stays_text(page_of: Open, whole_edge: LiveEdge) -> None:
    nasty = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    whole_edge.put_tip("pg-markup", 1, title=nasty, why=[nasty], detail=nasty)
    page = page_of("pg-markup")
    expect(page.get_by_role("heading", level=1)).to_have_text(nasty)
    assert page.locator("main img, main script").count() == 0


def test_a_right_to_left_title_runs_right_to_left(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-rtl", 1, title="להתקשר לאמא לפני ארוחת הערב")
    page = page_of("pg-rtl")
    assert page.evaluate("getComputedStyle(document.getElementById('title')).direction") == "rtl"


@pytest.mark.parametrize("size", [(320, 568), PHONE, (844, 390), DESKTOP])
def test_nothing_runs_off_the_side_however_long_the_title(
    page_of: Open, whole_edge: LiveEdge, size: tuple[int, int]
) -> None:
    user = f"pg-long-{size[0]}"
    whole_edge.put_tip(user, 1, title="Donaudampfschifffahrtsgesellschaft" * 14, why=["x" * 300])
    page = page_of(user, size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.get_by_role("button", name=re.compile("^Done")).scroll_into_view_if_needed()
    expect(page.get_by_role("button", name=re.compile("^Done"))).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page_of: Open, whole_edge: LiveEdge, scheme: str) -> None:
    user = f"pg-contrast-{scheme}"
    whole_edge.put_tip(user, 1)
    page = page_of(user, scheme=scheme)
    ratios = page.evaluate(
        """() => {
            const light = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
                .map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
                .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
            const style = getComputedStyle(document.documentElement);
            const of = (name) => light(style.getPropertyValue(name).trim());
            const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            return ['--ground', '--disc'].flatMap((under) => ['--ink', '--soft'].map((over) => ratio(of(over), of(under))))
                .concat(ratio(of('--on-ink'), of('--ink')), ratio(of('--fault'), of('--fault-ground')));
        }"""
    )
    assert min(ratios) >= 4.5, ratios


def test_pictures_for_the_readme(page_of: Open, whole_edge: LiveEdge, tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000)
    tip = {
        "title": "Call the dentist about Thursday",
        "url": "https://example.org/dentist",
        "why": [
            "Due today, and it takes five minutes",
            "You often finish calls before lunch",
            "Nothing planned until 14:00",
        ],
        "decided_ms": now_ms - 1_300_000,
        "valid_until_ms": now_ms + 2_300_000,
    }
    folder = SCREENSHOTS if RENEW else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    whole_edge.put_tip("pg-picture", 1, **tip)
    for size, at in ((PHONE, "phone"), (DESKTOP, "desktop")):
        for scheme in ("light", "dark"):
            page = page_of("pg-picture", size=size, scheme=scheme)
            picture(page, folder / f"tip-{at}-{scheme}.png")
        picture(page_of("pg-nothing", size=size), folder / f"empty-{at}-light.png")
        page = page_of("pg-picture", size=size)
        page.get_by_role("button", name="Settings").click()
        page.wait_for_selector("#settings label")
        picture(page, folder / f"settings-{at}-light.png")


def picture(page: Page, path: Path) -> None:
    page.evaluate("document.fonts.ready")
    page.evaluate(
        "document.querySelectorAll('#hint-import').forEach((hint) => hint.replaceChildren('oo import todo.txt calendar.ics --user demo'))"
    )
    expect(page.locator("#link-text")).to_have_text("Live")
    page.wait_for_timeout(200)
    page.screenshot(path=path)
    drawn, kept = (imread(one)[..., :3] for one in (path, SCREENSHOTS / path.name))
    # Size and ground are the same on every machine; letters and what moves with the clock are not.
    assert drawn.shape == kept.shape
    assert (drawn[GROUND] == kept[GROUND]).all(), f"draw it anew with OO_RENEW_SCREENSHOTS=1: {path.name}"
    assert not (drawn == drawn[GROUND]).all(), "nothing stands on the ground"


def test_a_tip_that_a_model_wrote_says_so(page_of: Open, whole_edge: LiveEdge) -> None:
    whole_edge.put_tip("pg-written", 1, kind=decision_pb2.Decision.GENERATED, source="oo")
    page = page_of("pg-written")
    expect(page.locator("#kind")).to_have_text("Written by a language model")


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_earlier_tips_say_what_came_of_them_and_which_a_model_wrote(
    page_of: Open, servers: RunningStack, size: tuple[int, int]
) -> None:
    user = f"pg-earlier-{size[0]}"
    with ThreadPoolExecutor(1) as beside:  # The browser's loop runs here.
        beside.submit(past, servers, user, 49, decision_pb2.Decision.GENERATED).result()
    page = page_of(user, size=size)
    page.get_by_role("button", name="Earlier").press("Enter")
    sheet = page.get_by_role("dialog", name="Earlier tips")
    expect(sheet.get_by_role("listitem")).to_have_count(20)
    first, second = sheet.get_by_role("listitem").nth(0), sheet.get_by_role("listitem").nth(1)
    # What nobody saw is not there: every second one.
    expect(first).to_have_text(re.compile("^Tip 48.*2023.* · Written by a language model · Done$"))
    expect(second).to_have_text(re.compile("^Tip 46.* · Written by a language model · Done$"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sheet.get_by_role("button", name="Older ones").press("Enter")
    expect(sheet.get_by_role("listitem")).to_have_count(25)
    expect(sheet.get_by_role("button", name="Older ones")).to_be_hidden()
    assert Axe().run(page).violations_count == 0
    # A key that reacts to a tip does nothing while the sheet is open.
    page.keyboard.press("d")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page.get_by_role("button", name="Earlier")).to_be_focused()


def test_with_no_history_to_read_the_sheet_says_so(page_of: Open) -> None:
    page = page_of("pg-nothing-yet", quiet=False)
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("Nothing was said yet.")
    page.keyboard.press("Escape")
    page.route(
        "**/v1/tips?*", lambda route: route.fulfill(status=503, json={"detail": "The history cannot be read now."})
    )
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("cannot be read now. Close this")
