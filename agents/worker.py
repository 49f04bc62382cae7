"""The worker's composition root: reads the environment and puts one process together.

    python -m agents core       admit, recommend, learn
    python -m agents publish    tips to Valkey
    python -m agents record     decisions and outcomes to PostgreSQL
    python -m agents shadow     what other policies would do and earn, and which one is to be served

Each of the first three is a Faust app and a consumer group of its own, so that one standing still never stops another. What only one of
them needs is imported where that one is built: the others start sooner, and smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import faust
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from agents import health
from agents.refuse import DeadLetters
from streams.app import create_app, run, serve
from streams.frames import RegistryError, Schemas
from streams.partitions import Partitions
from streams.producer import DeliveryFailed, Producer
from streams.reader import (
    Follower,
    Tail,
    bounds,
    committed,
    end_offsets,
    partition_counts,
    read_partition,
    read_values,
    topic_ids,
)
from streams.record import Record
from streams.security import KafkaSettings, Refused, check
from streams.store import MemoryStore, Store
from streams.table import Pairs
from streams.topics import Topic, group, topics

if TYPE_CHECKING:
    from agents.policies.learner import Learner
    from agents.shadow import Shadow

Name = Literal["core", "publish", "record", "shadow"]
NAMES: tuple[Name, ...] = ("core", "publish", "record", "shadow")

logger = logging.getLogger(__name__)


class Settings(KafkaSettings, BaseSettings):
    """What a worker is told from outside, under the prefix OO_; read once."""

    model_config = SettingsConfigDict(env_prefix="OO_", extra="ignore")

    registry_url: str
    topic_prefix: str = "oo."
    valkey_url: str | None = None
    recommender_dsn: SecretStr | None = None
    mac_key_file: Path | None = None
    data_dir: Path
    store: Literal["memory", "rocksdb"] = "rocksdb"
    """Where rows are kept: on disk under `data_dir`, or in this process's memory, read anew at each start."""
    worker_id: str
    health_port: int | None = None
    sums_every_s: float = 1.0
    """How often a partition's sums are published where they changed."""
    versions_every_s: float = 10.0
    """The shortest time between two policy versions."""
    shadows: str = "mixed,lin_ts,linucb"
    """Policies that decide on every slate without being served, the champion among them; by name, with commas between."""
    gate: Literal["automatic", "by-hand"] = "automatic"
    """Whether a policy that is proven better takes over by itself, or only stands in `oo policies` as such."""
    unseen_s: float = 3600.0
    """How long after another took its place a decision may still be seen, and count for the gate."""
    stale_s: float = 24 * 3600.0
    """How long the gate waits for the reward of one decision."""
    estimates_every_s: float = 2.0


SHADOW_NICENESS = 10
"""Nobody waits for it, and it works as much as the core does."""
SHADOW_REFIT_EVERY = 100
"""Rewards between two versions of a shadow."""
GATE_MARGIN = 0.0
"""In units of reward: a challenger must be better by more than this."""

HISTORY_WAIT_MS = 200
HISTORY_BYTES_MIN = 256 * 1024
"""Nobody waits for the history: `record` takes what comes within this time together, for a fraction of the work."""


class _Process:
    """What all processes have: an app, a producer, schemas, topic ids, dead letters."""

    def __init__(self, name: Name, settings: Settings, ids: dict[str, bytes]) -> None:
        self.settings = settings
        self.table = topics(settings.topic_prefix)
        self.ids = ids
        self.producer = Producer(settings.kafka_bootstrap, client_id=settings.worker_id, security=settings.security)
        self._name: Name = name
        self.schemas = Schemas(settings.registry_url, settings.topic_prefix)
        self.dead_letters = DeadLetters(
            producer=self.producer, schemas=self.schemas, topic=self.table["dead-letters"].name, topic_ids=ids
        )

    @cached_property
    def app(self) -> faust.App:
        """Made where it is asked for: `shadow` has no partitions, so no app whose pulse would have to beat."""
        is_patient = self._name == "record"
        fetching = {"fetch_wait_ms": HISTORY_WAIT_MS, "fetch_bytes_min": HISTORY_BYTES_MIN} if is_patient else {}
        return create_app(
            group(self._name, prefix=self.settings.topic_prefix),
            bootstrap=self.settings.kafka_bootstrap,
            data_dir=self.settings.data_dir,
            worker_id=self.settings.worker_id,
            producer=self.producer,
            security=self.settings.security,
            **fetching,
        )

    def id_of(self, name: str) -> bytes:
        return self.ids[self.table[name].name]

    def read(self, topic: Topic, number: int, start: int = 0, end: int | None = None) -> AsyncIterator[list[Record]]:
        return read_partition(
            self.settings.kafka_bootstrap, topic.name, number, start=start, end=end, security=self.settings.security
        )


