"""The schema registry as this program uses it: subjects, their versions, and the header of a frame.

It never decides what a record means, and it never overwrites: what is registered stays.
Every call blocks; callers on an event loop run it in a thread.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import httpx2  # what confluent-kafka speaks through, and so whose faults come out of it
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    SchemaRegistryError,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError, Message

from streams.backoff import Backoff

COMPATIBILITY: Final = "BACKWARD"
RETRY_WAIT_MS: Final = 200
RETRY_WAIT_MS_MAX: Final = 2000
AGAIN: Final = Backoff(first_s=RETRY_WAIT_MS / 1000, max_s=RETRY_WAIT_MS_MAX / 1000)

_T = TypeVar("_T")


class RegistryError(Exception):
    """The registry did not answer, or not with what was asked. One line."""


class IncompatibleSchema(RegistryError):
    """The registry refused a schema; the line names the subject and the difference."""


class Registry:
    """A registry behind Confluent's API. Transport faults and 5xx are tried `attempts` times, then raise RegistryError."""

    def __init__(self, url: str, *, timeout_s: float = 5.0, attempts: int = 5) -> None:
        self.url = url
        self._attempts = attempts
        # By path: a file that many topics import is registered once, which halves what a start asks of the registry.
        self._references: dict[str, SchemaReference] = {}
        self._client = SchemaRegistryClient(
            {
                "url": url,
                "timeout": timeout_s,
                "max.retries": attempts - 1,
                "retries.wait.ms": RETRY_WAIT_MS,
                "retries.max.wait.ms": RETRY_WAIT_MS_MAX,
            }
        )

    def close(self) -> None:
        """Gives back the connections; nothing may be asked afterwards."""
        self._client.close()

    def register(self, subject: str, file: FileDescriptor) -> None:
        """Registers `file` and all that it imports; returning means that `subject` holds exactly this file.

        Raises IncompatibleSchema, before anything of `subject` is changed, where the registry finds it incompatible.
        """
        references = [self._reference(imported) for imported in imports(file)]
        self._register(subject, _schema(file, references))

    def versions(self, subject: str) -> dict[int, tuple[str, ...]]:
        """Every version of `subject`: schema id to the full names of its top-level messages, in their order."""
        found = {}
        for version in self._ask(f"versions of {subject}", lambda: self._client.get_versions(subject)):
            one = self._ask(f"{subject} version {version}", partial(self._client.get_version, subject, version))
            assert one.schema_id is not None
            assert one.schema is not None
            found[one.schema_id] = message_names(one.schema.schema_str or "")
        return found

    def subjects(self, schema_id: int) -> tuple[str, ...]:
        """The subjects that hold a schema id; empty where the registry does not know it."""
        try:
            return tuple(self._client.get_subjects_by_schema_id(schema_id))
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return ()
            raise self._fault(f"subjects of schema {schema_id}", error) from error
        except httpx2.TransportError as error:
            raise self._fault(f"subjects of schema {schema_id}", error) from error

    def names(self, schema_id: int) -> tuple[str, ...]:
        """Full names of the top-level messages of a schema, in their order."""
        schema = self._ask(f"schema {schema_id}", lambda: self._client.get_schema(schema_id))
        return message_names(schema.schema_str or "")

    def header(self, topic: str, message_type: type[Message]) -> bytes:
        """What stands before the message in a frame on `topic`, as Confluent's own serializer writes it."""
        serializer = ProtobufSerializer(
            message_type,
            self._client,
            {"auto.register.schemas": False, "subject.name.strategy": topic_subject_name_strategy},
        )
        context = SerializationContext(topic, MessageField.VALUE)
        frame: bytes | None = self._ask(f"the header of {topic}", lambda: serializer(message_type(), context))
        assert frame is not None
        return frame

    def _reference(self, file: FileDescriptor) -> SchemaReference:
        """Registers an imported file under its own path, as Confluent's serializers do, and refers to that version."""
        if file.name not in self._references:
            schema = _schema(file, [self._reference(imported) for imported in imports(file)])
            self._register(file.name, schema)
            found = self._ask(f"version of {file.name}", lambda: self._client.lookup_schema(file.name, schema))
            self._references[file.name] = SchemaReference(file.name, file.name, found.version)
        return self._references[file.name]

    def _register(self, subject: str, schema: Schema) -> None:
        """Sets the subject's compatibility, then adds the schema unless it is there."""
        self._ask(subject, lambda: self._client.set_compatibility(subject, COMPATIBILITY))
        self._ask(subject, lambda: self._client.register_schema(subject, schema))

    def _ask(self, what: str, call: Callable[[], _T]) -> _T:
        """One call, again where another process that registers at this moment got in between.

        Transport faults are not tried again here: the client has done so.
        """
        for attempt in range(self._attempts):
            try:
                return call()
            except SchemaRegistryError as error:
                message = str(error.error_message)
                if error.http_status_code != 409:
                    raise self._fault(what, error) from error
                if "ncompatible" in message:
                    raise IncompatibleSchema(
                        f"{what}: this build's schema is not {COMPATIBILITY} compatible with the registered one: "
                        f"{_difference(message)}"
                    ) from error
                if attempt + 1 == self._attempts:
                    raise self._fault(what, error) from error
                time.sleep(AGAIN.pause_s(attempt + 1))
            except httpx2.TransportError as error:
                raise self._fault(what, error) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _fault(self, what: str, error: Exception) -> RegistryError:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        return RegistryError(f"schema registry at {self.url}: {what}: {reason}")


def imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """The files that `file` imports and that a registry does not know by itself."""
    return (
        imported for imported in file.dependencies if not imported.name.startswith(("google/protobuf/", "google/type/"))
    )


def message_names(schema: str) -> tuple[str, ...]:
    """Full names of a schema's top-level messages in their order; a schema is .proto text or a base64 descriptor.

    >>> message_names('package a; message B { message C {} string s = 1; } // message X {}\\nmessage D {}')
    ('a.B', 'a.D')
    """
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except (binascii.Error, DecodeError, ValueError):
        return _text_names(schema)
    return tuple(f"{file.package}.{message.name}".lstrip(".") for message in file.message_type)


def _text_names(text: str) -> tuple[str, ...]:
    bare = re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", " ", text, flags=re.DOTALL)
    package = re.search(r"\bpackage\s+([\w.]+)\s*;", bare)
    depth, names = 0, []
    for token in re.finditer(r"[{}]|\bmessage\s+(\w+)\s*(?=\{)", bare):
        if token[1] and depth == 0:
            names.append(f"{package[1]}.{token[1]}" if package else token[1])
        depth += {"{": 1, "}": -1}.get(token[0], 0)
    return tuple(names)


def _schema(file: FileDescriptor, references: list[SchemaReference]) -> Schema:
    """As Confluent's Python serializer registers it, so that its producers find the same schema id."""
    return Schema(base64.b64encode(file.serialized_pb).decode("ascii"), "PROTOBUF", references)


def _difference(message: str) -> str:
    """The registry's own list of differences, without the class names around it."""
    found = re.search(r"diff types: \[(.*)\]", message, flags=re.DOTALL)
    return " ".join((found[1] if found else message).split())
