"""A worker killed in the middle of its work: nothing lost, nothing counted twice."""

from __future__ import annotations

import json
import random
import time
import uuid

import pytest
from command import kill
from outside import client, core_pid, eventually, known, letters, send, settled, task, tip

from deploy.stack.running import RunningStack

SIGNALS = 5_000
USERS = 100
SEED = 3


@pytest.mark.long("tests/faults/test_faults.py::test_a_fault_breaks_no_invariant[test-kill]")
@pytest.mark.crowd
def test_a_worker_killed_three_times_in_5000_signals_loses_and_doubles_nothing(stack: RunningStack) -> None:
    chance = random.Random(SEED)
    run = uuid.uuid4().hex[:8]
    users = [f"kill-{run}-{n}" for n in range(USERS)]
    killed: list[int] = []
    for start in range(0, SIGNALS, SIGNALS // 10):
        numbers = range(start, start + SIGNALS // 10)
        send(stack, "signals", *(task(users[n % USERS], str(n // USERS % 20), f"Task {n}") for n in numbers))
        if start // (SIGNALS // 10) in (2, 5, 8):
            time.sleep(chance.uniform(0.05, 0.5))
            pid = eventually(lambda: core_pid(stack), lambda pid: pid > 0 and pid not in killed)
            kill(pid)
            killed.append(pid)
    assert len(killed) == 3
    settled(stack)
    assert not [one for one in letters(stack) if run in json.dumps(one)]
    for user in chance.sample(users, 5):
        row = known(stack, user)
        last = {int(one["external_id"]): one["title"] for one in row["tasks"]}
        number = users.index(user)
        assert last == {
            e: f"Task {2_000 * 2 + e * USERS + number if e < 10 else 2_000 + e * USERS + number}" for e in range(20)
        }
        with client(stack, user) as http:
            assert tip(http) is not None
