"""Makes a Faust app that survives being killed, and runs it until it is told to stop or something fails.

Never swallows a failure: an agent that raises, a failed delivery, a lost membership end the process.

    producer = Producer(bootstrap, guard=pulse.check)
    app = create_app("core", bootstrap=bootstrap, data_dir=dir, worker_id="core-0", producer=producer)
    partitions = Partitions(app, "oo.journal", handle, on_assigned=load, on_revoked=drop)

    @app.agent(app.topic("oo.journal"))
    async def recommend(stream):
        await partitions.run(stream)

    await serve(app)          # returns after SIGTERM, raises what failed
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import faust

from streams.producer import Producer
from streams.security import PLAINTEXT, Security


def create_app(
    name: str,
    *,
    bootstrap: str,
    data_dir: Path,
    worker_id: str,
    producer: Producer,
    security: Security = PLAINTEXT,
    group: str | None = None,
    session_timeout_s: float = 10.0,
    fetch_wait_ms: int = 50,
    commit_interval_s: float = 0.5,
    poll_records_max: int = 500,
) -> faust.App:
    """A Faust app of group `oo-<name>` whose topics give one event per batch. Create it inside the running loop."""
    raise NotImplementedError


async def serve(app: faust.App, *, stop_timeout_s: float = 10.0) -> None:
    """Run the app until SIGTERM or SIGINT (drains, commits, returns) or a failure (raises it, commits nothing)."""
    raise NotImplementedError


def fail(app: faust.App, error: BaseException) -> None:
    """End `serve` with this error."""
    raise NotImplementedError


def run(main: Coroutine[Any, Any, None]) -> NoReturn:
    """Run `main` on uvloop and exit: 0 when it returns, 1 when it raises; no thread can keep the process alive."""
    raise NotImplementedError
