"""The operators' console on a whole stack, in a browser: an operator looks, asks why, reads a person's words, sends letters again and holds a replay."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from command import called, oo
from outside import client, console_link, eventually, send, settled_tip, state_of, task
from playwright.sync_api import Page, expect, sync_playwright

from deploy.stack.running import RunningStack

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
RENEW = os.environ.get("OO_RENEW_SCREENSHOTS") == "1"
PAGES = ("Health", "Topics", "Decisions", "People", "Policies", "Models", "Replays", "Dead letters")

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def link(stack: RunningStack) -> Iterator[str]:
    with console_link(stack) as found:
        yield found


class Said(NamedTuple):
    """What is there to be looked at."""

    user: str
    decision_id: str


@pytest.fixture
def said(stack: RunningStack) -> Said:
    """Somebody with a tip, and a letter of theirs. Before the browser: it runs a loop of its own."""
    user = f"seen-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(user, "1", "Call the dentist"))
    send(stack, "signals", {**task(user, "2", "Buy a kite"), "nonsense": 1})
    with client(stack, user) as http:
        decision_id = settled_tip(stack, http)["decision_id"]
    eventually(lambda: _letters(stack, user, "open"))
    return Said(user, decision_id)


def asked(*arguments: str) -> str:
    """What a command prints, called in a thread of its own: where a browser is, this one runs its loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(called, *arguments).result().stdout


def _letters(stack: RunningStack, user: str, state: str) -> list[str]:
    found = json.loads(asked("dead-letters", "list", "--user", user, "--json", state_of(stack)))
    return [one["id"] for one in found if one["state"] == state]


@pytest.fixture(
    params=[
        pytest.param((1280, 900, "light"), id="desktop"),
        pytest.param(
            (390, 844, "dark"),
            id="phone",
            marks=pytest.mark.long(
                "tests/e2e/test_operator_looks.py::test_an_operator_asks_why_sees_words_only_after_a_note_and_sends_a_letter_again[desktop]"
            ),
        ),
    ]
)
def page(said: Said, link: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Nothing may be said on the browser's console."""
    width, height, scheme = request.param
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB")
        faults: list[str] = []
        page.on(
            "console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        eventually(lambda: page.goto(link))
        yield page
        browser.close()
    assert faults == []


class Ran(NamedTuple):
    """Two runs of oo replay."""

    done: str
    slow: str
    """Still at it."""


@pytest.fixture
def ran(stack: RunningStack, said: Said) -> Iterator[Ran]:
    names = Ran(*(f"{what}-{uuid.uuid4().hex[:6]}" for what in ("asked", "slow")))
    oo("replay", "run", "--policy=random", f"--name={names.done}", state_of(stack))
    begun = ("replay", "run", "--policy=linucb", "--rate=.1", f"--name={names.slow}", state_of(stack))
    quiet = subprocess.DEVNULL
    argv = (sys.executable, "-P", "-m", "deploy.cli", *begun)
    with subprocess.Popen(argv, stdout=quiet, stderr=quiet, start_new_session=True) as folding:
        try:
            eventually(lambda: _run(stack, names.slow) == "running")
            yield names
        finally:
            os.killpg(folding.pid, signal.SIGKILL)
    for name in names:
        asked("replay", "rm", name, state_of(stack))


def _run(stack: RunningStack, name: str) -> str:
    found = json.loads(asked("replay", "list", "--json", state_of(stack)))
    return next((str(one["state"]) for one in found if one["name"] == name), "")


def test_an_operator_asks_why_sees_words_only_after_a_note_and_sends_a_letter_again(
    stack: RunningStack, said: Said, page: Page
) -> None:
    user, decision_id = said
    name = "desktop" if page.viewport_size and page.viewport_size["width"] > 500 else "phone"

    expect(page.get_by_role("status").first).to_contain_text("Ready")
    for title in PAGES:
        page.get_by_role("navigation").get_by_role("link", name=title, exact=True).press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.get_by_text("Reading …")).to_have_count(0)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{title}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{title} is wider than the screen"
        if RENEW:
            page.screenshot(path=SCREENSHOTS / f"console-{title.lower().replace(' ', '-')}-{name}.png")

    # One person: titles are covered until it is noted that somebody looks.
    page.get_by_role("link", name="People").click()
    page.get_by_label(re.compile("Whose")).fill(user)
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name="•••").or_(page.get_by_role("rowheader", name="•••"))).to_be_visible()
    page.get_by_role("button", name="Show titles").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_text("Call the dentist")).to_have_count(0)
    page.get_by_role("button", name="Show titles").click()
    page.get_by_role("button", name="Note it and show them").click()
    expect(page.get_by_text("Call the dentist")).to_be_visible()
    audit = json.loads(asked("audit", "--user", user, "--json", state_of(stack)))
    assert [one["command"] for one in audit] == ["oo console reveal"]

    # What stood at a moment: before the first decision nothing, now the tip.
    page.get_by_label("What stood at").fill("2020-01-01T08:00")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing had been decided for them until then")).to_be_visible()
    page.get_by_label("What stood at").fill("2099-01-01T08:00")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("A tip, task, decided .*it had run out"))).to_be_visible()
    if RENEW:
        page.screenshot(path=SCREENSHOTS / f"console-person-{name}.png")
    assert Axe().run(page).violations_count == 0

    # Why that one, and why not the others.
    page.goto(f"{page.url.partition('#')[0]}#/decisions/{decision_id}")
    expect(page.get_by_text(re.compile("^It was chosen: "))).to_be_visible()
    page.get_by_role("button", name="Why").nth(1).click()
    expect(page.get_by_text(re.compile("^Why not [0-9]+: "))).to_be_visible()
    if RENEW:
        page.screenshot(path=SCREENSHOTS / f"console-decision-{name}.png")

    # A letter: asked first, then sent again, and it fails again, which is told.
    page.get_by_role("link", name="Dead letters").click()
    page.get_by_role("button", name=re.compile("^bad-json")).click()
    page.get_by_role("button", name="Choose all that are open").click()
    page.get_by_role("button", name="Send again …").click()
    page.get_by_role("dialog").get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status")).to_contain_text("sent again")
    eventually(lambda: _letters(stack, user, "failed again"))


