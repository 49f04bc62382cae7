"""What people write stands nowhere behind the door but inside a seal, and all that reads it goes on."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import psycopg
import pytest
from command import called
from outside import client, eventually, known, send, settled, settled_tip, state_of, verify
from valkey import Valkey

from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from streams.frames import Frames
from streams.reader import end_offsets, read_partition
from streams.record import Record
from streams.sealing import OPEN, Sealing

SEALED = ("journal", "rows", "tips", "decisions", "outcomes", "shadows", "keys")


def written(stack: RunningStack, topic: str) -> list[Record]:
    async def read() -> list[Record]:
        name, found = stack.cluster.name(topic), []
        for number in await end_offsets(stack.cluster, name):
            async for records in read_partition(stack.cluster, name, number):
                found += records
        return found

    return asyncio.run(read())


@pytest.fixture(scope="module")
def marked(stack: RunningStack) -> tuple[str, str]:
    """A person all of whose texts hold one word, used through tip, feedback and history."""
    user, word = f"seal-{uuid.uuid4().hex[:8]}", f"zq{uuid.uuid4().hex[:10]}"
    now = "2026-11-28T10:00:00Z"
    task = {
        "external_id": f"id-{word}", "title": f"Call {word}", "notes": f"about {word}", "labels": [word],
        "url": f"https://example.org/{word}", "priority": 1,
    }  # fmt: skip
    event = {"external_id": f"event-{word}", "title": f"Lunch {word}", "start": now, "end": now}
    source = f"src-{word}"
    send(
        stack,
        "signals",
        {"user_id": user, "source": source, "event_id": f"e-{word}", "task_upserted": task},
        {"user_id": user, "source": source, "calendar_event_upserted": event},
        {"user_id": user, "source": source, "task_upserted": {**task, "external_id": "2", "title": f"Walk {word}"}},
    )
    with client(stack, user) as http:
        first = settled_tip(stack, http)
        assert word in first["title"]
        for reaction in ("seen", "done"):
            said = {"decision_id": first["decision_id"], "reaction": reaction}
            assert http.post("/v1/feedback", json=said).status_code == 202
        eventually(lambda: (settled_tip(stack, http) or first)["decision_id"] != first["decision_id"])
        settled(stack)
        past = eventually(lambda: http.get("/v1/tips").json()["items"], lambda items: len(items) >= 2)
        assert any(word in one["title"] for one in past)
    row = known(stack, user)
    assert word in json.dumps(row["tasks"])
    return user, word


@pytest.mark.parametrize("topic", SEALED)
def test_no_topic_behind_the_door_shows_a_persons_words(
    stack: RunningStack, marked: tuple[str, str], topic: str
) -> None:
    user, word = marked
    mine = [
        record for record in written(stack, topic) if (record.key or b"").startswith(stack.pseudonym(user).encode())
    ]

    assert mine
    assert [record for record in mine if word.encode() in (record.value or b"")] == []


def test_what_is_sealed_shows_its_open_fields_and_is_the_persons_to_open(
    stack: RunningStack, marked: tuple[str, str]
) -> None:
    user, frames = stack.pseudonym(marked[0]).encode(), Frames()
    sealing = Sealing(frames, asyncio.run(read_keys(stack.cluster, stack.kek_dir)))
    for topic in ("journal", "tips", "decisions", "outcomes"):
        for record in written(stack, topic):
            if record.key == user:
                outside = frames.unframe(topic, record.value)
                assert {field.name for field, _ in outside.ListFields()} <= {*OPEN[type(outside)], "sealed"}
                inside = sealing.unframe(topic, record.value, whose=user)
                assert all(getattr(inside, name) == getattr(outside, name) for name in OPEN[type(outside)])
                assert not inside.sealed  # type: ignore[attr-defined]


def test_neither_valkey_nor_postgres_nor_a_workers_disk_shows_a_persons_words(
    stack: RunningStack, marked: tuple[str, str]
) -> None:
    user, word = marked
    with Valkey.from_url(stack.valkey_url) as valkey:
        stored = valkey.hgetall(f"oo:tip:{{{stack.pseudonym(user)}}}")
        assert stored[b"tip"]
        assert not [value for value in stored.values() if word.encode() in value]
    with psycopg.connect(stack.recommender_dsn) as connection:
        for table in ("decisions", "tip_scores", "outcomes"):
            with connection.cursor().copy(f"COPY recommender.{table} TO STDOUT (FORMAT binary)") as copy:  # type: ignore[arg-type]
                assert word.encode() not in b"".join(bytes(part) for part in copy), table
    disk = stack.folder.data("core-0") / "rows"
    assert [path for path in _files(disk) if word.encode() in path.read_bytes()] == []
    assert _files(disk)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.long("tests/e2e/test_loop.py::test_what_is_live_equals_the_fold")
def test_a_fold_of_what_is_sealed_finds_no_difference(stack: RunningStack, marked: tuple[str, str]) -> None:
    assert marked
    assert verify(stack)["differences"] == 0


def test_keys_wrapped_anew_while_everything_runs_disturb_nobody(stack: RunningStack, marked: tuple[str, str]) -> None:
    user, _ = marked
    before = {path.name for path in stack.folder.kek_dir.glob("*.key")}
    assert "keys wrapped anew" in called("keys", "rotate", "--as=rotator", state_of(stack)).stdout
    after = {path.name for path in stack.folder.kek_dir.glob("*.key")}
    assert len(after) == 1
    assert not after & before
    someone = f"seal-{uuid.uuid4().hex[:8]}"
    for one in (user, someone):
        send(
            stack, "signals", {"user_id": one, "source": "mine", "task_upserted": {"external_id": "9", "title": "Rest"}}
        )
        with client(stack, one) as http:
            assert settled_tip(stack, http)["title"]
    row = known(stack, user)
    assert "9" in {one["external_id"] for one in row["tasks"]}
