"""The worker's composition root: reads the environment and runs one process.

    python -m agents core       admit, recommend, learn
    python -m agents publish    tips to Valkey
    python -m agents record     decisions and outcomes to PostgreSQL
    python -m agents shadow     what other policies would do and earn, and which one is to be served
    python -m agents generate   what language models write
    python -m agents connect    what people have connected, read and told of
    python -m agents notify     tips on people's devices

Each but `shadow` is a Faust app and a consumer group of its own, so that one standing still never stops another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from agents import assemble, health
from agents.attention import Attention
from agents.process import Process
from agents.settings import NAMES, Name, Settings
from streams.access import Refused, check
from streams.app import fail, rejoin, run, serve
from streams.cluster import Cluster
from streams.in_order import Place
from streams.producer import DeliveryFailed, Producer
from streams.reader import described
from streams.registry import RegistryError
from streams.schemas import Schemas
from streams.start_watch import end_if_stuck
from streams.starting import Starting

NICENESS = 10
"""Of `shadow`, `generate` and `score`: nobody waits for them, and they may work as much as the core does."""

logger = logging.getLogger(__name__)


def main() -> None:
    """Run one process until SIGTERM; exit status 0 then, 1 after a failure, 2 for wrong usage."""
    starting = Starting()
    parser = argparse.ArgumentParser(prog="python -m agents", description=__doc__)
    parser.add_argument("process", choices=NAMES)
    name: Name = parser.parse_args().process
    if name == "shadow":
        os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("faust").setLevel(logging.WARNING)
    for noisy in ("aiokafka", "httpx", "httpx2", "mode", "streams.transport", "streams.consumer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = Settings()
    except ValueError as error:
        parser.error(f"the environment is not complete: {error}")
    starting.part("imports")
    run(_run(name, settings, starting))


async def _run(name: Name, settings: Settings, starting: Starting) -> None:
    started = end_if_stuck(starting, limit_s=settings.start_stuck_s)
    schemas = Schemas(settings.cluster, kept=settings.schemas_file)
    # The registry is asked while Kafka is.
    registering = asyncio.create_task(schemas.register(), name="schemas")
    try:
        await check(settings.cluster)
    except Refused as error:
        raise SystemExit(f"{name}: {error}") from None
    starting.part("kafka")
    ids = await _topics(name, settings.cluster)
    starting.part("topics")
    try:
        await registering
    except RegistryError as error:
        raise SystemExit(f"{name}: {error}") from error
    starting.part("schemas")
    process = Process(name, settings, ids=ids, schemas=schemas, starting=starting)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.producer.close)
        behind: Callable[[], Mapping[Place, int]] | None = None
        if name == "shadow":
            shadow = await assemble.shadow(process, stack)
            streams, serving = [], _until_told(shadow.run(), process.producer)
            behind = shadow.behind
        else:
            build = {
                "core": assemble.core,
                "publish": assemble.publish,
                "record": assemble.record,
                "generate": assemble.generate,
                "score": assemble.score,
                "connect": assemble.connect,
                "notify": assemble.notify,
            }[name]
            streams, serving = await build(process, stack), serve(process.app)
        attention = Attention(process, streams)
        if streams:
            looking = asyncio.create_task(
                attention.follow(partial(fail, process.app), partial(rejoin, process.app)), name="attention"
            )
            stack.callback(looking.cancel)
        if settings.health_port is not None:
            page = health.serving(
                settings.health_host,
                settings.health_port,
                worker=settings.worker_id,
                streams=streams,
                stalled=attention.stalled,
                behind=behind,
            )
            await stack.enter_async_context(page)
        starting.part("parts")
        started()
        if name in ("generate", "score"):
            # Not before: a start has its deadline.
            os.nice(NICENESS)
        logger.info("process.started process=%s worker=%s", name, settings.worker_id)
        await serving


async def _until_told(work: Coroutine[Any, Any, None], producer: Producer) -> None:
    """Runs it until SIGTERM or SIGINT; raises what ends it, a failed delivery included."""
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, task.cancel)

    def give_up(_: DeliveryFailed) -> None:
        task.cancel()

    producer.on_failure = give_up
    with contextlib.suppress(asyncio.CancelledError):
        await task
    if producer.failure is not None:
        raise producer.failure
    await producer.flush()


async def _topics(name: Name, cluster: Cluster) -> dict[str, bytes]:
    """The topics' ids. Ends the process where one is missing, or where a user's number would not be the same in all."""
    try:
        found = await described(cluster, [topic.name for topic in cluster.topics.values()])
    except KeyError as error:
        raise SystemExit(f"{name}: topic {error.args[0]} does not exist: `oo up` makes them all") from None
    for topic in cluster.topics.values():
        if not topic.public and found[topic.name].partitions != topic.partitions:
            raise SystemExit(
                f"{name}: topic {topic.name} has {found[topic.name].partitions} partitions where {topic.partitions} are "
                "needed: replay into a new topic, partitions cannot be changed in place"
            )
    return {topic: one.topic_id for topic, one in found.items()}
