"""Files as people and their tools leave them, watched on a whole stack: what the person's row then says.

One look of `oo watch` at a time, with the product's own patience, so that nothing has to be waited for but the row.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from outside import client, known, settled, settled_tip

from connectors.sources.file import parse_file
from connectors.sources.registry import FILES
from connectors.watch import Pace, Watch
from deploy.imports import Connection, MemoryFile, life_of
from deploy.stack.running import RunningStack
from oo.v1.signal_pb2 import Signal

PATIENT = Pace()
AT_ONCE = Pace(absent_s=0, emptied_s=0)
BERLIN = ZoneInfo("Europe/Berlin")


def person(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def look(stack: RunningStack, path: Path, user: str, text: str, *, pace: Pace = PATIENT) -> int:
    """Write the file, have `oo watch` look at it once, and wait until all of it is in the row. Returns what was sent."""
    path.write_text(text)

    async def once() -> int:
        memory = MemoryFile.of_file(path, stack=stack, life=await life_of(stack, user), user_id=user)
        memory.begin_watch(path)
        async with Connection(stack) as connection:

            async def send(signals: Sequence[Signal]) -> None:
                await connection.send(signals, event_source=path.name)

            watch = Watch(
                path=path,
                user_id=user,
                memory=memory.load(),
                parse=lambda snapshot, now: parse_file(FILES, snapshot, path=path, user_id=user, zone=BERLIN, now=now),
                send=send,
                remember=memory.save,
                now=lambda: datetime.now(UTC),
                pace=pace,
                held_elsewhere=memory.held_elsewhere,
            )
            report = await watch.look()
            assert not report.trouble
            return len(report.sent)

    sent = asyncio.run(once())
    settled(stack)
    return sent


def tasks(stack: RunningStack, user: str) -> dict[str, dict[str, Any]]:
    """The open tasks, by title."""
    return {task["title"]: task for task in known(stack, user)["tasks"]}


def react(stack: RunningStack, user: str, reaction: str) -> str:
    """React to the tip that stands; returns the title of its task."""
    with client(stack, user) as http:
        tip = settled_tip(stack, http)
        body = {"decision_id": tip["decision_id"], "reaction": reaction}
        if reaction == "snooze":
            body["snooze_until"] = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        assert http.post("/v1/feedback", json=body).status_code == 202
    settled(stack)
    return str(tip["title"])


def test_a_list_that_a_tool_empties_and_fills_again_takes_back_nothing_that_the_person_said(
    stack: RunningStack, tmp_path: Path
) -> None:
    user, path = person("emptied"), tmp_path / "todo.txt"
    text = "Buy stamps\nCall mum\nWater the plants\n"
    look(stack, path, user, text)
    snoozed, done = react(stack, user, "snooze"), react(stack, user, "done")
    before = tasks(stack, user)
    assert done not in before
    # For the seconds that a tool takes, nobody believes it.
    assert look(stack, path, user, "") == 0
    assert look(stack, path, user, text) == 0
    assert tasks(stack, user) == before
    # Where it was believed, what was done stays done.
    assert look(stack, path, user, "", pace=AT_ONCE) > 0
    look(stack, path, user, text)
    assert tasks(stack, user).keys() == before.keys()
    assert snoozed in before


def test_a_task_stays_snoozed_when_tools_write_into_its_line_and_a_context_goes(
    stack: RunningStack, tmp_path: Path
) -> None:
    user, path = person("tags"), tmp_path / "todo.txt"
    look(stack, path, user, "Write report pm:2\nDraft talk tmr:on spent:10m\nBuild shed id:1\nBuy stamps @town\n")
    react(stack, user, "snooze")
    before = known(stack, user)["tasks"]
    look(stack, path, user, "Write report pm:1\nDraft talk tmr:off spent:5m\nBuild shed\nBuy stamps\n")
    after = known(stack, user)["tasks"]

    def kept(tasks: list[dict[str, Any]]) -> list[tuple[str, int]]:
        return sorted((task["external_id"], int(task.get("quiet_until_ms", 0))) for task in tasks)

    assert kept(after) == kept(before)
    assert sum(until_ms > 0 for _, until_ms in kept(after)) == 1


def test_of_three_hundred_lines_what_did_not_fit_comes_in_once_a_hundred_are_ticked_off(
    stack: RunningStack, tmp_path: Path
) -> None:
    user, path = person("many"), tmp_path / "todo.txt"
    lines = [f"Read book number {number}" for number in range(300)]
    look(stack, path, user, "\n".join(lines))
    assert len(tasks(stack, user)) == 256
    look(stack, path, user, "\n".join([f"x {line}" for line in lines[:100]] + lines[100:]))
    assert sorted(tasks(stack, user)) == sorted(lines[100:])


def test_a_watched_meeting_follows_its_sequence_and_then_its_last_change(stack: RunningStack, tmp_path: Path) -> None:
    user, path = person("meeting"), tmp_path / "calendar.ics"
    day = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y%m%d")

    def calendar(hour: int, sequence: int, minute: int) -> str:
        stamp = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y%m%dT%H") + f"{minute:02}00Z"
        lines = f"UID:a\nSUMMARY:Talk\nSEQUENCE:{sequence}\nDTSTAMP:{stamp}\nLAST-MODIFIED:{stamp}"
        return f"BEGIN:VEVENT\n{lines}\nDTSTART:{day}T{hour:02}0000Z\nDURATION:PT1H\nEND:VEVENT\n"

    def read(*events: str) -> list[str]:
        look(stack, path, user, "BEGIN:VCALENDAR\n" + "".join(events) + "END:VCALENDAR\n")
        found = known(stack, user)["events"]
        assert len(found) == 1
        return [datetime.fromtimestamp(int(one["start_ms"]) / 1000, UTC).strftime("%H") for one in found]

    assert read(calendar(9, 0, 0)) == ["09"]
    assert read(calendar(10, 1, 0), calendar(9, 0, 30)) == ["10"]
    assert read(calendar(10, 1, 0), calendar(11, 1, 40)) == ["11"]
    assert read(calendar(12, 2, 0)) == ["12"]
