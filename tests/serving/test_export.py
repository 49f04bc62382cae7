"""A person's export: everything of theirs that stands in the log and the history, nothing of anybody else, over HTTP and by itself."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from deploy.stack.running import RunningStack
from deploy.stack.topics import ensure_topics
from oo.v1 import dead_letter_pb2, decision_pb2, erased_pb2, journal_pb2, row_pb2
from serving.archive import ELSEWHERE, FILES, archive
from serving.exports import AT_ONCE, Order
from streams.cluster import Cluster
from streams.frames import MESSAGES
from streams.partitioner import partition_of
from streams.reader import end_offsets, topic_ids
from streams.sealing import OPEN
from streams.topics import NAMES, PARTITIONS
from tables.row import BLOCKS
from tests.serving.edges import LiveEdge, problem
from tests.serving.test_devices import tell
from tests.serving.topic import make_known, write
from tests.serving.valkeys import ValkeyServer

SHOWN_OTHERWISE = {kind.DESCRIPTOR.full_name: {"sealed"} for kind in OPEN}
SHOWN_OTHERWISE["oo.v1.Decision"] |= {"packed"}
SHOWN_OTHERWISE["oo.v1.UserRow"] |= set(BLOCKS)
SHOWN_OTHERWISE["oo.v1.AuditEntry"] = {"kafka_user", "account", "letter_id"}
"""Fields whose content an export shows under the names of others, or that are an operator's own."""


@pytest.fixture(scope="module")
def log(servers: RunningStack) -> Cluster:
    cluster = replace(servers.cluster, prefix=f"export-{uuid.uuid4().hex[:6]}.")
    ensure_topics(cluster)
    return cluster


def files(cluster: Cluster, user: str, *, whose: str = "") -> dict[str, str]:
    async def whole() -> bytes:
        return b"".join([piece async for piece in archive(Order(user, whose or user, cluster))])

    with zipfile.ZipFile(io.BytesIO(asyncio.run(whole()))) as found:
        assert found.testzip() is None
        return {name: found.read(name).decode() for name in found.namelist()}


# Nothing is forgotten


def test_every_topic_is_in_the_export_or_it_is_said_why_not() -> None:
    assert FILES.keys() | ELSEWHERE.keys() == set(NAMES)
    assert FILES.keys() & ELSEWHERE.keys() == set()


def filled(kind: type[Message], user: str, mark: str) -> Iterator[Message]:
    """Messages that have every field of the kind, and of those in it, with marks of their own; one for each way of a oneof."""
    ways = [field for one in kind.DESCRIPTOR.oneofs for field in one.fields if len(one.fields) > 1] or [None]
    for way in ways:
        message = kind()
        for field in kind.DESCRIPTOR.fields:
            shown_otherwise = field.name in SHOWN_OTHERWISE.get(kind.DESCRIPTOR.full_name, ())
            other_way = field is not way and field.containing_oneof and len(field.containing_oneof.fields) > 1
            if not (shown_otherwise or other_way):
                _fill(message, field, user, f"{mark}.{field.name}")
        if way is None or way.name not in SHOWN_OTHERWISE.get(kind.DESCRIPTOR.full_name, ()):
            yield message


def _fill(message: Message, field: FieldDescriptor, user: str, mark: str) -> None:
    values: list[object]
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            getattr(message, field.name).FromSeconds(1_700_000_000)
            return
        values = list(filled(field.message_type._concrete_class, user, mark))
        if not field.is_repeated:
            getattr(message, field.name).CopyFrom(values[0])
            return
    elif field.type == FieldDescriptor.TYPE_STRING:
        values = [user if field.name == "user_id" else mark]
    elif field.type == FieldDescriptor.TYPE_BYTES:
        values = [mark.encode()[-16:].rjust(16) if field.name == "topic_id" else mark.encode()]
    elif field.type == FieldDescriptor.TYPE_ENUM:
        values = [field.enum_type.values[-1].number]
    else:
        values = [1]
    if field.is_repeated:
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, values[0])


