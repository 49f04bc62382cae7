"""`oo connect`, `oo connections` and `oo disconnect` on a whole stack: a calendar is connected and read within seconds, and taken back; and what is posted to a hook."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from command import called, kill, oo
from standardwebhooks.webhooks import Webhook

from deploy.stack.running import RunningStack, open_stack
from tests.agents.calendars import Calendars, calendar, calendars
from tests.e2e.outside import client, eventually, known, settled_tip
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="oo-people-") as parent:
        state = Path(parent) / "state"
        try:
            oo("up", "--detach", "--people", "--no-demo", f"--state={state}")
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")


@pytest.fixture(scope="module")
def web() -> Iterator[Calendars]:
    with calendars() as served:
        yield served


def test_a_calendar_is_connected_read_listed_and_taken_back_and_its_address_is_shown_nowhere(
    stack: RunningStack, web: Calendars
) -> None:
    state = f"--state={stack.folder.root}"
    url = web.put("/hush.ics", calendar("Dentist", "Choir"))
    begun_s = time.monotonic()
    said = oo("connect", "webcal", "--user=ada", state, stdin=f"{url}\n").stdout
    print(f"connected and read in {time.monotonic() - begun_s:.1f} s")
    assert "2 signals" in said, said
    [one] = json.loads(oo("connections", "--user=ada", "--json", state).stdout)["connections"]
    assert (one["source"], one["state"], one["trouble"]) == ("webcal", "active", "")
    refused = oo("connect", "webcal", "--user=ada", f"--set=url={url}", state, check=False)
    assert refused.returncode == 1
    assert "url is a secret" in refused.stderr
    logs = "".join(path.read_text(errors="replace") for path in stack.folder.logs.glob("*.log"))
    assert "hush.ics" not in said + logs
    assert {"connect", "notify"} <= stack.ports.keys()
    oo("disconnect", one["connection_id"], "--user=ada", state)
    deadline_s = time.monotonic() + PATIENCE_S
    while json.loads(oo("connections", "--user=ada", "--json", state).stdout)["connections"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.3)


def test_what_a_service_posts_is_a_tip_once_through_kills_of_the_edge_and_of_connect(stack: RunningStack) -> None:
    with client(stack, "posted-to") as http:
        made = http.post("/v1/connections", json={"source": "hook"})
        assert made.status_code == 201, made.text
        hook, secret = made.json()["hook"], made.json()["secrets"]["secret"]
        for number in range(9):
            post(hook, secret, f"msg_{number}", task_upserted={"external_id": str(number), "title": f"Posted {number}"})
            if number in (2, 5):
                kill(pid_of(stack, "edge" if number == 2 else "connect"))
        post(hook, secret, "msg_9", task_completed={"external_id": "0"})
        open_tasks = {f"Posted {number}" for number in range(1, 9)}
        eventually(lambda: titles(stack, "posted-to"), lambda found: found == open_tasks)
        # Its sender tries once more what was done since: a name counts once.
        post(hook, secret, "msg_0", task_upserted={"external_id": "0", "title": "Posted 0"})
        post(hook, secret, "msg_10", task_upserted={"external_id": "10", "title": "Posted 10"})
        eventually(lambda: titles(stack, "posted-to"), lambda found: found == open_tasks | {"Posted 10"})
        assert settled_tip(stack, http)["title"] in open_tasks | {"Posted 10"}


def titles(stack: RunningStack, user: str) -> set[str]:
    return {task["title"] for task in known(stack, user)["tasks"]}


def pid_of(stack: RunningStack, part: str) -> int:
    """Of one that runs now."""

    def found() -> int:
        status = json.loads(called("status", "--json", f"--state={stack.folder.root}", check=False).stdout)
        parts = {**status, **{one["id"]: one for one in status["workers"]}}
        return int(parts[part]["pid"] or 0)

    return eventually(found)


def post(hook: str, secret: str, name: str, **signal: dict[str, str]) -> None:
    """As senders do: the same name again, signed anew, until it was taken."""
    body = json.dumps(signal)

    def taken() -> bool:
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(name, now, body),
        }
        try:
            return httpx.post(hook, content=body, headers=headers, timeout=5, trust_env=False).status_code == 202
        except httpx.TransportError:
            return False

    eventually(taken)
