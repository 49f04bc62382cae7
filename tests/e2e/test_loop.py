from __future__ import annotations

import json
import uuid

import pytest
from command import called, oo
from outside import client, eventually, known, samples, send, settled, settled_tip, state_of, task, tip, verify

from deploy.stack.running import RunningStack


def someone(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_a_json_signal_becomes_a_tip_and_a_reaction_brings_another(stack: RunningStack) -> None:
    user = someone("ada")
    send(stack, "signals", task(user, "1", "Call the dentist", priority=1), task(user, "2", "Water the plants"))
    with client(stack, user) as http:
        first = settled_tip(stack, http)
        assert first["why"]
        assert (
            http.post("/v1/feedback", json={"decision_id": first["decision_id"], "reaction": "seen"}).status_code == 202
        )
        done = {"decision_id": first["decision_id"], "reaction": "done"}
        assert http.post("/v1/feedback", json=done).status_code == 202
        at_once = tip(http)
        assert at_once is None or at_once["decision_id"] != first["decision_id"]
        second = eventually(lambda: tip(http))
        assert second is not None and second["title"] != first["title"]


def test_a_reaction_written_to_kafka_brings_another_tip(stack: RunningStack) -> None:
    user = someone("bob")
    send(stack, "signals", task(user, "1", "Call the dentist"), task(user, "2", "Water the plants"))
    with client(stack, user) as http:
        first = settled_tip(stack, http)
        reaction = {"user_id": user, "decision_id": first["decision_id"], "kind": "DONE", "event_id": "r1"}
        send(stack, "reactions", reaction)
        second = eventually(lambda: tip(http), lambda t: t is not None and t["decision_id"] != first["decision_id"])
        assert second is not None and second["title"] != first["title"]


def test_import_tip_react_and_a_different_tip_on_the_command_line(stack: RunningStack) -> None:
    user, state = someone("cleo"), state_of(stack)
    files = [str(samples() / "todo.txt"), str(samples() / "google.ics")]
    imported = oo("import", *files, "--user", user, state).stdout
    assert "tasks" in imported
    with client(stack, user) as http:
        settled_tip(stack, http)
    first = json.loads(oo("tip", "--user", user, "--json", "--wait", "20", state).stdout)
    assert first["title"] and first["why"]
    oo("react", "done", "--user", user, "--tip", first["decision_id"], state)
    with client(stack, user) as http:
        settled_tip(stack, http)
    second = json.loads(oo("tip", "--user", user, "--json", "--wait", "20", state).stdout)
    assert second["title"] != first["title"]
    settled(stack)  # A row is written after its tip.
    row = known(stack, user)
    assert first["title"] not in [one["title"] for one in row["tasks"]]
    assert row["reactions"]["1h"]["done"] == 1
    assert row["reactions"]["28d"]["by_kind"]["task"] == {"done": 1, "snooze": 0, "dismiss": 0}


def test_importing_again_changes_nothing(stack: RunningStack) -> None:
    user, state = someone("dan"), state_of(stack)
    called("import", str(samples() / "todo.txt"), "--user", user, state)
    settled(stack)
    before = known(stack, user)
    called("import", str(samples() / "todo.txt"), "--user", user, state)
    settled(stack)
    after = known(stack, user)
    assert [t["external_id"] for t in before["tasks"]] == [t["external_id"] for t in after["tasks"]]
    assert before["current_decision_id"] == after["current_decision_id"]


@pytest.mark.last
def test_what_is_live_equals_the_fold(stack: RunningStack) -> None:
    """After all that the other tests did to this stack."""
    found = verify(stack)
    assert found["differences"] == 0, found["shown"]
    assert found["decisions"] > 0
    assert found["vectors"] > found["decisions"]
    assert found["tips"] > 0