def marks(message: Message) -> set[str]:
    """Every text and every bytes in it."""
    found: set[str] = set()
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            if isinstance(one, Message):
                found |= marks(one)
            elif isinstance(one, str):
                found.add(json.dumps(one, ensure_ascii=False)[1:-1])
            elif isinstance(one, bytes):
                found.add(base64.b64encode(one).decode())
    return found


@pytest.mark.parametrize("topic", FILES)
def test_every_field_of_every_kind_of_message_is_in_it_and_nothing_of_somebody_else(log: Cluster, topic: str) -> None:
    ada, bob = f"ada-{topic}", f"bob-{topic}"
    journal_id = asyncio.run(topic_ids(log, [log.name("journal")]))[log.name("journal")]
    (kind, *_) = MESSAGES[topic]
    for user in (ada, bob):
        of_theirs = list(filled(kind, user, f"{user}'s \u00fc\"{topic}"))
        assert of_theirs
        for message in of_theirs:
            if isinstance(message, row_pb2.UserRow):
                message.topic_id = journal_id
                message.ClearField("pending")  # kept in columns alone, with what they were decided on
            if isinstance(message, erased_pb2.Erased):
                message.journal.offset = 0  # nothing is below it
            if isinstance(message, dead_letter_pb2.DeadLetter):
                message.original_key = user.encode()
        write(log, topic, *of_theirs, user=user)
        if user == ada:
            wanted = set.union(*map(marks, of_theirs))
    found = files(log, ada)[FILES[topic][0]]
    assert {mark for mark in wanted if mark not in found} == set()
    assert "bob" not in found


def test_what_stands_below_an_erasure_is_not_in_it(log: Cluster) -> None:
    user = "left"
    before, after = (journal_pb2.JournalRecord() for _ in range(2))
    before.signal.task_upserted.title, after.signal.task_upserted.title = "Before I left", "After I came back"
    for one in (before, after):
        one.signal.user_id, one.signal.source = user, "todo.txt"
    write(log, "journal", before, user=user)
    number = partition_of(user.encode(), PARTITIONS)
    name = log.name("journal")
    end = asyncio.run(end_offsets(log, name))[number]
    journal_id = asyncio.run(topic_ids(log, [name]))[name]
    place = journal_pb2.Position(topic_id=journal_id, partition=number, offset=end)
    write(log, "erasures", erased_pb2.Erased(user_id=user, receipt="r", journal=place), user=user)
    write(log, "journal", after, user=user)
    old = decision_pb2.Decision(decision_id="d", user_id=user, title="Old", journal=place)
    old.journal.offset = end - 1
    write(log, "decisions", old, user=user)
    found = files(log, user)
    assert "Before I left" not in "".join(found.values())
    assert "Old" not in found["decisions.json"]
    assert found["todo.txt"] == "After I came back\n"
    assert '"receipt": "r"' in found["erasures.json"]


def test_a_letter_is_shown_to_whom_it_names_whatever_its_key_says(log: Cluster) -> None:
    mine = dead_letter_pb2.DeadLetter(original=b'{"user_id": "named", "x": 1}', original_key=b"keyed")
    cloud = dead_letter_pb2.DeadLetter(original=b'{"specversion": "1.0", "data": {"userId": "named"}}')
    junk = dead_letter_pb2.DeadLetter(original=b"\xff junk", original_key=b"keyed")
    write(log, "dead-letters", mine, cloud, junk, user="any")
    assert [len(json.loads(files(log, user)["refused.json"])) for user in ("named", "keyed", "nobody")] == [2, 1, 0]


def test_the_newest_row_and_tip_are_shown_and_what_is_no_message_of_ours_is_passed_over(log: Cluster) -> None:
    user, number = "newest", partition_of(b"newest", PARTITIONS)
    journal_id = asyncio.run(topic_ids(log, [log.name("journal")]))[log.name("journal")]
    tips = [
        decision_pb2.Tip(user_id=user, title=f"Tip {n}", journal=journal_pb2.Position(topic_id=journal_id, offset=n))
        for n in (3, 9, 5)
    ]
    write(log, "tips", *tips, user=user)
    producer = Producer(log.rdkafka())
    for name in ("tips", "journal", "decisions"):
        producer.produce(log.name(name), b"junk", user.encode(), number)
    assert producer.flush(30) == 0
    found = files(log, user)
    assert [one["title"] for one in json.loads(found["tip.json"])] == ["Tip 9"]
    assert json.loads(found["journal.json"]) == []


