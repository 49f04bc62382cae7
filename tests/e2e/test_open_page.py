"""The page that `oo up` names, open in a browser on a phone and on a desktop while signals come: it renews by itself."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from outside import send, task
from playwright.sync_api import expect, sync_playwright

from deploy.stack.running import RunningStack

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")


def test_a_signal_and_a_reaction_from_elsewhere_change_what_an_open_page_shows(stack: RunningStack) -> None:
    user = f"page-{uuid.uuid4().hex[:8]}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        pages = [browser.new_page(viewport={"width": width, "height": 844}) for width in (390, 1280)]
        for page in pages:
            page.goto(f"{stack.edge_url}/?user={user}")
            expect(page.locator("#link-text")).to_have_text("Live", timeout=30_000)
        send(stack, "signals", task(user, "1", "Call the dentist"))
        for page in pages:
            expect(page.get_by_role("heading", level=1)).to_have_text("Call the dentist", timeout=60_000)
        with pages[0].expect_request_finished(lambda sent: "done" in (sent.post_data or "")):
            pages[0].get_by_role("button", name="Done").click()
        for page in pages:
            expect(page.get_by_text("Call the dentist")).to_be_hidden(timeout=60_000)
            expect(page.locator("#link-text")).to_have_text("Live")
        browser.close()
