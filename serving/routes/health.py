"""Liveness, readiness by name, and numbers for Prometheus. Never anything about a person."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from connectors.valkey import Unreachable
from serving.edge import Edge, TheEdge
from serving.schemas import Liveness, Readiness

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="The process answers")
async def alive() -> Liveness:
    return Liveness(status="ok")


@router.get(
    "/readyz",
    summary="What is missing, by name",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not ready; `missing` says what"}},
)
async def ready(edge: TheEdge) -> Response:
    missing, degraded = await asyncio.gather(_missing(edge), _degraded(edge))
    body = Readiness(ready=not missing, missing=missing, degraded=degraded)
    return Response(body.model_dump_json(), status_code=503 if missing else 200, media_type="application/json")


@router.get(
    "/metrics",
    summary="Prometheus",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(edge: TheEdge) -> Response:
    edge.metrics.spent_pending.set(edge.spent.pending)
    return Response(generate_latest(edge.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _missing(edge: Edge) -> list[str]:
    missing = await edge.log.missing()
    try:
        # The connection that reads, and one of those that write.
        await edge.current.reads.ping()
        await edge.tips.ping()
    except Unreachable:
        missing.append("valkey")
    if edge.spent.pending:
        # Another edge may still serve what we have taken feedback for.
        missing.append(f"spent markers ({edge.spent.pending} not yet in valkey)")
    if not edge.keys.ready:
        await edge.keys.refresh()
    if not edge.keys.ready:
        missing.append("token keys")
    return missing


async def _degraded(edge: Edge) -> list[str]:
    if edge.history is None or not await edge.history.ready():
        return ["history"]
    return []
