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
        self,
        folder: Path,
        *,
        valkey: ValkeyServer,
        database: Database,
        providers: str,
        clients: str = "",
        like: SigningEdge | None = None,
        **settings: Any,
    ) -> None:
        """`clients`: who this oO is at services that people connect. `like`: another edge of the same deployment, whose secret and public address this one has too."""
        folder.mkdir(parents=True, exist_ok=True)
        providers_file, key_file = folder / "providers.toml", folder / "auth"
        providers_file.write_text(providers)
        self.oauth_file, self.vault_dir = folder / "oauth.toml", folder / "vault"
        self.oauth_file.write_text(clients)
        if not key_file.exists():
            key_file.write_bytes(secrets.token_bytes(32) if like is None else like.auth_key_file.read_bytes())
        self.auth_key_file = key_file
        if like is not None:
            settings["public_url"] = like.url
        self._database = database
        super().__init__(
            folder,
            valkey_url=valkey.url,
            providers_file=providers_file,
            auth_key_file=key_file,
            auth_dsn=database.dsn("auth"),
            connections_dsn=database.dsn("connections"),
            vault_dir=self.vault_dir,
            oauth_file=self.oauth_file,
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

    def age_tokens(self, *, hours: float, session: httpx.Client) -> None:
        """As if all that is of this browser's session had happened so long before; the edge reads it again."""
        (mine,) = (one for one in session.get("/v1/sessions").json()["sessions"] if one["current"])
        ms = int(hours * 3_600_000)
        with self._database.admin() as admin:
            admin.execute(
                "UPDATE auth.tokens SET made_ms = made_ms - %s, superseded_ms = superseded_ms - %s WHERE session_id = %s",
                (ms, ms, mine["session_id"]),
            )
            admin.execute(
                "UPDATE auth.sessions SET made_ms = made_ms - %s, used_ms = used_ms - %s, rotated_ms = rotated_ms - %s,"
                " ends_ms = ends_ms - %s WHERE session_id = %s",
                (ms, ms, ms, ms, mine["session_id"]),
            )
        self.forget()

    def forget(self) -> None:
        """What the edge remembers of sessions."""
        sign_in = self.parts.sign_in
        assert sign_in is not None
        sign_in.sessions._forget_all()