def test_a_run_is_held_after_a_question_and_shows_where_another_policy_differs(
    stack: RunningStack, said: Said, ran: Ran, page: Page
) -> None:
    name = "desktop" if page.viewport_size and page.viewport_size["width"] > 500 else "phone"

    page.get_by_role("navigation").get_by_role("link", name="Replays", exact=True).press("Enter")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=ran.slow))
    expect(row).to_contain_text("running")
    row.get_by_role("button", name="Pause …").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert _run(stack, ran.slow) == "running"
    row.get_by_role("button", name="Pause …").click()
    page.get_by_role("button", name="Let it wait").click()
    expect(row).to_contain_text("paused")
    assert _run(stack, ran.slow) == "paused"
    assert Axe().run(page).violations_count == 0
    if RENEW:
        page.screenshot(path=SCREENSHOTS / f"console-replays-{name}.png")
    row.get_by_role("button", name="Go on …").click()
    page.get_by_role("button", name="Let it go on").click()
    expect(row).to_contain_text("running")
    noted = [one["command"] for one in json.loads(oo("audit", "--json", state_of(stack)).stdout)]
    assert [one.rpartition(": ")[2] for one in noted if ran.slow in one] == [
        f"replay pause {ran.slow}",
        f"replay resume {ran.slow}",
    ]

    page.get_by_role("link", name=ran.done).press("Enter")
    expect(page.get_by_role("heading", name="random held against logged")).to_be_visible()
    told = json.loads(asked("replay", "diff", ran.done, "--json", state_of(stack)))
    expect(page.get_by_text(f"{told['otherwise']} of {told['decisions']} decisions otherwise")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^random "))).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if RENEW:
        page.screenshot(path=SCREENSHOTS / f"console-replay-{name}.png", full_page=name == "desktop")
