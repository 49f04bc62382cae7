"""Who may use the console: whoever has the link that `oo console` printed, or a token of the issuer that names the role.

It never takes a request that writes from another site's page: that has neither the cookie nor the header.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from fastapi import Request

from serving.problems import Problem
from serving.tokens import TokenRefused, Verifier

ROLE = "operator"
HEADER = "x-oo-console"
"""Sent with whatever writes; a page of another site may not send it."""
READS = ("GET", "HEAD")


@dataclass(slots=True)
class Access:
    """Of one process: its link, and the sessions that were begun with it."""

    cookie: str
    verifier: Verifier | None = None
    """None: nobody comes with a token."""
    code: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _sessions: set[str] = field(default_factory=set, repr=False)

    def enter(self, code: str) -> str:
        """Begin a session; returns what its cookie holds. Raises Problem for another code."""
        if not hmac.compare_digest(code.encode(), self.code.encode()):
            raise Problem(
                401,
                "unknown-link",
                detail="This link is of another console: open the one that `oo console` printed last.",
            )
        session = secrets.token_urlsafe(32)
        self._sessions.add(session)
        return session

    async def check(self, request: Request) -> None:
        """Raise Problem for a request that an operator did not send."""
        if request.cookies.get(self.cookie, "") in self._sessions:
            if request.method not in READS and request.headers.get(HEADER) is None:
                raise Problem(403, "no-header", detail=f"Send the header {HEADER}: 1 with what writes.")
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.verifier is None or scheme.lower() != "bearer":
            raise Problem(401, "no-session", detail="Open the link that `oo console` printed.")
        try:
            identity = await self.verifier.verify(token.strip())
        except TokenRefused as refused:
            raise Problem(401, "invalid-token", detail=f"The token does not count: {refused.reason}.") from None
        if ROLE not in identity.roles:
            raise Problem(403, "no-operator", detail=f"The token lacks the role: its `roles` must name {ROLE}.")
