"""The scorer's composition root: settings in, a FastAPI app out. It knows nobody and keeps nothing of a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from connectors.inference import Inference as Server
from connectors.mlflow_store import MlflowStore
from connectors.model_registry import FolderRegistry
from connectors.model_store import Kept, ModelStore
from serving.scorer.batches import Batches, Limits
from serving.scorer.inference import Inference
from serving.scorer.metrics import Metrics
from serving.scorer.refusals import refusal
from serving.scorer.runtimes import Runtime
from serving.scorer.runtimes.here import Here
from serving.scorer.runtimes.linear import Linear
from serving.scorer.runtimes.onnx import OnnxRuntime
from serving.scorer.runtimes.remote import Remote
from serving.scorer.served import Load, Models, NotServed, Served
from serving.scorer.settings import Settings
from serving.scorer.wire import described

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The app; a registry may come up later, and /v2/health/ready says what is missing."""
    metrics = Metrics()
    limits = Limits(settings.rows_max, settings.waiting_rows_max, settings.batch_wait_ms / 1000)
    timeout_s = settings.timeout_ms / 1000

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server = (
            Server(settings.remote_url, deadline_s=timeout_s)
            if settings.runtime == "remote" and settings.remote_url
            else None
        )
        models = app.state.models = Models(
            Kept(_store(settings), settings.kept_dir),
            _loader(settings, server),
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
            if server is not None:
                await server.__aexit__(None, None, None)

    app = FastAPI(
        title="oO scorer",
        version=version("oo-recommender"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )

    async def metadata(request: Request) -> Response:
        served = await _served(request, within_s=timeout_s)
        models: Models = app.state.models
        runtime = served.runtime
        return JSONResponse(
            described(served.name, served.version, models.versions(served.name), d=runtime.d, platform=runtime.platform)
        )

    async def model_ready(request: Request) -> Response:
        served = await _served(request, within_s=timeout_s)
        return JSONResponse({"name": served.name, "ready": True})

    app.add_middleware(Inference, metrics=metrics, rows_max=limits.rows_max, timeout_s=timeout_s)
    for place in ("/v2/models/{model}", "/v2/models/{model}/versions/{number}"):
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

    app.add_exception_handler(NotServed, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _fault)
    return app


async def _served(request: Request, *, within_s: float) -> Served:
    models: Models = request.app.state.models
    name, number = request.path_params["model"], request.path_params.get("number")
    if number is None:
        return models.champion(name)
    return await models.exact(name, number, until_s=asyncio.get_running_loop().time() + within_s)


async def _refused(_: Request, error: Exception) -> Response:
    status, content, headers = refusal(error)
    return Response(content, status_code=status, headers=headers)


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


def _store(settings: Settings) -> ModelStore:
    if settings.models_dir is not None:
        return FolderRegistry(settings.models_dir)
    assert settings.registry_url is not None
    # What it brings is the copy that is kept.
    return MlflowStore(settings.registry_url, settings.kept_dir)


def _loader(settings: Settings, server: Server | None) -> Load:
    async def load(name: str, version: int, folder: Path, d: int) -> Runtime:
        if server is not None:
            return Remote(server, name, version, d)
        if settings.runtime == "numpy":
            return Here(Linear.of(folder, d), rows_max=settings.rows_max)
        return await asyncio.to_thread(lambda: Here(OnnxRuntime.of(folder, d), rows_max=settings.rows_max))

    return load
