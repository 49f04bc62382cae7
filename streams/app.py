"""Makes a Faust app that survives being killed, and runs it until it is told to stop or something fails.

Never swallows a failure: an agent that raises, a failed delivery, a lost membership end the process.

    producer = Producer(cluster)
    app = create_app("oo-core", cluster=cluster, data_dir=dir, worker_id="core-0", producer=producer)
    partitions = Partitions(app, "oo.journal", handle, on_assigned=load, on_revoked=drop)

    @app.agent(app.topic("oo.journal"))
    async def recommend(stream):
        await partitions.run(stream)

    await serve(app)          # returns after SIGTERM, raises what failed
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn

import faust
import uvloop
from mode.supervisors import CrashingSupervisor
from yarl import URL

from streams.cluster import Cluster
from streams.consumer import Consumer
from streams.producer import Producer
from streams.run_state import RunState, run_state_of
from streams.security import Security
from streams.starting import Starting
from streams.transport import BatchTopic, NoTables, Transport
from streams.watchdog import Watchdog

log = logging.getLogger(__name__)

REBALANCE_TIMEOUT_S = 20.0
SESSION_TIMEOUT_S = 10.0
"""How long Kafka keeps a member's partitions for it after its last heartbeat."""
_HANGING_AFTER_S = 60.0
"""A rebalance that takes longer has hung."""
_METADATA_MAX_AGE_MS = 5_000
"""How soon a partition that was added, or a topic that came back, is assigned; the client's own 5 minutes are long."""
_EXIT_TIMEOUT_S = 5.0
_LEAVE = signal.SIGUSR1
_SWITCH_INTERVAL_S = 0.0005
"""How long one thread may keep the interpreter from the others. Python's 5 ms are a whole tip's way: the client's
thread waits that long behind a decision that is being made."""


def create_app(
    group: str,
    *,
    cluster: Cluster,
    data_dir: Path,
    worker_id: str,
    producer: Producer,
    session_timeout_s: float = SESSION_TIMEOUT_S,
    fetch_wait_ms: int = 50,
    fetch_bytes_min: int = 1,
    commit_interval_s: float = 0.5,
    poll_records_max: int = 500,
    topic_ids: Mapping[str, bytes] | None = None,
    starting: Starting | None = None,
) -> faust.App:
    """A Faust app whose topics give one event per batch. Create it inside the running loop.

    Of a topic in `topic_ids`, a namesake of another id is never read, nor its commits counted.
    Kafka answers a fetch once it has `fetch_bytes_min`, or after `fetch_wait_ms` with what there is (streams/fetching.py has
    one of all partitions wait longer). The producer's
    failures end the app, and from now on it refuses to write when the process lost time
    (streams/watchdog.py).
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        group,
        broker=[URL(f"kafka://{server}") for server in cluster.bootstrap.split(",")],
        broker_credentials=_credentials(cluster.security),
        broker_client_id=worker_id,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=session_timeout_s / 5,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_request_timeout=30.0,
        broker_commit_interval=commit_interval_s,
        broker_max_poll_records=poll_records_max,
        consumer_group_instance_id=worker_id,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1024 * 1024,
        consumer_metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        processing_guarantee="at_least_once",
        agent_supervisor=CrashingSupervisor,
        stream_buffer_maxsize=4,
        stream_recovery_delay=0.0,
        stream_wait_empty=True,
        datadir=data_dir,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        table_standby_replicas=0,
        web_enabled=False,
        worker_redirect_stdouts=False,
        Topic=BatchTopic,
        TableManager=NoTables,
    )
    watchdog = Watchdog(limit_s=session_timeout_s)
    run_state = RunState(
        producer=producer,
        watchdog=watchdog,
        fetch_wait_ms=fetch_wait_ms,
        fetch_bytes_min=fetch_bytes_min,
        topic_ids=topic_ids or {},
        starting=starting or Starting(),
    )
    app.transport = app.producer_transport = Transport(app.conf.broker, app, run_state)
    producer.on_failure = run_state.fail
    producer.guard = watchdog.check
    return app


def _credentials(security: Security) -> faust.auth.Credentials | None:
    """Faust's; None for plain text."""
    if security.protocol == "PLAINTEXT":
        return None
    if security.protocol == "SSL":
        return faust.SSLCredentials(security.tls())
    return faust.SASLCredentials(
        username=security.username,
        password=security.password,
        mechanism=security.mechanism,
        ssl_context=security.tls(),
    )


