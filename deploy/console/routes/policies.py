"""Policies: what each earns, how that grew, and which one decides since when and why."""

from __future__ import annotations

import asyncio
from math import isfinite

from fastapi import APIRouter
from pydantic import BaseModel

from deploy.console.stack import TheStack
from deploy.earned import standing
from oo.v1.evaluation_pb2 import Estimate, Interval, Promotion

router = APIRouter(tags=["policies"])
POINTS_MAX = 400


class Between(BaseModel):
    """An estimate with its interval; None where nothing is known of a bound."""

    value: float
    low: float | None
    high: float | None


class Earned(BaseModel):
    """What one policy earns, of all tips."""

    policy: str
    n: int
    effective_n: float
    mean_weight: float
    reward: Between
    ahead: Between | None
    """Of the one that decides."""
    drifts: int
    cost_us: int


class Curve(BaseModel):
    """How an estimate grew; all lists are equally long."""

    at_ms: list[int]
    value: list[float]
    low: list[float | None]
    high: list[float | None]


class Promoted(BaseModel):
    """One that decides from then on."""

    decided_ms: int
    policy: str
    before: str
    cause: str
    why: str


class Policies(BaseModel):
    """As `oo policies`."""

    champion: str
    version: str
    earned: list[Earned]
    curves: dict[str, Curve]
    promotions: list[Promoted]


@router.get("/policies", summary="What each policy earns")
def policies(stack: TheStack) -> Policies:
    now = asyncio.run(standing(stack.cluster))
    whole = [one for one in now.estimates if not one.kind and not one.prompt_version]
    return Policies(
        champion=now.champion,
        version=now.version,
        earned=[_earned(one) for one in now.latest if not one.kind and not one.prompt_version],
        curves={
            name: _curve([one for one in whole if one.policy == name]) for name in sorted({one.policy for one in whole})
        },
        promotions=[
            Promoted(
                decided_ms=one.decided_ms,
                policy=one.policy,
                before=one.before,
                cause=Promotion.Cause.Name(one.cause),
                why=one.why,
            )
            for one in reversed(now.promotions)
            if one.policy
        ],
    )


def _earned(one: Estimate) -> Earned:
    return Earned(
        policy=one.policy,
        n=one.n,
        effective_n=one.effective_n,
        mean_weight=one.mean_weight,
        reward=_between(one.doubly_robust),
        ahead=_between(one.ahead) if one.HasField("ahead") else None,
        drifts=one.drifts,
        cost_us=one.cost_us,
    )


def _curve(found: list[Estimate]) -> Curve:
    kept = thinned(found)
    between = [_between(one.doubly_robust) for one in kept]
    return Curve(
        at_ms=[one.updated_ms for one in kept],
        value=[one.value for one in between],
        low=[one.low for one in between],
        high=[one.high for one in between],
    )


def thinned(found: list[Estimate]) -> list[Estimate]:
    """At most POINTS_MAX of them, evenly, the last among them.

    >>> len(thinned([Estimate()] * 10_000)) <= POINTS_MAX
    True
    """
    every = -(-len(found) // POINTS_MAX)
    return found[::-1][:: every or 1][::-1]


def _between(one: Interval) -> Between:
    return Between(
        value=one.value, low=one.low if isfinite(one.low) else None, high=one.high if isfinite(one.high) else None
    )
