"""The product from outside: a plain Kafka producer that writes JSON, and a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import httpx
from command import called
from confluent_kafka import Producer

from deploy.cut import cut
from deploy.stack.running import RunningStack
from tests.patience import PATIENCE_S

T = TypeVar("T")

SECURE = ("--secure",) if os.environ.get("OO_TEST_SECURE") else ()
"""Of `oo up`: all of this folder runs on a secure stack where OO_TEST_SECURE is set."""


def state_of(stack: RunningStack) -> str:
    return f"--state={stack.folder.root}"


def send(
    stack: RunningStack,
    topic: str,
    *values: Any,
    headers: list[tuple[str, bytes]] | None = None,
    partition: int = -1,
    key: str | None = None,
) -> list[tuple[int, int]]:
    """Write values to a topic as `kcat -H content-type=application/json` would: librdkafka's own partitioner, no key unless told.

    Returns where they stand: partition and offset.
    """
    # What only we may write, a stranger writes where nobody has to sign in.
    who = stack.as_role("producer") if stack.cluster.topics[topic].public else stack.as_admin
    producer = Producer({"message.max.bytes": 8 * 1024 * 1024, **who.cluster.rdkafka()})
    failed: list[str] = []
    places: list[tuple[int, int]] = []

    def delivered(error: Any, message: Any) -> None:
        if error:
            failed.append(str(error))
        else:
            places.append((message.partition(), message.offset()))

    for value in values:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(
            f"{stack.cluster.prefix}{topic}",
            body,
            key=key,
            headers=[("content-type", b"application/json")] if headers is None else headers,
            partition=partition,
            on_delivery=delivered,
        )
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0
    assert not failed, failed
    return places


def task(user: str, external_id: str, title: str, **fields: Any) -> dict[str, Any]:
    """A task as a producer writes it."""
    upsert = {"external_id": external_id, "title": title, **fields}
    return {"user_id": user, "source": "test", "event_id": f"{external_id}-{title}", "task_upserted": upsert}


def client(stack: RunningStack, user: str) -> httpx.Client:
    """An HTTP client with this user's token."""
    token = called("token", "--user", user, state_of(stack)).stdout.strip()
    return httpx.Client(base_url=stack.edge_url, headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE_S)


def tip(http: httpx.Client) -> dict[str, Any] | None:
    """The tip about what was sent, or None: until that has come, somebody new has one to begin with.

    Where oO has drawn to say nothing, as it does once in some hundred times, it is asked to choose anew.
    """
    answer = http.get("/v1/tip")
    assert answer.status_code in (200, 204), answer.text
    if answer.status_code == 200:
        _silent_since_s.pop(http, None)
        found: dict[str, Any] = answer.json()
        return None if found["kind"] == "starter" else found
    # What was reacted to a moment ago is silence too, and so is what is still on its way.
    if time.monotonic() - _silent_since_s.setdefault(http, time.monotonic()) > SILENT_S:
        _silent_since_s[http] = float("inf")
        http.post("/v1/signals", json={"source": "test", "profile_changed": {"tips_per_day": 500}}).raise_for_status()
    return None


SILENT_S = 10.0
_silent_since_s: WeakKeyDictionary[httpx.Client, float] = WeakKeyDictionary()


def eventually(read: Callable[[], T], accept: Callable[[T], bool] = bool) -> T:
    """What `read` gives once it is acceptable; fails with its last word.

    It rests as long as it reads: what is waited for needs the processor that a command takes.
    """
    began_s = time.monotonic()
    while True:
        asked_s = time.monotonic()
        value = read()
        if accept(value):
            return value
        now_s = time.monotonic()
        if now_s - began_s > PATIENCE_S:
            raise AssertionError(f"not within {PATIENCE_S:.0f} s; the last was {value!r}")
        time.sleep(max(0.1, now_s - asked_s))


def verify(stack: RunningStack) -> dict[str, Any]:
    """What `oo verify` finds; its differences are in the message of a failing assert."""
    done: subprocess.CompletedProcess[str] = called("verify", "--json", state_of(stack), check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (found["differences"] == 0)
    return found


def settled(stack: RunningStack) -> int:
    """Wait until every process has taken all that stands in its topics, as `oo verify` does before it compares.

    Returns how many records the journal then has. What is live is held against the fold once, when all tests of this
    folder have left their marks: test_what_is_live_equals_the_fold.
    """
    return sum(asyncio.run(cut(stack.cluster)).values())


def settled_tip(stack: RunningStack, http: httpx.Client) -> dict[str, Any]:
    """The tip once all that was written is folded: an earlier one may still give way to a task that is on its way."""
    eventually(lambda: tip(http))
    settled(stack)
    found = tip(http)
    assert found is not None
    return found


def known(stack: RunningStack, user: str) -> dict[str, Any]:
    """What is known of somebody, with their texts."""
    found: dict[str, Any] = json.loads(called("state", "--user", user, "--json", "--reveal", state_of(stack)).stdout)
    return found


def letters(stack: RunningStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        called("dead-letters", "list", "--json", "--limit=100000", state_of(stack)).stdout
    )
    return found


def core_pid(stack: RunningStack) -> int:
    """The worker that admits and recommends; 0 while none runs."""
    return worker_pid(stack, "core")


def worker_pid(stack: RunningStack, process: str) -> int:
    """The first worker of this kind; 0 while none runs."""
    status = json.loads(called("status", "--json", state_of(stack), check=False).stdout)
    return next((worker["pid"] or 0 for worker in status["workers"] if worker["id"].startswith(process)), 0)


@contextmanager
def console_link(stack: RunningStack) -> Iterator[str]:
    """The link of an `oo console` that runs meanwhile."""
    argv = (sys.executable, "-P", "-m", "deploy.cli", "console", "--as=redriver", state_of(stack))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as console:
        assert console.stdout is not None
        try:
            ready, _, _ = select.select([console.stdout], [], [], PATIENCE_S)
            assert ready, "oo console said nothing"
            found = re.search(r"http://\S+", console.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            console.terminate()


def samples() -> Path:
    return Path(__file__).resolve().parents[1] / "data"