async def serve(app: faust.App, *, stop_timeout_s: float = 10.0) -> None:
    """Run the app until it is told to stop (drains, commits, returns) or a failure (raises it, commits nothing).

    After SIGTERM or SIGINT its partitions wait for it, for the session timeout: a restart takes them back without a
    rebalance. After SIGUSR1 it leaves for good: the others take them over at once.
    """
    state = run_state_of(app)
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    leaving = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told.set)

    def leave() -> None:
        leaving.set()
        told.set()

    loop.add_signal_handler(_LEAVE, leave)
    beside = [
        asyncio.create_task(state.watchdog.beat(), name="watchdog"),
        asyncio.create_task(_watch(app, state), name="watch"),
        asyncio.create_task(_start(app, state), name="start"),
    ]
    telling = asyncio.create_task(told.wait())
    try:
        either: list[asyncio.Future[Any]] = [state.failure, telling]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not state.failed:
            log.info("worker.stopping app=%s", app.conf.id)
            async with asyncio.timeout(stop_timeout_s):
                consumer = app.consumer
                if isinstance(consumer, Consumer):
                    await consumer.end(leave=leaving.is_set())
                for partitions in state.partitions.values():
                    await partitions.close()
                await state.producer.flush()
    except TimeoutError:
        state.fail(TimeoutError(f"not drained within {stop_timeout_s:g} s"))
    finally:
        for task in (*beside, telling):
            task.cancel()
        # All that counts is committed: what is left is closing connections.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_EXIT_TIMEOUT_S / 2):
                await app.stop()
        for signum in (signal.SIGTERM, signal.SIGINT, _LEAVE):
            loop.remove_signal_handler(signum)
    if state.failed:
        state.failure.result()


def fail(app: faust.App, error: BaseException) -> None:
    """End `serve` with this error."""
    run_state_of(app).fail(error)


def rejoin(app: faust.App) -> None:
    """Have the group assigned anew; the partitions that are here come again. Returning does not mean that they have."""
    if isinstance(app.consumer, Consumer):
        app.consumer.rejoin()


def run(main: Coroutine[Any, Any, None]) -> NoReturn:
    """Run `main` on uvloop and exit: 0 when it returns, 1 when it raises; no thread can keep the process alive."""
    status = 1
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        uvloop.run(_bounded(main))
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else 1
        if isinstance(asked.code, str):
            sys.stderr.write(asked.code + "\n")
    except BaseException:
        log.critical("worker.ended", exc_info=True)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _bounded(main: Coroutine[Any, Any, None]) -> None:
    status = 1
    try:
        await main
        status = 0
    finally:
        # Closing the loop waits for threads and tasks; none of them may keep a worker alive that has ended.
        timer = threading.Timer(_EXIT_TIMEOUT_S, os._exit, (status,))
        timer.daemon = True
        timer.start()


async def _start(app: faust.App, state: RunState) -> None:
    try:
        await app.start()
        # What is here now stays: looking through it at each full collection takes some 75 ms, in which no tip moves.
        gc.collect()
        gc.freeze()
    except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
        state.fail(error)


async def _watch(app: faust.App, state: RunState) -> None:
    """Mends deaths that Faust only logs: a crashed service, a rebalance that never ends, an expelled member."""
    while True:
        await asyncio.sleep(0.5)
        if app.crashed:
            state.fail(app.crash_reason or RuntimeError("a part of the app crashed"))
        since = state.rebalancing_since
        if since is not None and time.monotonic() - since > _HANGING_AFTER_S:
            state.fail(TimeoutError(f"no assignment for {_HANGING_AFTER_S:g} s"))
        elif since is None and isinstance(app.consumer, Consumer):
            app.consumer.watch()
