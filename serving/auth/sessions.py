"""Sessions, as this edge knows them: who a cookie speaks for, whether an access token's session stands, and how they end.

What was read of PostgreSQL is remembered for half a minute, and counts while Valkey tells of sessions that end (EndedFeed): so one
that ended anywhere counts nowhere after a second. It never keeps a token: a MAC stands for it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from connectors import valkey
from connectors.postgres.accounts import Accounts, Found, Listed, Unreachable
from connectors.postgres.notifier import Notifier
from connectors.tickets import EndedFeed, Tickets
from serving.auth.seals import Seals
from serving.tokens import Identity
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

IDLE_MS: Final = 14 * DAY_MS
"""A session that nobody uses ends."""
LASTS_MS: Final = 90 * DAY_MS
"""And any other."""
ROTATE_MS: Final = HOUR_MS
"""A cookie's token gives way to a new one."""
OVERLAP_MS: Final = MINUTE_MS
"""Two requests that cross, an answer that was lost: so long after a token gave way it may still be met; later somebody else has it."""
USED_MS: Final = MINUTE_MS
"""How exactly it is known when a session was last used."""
READ_S: Final = 30.0
"""What was read of PostgreSQL is read again after this."""
REMEMBERED_MAX: Final = 20_000
SWEPT_AT_ONCE: Final = 1_000
AWAY: Final = (*Unreachable, *valkey.Unreachable)
"""What a call raises when PostgreSQL or Valkey is down or slow."""
BROWSER: Final = "browser"
PROGRAM: Final = "program"


class SessionEnded(Exception):
    """There is no such session, or it has ended."""


class SessionsAway(Exception):
    """Whether it stands cannot be said now."""


@dataclass(frozen=True, slots=True)
class Session:
    """One that stands. `renewed`: the token that its cookie is to have from now on."""

    session_id: str
    who: Identity
    renewed: str | None = None


def device_in(one: Listed, seals: Seals) -> str:
    """What its browser said it is."""
    said: str = json.loads(seals.opened(one.device, one.session_id))["name"]
    return said


@dataclass(frozen=True, slots=True)
class _Known:
    session: Session
    read_s: float
    over_ms: int


