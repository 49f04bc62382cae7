"""`oo verify` on a running stack: what it must find, and what it must pass over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from command import called, oo
from outside import (
    client,
    core_pid,
    eventually,
    letters,
    send,
    settled,
    settled_tip,
    state_of,
    task,
    verify,
    worker_pid,
)
from valkey import Valkey

from agents.record import trim
from connectors.postgres.sink import Sink
from deploy.cut import cut
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2
from streams.partitioner import partition_of
from streams.sealing import opened, seal
from streams.topics import PARTITIONS


def test_a_decision_changed_in_postgresql_and_a_tip_gone_from_valkey_are_found(stack: RunningStack) -> None:
    user = f"torn-{uuid.uuid4().hex[:8]}"
    whose = stack.pseudonym(user)
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with client(stack, user) as http:
        decision_id = settled_tip(stack, http)["decision_id"]
    with (
        psycopg.connect(stack.recommender_dsn, autocommit=True) as database,
        Valkey.from_url(stack.as_admin.valkey_url) as valkey,
    ):
        where = "WHERE decision_id = %s"
        (message,) = database.execute(f"SELECT message FROM recommender.decisions {where}", [decision_id]).fetchone()
        keys = asyncio.run(read_keys(stack.cluster, stack.kek_dir))
        other = opened(decision_pb2.Decision.FromString(message), whose=whose.encode(), keys=keys)
        other.title = "Something else"
        change = f"UPDATE recommender.decisions SET message = %s {where}"
        (key,) = [key for key in valkey.scan_iter("*") if whose.encode() in key and valkey.type(key) == b"hash"]
        tip = valkey.dump(key)
        database.execute(change, [seal(other, whose=whose.encode(), keys=keys).SerializeToString(), decision_id])
        valkey.delete(key)
        try:
            with people_writing(stack):
                found = verify(stack)
        finally:
            database.execute(change, [message, decision_id])
            valkey.restore(key, 0, tip, replace=True)
    assert found["differences"] == 2
    assert sorted(found["shown"]) == [
        f"decision {decision_id}: not the same in PostgreSQL and in the fold",
        f"tip of {whose}: in the fold, missing in Valkey",
    ]


@pytest.mark.long(
    "tests/e2e/test_loop.py::test_what_is_live_equals_the_fold",
    "tests/faults/test_faults.py::test_a_fault_breaks_no_invariant[test-kill]",
)
def test_it_finds_nothing_while_people_write_and_a_worker_dies_and_comes_back(stack: RunningStack) -> None:
    with people_writing(stack) as sent:
        found = verify(stack)
        before = len(sent)
        os.kill(core_pid(stack), signal.SIGKILL)
        again = verify(stack)
        assert len(sent) > before, "they wrote on meanwhile"
    assert found["differences"] == again["differences"] == 0, (found["shown"], again["shown"])
    assert sum(again["cut"].values()) > sum(found["cut"].values())
    # What they wrote behind a cut is below the next one; a partition is a verification of its own.
    number = max(again["cut"], key=again["cut"].get)
    one = json.loads(called("verify", "--json", f"--partitions={number}", state_of(stack)).stdout)
    assert list(one["cut"]) == [number]
    assert one["cut"][number] >= again["cut"][number]
    assert one["differences"] == 0


def test_a_partition_in_turn_is_verified_and_its_differences_stay_in_sight_until_they_are_gone(
    stack: RunningStack,
) -> None:
    stack.folder.verified_file.unlink(missing_ok=True)
    names = (f"turn-{number}" for number in range(1000))
    user = next(one for one in names if partition_of(stack.pseudonym(one).encode(), PARTITIONS) == 0)
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with client(stack, user) as http:
        decision_id = settled_tip(stack, http)["decision_id"]
    settled(stack)
    with psycopg.connect(stack.recommender_dsn, autocommit=True) as database:
        where = "WHERE decision_id = %s"
        (offset,) = database.execute(
            f"SELECT journal_offset FROM recommender.decisions {where}", [decision_id]
        ).fetchone()
        move = f"UPDATE recommender.decisions SET journal_offset = %s {where}"
        database.execute(move, [offset + 1_000_000, decision_id])
        try:
            done = oo("verify", "--in-turn", "--json", state_of(stack), check=False)
        finally:
            database.execute(move, [offset, decision_id])
    found = json.loads(done.stdout)
    assert (done.returncode, found["partition"], found["differences"], found["sound"]) == (1, 0, 1, 0)
    what = f"decision {decision_id}: in the fold, missing in PostgreSQL"
    assert found["shown"] == [what]
    status = json.loads(called("status", "--json", state_of(stack)).stdout)
    assert status["verified"]["0"]["shown"] == [what]
    assert what in called("status", state_of(stack)).stdout
    assert 'oo_verify_differences{partition="0"} 1.0' in httpx.get(f"{stack.edge_url}/metrics").text
    # It is the others' turn first.
    assert json.loads(called("verify", "--in-turn", "--json", state_of(stack)).stdout)["partition"] == 1
    stack.folder.verified_file.unlink()
    again = json.loads(called("verify", "--in-turn", "--json", state_of(stack)).stdout)
    assert (again["partition"], again["differences"]) == (0, 0)
    assert again["sound"] > offset


@contextmanager
def people_writing(stack: RunningStack) -> Iterator[list[int]]:
    """Some fifty signals a second, of many people, until this ends; gives how many each turn sent."""
    people, sent, enough = [f"busy-{uuid.uuid4().hex[:8]}" for _ in range(20)], list[int](), threading.Event()

    def write() -> None:
        while not enough.wait(0.1):
            turn = len(sent)
            send(stack, "signals", *(task(user, f"{turn % 7}", f"Task {turn}") for user in people[turn % 4 :: 4]))
            sent.append(5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield sent
    finally:
        enough.set()
        writer.join()


def test_what_is_no_journal_record_becomes_a_letter_and_no_difference(stack: RunningStack) -> None:
    user = f"hand-{uuid.uuid4().hex[:8]}"
    send(stack, "journal", b"written by a stranger's hand", headers=[])
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with client(stack, user) as http:
        settled_tip(stack, http)
    eventually(lambda: [one for one in letters(stack) if one["reason"] == "not-journal"])


@pytest.mark.long(
    "tests/e2e/test_verify.py::test_nothing_is_cut_that_the_door_history_and_the_served_tips_do_not_have_yet[core]"
)
def test_it_waits_for_what_the_door_has_not_taken_yet(stack: RunningStack) -> None:
    """Also as a person runs it. A signal that Kafka has acknowledged belongs to what is compared, also while no worker is awake to take it."""
    before, user = settled(stack), f"door-{uuid.uuid4().hex[:8]}"
    with asleep(stack, "core"):
        send(stack, "signals", task(user, "1", "Call the dentist"))
        with pytest.raises(subprocess.TimeoutExpired):
            oo("verify", "--json", state_of(stack), timeout_s=6)
    assert verify(stack)["records"] > before


@pytest.mark.parametrize("process", ["core", "record", "publish"])
def test_nothing_is_cut_that_the_door_history_and_the_served_tips_do_not_have_yet(
    stack: RunningStack, process: str
) -> None:
    user = f"late-{uuid.uuid4().hex[:8]}"
    settled(stack)
    with asleep(stack, process):
        send(stack, "signals", task(user, "1", "Call the dentist"))
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(cut(stack.cluster), 3))
    assert sum(asyncio.run(cut(stack.cluster)).values()) > 0


@contextmanager
def asleep(stack: RunningStack, process: str) -> Iterator[None]:
    """A worker of this kind takes nothing until this ends."""
    pid = worker_pid(stack, process)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.long(
    "tests/agents/test_row_snapshots.py::test_what_is_put_away_is_what_a_fold_gives_and_what_it_stands_for_may_leave_the_journal"
)
def test_rows_are_put_away_verified_and_folded_from_on_and_nothing_young_leaves_the_journal(
    stack: RunningStack,
) -> None:
    user = f"cut-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with client(stack, user) as http:
        settled_tip(stack, http)
    settled(stack)
    called("snapshots", "make", state_of(stack))
    tended = json.loads(oo("snapshots", "tend", "--json", state_of(stack)).stdout)
    assert tended["journal_begins"] == {}
    assert {one["why_not"] for one in tended["verified"]} == {""}
    listed = json.loads(called("snapshots", "--json", state_of(stack)).stdout)
    assert listed
    assert all(one["verified"] for one in listed)
    send(stack, "signals", task(user, "2", "Water the plants"))
    oldest_ms = asyncio.run(trimmed(stack))
    records = settled(stack)
    begun = json.loads(called("verify", "--from-snapshot", "--json", state_of(stack)).stdout)
    assert begun["differences"] == 0
    assert begun["starts"] == {str(one["partition"]): one["offset"] + 1 for one in listed}
    assert 0 < begun["records"] < records
    with psycopg.connect(stack.recommender_dsn) as database:
        assert database.execute("SELECT min(decided_ms) FROM recommender.decisions").fetchone()[0] > oldest_ms


async def trimmed(stack: RunningStack) -> int:
    """PostgreSQL's oldest decision is of before what is kept; returns its time."""
    with psycopg.connect(stack.recommender_dsn) as database:
        query = "SELECT min(decided_ms), max(decided_ms) FROM recommender.decisions"
        oldest_ms, newest_ms = map(int, database.execute(query).fetchone() or ())
    async with Sink(stack.recommender_dsn) as sink:
        await trim(sink, history_ms=newest_ms - oldest_ms - 1, now_ms=newest_ms)
    return oldest_ms
