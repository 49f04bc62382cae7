"""A thousand letters of five kinds: listed, repaired and sent again, with the process that sends them killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, called
from outside import eventually, known, send, settled, state_of, task

from deploy.stack.running import RunningStack
from streams.reader import end_offsets, read_partition
from streams.record import Record
from tests.patience import PATIENCE_S

EACH = 200
PEOPLE = 2
JSON = [("content-type", b"application/json")]
ROWS = 256
"""The most tasks that a row holds."""


def refuse(stack: RunningStack, run: str) -> None:
    """Write what the door cannot take, of two people for each kind."""
    ahead = (datetime.now(UTC) + timedelta(days=30)).isoformat()

    def tasks(kind: str, **fields: Any) -> list[dict[str, Any]]:
        return [task(f"{run}-{kind}-{n % PEOPLE}", str(n), f"{kind} {n}", **fields) for n in range(EACH)]

    send(stack, "signals", *({**one, "colour": "red"} for one in tasks("bad-json")))
    send(stack, "signals", *tasks("invalid", priority=9))
    send(stack, "signals", *({**one, "event_time": ahead} for one in tasks("time-ahead")))
    send(stack, "signals", *tasks("no-frame"), headers=[("x-trace", b"kept")], key=run)
    full = (task(f"{run}-full", str(n), f"Task {n}", priority=1) for n in range(ROWS + EACH))
    send(stack, "signals", *full)


def listed(stack: RunningStack, *options: str) -> list[dict[str, Any]]:
    told = called("dead-letters", "list", "--json", "--limit=100000", *options, state_of(stack)).stdout
    found: list[dict[str, Any]] = json.loads(told)
    return found


def repaired(letter: dict[str, Any], run: str, numbers: Counter[str]) -> dict[str, Any]:
    """What an operator's own program makes of it."""
    reason = letter["reason"]
    number = numbers[reason]
    numbers[reason] += 1
    return {"id": letter["id"], "message": task(f"{run}-{reason}-{number % PEOPLE}", str(number), f"Mended {number}")}


def again(stack: RunningStack, since: dict[int, int]) -> list[Record]:
    """Every record of the door's topic that was sent again since."""

    async def read() -> list[Record]:
        name = stack.cluster.name("signals")
        return [
            record
            for number, start in since.items()
            async for records in read_partition(stack.cluster, name, number, start=start)
            for record in records
            if "oo_redriven" in dict(record.headers)
        ]

    return asyncio.run(read())


