"""What a service posts to a person's own hook, signed: through the edge and the workers, once."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.serving.auth.elsewhere import There
from tests.serving.edges import problem


@dataclass(slots=True)
class Hook:
    """A person's, and who posts to it."""

    url: str
    connection_id: str
    secret: str = field(repr=False)

    def post(self, title: str, *, name: str = "", ago: timedelta = timedelta(), **changes: Any) -> httpx.Response:
        """`changes`: of what is sent once it was signed."""
        when = datetime.now(UTC) - ago
        body = json.dumps({"event_id": title, "task_upserted": {"external_id": title, "title": title}})
        name = name or secrets.token_hex(8)
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(name, when, body),
        }
        headers |= changes.get("headers", {})
        return httpx.post(self.url, content=changes.get("body", body), headers=headers, timeout=20, trust_env=False)


def hook(there: There, browser: httpx.Client) -> Hook:
    made = browser.post("/v1/connections", json={"source": "hook"})
    assert made.status_code == 201, made.text
    one = made.json()
    assert one["hook"] == f"{there.edge.url}/v1/hooks/{one['connection_id']}"
    return Hook(one["hook"], one["connection_id"], one["secrets"]["secret"])


def waiting(there: There) -> int:
    with there.database.admin() as admin:
        row = admin.execute("SELECT count(*) FROM integrations.posted").fetchone()
    assert row is not None
    return int(row[0])


def test_only_what_its_secret_signed_just_now_is_taken(there: There) -> None:
    with there.person("hooked") as browser:
        mine, other = hook(there, browser), hook(there, browser)
        stolen = Hook(mine.url, mine.connection_id, other.secret)
        assert problem(stolen.post("Forged"), 401) == "bad-signature"
        assert problem(mine.post("Forged", headers={"webhook-signature": "v1,AAAA"}), 401) == "bad-signature"
        assert problem(mine.post("Forged", headers={"webhook-id": "another"}), 401) == "bad-signature"
        forged = json.dumps({"task_upserted": {"external_id": "x", "title": "Forged"}})
        assert problem(mine.post("Signed", body=forged), 401) == "bad-signature"
        assert problem(mine.post("Old", ago=timedelta(seconds=310)), 400) == "too-old"
        assert problem(mine.post("Early", ago=-timedelta(seconds=310)), 400) == "too-old"
        assert problem(mine.post("Form", headers={"content-type": "text/plain"}), 415) == "unsupported-media-type"
        assert waiting(there) == 0
        assert mine.post("Signed").status_code == 202
        there.worker()
        there.until_told(mine.connection_id, "Signed")
        assert waiting(there) == 0
        browser.patch(f"/v1/connections/{mine.connection_id}", json={"paused": True}).raise_for_status()
        assert problem(mine.post("Paused"), 429) == "not-now"


KILLED_ELSEWHERE = pytest.mark.long(
    "tests/serving/auth/test_posted_hooks.py::test_what_was_taken_is_told_once_through_a_worker_killed_on_its_way_and_so_is_what_comes_twice[BEFORE kept]"
)


@pytest.mark.parametrize(
    "killed",
    [
        "BEFORE kept",
        *(pytest.param(one, marks=KILLED_ELSEWHERE) for one in ("AFTER claimed", "AFTER sent", "BEFORE released")),
    ],
)
def test_what_was_taken_is_told_once_through_a_worker_killed_on_its_way_and_so_is_what_comes_twice(
    there: There, killed: str
) -> None:
    when, step = killed.split()
    with there.person("killed") as browser:
        mine = hook(there, browser)
        assert [mine.post("Buy milk", name="msg_1").status_code for _ in range(2)] == [202, 202]
        first = there.worker(module="tests.agents.killed", **{f"KILLED_{when}": step})
        assert first.wait() == -9, first.log()
        there.worker()
        there.until_told(mine.connection_id, "Buy milk")
        assert mine.post("Buy bread", name="msg_1").status_code == 202
        assert mine.post("Call mum").status_code == 202
        there.until_told(mine.connection_id, "Buy milk", "Call mum")
        there.until(lambda: waiting(there) == 0)
    assert there.told(mine.connection_id).counted == 2


def test_all_that_waited_while_nobody_read_is_read_and_not_the_first_of_it_alone(there: There) -> None:
    with there.person("waits") as browser:
        mine = hook(there, browser)
        titles = [f"Task {number}" for number in range(45)]
        assert {mine.post(title).status_code for title in titles} == {202}
        there.worker()
        there.until_told(mine.connection_id, *titles)
    assert there.told(mine.connection_id).counted == 45
