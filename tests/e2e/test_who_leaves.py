"""Somebody with tasks, feedback and history leaves a whole stack while others go on: nothing of them comes back until they do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import psycopg
from command import called
from outside import client, eventually, known, letters, send, settled, settled_tip, state_of, task, verify
from test_follow import watching
from test_sources import tasks
from valkey import Valkey

from connectors.leaving import word_of
from deploy.stack.running import RunningStack


def person(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def recorded(stack: RunningStack, user: str) -> int:
    """Decisions and outcomes of theirs in PostgreSQL."""
    query = "SELECT (SELECT count(*) FROM recommender.decisions WHERE user_id = %s) + (SELECT count(*) FROM recommender.outcomes WHERE user_id = %s)"
    with psycopg.connect(stack.recommender_dsn) as database:
        (count,) = database.execute(query, [stack.pseudonym(user)] * 2).fetchone() or (0,)
    return int(count)


def shadow(stack: RunningStack) -> dict[str, Any]:
    """As `oo status` shows it."""
    shown = json.loads(called("status", "--json", state_of(stack), check=False).stdout)
    return next(worker for worker in shown["workers"] if worker["id"] == "shadow")


def places(stack: RunningStack, *which: str) -> dict[str, bool]:
    """Whether it is gone, by place."""
    said = json.loads(called("privacy", "status", *which, "--json", state_of(stack)).stdout)
    return {one["place"]: one["gone"] for one in said["places"]}


def test_who_leaves_is_gone_from_every_place_and_begins_again_with_nothing(stack: RunningStack, tmp_path: Path) -> None:
    ada, bob, file = person("leaver"), person("stayer"), tmp_path / "todo.txt"
    text = "(A) Call the dentist\n(B) Water the plants\n"
    file.write_text(text)
    called("import", str(file), "--user", bob, state_of(stack))
    redriven = {**task(ada, "9", "Buy a kite"), "nonsense": 1}
    send(stack, "signals", redriven)
    eventually(lambda: [one for one in letters(stack) if one["reason"] == "bad-json"])
    with client(stack, ada) as http, client(stack, bob) as others, watching(stack, file, ada) as watch:
        shown = settled_tip(stack, http)["decision_id"]
        for reaction in ("seen", "done"):
            assert http.post("/v1/feedback", json={"decision_id": shown, "reaction": reaction}).status_code == 202
        theirs = settled_tip(stack, others)
        eventually(lambda: http.get("/v1/tips").json()["items"])
        assert recorded(stack, ada) > 0

        with http.stream("GET", "/v1/tips/stream") as stream:
            lines = stream.iter_lines()
            while next(lines) != "event: tip":
                pass
            question = http.delete("/v1/me")
            assert question.status_code == 409
            receipt = http.delete("/v1/me", params={"confirm": question.json()["confirm"]}).json()["receipt"]
            while next(lines) != "event: none":  # the open page hears of it
                pass
        eventually(lambda: asyncio.run(word_of(stack.cluster, stack.pseudonym(ada))))
        settled(stack)

        # A producer's copy, an open page, a letter that is sent again, a watcher that runs on: nothing makes a row.
        send(stack, "signals", task(ada, "7", "Buy a kite"))
        eventually(lambda: http.post("/v1/signals", json={"source": "x", "activity": {"kind": "y"}}).status_code == 403)
        assert http.post("/v1/feedback", json={"decision_id": shown, "reaction": "done"}).status_code == 403
        called("dead-letters", "redrive", "--as=redriver", "--reason", "bad-json", state_of(stack), check=False)
        file.write_text(text + "Feed the cat\n")
        eventually(lambda: "has left since this watch began" in watch.read_text())
        refused = called("import", str(file), "--user", ada, state_of(stack), check=False)
        assert refused.returncode == 1 and "has left" in refused.stderr
        settled(stack)
        stub = known(stack, ada)
        assert not stub["tasks"] and not stub["pending"] and stub["left"]["receipt"] == receipt
        assert http.get("/v1/tip").status_code == 204
        assert http.get("/v1/tips").json()["items"] == []
        assert recorded(stack, ada) == 0
        with Valkey.from_url(stack.valkey_url) as valkey:
            # Each says nothing but from where on.
            whose = stack.pseudonym(ada)
            kept = {key for key in valkey.scan_iter("*") if whose.encode() in key}
            assert kept == {f"oo:tip:{{{whose}}}".encode(), f"oo:settings:{{{whose}}}".encode()}
        assert settled_tip(stack, others) == theirs, "others are undisturbed"
        found = places(stack, "--receipt", receipt)
        assert found["row"] and found["Valkey"] and found["PostgreSQL"] and not found["oo.journal"]
        assert places(stack, "--user", ada) == found
        assert verify(stack)["differences"] == 0

        # Their key is gone, and a shadow that begins anew goes past what nobody can open.
        assert found["key"]
        before = shadow(stack)["pid"]
        for kept in stack.folder.root.rglob("shadow.sqlite*"):
            kept.unlink()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: shadow(stack)["pid"] not in (None, before) and shadow(stack)["lag"] == 0)

        # Valkey filled again.
        with Valkey.from_url(stack.as_admin.valkey_url) as valkey:
            valkey.flushall()
        eventually(lambda: others.get("/v1/tip").status_code == 200)
        assert http.get("/v1/tip").status_code == 204

        # A new life: an unchanged file is imported whole, and nothing of before is there.
        file.write_text(text)
        called("import", str(file), "--user", ada, "--begin-again", state_of(stack))
        settled(stack)
        assert set(tasks(stack, ada)) == {"Call the dentist", "Water the plants"}
        assert settled_tip(stack, http)["decision_id"] != shown


def test_an_operator_is_asked_again_and_gets_a_receipt(stack: RunningStack, tmp_path: Path) -> None:
    user, file = person("operated"), tmp_path / "todo.txt"
    file.write_text("Call the dentist\n")
    called("import", str(file), "--user", user, state_of(stack))
    assert called("erase", "--user", user, state_of(stack), check=False).returncode == 1
    settled(stack)
    assert known(stack, user)["tasks"]
    said = called("erase", "--user", user, "--yes", state_of(stack)).stdout
    (receipt,) = [line.split()[1] for line in said.splitlines() if line.startswith("receipt")]
    settled(stack)
    assert known(stack, user)["left"]["receipt"] == receipt
    assert called("privacy", "status", "--receipt", receipt, state_of(stack)).stdout
