"""A program without a browser asks, and a person allows it with theirs (RFC 8628).

Its code and the one that the person types stand for each other in Valkey, for ten minutes, and each counts once.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

from connectors.tickets import UNDER_WAY_S, Tickets
from serving.auth.seals import NotSealed, Seals
from serving.auth.sessions import PROGRAM, Session, SessionEnded, Sessions

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so no words; nothing that looks like a digit."""
LENGTH: Final = 8
INTERVAL_S: Final = 5
"""A program may ask so often."""


class NotYet(Exception):
    """The person has said nothing yet; `too_soon` where it asks too often."""

    def __init__(self, *, too_soon: bool) -> None:
        super().__init__("not yet")
        self.too_soon = too_soon


class Denied(Exception):
    """The person said no."""


class Unknown(Exception):
    """There is no such code, it has run out, or it has been used."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a program is told: the code that it comes back with, and the one that its person types."""

    device_code: str
    user_code: str


class Devices:
    """One per process. Calls raise AWAY's kinds."""

    def __init__(self, tickets: Tickets, seals: Seals, sessions: Sessions) -> None:
        self._tickets = tickets
        self._seals = seals
        self._sessions = sessions

    async def ask(self, name: str) -> Asked:
        """`name`: what the program calls itself."""
        device_code = secrets.token_urlsafe(32)
        letters = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
        place, typed = self._place("device", device_code), self._place("user-code", letters)
        await self._put("device", place, {"name": name})
        await self._put("user-code", typed, {"name": name, "place": place})
        return Asked(device_code, f"{letters[:4]}-{letters[4:]}")

    async def named(self, user_code: str) -> str:
        """What the program of this code calls itself. Raises Unknown."""
        return str((await self._look("user-code", self._place("user-code", plain(user_code))))["name"])

    async def answer(self, user_code: str, *, by: Session, allow: bool) -> str:
        """The person's word; returns what the program calls itself. Raises Unknown."""
        typed = self._place("user-code", plain(user_code))
        taken = self._opened(await self._tickets.take("user-code", typed), typed)
        place = str(taken["place"])
        said = {"allow": allow, "pseudonym": by.who.pseudonym, "roles": sorted(by.who.roles), "name": taken["name"]}
        if not await self._tickets.replace("device", place, self._seals.seal(json.dumps(said), place)):
            raise Unknown
        return str(taken["name"])

    async def session(self, device_code: str) -> tuple[Session, str]:
        """The program's session, and its refresh token; where none could begin, the code still counts.

        Raises NotYet, Denied, Unknown, Gone, SessionsAway.
        """
        place = self._place("device", device_code)
        said = await self._look("device", place)
        if "allow" not in said:
            too_soon = await self._tickets.look("device-pace", place) is not None
            await self._tickets.put("device-pace", place, "", lasts_s=INTERVAL_S - 1)
            raise NotYet(too_soon=too_soon)
        if not said["allow"]:
            await self._tickets.take("device", place)
            raise Denied
        token = await self._sessions.begin(
            pseudonym=str(said["pseudonym"]), kind=PROGRAM, roles=tuple(said["roles"]), device=str(said["name"])
        )
        try:
            session, refresh_token = await self._sessions.refreshed(token)
        except SessionEnded:
            raise Unknown from None
        # Last: a code that was used up is of no more use to anybody. Of two who bring it at once, one has it.
        if await self._tickets.take("device", place) is None:
            await self._sessions.end(session.session_id)
            raise Unknown
        return session, refresh_token

    async def _put(self, kind: str, place: str, what: dict[str, str]) -> None:
        await self._tickets.put(kind, place, self._seals.seal(json.dumps(what), place), lasts_s=UNDER_WAY_S)

    async def _look(self, kind: str, place: str) -> dict[str, Any]:
        return self._opened(await self._tickets.look(kind, place), place)

    def _opened(self, sealed: str | None, place: str) -> dict[str, Any]:
        if sealed is None:
            raise Unknown
        try:
            found: dict[str, Any] = json.loads(self._seals.opened(sealed, place))
        except NotSealed:
            raise Unknown from None
        return found

    def _place(self, kind: str, code: str) -> str:
        return self._seals.mac(kind, code).hex()


def plain(user_code: str) -> str:
    """A code as it was made, however it was typed.

    >>> plain("bcdf ghjk"), plain("BCDF-GHJK")
    ('BCDFGHJK', 'BCDFGHJK')
    """
    return "".join(char for char in user_code[:32].upper() if char in LETTERS)
