"""The short end of `make faults`, on every change: some faults on a real stack, and an oracle that finds what is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from streams.cluster import Cluster
from streams.producer import Producer
from tests.faults.log import Log
from tests.faults.oracle import Findings, Oracle
from tests.faults.rows import ROWS as TABLE
from tests.faults.run import prepared, run_row
from tests.faults.scene import Row, Scene
from tests.faults.stack import ROOT, Stack, fresh_stack
from tests.faults.traffic import Ledger, Mix, Sent
from tests.streams.line import create_topic

SEED = 1


@pytest.fixture(scope="session")
def scenery() -> Iterator[tuple[Stack, Oracle]]:
    """A stack of its own: these tests kill what others share."""
    with fresh_stack() as stack, prepared(stack) as oracle:
        yield stack, oracle


def kill_each_once(scene: Scene) -> None:
    for name in ("core-0", "publish", "core-1", "record"):
        scene.between(0.3, 1.0)
        scene.stack.workers[name].send(signal.SIGKILL)
    scene.stack.wait(0.5)


def empty_the_view(scene: Scene) -> None:
    scene.stack.wait(2)
    scene.stack.workers["publish"].send(signal.SIGSTOP)
    scene.stack.kill_server("valkey")
    scene.stack.workers["publish"].send(signal.SIGCONT)
    scene.probe()


ROWS = (
    Row(
        "test-kill",
        "every process killed once, a tenth bad, a tenth doubled",
        kill_each_once,
        Mix(bad_share=0.1, duplicate_share=0.1),
    ),
    Row("test-valkey", "Valkey killed", empty_the_view),
    # Of the whole table, those that have found most.
    *(row for row in TABLE if row.id == "broker-kill"),
)
LONG = {
    "disk-full-state": "tests/tables/test_store.py::test_a_disk_that_is_full_while_it_is_filled_ends_the_worker",
    "other-schemas": "tests/e2e/test_bad_input.py::test_is_refused_with_its_reason_and_the_next_good_event_goes_through",
    "other-sizes": "tests/e2e/test_bad_input.py::test_five_megabytes_in_one_message_are_refused_by_the_broker",
    "late-write-unseen": "tests/e2e/test_zombie.py::test_the_owner_puts_its_own_row_behind_an_older_one",
    "net-lost-replies": "tests/faults/test_faults.py::test_a_fault_breaks_no_invariant[broker-kill]",
}


@pytest.mark.parametrize(
    "row",
    [
        *(pytest.param(row, id=row.id) for row in ROWS),
        *(pytest.param(row, id=row.id, marks=pytest.mark.long(LONG[row.id])) for row in TABLE if row.id in LONG),
    ],
)
def test_a_fault_breaks_no_invariant(scenery: tuple[Stack, Oracle], row: Row) -> None:
    stack, oracle = scenery
    result = run_row(row, stack, oracle, seed=SEED)
    if result.not_here:
        pytest.skip(result.not_here)
    assert result.broken == {}
    assert (result.lost, result.doubled) == (0, 0)
    assert result.events > 0 and result.recovery_s is not None


def test_the_oracle_finds_what_is_missing_in_every_place(scenery: tuple[Stack, Oracle]) -> None:
    stack, oracle = scenery
    row = Row("test-planted", "nothing", lambda scene: scene.stack.wait(2))
    assert run_row(row, stack, oracle, seed=SEED).broken == {}
    users = (f"s{SEED}-{row.id}-u{number}" for number in range(40))
    user, whose = next((u, w) for u in users if (w := stack.running.pseudonym(u)) in oracle.rows)
    standing, key = oracle.rows[whose], (oracle.home[whose], whose.encode())
    ledger = Ledger()
    ledger.acknowledged["signals", 0, 10**9] = Sent("never", user, "task")
    ledger.acknowledged["signals", 0, 10**9 + 1] = Sent("refused", user, "bad", reason="no-frame")
    ledger.acknowledged["reactions", 0, 10**9] = Sent("done", user, "DONE", decision_id="none")
    place = next(iter(oracle.sources))
    ledger.acknowledged[place] = Sent("late", user, "task")
    oracle.out_of_order.add(place)
    oracle.greatest[key] = (standing.journal_offset - 1, oracle.greatest[key][1][:-1])
    found = Findings()
    oracle.durable(found)
    oracle.greatest[key] = (standing.journal_offset, b"")
    # In the fold as well: the changelog is read again below, as a worker with an empty disk would.
    standing.now_ms += 1
    oracle.decisions["never-made"] = b""
    oracle.tips[whose].journal.offset += 1
    oracle.check(found, ledger, [user], rebuilt=True)
    assert set(found.broken) >= {"I1", "I2", "I3", "I4", "I5", "I8"}
    assert found.lost >= 4


def test_of_records_that_wait_for_a_stopped_broker_no_later_one_overtakes_one_that_failed(
    scenery: tuple[Stack, Oracle],
) -> None:
    """Else a row takes the later one, and skips the earlier one as taken when it is read again."""
    stack, _ = scenery
    bootstrap, topic = stack.running.cluster.bootstrap, "overtake"
    create_topic(bootstrap, topic, partitions=1)

    async def body() -> None:
        producer = Producer(Cluster(bootstrap), delivery_timeout_ms=3_000)
        await producer.produce(topic, key=None, value=b"first", partition=0)
        pid = stack.signal_server("kafka", signal.SIGSTOP)
        try:
            # More than are in flight at once, so that some wait; then more, too young to fail with them.
            for start in (0, 40):
                for number in range(start, start + 40):
                    producer.produce(topic, key=None, value=b"%d" % number, partition=0)
                    await asyncio.sleep(0.01)
                await asyncio.sleep(1.8)
        finally:
            os.kill(pid, signal.SIGCONT)
        await producer.close()
        assert producer.failure is not None

    asyncio.run(body())
    assert _numbers(bootstrap, topic) == list(range(len(_numbers(bootstrap, topic))))


def test_nor_in_a_process_that_was_stopped_while_they_waited(scenery: tuple[Stack, Oracle]) -> None:
    """A client that gives up one record after the other when it wakes sends those between before we hear of it: librdkafka does."""
    stack, _ = scenery
    bootstrap, topic = stack.running.cluster.bootstrap, "overtake-stopped"
    create_topic(bootstrap, topic, partitions=1)
    command = (sys.executable, "-m", "tests.faults.writer", bootstrap, topic)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.readline() == "waiting\n"
        pid = stack.signal_server("kafka", signal.SIGSTOP)
        try:
            writer.stdin.write("go\n")
            writer.stdin.flush()
            os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
            time.sleep(0.8)  # the first are too old now, the last are not
        finally:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)  # the replies to what is in flight wait for it
        writer.send_signal(signal.SIGCONT)
        said = writer.stdout.read()
    assert said in ("failed\n", "delivered\n")
    assert _numbers(bootstrap, topic) == list(range(len(_numbers(bootstrap, topic))))


def _numbers(bootstrap: str, topic: str) -> list[int]:
    with closing(Log(bootstrap, "")) as log:
        return [int(line.value or b"0") for line in log.news(topic) if line.value != b"first"]
