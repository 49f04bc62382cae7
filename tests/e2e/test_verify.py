"""`oo verify` on a running stack: what it must find, and what it must pass over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import uuid

import psycopg
import pytest
from command import called, oo
from outside import client, core_pid, eventually, letters, send, settled, settled_tip, state_of, task, verify
from valkey import Valkey

from agents.record import trim
from connectors.postgres.sink import Sink
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2
from streams.sealing import opened, seal


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
            found = verify(stack)
        finally:
            database.execute(change, [message, decision_id])
            valkey.restore(key, 0, tip, replace=True)
    assert found["differences"] == 2
    assert sorted(found["shown"]) == [
        f"decision {decision_id}: not the same in PostgreSQL and in the fold",
        f"tip of {whose}: in the fold, missing in Valkey",
    ]


def test_what_is_no_journal_record_becomes_a_letter_and_no_difference(stack: RunningStack) -> None:
    user = f"hand-{uuid.uuid4().hex[:8]}"
    send(stack, "journal", b"written by a stranger's hand", headers=[])
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with client(stack, user) as http:
        settled_tip(stack, http)
    eventually(lambda: [one for one in letters(stack) if one["reason"] == "not-journal"])


def test_it_waits_for_what_the_door_has_not_taken_yet(stack: RunningStack) -> None:
    """Also as a person runs it. A signal that Kafka has acknowledged belongs to what is compared, also while no worker is awake to take it."""
    before, user = settled(stack), f"door-{uuid.uuid4().hex[:8]}"
    core = core_pid(stack)
    os.kill(core, signal.SIGSTOP)
    try:
        send(stack, "signals", task(user, "1", "Call the dentist"))
        with pytest.raises(subprocess.TimeoutExpired):
            oo("verify", "--json", state_of(stack), timeout_s=6)
    finally:
        os.kill(core, signal.SIGCONT)
    assert verify(stack)["records"] > before


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
