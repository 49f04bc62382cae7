"""Decisions as they are made, and the slate of one: what there was to choose from, and what spoke for and against each."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from agents.features import names_of
from deploy.console.database import rows
from deploy.console.stack import TheKeys, TheStack, keys_of
from deploy.explaining import asked
from deploy.folding import BeginningGone
from deploy.stack.running import RunningStack
from deploy.why_not import TRIGGERS, why_not, why_nothing, written_by
from oo.v1.decision_pb2 import Decision
from serving.problems import Problem
from streams.clock import clock_ms
from streams.sealing import KeyMissing, opened
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import slates, sums

router = APIRouter(tags=["decisions"])


class Decided(BaseModel):
    """One decision, without words of its person."""

    decision_id: str
    user_id: str
    """The person's pseudonym."""
    decided_ms: int
    kind: str
    trigger: str
    policy_version: str
    propensity: float
    outcome: str | None
    """The last; None for nothing yet."""


class Candidate(BaseModel):
    """One of the slate. Its words are not here."""

    place: int
    kind: str
    out: list[str]
    """Why it could not be drawn; empty where it could."""
    propensity: float
    score: float
    draws_won: int
    x: list[float]
    """As `features` names them."""
    written_by: str
    """Of one that a language model wrote, which one and by which prompt, in words; empty for all else."""


class Why(BaseModel):
    """Why one candidate was not chosen, or why nothing was said."""

    lines: list[str]
    is_the_same: bool
    """Made again from the journal it came out the same; else the lines hold for nothing."""


class Slate(BaseModel):
    """A decision with all that there was to choose from."""

    decided: Decided
    because: str
    """Why it was made, in words."""
    policy: str
    chosen: int
    valid_until_ms: int
    latency_ms: int
    """What the person waited before it."""
    features: list[str]
    candidates: list[Candidate]


_TOLD = """
SELECT d.decision_id, d.user_id, d.decided_ms, d.kind, d.trigger, d.policy_version, d.propensity,
  (SELECT o.kind FROM recommender.outcomes o WHERE o.decision_id = d.decision_id ORDER BY o.event_time_ms DESC LIMIT 1) AS outcome
"""
_FOUND = _TOLD + "FROM recommender.decisions d "
_WHOLE = _TOLD + ", d.message FROM recommender.decisions d WHERE d.decision_id = %(id)s"


_NEWEST = "WHERE d.decided_ms >= %(since)s ORDER BY d.decided_ms DESC LIMIT %(limit)s"
_LOOKED_BACK_MS = (MINUTE_MS, HOUR_MS, DAY_MS, 30 * DAY_MS)


@router.get("/decisions", summary="The newest decisions")
def newest(stack: TheStack, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[Decided]:
    # The index on time tells which blocks to read, and sorts nothing: so no more is asked for than is needed.
    now_ms = clock_ms()
    for since in (*(now_ms - back_ms for back_ms in _LOOKED_BACK_MS), 0):
        found = rows(stack.recommender_dsn, _FOUND + _NEWEST, since=since, limit=limit)
        if len(found) == limit:
            break
    return [Decided(**row) for row in found]


class Stood(BaseModel):
    """What stood for somebody at a moment."""

    decided: Decided | None
    """None where nothing was decided for them until then, or PostgreSQL keeps it no more."""
    valid_until_ms: int = 0


def stood_at(stack: RunningStack, whose: str, at_ms: int) -> Stood:
    """What stood for this pseudonym then, whether or not it had run out."""
    query = (
        _TOLD
        + ", d.valid_until_ms FROM recommender.decisions d WHERE d.user_id = %(whose)s AND d.decided_ms <= %(at)s "
        + "ORDER BY d.decided_ms DESC, d.decision_id DESC LIMIT 1"
    )
    found = rows(stack.recommender_dsn, query, whose=whose, at=at_ms)
    return (
        Stood(decided=Decided(**found[0]), valid_until_ms=found[0]["valid_until_ms"]) if found else Stood(decided=None)
    )


def of_person(stack: TheStack, whose: str, *, limit: int) -> list[Decided]:
    """The newest of one person, by pseudonym."""
    query = _FOUND + "WHERE d.user_id = %(whose)s ORDER BY d.decided_ms DESC, d.decision_id DESC LIMIT %(limit)s"
    return [Decided(**row) for row in rows(stack.recommender_dsn, query, whose=whose, limit=limit)]


@router.get("/decisions/{decision_id}", summary="The slate of one decision")
def slate(stack: TheStack, keys: TheKeys, decision_id: str) -> Slate:
    decided, message = _only(stack, decision_id)
    theirs = keys_of(stack, keys, decided.user_id)
    try:
        decision = opened(Decision.FromString(message), whose=decided.user_id.encode(), keys=theirs)
    except KeyMissing:
        raise Problem(404, "key-gone", detail="Its person has left, and their key is gone.") from None
    return Slate(
        decided=decided,
        because=TRIGGERS[decision.trigger],
        policy=decision.policy,
        chosen=decision.chosen,
        valid_until_ms=decision.valid_until_ms,
        latency_ms=decision.latency_ms,
        features=list(names_of(decision.feature_version)),
        candidates=[
            Candidate(
                place=place,
                kind=Decision.TipKind.Name(one.kind),
                out=list(one.ineligible),
                propensity=one.propensity,
                score=one.score,
                draws_won=one.draws_won,
                x=[value / sums.UNIT for value in one.x],
                written_by=written_by(decision, place, one),
            )
            for place, one in enumerate(slates.spelled_out(decision))
        ],
    )


@router.get("/decisions/{decision_id}/why/{place}", summary="Why that one or not, made again from the journal")
def why(stack: TheStack, decision_id: str, place: int) -> Why:
    found, _ = _only(stack, decision_id)
    try:
        one = asyncio.run(asked(stack, found.user_id, decision_id=decision_id)).explained
    except BeginningGone as gone:
        raise Problem(404, "beginning-gone", detail=str(gone)) from None
    if one is None or not 0 <= place < len(one.slate):
        raise Problem(
            404, "unknown-candidate", detail="The journal has no such decision any more, or it has no such candidate."
        )
    if place != one.decision.chosen:
        lines = why_not(one, place, one.instead(place))
    elif one.chosen.kind == Decision.NONE:
        lines = [why_nothing(one)]
    else:
        lines = [f"It was chosen: {one.chosen.draws_won} of the draws, with probability {one.chosen.propensity:.3f}."]
    return Why(lines=lines, is_the_same=one.is_the_same)


def _only(stack: RunningStack, decision_id: str) -> tuple[Decided, bytes]:
    """A decision, and its message as it was recorded."""
    found = rows(stack.recommender_dsn, _WHOLE, id=decision_id)
    if not found:
        raise Problem(
            404,
            "unknown-decision",
            detail="PostgreSQL has no such decision: it may be older than OO_HISTORY_DAYS, or its person has left.",
        )
    return Decided(**found[0]), found[0]["message"]
