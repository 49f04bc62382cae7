"""The console's composition root: a stack and who may look in, an app out. It holds no logic."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import psycopg
from confluent_kafka import KafkaException
from fastapi import Depends, FastAPI, Query, Request, Response
from starlette.responses import FileResponse, RedirectResponse

from deploy.audit import NotNoted
from deploy.console.access import Access
from deploy.console.routes import decisions, health, letters, models, people, policies, replays, topics
from deploy.keys import HeldKeys
from deploy.replay.manifest import RunError
from deploy.stack.running import RunningStack
from serving import problems
from serving.metrics import Metrics
from serving.middleware import CSP_PAGE, Middleware
from serving.problems import Problem, unavailable
from serving.settings import LOOPBACK
from streams.producer import DeliveryFailed

PATH = "/console"
STATIC = Path(__file__).resolve().parent / "static"
SUBJECTS = (health, topics, decisions, people, policies, models, letters, replays)


def create_app(
    stack: RunningStack,
    access: Access,
    *,
    role: str = "",
    hosts: Collection[str] | None = frozenset((*LOOPBACK, "[::1]")),
) -> FastAPI:
    """The app over one stack; parts of that may be away, and the page says which.

    `role`: as who it sends letters again, where people sign in; `hosts`: names that it may be called by (None: any).
    """
    app = FastAPI(
        title="oO console",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PATH}/openapi.json",
        # As the edge: its own spans would say paths and queries, and the words of what went wrong.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.stack, app.state.keys, app.state.role = stack, HeldKeys(stack.cluster, stack.kek_dir), role
    problems.install(app)
    for kind in _AWAY:
        app.add_exception_handler(kind, _away)

    @app.get(f"{PATH}/enter", include_in_schema=False)
    async def enter(code: Annotated[str, Query(max_length=200)]) -> Response:
        # The code does not stay in the address bar.
        answer = RedirectResponse(PATH, status_code=303)
        answer.set_cookie(access.cookie, access.enter(code), path=PATH, httponly=True, samesite="strict")
        return answer

    @app.get(PATH, include_in_schema=False)
    async def page() -> Response:
        return FileResponse(
            STATIC / "index.html", headers={"content-security-policy": CSP_PAGE, "cache-control": "no-store"}
        )

    @app.get(f"{PATH}/static/{{name}}", include_in_schema=False)
    async def file(name: str) -> Response:
        found = {path.name: path for path in STATIC.iterdir()}.get(name)
        if found is None:
            raise Problem(404, "not-found", detail="There is no such file.")
        return FileResponse(found, headers={"cache-control": "no-cache"})

    for subject in SUBJECTS:
        app.include_router(subject.router, prefix=f"{PATH}/v1", dependencies=[Depends(access.check)])
    app.add_middleware(Middleware, metrics=Metrics(), hosts=hosts)
    return app


_AWAY: dict[type[Exception], Callable[[Exception], Problem]] = {
    KafkaException: lambda error: unavailable("log", detail=f"Kafka does not answer: {error.args[0]}"),
    psycopg.Error: lambda error: unavailable("history", detail=f"PostgreSQL does not answer ({type(error).__name__})."),
    NotNoted: lambda error: unavailable("audit", detail=str(error)),
    DeliveryFailed: lambda error: unavailable("log", detail=f"Kafka did not take it: {error}"),
    RunError: lambda error: Problem(409, "replay-run", detail=str(error)),
}
"""What is away is named, and a run that cannot be what was asked; nothing of it is a fault of the console."""


async def _away(_: Request, error: Exception) -> Response:
    return next(say for kind, say in _AWAY.items() if isinstance(error, kind))(error).response()
