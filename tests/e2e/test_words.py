"""A person's words, marked in every field that takes text, are found where docs/privacy.md says that they stand, and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from canary import given_out, mark, sightings, words_in, written
from command import called
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from guesses import by_start, found_in, guesses
from outside import client, eventually, letters, send, settled, state_of, tip

from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from deploy.stack.topics import admin
from oo.v1.journal_pb2 import JournalRecord
from streams.frames import Frames
from streams.keys import Keys
from streams.partitioner import partition_of
from streams.reader import end_offsets, read_partition, topic_ids
from streams.record import Record
from streams.sealing import KeyMissing, opened
from streams.topics import ENTRANCES, PARTITIONS

NEAR = datetime.now(UTC) + timedelta(days=2)


def test_a_word_is_found_in_every_form_that_software_gives_it_on_its_way() -> None:
    word = mark("title").encode()
    assert words_in(b"{" + word + b"}") == {"title"}
    for lead in (b"", b"a", b"ab"):
        assert words_in(base64.b64encode(lead + word + b" and more")), lead
    for form in (word.hex().encode(), word.decode().encode("utf-16-le"), word.decode().encode("utf-16-be")):
        assert words_in(form)
    assert not words_in(b"nothing of theirs")


def test_a_word_behind_a_hole_is_found_without_reading_the_hole(tmp_path: Path) -> None:
    file = tmp_path / "index"
    with file.open("wb") as writing:
        writing.seek(64 * 1024 * 1024)
        writing.write(mark("title").encode())
        writing.truncate(128 * 1024 * 1024)
    found = written(file)
    assert words_in(found) == {"title"} and len(found) < 1024 * 1024


def say_everything(stack: RunningStack, user: str, folder: Path) -> None:
    """Whatever a producer, a file, a client or a mistake can say of a person, each time in a word of its own."""
    send(
        stack,
        "signals",
        {
            "user_id": user,
            "source": mark("source"),
            "event_id": mark("event_id"),
            "task_upserted": {
                "external_id": mark("task_id"),
                "title": mark("task_title"),
                "notes": mark("task_notes") + " " * 3000 + "end",
                "labels": [mark("label_a"), mark("label_b")],
                "url": f"https://example.org/{mark('task_url')}",
                "due": f"{NEAR:%Y-%m-%d}T09:00:00Z",
                "priority": 1,
            },
        },
        headers=[
            ("content-type", b"application/json"),
            ("ce_id", mark("ce_id").encode()),
            ("ce_source", mark("ce_source").encode()),
            (mark("header_name"), mark("header").encode()),
        ],
    )
    start, end = (f"{NEAR:%Y-%m-%d}T{hour}:00:00Z" for hour in ("09", "10"))
    event = {"external_id": mark("event_uid"), "title": mark("event_title"), "start": start, "end": end}
    send(stack, "signals", {"user_id": user, "source": "calendar", "calendar_event_upserted": event})
    send(stack, "signals", {"user_id": user, "source": "test", "activity": {"kind": mark("activity"), "value": 1}})
    # What the door refuses.
    task = {"external_id": "refused", "title": mark("refused_title")}
    send(stack, "signals", {"user_id": user, "task_upserted": {**task, mark("unknown_field"): mark("unknown_value")}})
    send(stack, "signals", {"user_id": user, "task_upserted": {**task, "priority": mark("wrong_type")}})
    send(stack, "signals", {"user_id": user, "profile_changed": {"time_zone": mark("time_zone")}})
    send(stack, "signals", b"\0\0" + mark("garbage").encode(), headers=[])
    send(stack, "reactions", {"user_id": user, "decision_id": mark("decision_id"), "kind": "DONE"})
    # Files.
    todo, calendar = folder / f"{mark('file_name')}.txt", folder / f"{mark('calendar_name')}.ics"
    todo.write_text(
        f"(A) {mark('todo_text')} +{mark('project')} @{mark('context')} key:{mark('todo_key')} due:{NEAR:%Y-%m-%d}\n"
    )
    calendar.write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\n"
        f"UID:{mark('ics_uid')}\r\nDTSTAMP:20261101T000000Z\r\nDTSTART:{NEAR:%Y%m%d}T090000Z\r\nDTEND:{NEAR:%Y%m%d}T100000Z\r\n"
        f"SUMMARY:{mark('ics_summary')}\r\nDESCRIPTION:{mark('ics_description')}\r\nLOCATION:{mark('ics_location')}\r\n"
        "END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    called("import", str(todo), str(calendar), "--user", user, state_of(stack))
    # A client.
    with client(stack, user) as http:
        said = {"source": "test", "task_upserted": {"external_id": mark("http_task"), "title": mark("http_title")}}
        http.post("/v1/signals", json=said, headers={"Idempotency-Key": mark("idempotency")}).raise_for_status()
        http.post("/v1/signals", json={"task_upserted": {"title": mark("http_refused")}})
        http.get("/v1/tip", headers={"If-None-Match": f'"{mark("etag")}"', mark("http_header"): mark("http_value")})
        found = eventually(lambda: tip(http))
        reaction = {"decision_id": found["decision_id"], "reaction": "snooze"}
        http.post("/v1/feedback", json=reaction, headers={"Idempotency-Key": mark("feedback_key")}).raise_for_status()
        http.get("/v1/tips").raise_for_status()
    settled(stack)
    # Operators.
    for command in (
        ("state", "--user", user),
        ("profile", "--user", user),
        ("dead-letters", "list"),
        ("status",),
        ("topics",),
    ):
        called(*command, "--json", state_of(stack))
    called("snapshots", "make", state_of(stack))


async def keys_topic(stack: RunningStack, user: str) -> list[Record]:
    """A copy of what the topic of keys has in the person's partition."""
    reading = read_partition(
        stack.cluster, stack.cluster.name("keys"), partition_of(stack.pseudonym(user).encode(), PARTITIONS)
    )
    return [record async for records in reading for record in records]