# Over HTTP


def test_the_export_over_http_is_a_zip_of_the_tokens_own_person(whole_edge: LiveEdge, servers: RunningStack) -> None:
    user = f"http-{uuid.uuid4().hex[:8]}"
    record = journal_pb2.JournalRecord()
    record.signal.user_id, record.signal.task_upserted.title = user, "Mine alone"
    write(servers.cluster, "journal", record, user=user)
    with whole_edge.client(user) as client:
        answer = client.get("/v1/me/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["cache-control"] == "no-store"
    assert user not in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert {*found.namelist()} >= {"README.txt", "history.json", "todo.txt", *(name for name, _ in FILES.values())}
        assert b"Mine alone" in found.read("journal.json")
    with whole_edge.client(f"{user}-not") as client:
        other = client.get("/v1/me/export")
    with zipfile.ZipFile(io.BytesIO(other.content)) as found:
        assert b"Mine alone" not in found.read("journal.json")


def test_where_they_are_told_what_they_connected_and_what_was_sent_is_in_it_without_what_opens_it(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    user, secret = f"beside-{uuid.uuid4().hex[:8]}", f"hidden-{uuid.uuid4().hex}"
    make_known(servers.cluster, whole_edge.parts.people, user)
    with whole_edge.client(user) as client:
        fields = {"url": "https://dav.example/cal", "username": "ada", "password": secret}
        connected = client.post("/v1/connections", json={"source": "caldav", "fields": fields}).json()
        mail = client.post("/v1/devices", json={"email": f"{user}@example.org", "name": "Home"}).json()
        hook = client.post("/v1/devices", json={"webhook": f"https://hook.example/{secret}"}).json()
        asyncio.run(tell(servers, user, "d1", uuid.uuid4().hex, mail["device_id"]))
        answer = client.get("/v1/me/export")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        shown = {name: found.read(name).decode() for name in found.namelist()}
    devices, told, connections = (json.loads(shown[f"{name}.json"]) for name in ("devices", "told", "connections"))
    assert [(one["channel"], one["name"], one["to"]) for one in devices] == [
        ("email", "Home", f"{user}@example.org"),
        ("webhook", "", "hook.example"),
    ]
    assert [(one["decision_id"], one["device_id"], one["state"]) for one in told] == [("d1", mail["device_id"], "sent")]
    (one,) = connections
    assert (one["source"], one["connection_id"]) == ("caldav", connected["connection_id"])
    assert one["settings"] == {"url": "https://dav.example/cal", "username": "ada"}
    everything = "".join(shown.values())
    assert secret not in everything and hook["secret"] not in everything
    assert "told.json" in shown["README.txt"] and "sign_in.json" not in shown


def test_without_a_token_there_is_no_export(whole_edge: LiveEdge) -> None:
    with whole_edge.client() as client:
        assert problem(client.get("/v1/me/export"), 401) == "no-token"


def test_more_exports_at_once_than_may_be_are_told_to_come_again_and_then_may(whole_edge: LiveEdge) -> None:
    exports = whole_edge.parts.exports
    with whole_edge.client("busy") as client:
        exports._making += AT_ONCE
        try:
            answer = client.get("/v1/me/export")
            assert problem(answer, 503) == "export-unavailable"
            assert int(answer.headers["retry-after"]) > 0
        finally:
            exports._making -= AT_ONCE
        assert client.get("/v1/me/export").status_code == 200
    assert exports._making == 0


def test_an_edge_that_cannot_read_the_log_says_so_and_starts_no_file(
    tmp_path: Path, valkey: ValkeyServer, servers: RunningStack
) -> None:
    gone = {"topic_prefix": "there-is-none."}
    with (
        LiveEdge(tmp_path / "edge", valkey_url=valkey.url, stack=servers, **gone) as edge,
        edge.client("ada") as client,
    ):
        assert problem(client.get("/v1/me/export"), 503) == "export-unavailable"