def killed_in_the_middle(stack: RunningStack, *arguments: str) -> None:
    """Run the command until some of it has been sent, then kill it as the kernel does."""
    ends = asyncio.run(end_offsets(stack.cluster, stack.cluster.name("signals")))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}
    command = (
        sys.executable,
        "-m",
        "deploy.cli",
        "dead-letters",
        "redrive",
        "--as=redriver",
        *arguments,
        state_of(stack),
    )
    child = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + PATIENCE_S
        while asyncio.run(end_offsets(stack.cluster, stack.cluster.name("signals"))) == ends:
            assert child.poll() is None and time.monotonic() < until_s
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.long(
    "tests/e2e/test_redriving.py::test_what_fails_again_is_open_itself_and_names_its_first_failure_and_sending_again_twice_needs_asking",
    "tests/e2e/test_outsiders.py::test_a_letter_that_is_redriven_twice_counts_once",
)
def test_a_thousand_letters_of_five_kinds_are_repaired_and_sent_again_each_once_though_the_sender_is_killed(
    stack: RunningStack, tmp_path: Path
) -> None:
    run, since = f"k{uuid.uuid4().hex[:8]}", datetime.now(UTC).isoformat()
    kinds = ("bad-json", "invalid", "time-ahead", "no-frame", "backlog-full")
    refuse(stack, run)
    settled(stack)
    now = ("--since", since)
    eventually(lambda: len(listed(stack, *now)), lambda found: found == 5 * EACH)
    counts = json.loads(called("dead-letters", "counts", "--by=hour", "--json", *now, state_of(stack)).stdout)
    assert {one["reason"]: (one["letters"], one["open"]) for one in counts["reasons"]} == dict.fromkeys(
        kinds, (EACH, EACH)
    )
    assert sum(sum(step["reasons"].values()) for step in counts["over_time"]) == 5 * EACH
    for user, of in ((f"{run}-invalid-1", EACH // PEOPLE), (f"{run}-full", EACH), ("nobody", 0)):
        assert len(listed(stack, *now, "--user", user)) == of
    assert len(listed(stack, *now, "--reason=invalid", "--topic=signals", "--partition=0")) < EACH

    # Four kinds by hand, one by making room.
    numbers, file = Counter[str](), tmp_path / "mended.jsonl"
    wrong = [one for kind in kinds[:4] for one in listed(stack, *now, "--reason", kind)]
    file.write_text("\n".join(json.dumps(repaired(one, run, numbers)) for one in wrong))
    room = ({"external_id": str(n)} for n in range(EACH))
    send(stack, "signals", *({"user_id": f"{run}-full", "source": "test", "task_removed": one} for one in room))
    settled(stack)
    ends = asyncio.run(end_offsets(stack.cluster, stack.cluster.name("signals")))
    planned = json.loads(
        called(
            "dead-letters", "redrive", "--as=redriver", "--edit", str(file), "--dry-run", "--json", state_of(stack)
        ).stdout
    )
    assert {(one["door"], one["edited"]) for one in planned} == {(None, True)}
    assert again(stack, ends) == []

    killed_in_the_middle(stack, "--edit", str(file))
    killed_in_the_middle(stack, "--reason", "backlog-full", *now)
    before = Counter(one["state"] for one in listed(stack, *now))
    assert before["open"] > 0, "it was killed when all of it was sent"
    for options in (("--edit", str(file)), ("--reason", "backlog-full", *now)):
        called("dead-letters", "redrive", "--as=redriver", *options, state_of(stack))
    settled(stack)

    # Nothing was lost, nothing doubled: not even in the topic.
    sent = again(stack, ends)
    assert Counter(dict(one.headers)["oo_redriven"] for one in sent).most_common(1)[0][1] == 1
    assert len(sent) == 5 * EACH
    assert sum(one.key == run.encode() and dict(one.headers)["x-trace"] == b"kept" for one in sent) == EACH
    assert {one["state"] for one in listed(stack, *now)} == {"taken"}
    assert listed(stack, *now, "--open") == []
    for kind in kinds[:4]:
        for person in range(PEOPLE):
            titles = sorted(one["title"] for one in known(stack, f"{run}-{kind}-{person}")["tasks"])
            assert titles == sorted(f"Mended {n}" for n in range(person, EACH, PEOPLE))
    assert len(known(stack, f"{run}-full")["tasks"]) == ROWS
    looks = json.loads(called("audit", "--json", "--limit=100000", state_of(stack)).stdout)
    redriven = Counter(one["letter_id"] for one in looks if one["command"] == "oo dead-letters redrive")
    assert {one["id"] for one in listed(stack, *now)} <= set(redriven)


def test_what_fails_again_is_open_itself_and_names_its_first_failure_and_sending_again_twice_needs_asking(
    stack: RunningStack,
) -> None:
    user, since = f"again-{uuid.uuid4().hex[:8]}", datetime.now(UTC).isoformat()
    send(stack, "signals", *(task(user, str(n), f"Task {n}", priority=1) for n in range(ROWS + 1)))
    send(stack, "signals", task(user, "blank", " "))
    settled(stack)
    mine = ("--since", since, "--user", user)
    first = {one["reason"]: one["id"] for one in listed(stack, *mine)}
    assert set(first) == {"backlog-full", "invalid"}
    called("dead-letters", "redrive", "--as=redriver", *mine, state_of(stack))
    settled(stack)
    found = listed(stack, *mine)
    assert Counter(one["state"] for one in found) == {"failed again": 2, "open": 2}
    assert {one["reason"]: one["first_failure"] for one in found if one["state"] == "open"} == first
    for one in found:
        if one["state"] == "failed again":
            [now] = [later for later in found if later["id"] == one["failed_again"]]
            assert now["reason"] == one["reason"]
    told = called("dead-letters", "redrive", "--as=redriver", first["invalid"], state_of(stack)).stdout
    assert "0 sent again" in told and "failed again" in told and "--again" in told

    # By hand, checked by the door's own rules before it goes.
    [blank] = [one["id"] for one in listed(stack, *mine, "--open", "--reason=invalid")]
    shown = json.loads(called("dead-letters", "show", blank, state_of(stack)).stdout)
    assert shown["place"] == {"path": "task_upserted.title", "says": "is blank"}
    assert shown["decoded"]["message"]["user_id"] == user
