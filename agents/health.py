"""A worker's own small page for probes: /healthz, /readyz, and /metrics for Prometheus. Never shows a person's data."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from streams import metrics
from streams.clock import clock_ms
from streams.in_order import Place
from streams.partitions import Partitions
from streams.stall import Stall
from streams.units import SECOND_MS


@asynccontextmanager
async def serving(
    host: str,
    port: int,
    *,
    worker: str,
    streams: Sequence[Partitions],
    stalled: Callable[[], list[Stall]],
    behind: Callable[[], Mapping[Place, int]] | None = None,
) -> AsyncIterator[None]:
    """Answer on this address until the block ends.

    `stalled`: what stands now, named by /readyz; `behind`: how far one is that reads in no group.
    """

    def lag() -> Mapping[metrics.Labels, float]:
        told: dict[metrics.Labels, float] = {
            (one.topic, str(number)): records
            for one in streams
            for number in one.assigned()
            # Before the first word from Kafka it is not known.
            if (records := one.lag(number)) < sys.maxsize
        }
        return told | {(topic, str(number)): n for (topic, number), n in (behind or dict)().items()}

    def lag_s() -> Mapping[metrics.Labels, float]:
        now_ms = clock_ms()
        oldest = {(one.topic, str(number)): one.oldest_ms(number) for one in streams for number in one.assigned()}
        return {place: 0.0 if at is None else max(0, now_ms - at) / SECOND_MS for place, at in oldest.items()}

    # Not when this module was imported: a process is a fork of one that has it.
    started_s = clock_ms() / SECOND_MS
    metrics.GAUGES["oo_started_at_seconds"] = lambda: {(): started_s}
    metrics.GAUGES["oo_lag_records"] = lag
    metrics.GAUGES["oo_lag_seconds"] = lag_s
    metrics.GAUGES["oo_stalled_partitions"] = lambda: {(): len(stalled())}

    async def healthz(_: web.Request) -> web.Response:
        assigned = {stream.topic: sorted(stream.assigned()) for stream in streams}
        lags = {} if behind is None else {"lag": sum(behind().values())}
        return web.json_response({"status": "ok", "worker": worker, "partitions": assigned, **lags})

    async def readyz(_: web.Request) -> web.Response:
        stalls = [stall._asdict() for stall in stalled()]
        shown = {"status": "stalled" if stalls else "ready", "worker": worker, "stalled": stalls}
        return web.json_response(shown, status=503 if stalls else 200)

    async def shown(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", shown)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