async def sealed_and_opened(stack: RunningStack, user: str, words: list[Record]) -> tuple[int, int]:
    """How many of the person's journal records are sealed, and how many of these open by what a topic of keys had."""
    keys, whose = Keys.of(stack.cluster, KeyFiles(stack.kek_dir)), stack.pseudonym(user).encode()
    number = partition_of(whose, PARTITIONS)
    for word in words:
        keys.take(word)
    sealed = could = 0
    async for records in read_partition(stack.cluster, stack.cluster.name("journal"), number):
        for record in records:
            message = Frames().unframe("journal", record.value) if record.key == whose else None
            if isinstance(message, JournalRecord) and message.sealed:
                sealed += 1
                with suppress(KeyMissing):
                    could += bool(opened(message, whose=whose, keys=keys).record_id)
    return sealed, could


async def places(stack: RunningStack) -> list[tuple[bytes, int, int]]:
    """Where the newest records of the public topics stand: whose words were just said are among them."""
    names = [stack.cluster.name(name) for name in ENTRANCES.values()]
    return [
        (topic_id, number, offset)
        for name, topic_id in (await topic_ids(stack.cluster, names)).items()
        for number, end in (await end_offsets(stack.cluster, name)).items()
        for offset in range(max(0, end - 60), end)
    ]


def told_behind_the_door(stack: RunningStack, guessed: dict[bytes, str]) -> dict[str, set[str]]:
    """By place, what can be worked out of what stands there."""
    found: dict[str, set[str]] = {}
    starts = by_start(guessed)
    for place, data in given_out(stack):
        if place not in OPEN and (told := found_in(data, guessed, starts)):
            found[place] = found.get(place, set()) | told
    return found


def expire(stack: RunningStack) -> None:
    """Have what producers wrote, and what was refused, be older than it is kept: Kafka looks every five minutes, and deletes after one more."""
    names = [stack.cluster.name(name) for name in (*ENTRANCES.values(), "dead-letters")]
    old = [ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)]
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=old) for name in names]
    client = admin(stack.as_admin.cluster)  # kept in a name: its answers would die with it
    for future in client.incremental_alter_configs(asked).values():
        future.result(30)


PATIENT = os.environ.get("OO_PATIENT") == "1"
"""Wait until Kafka has freed what expired: seven minutes, so on request only."""
OPEN = {"kafka oo.signals", "kafka oo.reactions", "kafka oo.subject-requests", "sources"}
"""Places where words stand as they came; docs/privacy.md says so ("Not sealed yet")."""


@pytest.mark.long(
    "tests/e2e/test_sealed.py::test_neither_valkey_nor_postgres_nor_a_workers_disk_shows_a_persons_words",
    "tests/e2e/test_who_leaves.py::test_who_leaves_is_gone_from_every_place_and_begins_again_with_nothing",
)
def test_a_persons_words_stand_only_where_the_page_says_and_nothing_opens_what_was_sealed_once_they_have_left(
    stack: RunningStack, tmp_path: Path
) -> None:
    # Their name is a word too.
    user = mark("user_id")
    say_everything(stack, user, tmp_path)
    found = sightings(stack)
    assert "task_title" in found["kafka oo.signals"], "the search finds nothing"
    surplus = {place: sorted(words) for place, words in sorted(found.items()) if place not in OPEN}
    assert not surplus, json.dumps(surplus, indent=1)
    assert not any(words_in(letter["detail"].encode()) for letter in letters(stack)), "a refusal quotes"
    before = asyncio.run(keys_topic(stack, user))
    sealed, could = asyncio.run(sealed_and_opened(stack, user, before))
    assert sealed == could > 5
    words = {mark(one) for one in found["kafka oo.signals"] if one[0] != "("}
    assert told_behind_the_door(stack, guesses(user, words, asyncio.run(places(stack)))) == {}

    called("erase", "--user", user, "--yes", state_of(stack))
    settled(stack)
    called("keys", "rotate", "--as=rotator", state_of(stack))
    remembered = [file.read_bytes() for file in stack.sources.rglob("*") if file.is_file()]
    assert not any(words_in(data) for data in remembered), "what the import remembers"
    assert asyncio.run(sealed_and_opened(stack, user, asyncio.run(keys_topic(stack, user)))) == (sealed, 0)
    assert asyncio.run(sealed_and_opened(stack, user, before)) == (sealed, 0), (
        "a copy from before opens it with today's secrets"
    )
    # Of the letters that named them nothing is left but where and why.
    closed = [one for one in letters(stack) if "has left since" in (one["sealed"] or "")]
    assert closed, "all of it was refused before they had a key"
    for one in (closed[0], closed[-1]):
        shown = json.loads(called("dead-letters", "show", one["id"], state_of(stack)).stdout)
        assert "original" not in shown and shown["reason"] == one["reason"]
        again = called("dead-letters", "redrive", "--as=redriver", one["id"], state_of(stack), check=False)
        assert again.returncode == 1 and "cannot be opened" in again.stdout
    if PATIENT:
        expire(stack)
        eventually(lambda: sightings(stack), lambda found: not found)
