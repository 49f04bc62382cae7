"""A worker's own small page for probes: /healthz, /readyz, and /metrics for Prometheus. Never shows a person's data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from streams.metrics import REGISTRY
from streams.partitions import Partitions
from streams.stall import Stall


@asynccontextmanager
async def serving(
    host: str, port: int, *, worker: str, streams: Sequence[Partitions], stalled: Callable[[], list[Stall]]
) -> AsyncIterator[None]:
    """Answer on this address until the block ends. `stalled`: what stands now, named by /readyz."""
    registry = CollectorRegistry()
    lag = Gauge("oo_lag_records", "Records fetched and not yet handled", ["topic", "partition"], registry=registry)
    stands = Gauge("oo_stalled_partitions", "Partitions that stand, or that nobody reads", registry=registry)

    async def healthz(_: web.Request) -> web.Response:
        assigned = {stream.topic: sorted(stream.assigned()) for stream in streams}
        return web.json_response({"status": "ok", "worker": worker, "partitions": assigned})

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