class Sessions:
    """One per process."""

    def __init__(
        self,
        accounts: Accounts,
        tickets: Tickets,
        seals: Seals,
        *,
        devices: Notifier | None,
        valkey_url: str,
        now_ms: Callable[[], int],
    ) -> None:
        """`devices`: where a browser's subscription ends with its session; None where nobody is told."""
        self._accounts = accounts
        self._devices = devices
        self._tickets = tickets
        self._seals = seals
        self._now_ms = now_ms
        self.feed = EndedFeed(valkey_url, begun=self._forget_all, ended=self._forget)
        self._by_token: OrderedDict[bytes, _Known] = OrderedDict()
        self._standing: OrderedDict[str, tuple[float, int]] = OrderedDict()
        # Told to have ended since the feed began: an answer of PostgreSQL that crossed that word is not remembered.
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._epoch = 0

    async def begin(
        self, *, pseudonym: str, kind: str, roles: tuple[str, ...], device: str, instead_of: Session | None = None
    ) -> str:
        """A new session; returns its first token. Raises Gone where the person has left, AWAY's kinds.

        `instead_of`: ends by it; the same person keeps its subscription.
        """
        session_id, token, now_ms = secrets.token_urlsafe(16), secrets.token_urlsafe(32), self._now_ms()
        await self._accounts.begin(
            session_id,
            pseudonym=pseudonym,
            kind=kind,
            roles=roles,
            device=self._seals.seal(json.dumps({"name": device}), session_id),
            token=self._seals.mac(kind, token),
            now_ms=now_ms,
            idle_ms=IDLE_MS,
            ends_ms=now_ms + LASTS_MS,
        )
        if instead_of is not None:
            try:
                if self._devices is not None and instead_of.who.pseudonym == pseudonym:
                    await self._devices.move(instead_of.session_id, to=session_id)
                await self.end(instead_of.session_id)
            except AWAY:
                with suppress(*AWAY):  # Nobody gets its token; what moved to it goes with it.
                    await self._accounts.end(session_id)
                raise
        return token

    async def of_cookie(self, token: str) -> Session:
        """Whom it speaks for. Raises SessionEnded, SessionsAway."""
        mac = self._seals.mac(BROWSER, token)
        known = self._by_token.get(mac)
        if known is not None and self._counts(known) and time.monotonic() - known.read_s < READ_S:
            return known.session
        epoch = self._epoch
        try:
            found = await self._accounts.find(mac)
            session = await self._met(mac, found)
        except AWAY as error:
            # It goes on as it was read, as long as it is sure that nobody ended it.
            if known is not None and self._counts(known):
                return known.session
            raise SessionsAway from error
        assert found is not None
        if epoch == self._epoch:
            kept = Session(session.session_id, session.who)
            _put(self._by_token, mac, _Known(kept, time.monotonic(), found.over_ms()))
        return session

    def stands_now(self, session_id: str) -> bool:
        """Whether memory says that it stands."""
        known = self._standing.get(session_id)
        return (
            known is not None and self.feed.fresh and known[1] > self._now_ms() and time.monotonic() - known[0] < READ_S
        )

    async def stands(self, session_id: str) -> bool:
        """Whether it stands. Raises SessionsAway."""
        if self.stands_now(session_id):
            return True
        epoch = self._epoch
        try:
            over_ms = await self._accounts.standing(session_id)
        except AWAY as error:
            known = self._standing.get(session_id)
            if known is not None and self.feed.fresh and known[1] > self._now_ms():
                return True
            raise SessionsAway from error
        if over_ms is None or over_ms <= self._now_ms() or session_id in self._ended:
            return False
        if epoch == self._epoch:
            _put(self._standing, session_id, (time.monotonic(), over_ms))
        return True

    async def refreshed(self, token: str) -> tuple[Session, str]:
        """A program's session, and the refresh token that takes this one's place. One that is used again ends the session.

        But for one whose answer was lost: for OVERLAP_MS it counts again while nobody has used what was answered, which then never counts.
        Raises SessionEnded, SessionsAway.
        """
        mac, fresh = self._seals.mac(PROGRAM, token), secrets.token_urlsafe(32)
        try:
            found = await self._accounts.find(mac)
            now_ms = self._now_ms()
            if found is None or found.over_ms() <= now_ms:
                raise SessionEnded
            if not await self._accounts.exchange(
                mac, token=self._seals.mac(PROGRAM, fresh), now_ms=now_ms, again_after_ms=now_ms - OVERLAP_MS
            ):
                await self.end(found.session_id)
                raise SessionEnded
        except AWAY as error:
            raise SessionsAway from error
        return Session(found.session_id, self._identity(found)), fresh

    async def listed(self, pseudonym: str) -> list[Listed]:
        """A person's sessions, `device` opened. Raises AWAY's kinds."""
        found = await self._accounts.listed(pseudonym, now_ms=self._now_ms())
        return [replace(one, device=device_in(one, self._seals)) for one in found]

    async def end(self, session_id: str, *, pseudonym: str | None = None) -> bool:
        """End it, of this person alone if one is named; False where there was none. Raises AWAY's kinds.

        Told again where there is none any more: an end that could not be told to all may be repeated.
        """
        # First: while the session stands, who hears that this failed can say it again.
        if self._devices is not None:
            await self._devices.end([session_id], user_id=pseudonym)
        ended = await self._accounts.end(session_id, pseudonym=pseudonym)
        if ended or await self._accounts.standing(session_id) is None:
            await self._tell([session_id])
        return ended

    async def end_all(self, pseudonym: str) -> int:
        """End every session of a person; returns how many. Raises as `end` does."""
        if self._devices is not None:
            await self._devices.end_all(pseudonym)
        ended = await self._accounts.end_all(pseudonym)
        await self._tell(ended)
        return len(ended)

    async def forget(self, pseudonyms: list[str]) -> None:
        """Delete these people: identities and sessions. Raises as `end` does."""
        await self._tell(await self._accounts.forget(pseudonyms))

    async def sweep(self) -> int:
        """Delete sessions that ended by themselves, and subscriptions of any that ended; returns how many sessions. Raises AWAY's kinds."""
        gone, after = await self._accounts.sweep(now_ms=self._now_ms()), ""
        while self._devices is not None:
            some = await self._devices.session_ids(after=after, limit=SWEPT_AT_ONCE)
            if not some:
                break
            await self._devices.end([*{*some} - await self._accounts.known(some)])
            after = some[-1]
        return gone

    async def _tell(self, session_ids: list[str]) -> None:
        for one in session_ids:
            self._forget(one)
        await self._tickets.ended(session_ids)

    async def _met(self, mac: bytes, found: Found | None) -> Session:
        now_ms = self._now_ms()
        if found is None or found.over_ms() <= now_ms or found.session_id in self._ended:
            raise SessionEnded
        if found.superseded_ms is not None and now_ms - found.superseded_ms > OVERLAP_MS:
            # Its browser has a newer one: this one is in other hands.
            await self.end(found.session_id)
            raise SessionEnded
        confirmed = mac if found.others and found.superseded_ms is None else None
        if confirmed is not None or now_ms - found.used_ms > USED_MS:
            await self._accounts.use(found.session_id, now_ms=now_ms, confirmed=confirmed)
        renewed = None
        if found.superseded_ms is None and now_ms - found.token_ms > ROTATE_MS:
            fresh = secrets.token_urlsafe(32)
            if await self._accounts.rotate(
                found.session_id, token=self._seals.mac(BROWSER, fresh), now_ms=now_ms, before_ms=now_ms - OVERLAP_MS
            ):
                renewed = fresh
        return Session(found.session_id, self._identity(found), renewed)

    def _identity(self, found: Found) -> Identity:
        return Identity(
            user_id=self._seals.opened(found.user_id, found.pseudonym),
            pseudonym=found.pseudonym,
            expires_s=found.over_ms() / SECOND_MS,
            roles=frozenset(found.roles),
            session=found.session_id,
        )

    def _counts(self, known: _Known) -> bool:
        return self.feed.fresh and known.over_ms > self._now_ms() and known.session.session_id not in self._ended

    def _forget_all(self) -> None:
        self._epoch += 1
        self._by_token.clear()
        self._standing.clear()
        self._ended.clear()

    def _forget(self, session_id: str) -> None:
        _put(self._ended, session_id, None)
        self._standing.pop(session_id, None)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _put(known: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > REMEMBERED_MAX:
        known.popitem(last=False)
