"""Our processes as forks of one that has everything imported: who ends with whom, and where the time of a start goes."""

from __future__ import annotations

import re
import uuid
from typing import Any

import psutil
import pytest
from command import kill
from outside import client, eventually, send, task, tip

from deploy.stack import forks
from deploy.stack.running import RunningStack

OURS = ("core-0", "publish", "record", "shadow", "edge")

pytestmark = pytest.mark.skipif(not forks.supported(), reason="needs Linux 5.3")


def parts(stack: RunningStack) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = (stack.folder.read() or {})["parts"]
    return found


def ready_anew(stack: RunningStack, part: str, before: int) -> bool:
    now = parts(stack)[part]
    return bool(now["ready"]) and now["pid"] != before


def test_the_preloaded_process_has_one_thread_and_ends_nothing_with_it(stack: RunningStack) -> None:
    eventually(lambda: all(part["ready"] for part in parts(stack).values()))
    before = {name: part["pid"] for name, part in parts(stack).items()}
    assert psutil.Process(before["preloaded"]).num_threads() == 1
    kill(before["preloaded"])
    eventually(lambda: ready_anew(stack, "preloaded", before["preloaded"]))
    assert {name: parts(stack)[name]["pid"] for name in OURS} == {name: before[name] for name in OURS}


def test_a_worker_that_is_killed_is_forked_again_and_says_where_the_time_of_its_start_went(stack: RunningStack) -> None:
    eventually(lambda: all(part["ready"] for part in parts(stack).values()))
    before, supervisor = parts(stack)["core-0"]["pid"], (stack.folder.read() or {})["supervisor"]["pid"]
    kill(before)
    eventually(lambda: ready_anew(stack, "core-0", before))
    core = psutil.Process(parts(stack)["core-0"]["pid"])
    assert core.ppid() == supervisor
    assert core.cmdline()[1:4] == ["-m", "agents", "core"]
    user = f"restart-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(user, "1", "Go on"))
    with client(stack, user) as http:
        eventually(lambda: tip(http))
    log = (stack.folder.logs / "core-0.log").read_text()
    told = re.findall(r"start\.part part=(\S+) .*imported=(\d+)", log[log.rindex("part=imports") - 20 :])
    wanted = ["imports", "kafka", "topics", "schemas", "versions", "champion", "erasures", "keys", "parts", "group"]
    assert [part for part, _ in told][: len(wanted)] == wanted
    # What is imported after the fork is paid at every start, and by each process for itself.
    assert sum(int(imported) for _, imported in told) < 20, told
