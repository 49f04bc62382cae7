"""The parts of a running edge, handed to its routes; they belong together for one process's life.

It never reads the environment: the composition root fills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from connectors.postgres.history import History
from connectors.valkey import TipStore, Unreachable
from serving.current import CurrentTips
from serving.departed import Departed
from serving.exports import Exports
from serving.issuer import LocalIssuer
from serving.keys import Keys
from serving.log import Log
from serving.metrics import Metrics
from serving.newcomers import Newcomers
from serving.recent import Recent
from serving.spent_decisions import SpentDecisions
from serving.subscriptions import Subscriptions
from serving.telling import Telling
from serving.tokens import Verifier
from streams.keys import Keys as PeoplesKeys

if TYPE_CHECKING:
    from serving.auth.sign_in import SignIn
    from serving.connecting import Connecting


@dataclass(frozen=True, slots=True)
class Edge:
    """One per app."""

    tips: TipStore
    current: CurrentTips
    newcomers: Newcomers
    spent: SpentDecisions
    recent: Recent
    subscriptions: Subscriptions
    log: Log
    departed: Departed
    keys: Keys
    """Of tokens."""
    people: PeoplesKeys
    verifier: Verifier
    history: History | None
    exports: Exports
    metrics: Metrics
    mac_key: bytes
    now_ms: Callable[[], int]
    heartbeat_s: float
    stream_s_max: float
    cookie: str
    """Name of the session cookie."""
    local: LocalIssuer | None
    local_user: str
    telling: Telling | None = None
    """None where nobody is told while they do not look."""
    sign_in: SignIn | None = None
    """Where nobody configured providers, None, and nothing of it is imported."""
    connecting: Connecting | None = None
    """Where nobody may connect anything, None."""
    last_words: set[asyncio.Task[None]] = field(default_factory=set)
    """Of streams that ended; held until they are said."""

    async def here(self, user_id: str) -> None:
        """Note that a page is open before this person: they are told nothing elsewhere. Where Valkey is away, they may be."""
        with contextlib.suppress(*Unreachable):
            await self.tips.mark_here(user_id)

    def gone(self, user_id: str) -> None:
        """Note that the page was closed that was open before this person; nobody waits for that."""
        word = asyncio.get_running_loop().create_task(self._gone(user_id))
        self.last_words.add(word)
        word.add_done_callback(self.last_words.discard)

    async def _gone(self, user_id: str) -> None:
        with contextlib.suppress(*Unreachable):
            await self.tips.mark_gone(user_id)

    def mac(self, *parts: str) -> str:
        """32 hexadecimal digits that nobody makes without the key: ids of what a person says here, and what a client has to bring back."""
        return hmac.new(self.mac_key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]


def edge_of(request: Request) -> Edge:
    edge = request.app.state.edge
    assert isinstance(edge, Edge)
    return edge


# Not `def`: FastAPI would hand that to a thread, at each request.
async def _edge(request: Request) -> Edge:
    return edge_of(request)


TheEdge = Annotated[Edge, Depends(_edge)]
