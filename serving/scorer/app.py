"""The scorer's composition root: settings in, a FastAPI app out. It knows nobody and keeps nothing of a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from connectors.model_registry import FolderRegistry
from connectors.model_store import Kept
from serving.scorer.batches import Batches, Late, Limits, Overloaded
from serving.scorer.metrics import Metrics
from serving.scorer.runtimes import Failed, Runtime
from serving.scorer.runtimes.here import Here
from serving.scorer.served import Models, NotServed, Served
from serving.scorer.settings import Settings
from serving.scorer.wire import HEADER, BadRequest, answered, asked, described

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 16 * 1024 * 1024
RETRY_AFTER_S = 1
TIMEOUTS = 10
"""A request may ask for so many times the usual time."""


class Refused(Exception):
    """An answer that is an error: the protocol's `{"error": ...}`."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def create_app(settings: Settings) -> FastAPI:
    """The app; a registry may come up later, and /v2/health/ready says what is missing."""
    metrics = Metrics()
    limits = Limits(settings.rows_max, settings.waiting_rows_max, settings.batch_wait_ms / 1000)
    timeout_s = settings.timeout_ms / 1000

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = app.state.models = Models(
            Kept(FolderRegistry(settings.models_dir), settings.kept_dir),
            partial(_load, settings),
            lambda runtime: Batches(runtime, limits, metrics),
            versions_max=settings.versions_max,
            metrics=metrics,
        )
        following = asyncio.create_task(models.run(settings.poll_s))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await models.close()

    app = FastAPI(
        title="oO scorer",
        version=version("oo-recommender"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )

    async def infer(request: Request) -> Response:
        started_s, loop = time.perf_counter(), asyncio.get_running_loop()
        arrived_s, model, status = loop.time(), "other", 500
        try:
            served = await _served(request, until_s=arrived_s + timeout_s)
            model = served.name
            body = await _body(request)
            one = asked(body, request.headers.get(HEADER), d=served.runtime.d, rows_max=limits.rows_max)
            within_s = timeout_s if one.timeout_s is None else min(one.timeout_s, TIMEOUTS * timeout_s)
            rewards = await served.infer(one.features, until_s=arrived_s + within_s)
            content, headers = answered(served.name, served.version, rewards, id=one.id, binary=one.binary)
            metrics.rows.labels(model).inc(len(rewards))
            answer, status = Response(content, headers=headers), 200
        except (BadRequest, Late, Overloaded, Failed, NotServed, Refused) as error:
            answer = _refusal(error)
            status = answer.status_code
        finally:
            metrics.requests.labels(model, str(status)).inc()
            metrics.duration.observe(time.perf_counter() - started_s)
        return answer

    async def metadata(request: Request) -> Response:
        served = await _served(request, until_s=asyncio.get_running_loop().time() + timeout_s)
        models: Models = app.state.models
        runtime = served.runtime
        return JSONResponse(
            described(served.name, served.version, models.versions(served.name), d=runtime.d, platform=runtime.platform)
        )

    async def model_ready(request: Request) -> Response:
        served = await _served(request, until_s=asyncio.get_running_loop().time() + timeout_s)
        return JSONResponse({"name": served.name, "ready": True})

    for place in ("/v2/models/{model}", "/v2/models/{model}/versions/{number}"):
        app.add_route(f"{place}/infer", infer, methods=["POST"])
        app.add_route(f"{place}/ready", model_ready, methods=["GET"])
        app.add_route(place, metadata, methods=["GET"])

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": "oo-scorer", "version": app.version, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        models: Models = app.state.models
        if missing := models.missing:
            return JSONResponse({"ready": False, "error": "; ".join(missing)}, status_code=503)
        return JSONResponse({"ready": True})

    @app.get("/metrics")
    async def numbers() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    for kind in (BadRequest, Late, Overloaded, Failed, NotServed, Refused):
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _fault)
    return app


async def _served(request: Request, *, until_s: float) -> Served:
    models: Models = request.app.state.models
    name, number = request.path_params["model"], request.path_params.get("number")
    if number is None:
        return models.champion(name)
    try:
        async with asyncio.timeout_at(until_s):
            return await models.exact(name, number)
    except TimeoutError:
        raise NotServed(503, f"{name}@{number} is being loaded: ask again") from None


async def _body(request: Request) -> bytes:
    if encoding := request.headers.get("content-encoding"):
        raise Refused(415, f"bodies are taken as they are, not as {encoding[:20]!r}")
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise Refused(413, f"a body may have {BODY_BYTES_MAX} bytes: send fewer rows in it")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _refusal(error: Exception) -> Response:
    again = {"retry-after": str(RETRY_AFTER_S)}
    headers: dict[str, str] = {}
    match error:
        case BadRequest():
            status, why = 400, str(error)
        case Late():
            status, why = 504, "the time of this request was over before its answer was there"
        case Overloaded():
            status, why, headers = 429, "more rows wait than may: ask again later, or run another scorer", again
        case NotServed() | Refused():
            status, why, headers = error.status, str(error), again if error.status == 503 else {}
        case _:
            status, why = 502, str(error)
    return JSONResponse({"error": why}, status_code=status, headers=headers)


async def _answer_error(_: Request, error: Exception) -> Response:
    return _refusal(error)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = {
        404: "there is nothing at this address: /v2/models/NAME/infer and /v2/models/NAME/versions/VERSION/infer are",
        405: "this address does not take this method",
    }
    return JSONResponse(
        {"error": why.get(error.status_code, str(error.detail))}, status_code=error.status_code, headers=error.headers
    )


async def _fault(request: Request, error: Exception) -> Response:
    log.error("scorer.fault path=%s", getattr(request.scope.get("route"), "path", "other"), exc_info=error)
    return JSONResponse({"error": "the scorer failed at this request; the fault is logged"}, status_code=500)


async def _load(settings: Settings, folder: Path, d: int) -> Runtime:
    if settings.runtime == "numpy":
        from serving.scorer.runtimes.linear import Linear

        return Here(Linear.of(folder, d), rows_max=settings.rows_max)
    from serving.scorer.runtimes.onnx import OnnxRuntime

    return await asyncio.to_thread(lambda: Here(OnnxRuntime.of(folder, d), rows_max=settings.rows_max))
