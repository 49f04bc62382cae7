"""Signing in and out by the page, in Debian's Chromium, at the certified provider."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.outside import eventually
from tests.serving.auth.people import SigningEdge

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")


def test_a_stranger_signs_in_sees_this_device_and_signs_out_and_nothing_of_them_is_left(signing: SigningEdge) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 390, "height": 844}, locale="en-GB", reduced_motion="reduce")
        # Chromium has no push service here: what it would have given.
        page.add_init_script(
            "PushManager.prototype.getSubscription = async () => sessionStorage.subscribed ?"
            " {unsubscribe: async () => delete sessionStorage.subscribed} : null"
        )
        page.goto(signing.url)
        expect(page.get_by_role("heading", name="One good tip.")).to_be_visible()
        assert Axe().run(page).violations_count == 0
        sign_in(page, signing)
        # Signed out from elsewhere, it finds that out, and is told nothing more.
        page.evaluate("sessionStorage.subscribed = localStorage.device = 'yes'")
        with signing.browser() as elsewhere:
            signing.sign_in(elsewhere, "page-stranger")
            elsewhere.post("/auth/logout", params={"everywhere": "true"})
        page.reload()
        expect(page.get_by_role("heading", name="One good tip.")).to_be_visible()
        eventually(lambda: page.evaluate("!sessionStorage.subscribed && !localStorage.device"))
        sign_in(page, signing)
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("button", name="My devices").click()
        expect(page.get_by_role("dialog", name="My devices").get_by_role("listitem")).to_have_count(1)
        expect(page.get_by_role("listitem")).to_contain_text("this one")
        assert Axe().run(page).violations_count == 0
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(page.get_by_role("heading", name="One good tip.")).to_be_visible()
        assert page.evaluate("fetch('/v1/tip').then((answer) => answer.status)") == 401
        browser.close()


def sign_in(page: Page, signing: SigningEdge) -> None:
    """As a person does who has not been at the provider before, or has."""
    page.locator('a[href^="/auth/login/certified"]').click()
    page.wait_for_selector("[name=login], button:has-text('Settings')")
    if page.locator("[name=login]").count():
        page.fill("[name=login]", "page-stranger")
        page.fill("[name=password]", "any")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{signing.url}/")
