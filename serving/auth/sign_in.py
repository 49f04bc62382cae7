"""A sign-in from its first click to a session: code flow with PKCE, state and nonce.

What is under way is one ticket in Valkey, taken once; a cookie ties it to the browser that began. It trusts nothing of a callback.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from connectors.oidc import ProviderRefused
from connectors.postgres.accounts import Accounts, Gone, Taken
from connectors.tickets import UNDER_WAY_S, Tickets
from serving.auth import id_token
from serving.auth.devices import Devices
from serving.auth.id_token import Claims, IdTokenRefused
from serving.auth.providers import Provider, ProviderSettings
from serving.auth.seals import NotSealed, Seals
from serving.auth.sessions import AWAY, BROWSER, Session, Sessions
from serving.auth.signing_keys import SigningKeys
from serving.departed import Departed
from streams.clock import clock_ms
from tables.pseudonyms import Pseudonyms

log = logging.getLogger(__name__)

WORD: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""A secret of ours: 32 bytes."""
CODE_CHARS_MAX: Final = 4096
PATH: Final = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~!$&'()*+,;=:@%?-]{0,500}")
"""A page of ours: nothing that a browser could take for another host."""
SWEEP_EVERY_S: Final = 3600.0
FORGET_EVERY_S: Final = 0.5
FORGOTTEN_AT_ONCE: Final = 500

REFUSALS: Final = {
    **id_token.REFUSALS,
    "state": "This is not the answer to a sign-in that began in this browser within ten minutes: begin again.",
    "provider": "The answer comes from another provider than the one that was asked.",
    "code": "The provider sent no code, or takes it back: begin again.",
    "taken": "This account already signs somebody else in here: sign in with it, or use another one.",
    "link": "Sign in first, and begin from a page of ours: an account is joined to the person who asks for it.",
    "next": "`next` must be a path of this site, such as /profile.",
    "left": "The person has left meanwhile: begin again.",
}


class SignInRefused(Exception):
    """Why a sign-in does not count; one of REFUSALS."""

    def __init__(self, reason: str) -> None:
        assert reason in REFUSALS
        super().__init__(reason)
        self.reason = reason


class Cancelled(Exception):
    """The person did not want to, or the provider did not let them; `next` is where they came from."""

    def __init__(self, destination: str) -> None:
        super().__init__("cancelled")
        self.destination = destination


@dataclass(frozen=True, slots=True)
class Begun:
    """`address`: where the browser is to go; `binding`: what its cookie is to hold meanwhile."""

    address: str
    binding: str


