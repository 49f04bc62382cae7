"""Frames against a real registry."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from urllib.parse import urlsplit, urlunsplit

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from oo.v1 import signal_pb2
from streams.cluster import Cluster
from streams.frames import MESSAGES
from streams.registry import IncompatibleSchema, RegistryError, message_names
from streams.schemas import OUTAGE_KEPT_S, UNKNOWN_KEPT_S, Schemas
from streams.topics import topics
from streams.wire import BadFrame, header, read_header

SIGNAL = signal_pb2.Signal(event_id="e1", user_id="alice", task_completed=signal_pb2.TaskCompleted(external_id="milk"))


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
def client(registry_url) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url, "timeout": 10}) as client:
        yield client


@pytest.fixture
def build(registry_url) -> Iterator[Callable[..., Schemas]]:
    """Schemas as one process has them, registered; closed when the test ends."""
    with ExitStack() as stack:

        def build(prefix: str, *, url: str = registry_url, **settings) -> Schemas:
            schemas = Schemas(Cluster("", prefix=prefix, registry_url=url), **settings)
            stack.callback(schemas.close)
            asyncio.run(schemas.register())
            return schemas

        yield build


@pytest.fixture(scope="module")
def shared(registry_url) -> Iterator[Schemas]:
    """Registered once under a prefix that nobody writes to, for tests that only read."""
    with closing(Schemas(Cluster("", prefix="shared.", registry_url=registry_url))) as schemas:
        asyncio.run(schemas.register())
        yield schemas


def unframe_public(schemas: Schemas, name: str, value: bytes, **settings):
    return asyncio.run(schemas.unframe_public(name, value, **settings))


def refusal(call, *args, **kwargs) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        call(*args, **kwargs)
    return caught.value


def signal_file(change=lambda file: None) -> Schema:
    """signal.proto as a producer with another build would register it."""
    file = FileDescriptorProto()
    signal_pb2.DESCRIPTOR.CopyToProto(file)
    change(file)
    references = [SchemaReference("buf/validate/validate.proto", "buf/validate/validate.proto", 1)]
    return Schema(base64.b64encode(file.SerializeToString()).decode(), "PROTOBUF", references)


def message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(one for one in file.message_type if one.name == name)


def with_a_new_message_in_front(file: FileDescriptorProto) -> None:
    file.message_type.insert(0, DescriptorProto(name=f"New{uuid.uuid4().hex}"))


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in MESSAGES.items() for kind in kinds])
def test_a_frame_has_the_bytes_that_confluents_serializer_writes(registry_url, client, shared, name, kind):
    serializer = ProtobufSerializer(
        kind, client, {"auto.register.schemas": False, "subject.name.strategy": topic_subject_name_strategy}
    )
    one = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.type == FieldDescriptorProto.TYPE_STRING and not field.is_repeated:
            setattr(one, field.name, "x" * 300)
    context = SerializationContext(topics("shared.")[name].name, MessageField.VALUE)
    assert shared.frame(name, one) == serializer(one, context)


def test_a_frame_of_confluents_serializer_that_registers_by_itself_is_read(client, shared):
    serializer = ProtobufSerializer(signal_pb2.Signal, client)
    value = serializer(SIGNAL, SerializationContext("shared.signals", MessageField.VALUE))
    assert shared.unframe("signals", value) == SIGNAL


def test_every_subject_is_registered_backward_compatible(build, client, prefix):
    build(prefix)
    subjects = [f"{topic.name}-value" for topic in topics(prefix).values()]
    imported = ["buf/validate/validate.proto", "oo/v1/signal.proto", "oo/v1/journal.proto"]
    assert all(client.get_versions(subject) for subject in [*subjects, *imported])
    assert {client.get_compatibility(subject) for subject in [*subjects, *imported]} == {"BACKWARD"}


def test_registering_again_adds_no_version(build, client, prefix):
    build(prefix)
    build(prefix)
    assert client.get_versions(f"{prefix}journal-value") == [1]


def test_processes_that_register_at_the_same_moment_agree(registry_url, prefix):
    async def all_at_once():
        with ExitStack() as stack:
            many = [
                stack.enter_context(closing(Schemas(Cluster("", prefix=prefix, registry_url=registry_url))))
                for _ in range(5)
            ]
            await asyncio.gather(*(one.register() for one in many))
            return {one.frame("signals", SIGNAL) for one in many}

    assert len(asyncio.run(all_at_once())) == 1


def test_an_incompatible_change_is_refused_in_one_line_that_names_subject_and_difference(build, client, prefix):
    def title_was_a_number(file):
        field = message(file, "TaskUpserted").field[1]
        field.type = FieldDescriptorProto.TYPE_INT32
        field.ClearField("options")

    build("shared.")  # so that the imported file is there
    client.register_schema(f"{prefix}signals-value", signal_file(title_was_a_number))
    with pytest.raises(IncompatibleSchema) as caught:
        build(prefix)
    line = str(caught.value)
    assert "\n" not in line
    assert f"{prefix}signals-value" in line
    assert "Field type changed" in line
    assert "TaskUpserted" in line


def test_an_incompatible_change_leaves_the_registered_version_as_it_was(build, client, prefix):
    def user_id_moved(file):
        message(file, "Signal").field[1].number = 99

    build("shared.")
    before = client.register_schema(f"{prefix}signals-value", signal_file(user_id_moved))
    with pytest.raises(IncompatibleSchema):
        build(prefix)
    assert client.get_latest_version(f"{prefix}signals-value").schema_id == before


def test_a_schema_id_of_another_topic_is_a_wrong_schema(shared):
    bad = refusal(shared.unframe, "signals", shared.frame("journal", MESSAGES["journal"][0]()))
    assert bad.reason == "wrong-schema"
    assert "journal" in bad.detail


def test_another_message_of_the_same_file_is_a_wrong_schema(shared):
    decision = shared.frame("decisions", MESSAGES["decisions"][0]())
    assert refusal(shared.unframe, "tips", decision).reason == "wrong-schema"


def test_an_id_that_the_registry_does_not_know_is_an_unknown_schema(shared):
    value = header(999_999, 0) + SIGNAL.SerializeToString()
    assert refusal(shared.unframe, "signals", value).reason == "unknown-schema"
    assert refusal(unframe_public, shared, "signals", value).reason == "unknown-schema"


def test_an_id_of_a_foreign_subject_is_a_wrong_schema(client, shared):
    text = f'syntax = "proto3"; message Foreign{uuid.uuid4().hex} {{ string a = 1; }}'
    schema_id = client.register_schema("somebody-value", Schema(text, "PROTOBUF"))
    bad = refusal(unframe_public, shared, "signals", header(schema_id, 0) + b"\x0a\x01a")
    assert bad.reason == "wrong-schema"
    assert "somebody-value" in bad.detail


def test_a_version_that_a_producer_registered_after_our_start_is_read_by_its_own_message_order(build, client, prefix):
    schemas = build(prefix)
    schema_id = client.register_schema(f"{prefix}signals-value", signal_file(with_a_new_message_in_front))
    value = header(schema_id, 1) + SIGNAL.SerializeToString()
    assert refusal(schemas.unframe, "signals", value).reason == "unknown-schema"
    assert unframe_public(schemas, "signals", value) == SIGNAL
    assert schemas.unframe("signals", value) == SIGNAL
    assert refusal(schemas.unframe, "signals", header(schema_id, 0)).reason == "wrong-schema"


def test_a_version_registered_as_text_is_read(build, client, prefix):
    text = """syntax = "proto3"; package oo.v1; import "google/protobuf/timestamp.proto";
        message Other { string a = 1; } /* message Comment {} */
        message Reaction { enum Kind { KIND_UNSPECIFIED = 0; DONE = 1; SNOOZE = 2; DISMISS = 3; SEEN = 4; }
          enum Reason { REASON_UNSPECIFIED = 0; NOT_RELEVANT = 1; NOT_NOW = 2; DONE_ALREADY = 3; NOT_MINE = 4; }
          string event_id = 1; string user_id = 2; string decision_id = 3; Kind kind = 4;
          google.protobuf.Timestamp snooze_until = 5; google.protobuf.Timestamp event_time = 6; string source = 7;
          Reason reason = 8; }"""
    schemas = build(prefix)
    schema_id = client.register_schema(f"{prefix}reactions-value", Schema(text, "PROTOBUF"))
    assert unframe_public(schemas, "reactions", header(schema_id, 1) + b"\x12\x05alice").user_id == "alice"


def test_records_of_older_versions_are_read_after_a_restart(build, client, prefix):
    build("shared.")
    older = client.register_schema(f"{prefix}signals-value", signal_file(with_a_new_message_in_front))
    client.set_compatibility(f"{prefix}signals-value", "NONE")
    client.register_schema(f"{prefix}signals-value", signal_file())
    schemas = build(prefix)
    assert schemas.unframe("signals", header(older, 1) + SIGNAL.SerializeToString()) == SIGNAL


def test_what_a_build_writes_is_read_by_it_also_where_it_has_just_registered_its_schema_beside_an_older_one(
    build, client, prefix
):
    older = client.register_schema(f"{prefix}signals-value", signal_file(with_a_new_message_in_front))
    client.set_compatibility(f"{prefix}signals-value", "NONE")
    schemas = build(prefix)
    value = schemas.frame("signals", SIGNAL)
    assert read_header(value)[0] != older
    assert schemas.unframe("signals", value) == SIGNAL


def test_an_unknown_id_is_not_asked_for_again_until_its_time_has_passed(build, client, prefix):
    clock = [0.0]
    schemas = build(prefix, clock=lambda: clock[0])
    coming = (
        client.register_schema(
            "somebody-value", Schema(f'syntax = "proto3"; message M{uuid.uuid4().hex} {{}}', "PROTOBUF")
        )
        + 1
    )
    value = header(coming, 1) + SIGNAL.SerializeToString()
    assert refusal(unframe_public, schemas, "signals", value).reason == "unknown-schema"
    assert client.register_schema(f"{prefix}signals-value", signal_file(with_a_new_message_in_front)) == coming
    clock[0] += UNKNOWN_KEPT_S - 1
    assert refusal(unframe_public, schemas, "signals", value).reason == "unknown-schema"
    clock[0] += 2
    assert unframe_public(schemas, "signals", value) == SIGNAL


@asynccontextmanager
async def forwarder(url: str, *, port: int = 0):
    """A port that stands for the registry, so that a test can take it away while the registry goes on."""
    target = urlsplit(url)
    writers = []

    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def accept(reader, writer):
        there_reader, there_writer = await asyncio.open_connection(target.hostname, target.port)
        writers.extend([writer, there_writer])
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


def test_with_the_registry_down_known_ids_go_on_and_others_wait_for_a_redrive(registry_url, client, prefix):
    async def scenario():
        clock = [0.0]
        async with forwarder(registry_url) as port:
            url = urlunsplit(urlsplit(registry_url)._replace(netloc=f"127.0.0.1:{port}"))
            schemas = stack.enter_context(
                closing(Schemas(Cluster("", prefix=prefix, registry_url=url), clock=lambda: clock[0]))
            )
            await schemas.register()
        newer = client.register_schema(f"{prefix}signals-value", signal_file(with_a_new_message_in_front))
        value = header(newer, 1) + SIGNAL.SerializeToString()

        assert await schemas.unframe_public("signals", schemas.frame("signals", SIGNAL)) == SIGNAL
        with pytest.raises(BadFrame, match="registry-unavailable"):
            await schemas.unframe_public("signals", value)
        async with forwarder(registry_url, port=port):
            with pytest.raises(BadFrame, match="registry-unavailable"):
                await schemas.unframe_public("signals", value)
            clock[0] += OUTAGE_KEPT_S
            assert await schemas.unframe_public("signals", value) == SIGNAL

    with ExitStack() as stack:
        asyncio.run(scenario())


def test_what_was_kept_of_these_schemas_is_known_without_a_registry_and_of_no_others(
    build, prefix, registry_url, tmp_path
):
    kept = tmp_path / "schemas.json"
    first = build(prefix)
    first.keep(kept)
    again = build(prefix, kept=kept)
    assert again.frame("signals", SIGNAL) == first.frame("signals", SIGNAL)
    assert again.unframe("signals", first.frame("signals", SIGNAL)) == SIGNAL
    assert "_registry" not in again.__dict__, "nobody was asked"
    with pytest.raises(RegistryError):
        build(prefix, kept=kept, url="http://127.0.0.1:1/apis/ccompat/v7", attempts=1)
    other = build(f"{prefix}other.", kept=kept)
    assert "_registry" in other.__dict__
    kept.write_text("torn {")
    assert "_registry" in build(prefix, kept=kept).__dict__


def test_registering_without_a_registry_says_so_in_one_line(build, prefix):
    with pytest.raises(RegistryError) as caught:
        build(prefix, url="http://127.0.0.1:1/apis/ccompat/v7", attempts=2)
    assert "\n" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_json_is_read_by_its_header(shared):
    value = b'{"user_id": "alice", "task_completed": {"external_id": "milk"}, "event_id": "e1"}'
    headers = [("content-type", b"application/json")]
    assert unframe_public(shared, "signals", value, headers=headers) == SIGNAL


def test_names_are_read_from_a_descriptor_as_from_text():
    assert message_names(signal_file().schema_str)[0] == "oo.v1.Signal"
