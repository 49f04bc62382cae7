"""The page that `oo up` names, in a browser on a phone and on a desktop: it renews by itself, and settings reach the engine."""

from __future__ import annotations

import uuid
import zipfile
from pathlib import Path

import pytest
from outside import client, eventually, send, task
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
            expect(page.locator("#link-text")).to_have_text("Live")
        send(stack, "signals", task(user, "1", "Call the dentist"))
        for page in pages:
            expect(page.get_by_role("heading", level=1)).to_have_text("Call the dentist")
        with pages[0].expect_request_finished(lambda sent: "done" in (sent.post_data or "")):
            pages[0].get_by_role("button", name="Done").click()
        for page in pages:
            expect(page.locator("#title", has_text="Call the dentist")).to_be_hidden()
            expect(page.locator("#link-text")).to_have_text("Live")
        browser.close()


def test_the_sheet_of_settings_withdraws_grants_sets_quiet_hours_takes_along_leaves_and_begins_again(
    stack: RunningStack,
) -> None:
    user = f"sheet-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 390, "height": 844}, timezone_id="Europe/Lisbon", locale="en-GB")
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{stack.edge_url}/?user={user}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Call the dentist")
        sheet, heard = page.get_by_role("dialog", name="Settings"), page.locator("#settings-said")

        # A withdrawal takes the tip away, a grant brings it back; keys of the tip do nothing while the sheet is open.
        page.get_by_role("button", name="Settings").press("Enter")
        tasks = sheet.get_by_role("switch", name="Tasks")
        expect(tasks).to_be_checked()
        tasks.press("Space")
        # Two in a row are both taken.
        sheet.get_by_role("switch", name="Calendar").press("Space")
        expect(heard).to_have_text("Taken.")
        expect(sheet.get_by_role("switch", name="Tasks")).not_to_be_checked()
        with client(stack, user) as http:
            asked = eventually(
                lambda: http.get("/v1/me").json()["purposes"], lambda now: not now["calendar"]["granted"]
            )
        assert not asked["tasks"]["granted"]
        expect(sheet.get_by_role("switch", name="Calendar")).not_to_be_checked()
        expect(page.locator("#title", has_text="Call the dentist")).to_be_hidden()
        page.keyboard.press("d")
        sheet.get_by_role("switch", name="Tasks").press("Space")
        expect(heard).to_have_text("Taken.")
        expect(page.locator("#title")).to_have_text("Call the dentist")

        sheet.get_by_role("switch", name="Say nothing by itself").check()
        expect(heard).to_have_text("Taken.")
        expect(sheet.get_by_label("From")).to_have_value("22:00")
        sheet.get_by_role("button", name="Use Europe/Lisbon").click()
        expect(sheet.get_by_text("In Europe/Lisbon.")).to_be_visible()
        with page.expect_download() as along:
            sheet.get_by_role("link", name="Take everything along").click()
        assert b"Call the dentist" in zipfile.Path(along.value.path(), "known.json").read_bytes()

        # Leaving asks once more, and can be thought better of.
        sheet.get_by_role("button", name="Leave…").click()
        sheet.get_by_role("button", name="Stay").click()
        sheet.get_by_role("button", name="Leave…").click()
        sheet.get_by_role("button", name="Erase all of it").click()
        expect(sheet.get_by_role("heading", name="You have left")).to_be_visible()
        assert len(sheet.locator("code").inner_text()) > 10
        expect(page.locator("#title", has_text="Call the dentist")).to_be_hidden()
        sheet.get_by_role("button", name="Begin again").click()
        expect(heard).to_have_text("Welcome back.")
        expect(sheet.get_by_text("Nobody has said where you live.")).to_be_visible()
        page.keyboard.press("Escape")
        expect(sheet).to_be_hidden()
        browser.close()
    assert said == []
