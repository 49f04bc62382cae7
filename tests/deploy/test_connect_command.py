"""`oo connect`, `oo connections` and `oo disconnect` on a whole stack: a calendar is connected and read within seconds, and taken back."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import oo

from deploy.stack.running import RunningStack, open_stack
from tests.agents.calendars import Calendars, calendar, calendars


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
    deadline_s = time.monotonic() + 60
    while json.loads(oo("connections", "--user=ada", "--json", state).stdout)["connections"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.3)