def main() -> None:
    """Run one process until SIGTERM; exit status 0 then, 1 after a failure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m agents", description=__doc__)
    parser.add_argument("process", choices=NAMES)
    name: Name = parser.parse_args().process
    if name == "shadow":
        os.nice(SHADOW_NICENESS)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("faust").setLevel(logging.WARNING)
    for noisy in ("aiokafka", "httpx", "httpx2", "mode", "streams.transport", "streams.consumer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = Settings()
    except ValueError as error:
        parser.error(f"the environment is not complete: {error}")
    run(_run(name, settings))


async def _run(name: Name, settings: Settings) -> None:
    try:
        await check(settings.kafka_bootstrap, settings.security)
    except Refused as error:
        raise SystemExit(f"{name}: {error}") from None
    names = [topic.name for topic in topics(settings.topic_prefix).values()]
    try:
        ids = await topic_ids(settings.kafka_bootstrap, names, security=settings.security)
    except KeyError as error:
        raise SystemExit(f"{name}: topic {error.args[0]} does not exist: `oo up` makes them all") from None
    await _check_partitions(name, settings)
    process = _Process(name, settings, ids)
    try:
        await process.schemas.register()
    except RegistryError as error:
        raise SystemExit(f"{name}: {error}") from error
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.producer.close)
        if name == "shadow":
            streams, serving = [], _until_told(_shadow(process).run(), process.producer)
        else:
            build = {"core": _core, "publish": _publish, "record": _record}[name]
            streams, serving = await build(process, stack), serve(process.app)
        if settings.health_port is not None:
            await stack.enter_async_context(
                health.serving(settings.health_port, worker=settings.worker_id, streams=streams)
            )
        logger.info("process.started process=%s worker=%s", name, settings.worker_id)
        await serving


async def _core(process: _Process, stack: AsyncExitStack) -> list[Partitions]:
    import protovalidate

    from agents import admit, learn, recommend
    from agents.admission import Door
    from agents.champion import Champion
    from agents.versions import Versions

    settings, table = process.settings, process.table
    assert settings.mac_key_file is not None, "core needs OO_MAC_KEY_FILE"
    mac_key = settings.mac_key_file.read_bytes()

    async def versions_end() -> int:
        (end,) = (
            await end_offsets(settings.kafka_bootstrap, table["policies"].name, security=settings.security)
        ).values()
        return end

    versions = Versions(schemas=process.schemas, mac_key=mac_key, end=versions_end)
    tail = Tail(settings.kafka_bootstrap, table["policies"].name, security=settings.security)
    following = asyncio.create_task(versions.follow(tail), name="versions")
    stack.push_async_callback(_cancel, following)
    await _first(following, tail.caught_up)

    door = Door(validator=protovalidate.Validator(), mac_key=mac_key)
    admits = {
        name: admit.Admit(
            short_name=name,
            topic_id=process.id_of(name),
            journal=table["journal"].name,
            door=door,
            schemas=process.schemas,
            producer=process.producer,
            dead_letters=process.dead_letters,
        )
        for name in ("signals", "reactions")
    }

    async def committed_at(number: int) -> int | None:
        offsets = await committed(
            settings.kafka_bootstrap, process.app.conf.id, table["journal"].name, security=settings.security
        )
        return offsets.get(number)

    async def rows_bounds(number: int) -> tuple[int, int]:
        return await bounds(settings.kafka_bootstrap, table["rows"].name, number, security=settings.security)

    def read_rows(number: int, start: int, end: int) -> AsyncIterator[Pairs]:
        where, rows = settings.kafka_bootstrap, table["rows"].name
        return read_values(where, rows, number, start=start, end=end, security=settings.security)

    folding = recommend.Recommend(
        topics=table,
        journal_id=process.id_of("journal"),
        schemas=process.schemas,
        producer=process.producer,
        dead_letters=process.dead_letters,
        versions=versions,
        open_store=_stores(process),
        rows_bounds=rows_bounds,
        read_rows=read_rows,
        rows_follower=Follower(settings.kafka_bootstrap, table["rows"].name, security=settings.security),
        committed=committed_at,
    )
    champion = Champion(schemas=process.schemas)
    promotions = Tail(settings.kafka_bootstrap, table["promotions"].name, security=settings.security)
    heeding = asyncio.create_task(champion.follow(promotions), name="promotions")
    stack.push_async_callback(_cancel, heeding)
    await _first(heeding, promotions.caught_up)
    estimates = Tail(settings.kafka_bootstrap, table["estimates"].name, security=settings.security)
    hearing = asyncio.create_task(champion.hear(estimates), name="estimates")
    stack.push_async_callback(_cancel, hearing)
    learning = learn.Learn(
        topics=table,
        schemas=process.schemas,
        producer=process.producer,
        read=lambda name: process.read(table[name], 0),
        every_s=settings.versions_every_s,
        champion=lambda: champion.policy,
        drifted_ms=lambda: champion.drifted_ms,
    )
    return [
        *admit.build(process.app, admits=admits, topics=table),
        recommend.build(process.app, folding, topics=table, sums_every_s=settings.sums_every_s),
        learn.build(process.app, learning, topics=table),
    ]


def _stores(process: _Process) -> Callable[[int], Store]:
    from agents.features import VERSION
    from agents.rows import head

    if process.settings.store == "memory":
        return lambda _: MemoryStore(head=head)
    from streams.rocks import Rocks

    identity = f"{process.id_of('journal').hex()} {process.id_of('rows').hex()} features {VERSION}"
    disks = Rocks(process.settings.data_dir / "rows", identity=identity.encode(), head=head)
    disks.sweep()
    return disks.open


async def _publish(process: _Process, stack: AsyncExitStack) -> list[Partitions]:
    from agents import publish
    from connectors.tip_progress import TipProgress
    from connectors.valkey import TipStore

    settings, topic = process.settings, process.table["tips"]
    assert settings.valkey_url is not None, "publish needs OO_VALKEY_URL"
    store = TipStore(settings.valkey_url)
    stack.push_async_callback(store.close)
    progress = TipProgress(settings.valkey_url)
    stack.push_async_callback(progress.close)

    async def end(number: int) -> int:
        return (await end_offsets(settings.kafka_bootstrap, topic.name, security=settings.security))[number]

    source = publish.TipsTopic(
        name=topic.name,
        topic_id=process.id_of("tips"),
        end=end,
        read=lambda number, start, stop: process.read(topic, number, start, stop),
    )
    return [
        publish.build(
            process.app,
            topic=source,
            store=store,
            progress=progress,
            schemas=process.schemas,
            dead_letters=process.dead_letters,
        )
    ]


async def _record(process: _Process, stack: AsyncExitStack) -> list[Partitions]:
    from agents import record
    from connectors.postgres.sink import Sink

    settings, table = process.settings, process.table
    assert settings.recommender_dsn is not None, "record needs OO_RECOMMENDER_DSN"
    dsn = settings.recommender_dsn.get_secret_value()
    recording = record.build(
        process.app,
        decisions_topic=table["decisions"].name,
        outcomes_topic=table["outcomes"].name,
        decisions_sink=await stack.enter_async_context(Sink(dsn)),
        outcomes_sink=await stack.enter_async_context(Sink(dsn)),
        schemas=process.schemas,
        dead_letters=process.dead_letters,
    )
    return [recording.decisions, recording.outcomes]


def _shadow(process: _Process) -> Shadow:
    from agents.evaluation.counted import reward_range
    from agents.evaluation.gate import Rule
    from agents.policies import DEFAULT as CHAMPION
    from agents.refuse import clock_ms
    from agents.reward import DEFAULT
    from agents.shadow import Shadow
    from agents.shadows import Shadows, Waits, servable, with_challengers

    settings, table = process.settings, process.table
    names = list(dict.fromkeys([CHAMPION, *(name for name in settings.shadows.split(",") if name)]))
    learners = {name: _learner(name) for name in names}
    rule = Rule(reward_range(DEFAULT), margin=GATE_MARGIN, places=len(servable(names)))

    async def ends(name: str) -> dict[int, int]:
        return await end_offsets(settings.kafka_bootstrap, table[name].name, security=settings.security)

    return Shadow(
        topics=table,
        schemas=process.schemas,
        producer=process.producer,
        shadows=Shadows(
            learners=learners,
            gate=with_challengers(CHAMPION, names, rule=rule),
            clock=time.perf_counter,
            automatic=settings.gate == "automatic",
            waits=Waits(unseen_ms=round(settings.unseen_s * 1000), stale_ms=round(settings.stale_s * 1000)),
        ),
        tail=lambda name: Tail(settings.kafka_bootstrap, table[name].name, security=settings.security),
        read=lambda name, number, start: process.read(table[name], number, start),
        ends=ends,
        clock_ms=clock_ms,
        every_s=settings.estimates_every_s,
    )


def _learner(name: str) -> Learner:
    """The shadow of this name; ends the process where there is none, or where what it needs is not installed."""
    from agents.policies import POLICIES
    from agents.policies.learner import InMemory
    from agents.prior import SHAPE
    from agents.reward import DEFAULT
    from tables.sums import UNIT

    if name in POLICIES:
        return InMemory(name, shape=SHAPE, config=DEFAULT, refit_every=SHADOW_REFIT_EVERY)
    if name != "vw":
        raise SystemExit(f"shadow: OO_SHADOWS names {name!r}, and there are {', '.join(POLICIES)} and vw")
    try:
        from agents.policies.vw import Vw
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"shadow: OO_SHADOWS names 'vw', which needs {missing.name}: pip install 'oo-recommender[vw]'"
        ) from None
    return Vw(worth=DEFAULT.interruption_cost / UNIT)


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


async def _check_partitions(name: Name, settings: Settings) -> None:
    """A user's number has to be the same in every topic: ends the process where the cluster's counts differ."""
    table = [topic for topic in topics(settings.topic_prefix).values() if not topic.public]
    found = await partition_counts(
        settings.kafka_bootstrap, [topic.name for topic in table], security=settings.security
    )
    for topic in table:
        if found[topic.name] != topic.partitions:
            raise SystemExit(
                f"{name}: topic {topic.name} has {found[topic.name]} partitions where {topic.partitions} are needed: "
                "replay into a new topic, partitions cannot be changed in place"
            )


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Wait for the event; if the task ends before, raise what ended it."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
