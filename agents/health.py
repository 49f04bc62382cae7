"""A worker's own small page for probes: /healthz, /readyz, and /metrics for Prometheus. Never shows a person's data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from streams.in_order import Place
from streams.metrics import REGISTRY
from streams.partitions import Partitions
from streams.stall import Stall


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
    registry = CollectorRegistry()
    lag = Gauge("oo_lag_records", "Records fetched and not yet handled", ["topic", "partition"], registry=registry)
    stands = Gauge("oo_stalled_partitions", "Partitions that stand, or that nobody reads", registry=registry)

    async def healthz(_: web.Request) -> web.Response:
        assigned = {stream.topic: sorted(stream.assigned()) for stream in streams}
        lags = {} if behind is None else {"lag": sum(behind().values())}
        return web.json_response({"status": "ok", "worker": worker, "partitions": assigned, **lags})

    async def readyz(_: web.Request) -> web.Response:
        stalls = [stall._asdict() for stall in stalled()]
        shown = {"status": "stalled" if stalls else "ready", "worker": worker, "stalled": stalls}
        return web.json_response(shown, status=503 if stalls else 200)

    async def metrics(_: web.Request) -> web.Response:
        lag.clear()
        stands.set(len(stalled()))
        for stream in streams:
            for number in stream.assigned():
                lag.labels(stream.topic, str(number)).set(stream.lag(number))
        for (topic, number), records in (behind() if behind is not None else {}).items():
            lag.labels(topic, str(number)).set(records)
        return web.Response(
            body=generate_latest(registry) + generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
