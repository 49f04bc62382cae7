"""What an Idempotency-Key stands for: one request of one user, here and on every other edge.

It never remembers an answer: a repeated request is taken again, under the same event ids, and counts once.
"""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Header

from connectors.valkey import Unreachable
from serving.edge import Edge
from serving.problems import Problem
from serving.tokens import Identity

log = logging.getLogger(__name__)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]([ -~]*[!-~])?$",
        description="The same key with the same request counts once; with another one it is refused",
    ),
]


async def claim(edge: Edge, who: Identity, *, key: str | None, fingerprint: str) -> None:
    """Let the key stand for this request from now on. Raises a 422 problem where it stands for another."""
    if key is None:
        return
    # Neither tells anything to who knows what a client sent: Valkey keeps them.
    key, fingerprint = edge.mac("key", who.user_id, key), edge.mac("request", who.user_id, fingerprint)
    try:
        known = await edge.tips.claim(who.pseudonym, key=key, fingerprint=fingerprint)
    except Unreachable as error:
        # The request goes through without the store: our own memory still knows the key, other edges' does not.
        log.warning("idempotency.claim_failed error=%s", type(error).__name__)
        known = True
    known = known and edge.recent.claim(key, fingerprint)
    if not known:
        raise Problem(
            422,
            "idempotency-key-reused",
            detail="This Idempotency-Key came before with another request; use a new one.",
        )
