"""An edge at which people sign in, and people with a browser."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import httpx

from tests.connectors.postgres_cluster import Database
from tests.serving.auth.oidc_provider import answered
from tests.serving.edges import LiveEdge
from tests.serving.valkeys import ValkeyServer


class SigningEdge(LiveEdge):
    """Several of one folder are one deployment: they share every secret."""

    def __init__(
        self, folder: Path, *, valkey: ValkeyServer, database: Database, providers: str, **settings: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        providers_file, key_file = folder / "providers.toml", folder / "auth"
        providers_file.write_text(providers)
        if not key_file.exists():
            key_file.write_bytes(secrets.token_bytes(32))
        super().__init__(
            folder,
            valkey_url=valkey.url,
            providers_file=providers_file,
            auth_key_file=key_file,
            auth_dsn=database.dsn("auth"),
            **settings,
        )

    def browser(self) -> httpx.Client:
        """A new one, with no cookie; it follows nothing by itself, and says what browsers say."""
        headers = {
            "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "origin": self.url,
            "sec-fetch-site": "same-origin",
        }
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def sign_in(self, browser: httpx.Client, login: str, *, at: str = "certified", **query: str) -> httpx.Response:
        """Sign in there; the callback's answer."""
        begun = browser.get(f"/auth/login/{at}", params=query)
        assert begun.status_code == 303, begun.text
        return browser.get(answered(browser, begun.headers["location"], login=login))

    def session_of(self, browser: httpx.Client) -> str:
        """What its session cookie holds."""
        return browser.cookies[self.parts.cookie]
