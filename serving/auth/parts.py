"""Puts sign-in together, of an edge's settings. It starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.postgres.accounts import Accounts
from connectors.tickets import Tickets
from serving.auth import providers
from serving.auth.devices import Devices
from serving.auth.providers import Configured, Provider
from serving.auth.seals import Seals
from serving.auth.sessions import Sessions
from serving.auth.sign_in import SignIn
from serving.auth.signing_keys import SigningKeys
from serving.departed import Departed
from serving.settings import Settings
from serving.telling import Telling
from streams.clock import clock_ms
from tables.pseudonyms import Pseudonyms

CALLBACK = "/auth/callback/"


@dataclass(frozen=True, slots=True)
class SignInParts:
    """What was read before the app begins."""

    settings: Settings
    configured: Configured
    seals: Seals
    public_url: str
    """The edge's own address, without a slash at its end."""

    @classmethod
    def read(cls, settings: Settings) -> SignInParts:
        """Raises OSError or ValueError for a file that cannot be read, or does not say what it has to."""
        assert settings.providers_file is not None
        assert settings.auth_key_file is not None
        configured = providers.read(settings.providers_file)
        stated = configured.public_url or settings.public_url or f"http://127.0.0.1:{settings.edge_port}"
        return cls(settings, configured, Seals.in_file(settings.auth_key_file), stated.rstrip("/"))

    def __call__(self, pseudonyms: Pseudonyms, departed: Departed, telling: Telling | None) -> SignIn:
        """All of it, in the loop that it is to run in."""
        settings, url = self.settings, self.public_url
        assert settings.auth_dsn is not None
        accounts, tickets = Accounts(settings.auth_dsn.get_secret_value()), Tickets(settings.valkey_url)
        devices = None if telling is None else telling.store
        sessions = Sessions(
            accounts, tickets, self.seals, devices=devices, valkey_url=settings.valkey_url, now_ms=clock_ms
        )
        return SignIn(
            providers={
                name: Provider(one, redirect_uri=f"{url}{CALLBACK}{name}")
                for name, one in self.configured.providers.items()
            },
            accounts=accounts,
            tickets=tickets,
            seals=self.seals,
            sessions=sessions,
            devices=Devices(tickets, self.seals, sessions),
            signing_keys=SigningKeys(accounts, self.seals, issuer=url, audience=settings.jwt_audience, now_ms=clock_ms),
            pseudonyms=pseudonyms,
            departed=departed,
            public_url=url,
            per_minute=self.configured.per_minute,
            ticket_cookie="__Host-oo_sign_in" if url.startswith("https://") else f"oo_sign_in_{settings.edge_port}",
        )