@dataclass(frozen=True, slots=True)
class Done:
    """A session has begun: its token, and where to go."""

    token: str
    destination: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """One per process."""

    providers: Mapping[str, Provider]
    accounts: Accounts
    tickets: Tickets
    seals: Seals
    sessions: Sessions
    devices: Devices
    signing_keys: SigningKeys
    pseudonyms: Pseudonyms
    departed: Departed
    public_url: str
    """The edge's own address, without a slash at its end."""
    per_minute: int
    """How often one address may begin, answer, refresh or ask in a minute."""
    ticket_cookie: str

    @property
    def secure(self) -> bool:
        """Whether cookies go over TLS alone."""
        return self.public_url.startswith("https://")

    async def open(self) -> None:
        """Start connecting in the background."""
        await self.accounts.open()

    async def close(self) -> None:
        """Close every connection."""
        await self.accounts.close()
        await self.tickets.close()

    async def begin(self, name: str, *, destination: str, binding: str | None, link: bool, by: Session | None) -> Begun:
        """A sign-in with this provider. `binding`: what the browser's cookie holds already. Raises SignInRefused, ProviderAway, AWAY's kinds."""
        if PATH.fullmatch(destination) is None:
            raise SignInRefused("next")
        if binding is None or WORD.fullmatch(binding) is None:
            binding = secrets.token_urlsafe(32)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        address = await self.providers[name].address(state=state, nonce=nonce, challenge=challenge)
        under_way = {
            "provider": name,
            "nonce": nonce,
            "verifier": verifier,
            "destination": destination,
            "link": link,
            "by": None if by is None or not link else [by.session_id, by.who.pseudonym],
        }
        place = self._place(state, binding)
        await self.tickets.put("sign-in", place, self.seals.seal(json.dumps(under_way), place), lasts_s=UNDER_WAY_S)
        return Begun(address, binding)

    async def finish(
        self, name: str, answer: Mapping[str, str], *, binding: str | None, by: Session | None, device: str
    ) -> Done:
        """What a callback brings becomes a session. Raises SignInRefused, Cancelled, ProviderAway, SessionsAway, AWAY's kinds."""
        state = answer.get("state", "")
        if binding is None or WORD.fullmatch(state) is None or WORD.fullmatch(binding) is None:
            raise SignInRefused("state")
        place = self._place(state, binding)
        sealed = await self.tickets.take("sign-in", place)
        if sealed is None:
            raise SignInRefused("state")
        try:
            under_way = json.loads(self.seals.opened(sealed, place))
        except NotSealed:
            raise SignInRefused("state") from None
        provider = self.providers[name]
        if not hmac.compare_digest(under_way["provider"], name) or not await provider.names_itself_as(
            answer.get("iss")
        ):
            raise SignInRefused("provider")
        if "error" in answer:
            log.info("sign_in.cancelled provider=%s", name)
            raise Cancelled(under_way["destination"])
        code = answer.get("code", "")
        if not 0 < len(code) <= CODE_CHARS_MAX:
            raise SignInRefused("code")
        try:
            claims = await provider.claims(code, verifier=under_way["verifier"], nonce=under_way["nonce"])
        except IdTokenRefused as refused:
            raise SignInRefused(refused.reason) from None
        except ProviderRefused as refused:
            log.warning("sign_in.code_refused provider=%s", name)
            raise SignInRefused("code") from refused
        joins = None
        if under_way["by"] is not None:
            # Not by the cookie: a form that the provider's page posts brings none.
            session_id, joins = under_way["by"]
            if not await self.sessions.stands(session_id):
                raise SignInRefused("link")
        try:
            pseudonym = await self._person(name, claims, joins=joins, link=under_way["link"])
            # A session is never carried over a sign-in, and its cookie is about to be another one's.
            token = await self.sessions.begin(
                pseudonym=pseudonym,
                kind=BROWSER,
                roles=roles_of(claims, provider.settings),
                device=device,
                instead_of=by,
            )
        except Taken:
            raise SignInRefused("taken") from None
        except Gone:
            raise SignInRefused("left") from None
        return Done(token, under_way["destination"])

    async def run(self) -> None:
        """Beside the requests, until cancelled: sessions that ended by themselves go, and who left."""
        await asyncio.gather(self.sessions.feed.run(), self._sweep(), self._forget())

    async def _person(self, name: str, claims: Claims, *, joins: str | None, link: bool) -> str:
        user_id = secrets.token_urlsafe(16)
        newcomer = self.pseudonyms.of(user_id)
        trusted = claims.email is not None and self.providers[name].settings.trust_email
        return await self.accounts.person_of(
            self.seals.mac("identity", claims.issuer, claims.subject),
            provider=name,
            email=self.seals.mac("email", claims.email) if trusted and claims.email is not None else None,
            now_ms=clock_ms(),
            newcomer=(newcomer, self.seals.seal(user_id, newcomer)),
            joins=joins,
            joins_by_email=link and joins is None,
        )

    def _place(self, state: str, binding: str) -> str:
        return self.seals.mac("sign-in", state, binding).hex()

    async def _sweep(self) -> None:
        while True:
            try:
                if gone := await self.sessions.sweep():
                    log.info("sessions.swept count=%d", gone)
            except AWAY as error:
                log.warning("sessions.sweep_failed error=%s", type(error).__name__)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _forget(self) -> None:
        """Who leaves has no identity and no session here any more, and gets none: their row is gone, on which all of it hangs."""
        leavers, done = self.departed.leavers, 0
        while True:
            if self.departed.leavers is not leavers:
                leavers, done = self.departed.leavers, 0
            if some := [word.user_id for word in itertools.islice(leavers, done, done + FORGOTTEN_AT_ONCE)]:
                try:
                    await self.sessions.forget(some)
                    done += len(some)
                    continue
                except AWAY as error:
                    log.warning("sessions.forget_failed error=%s", type(error).__name__)
            await asyncio.sleep(FORGET_EVERY_S)


def roles_of(claims: Claims, settings: ProviderSettings) -> tuple[str, ...]:
    """What an operator's file says that this person may do; everybody is a person."""
    names = {claims.subject, claims.email} - {None}
    more = (("operator", settings.operators), ("producer", settings.producers))
    return ("person", *(role for role, whose in more if names & {*whose, *(one.lower() for one in whose)}))
