"""The schema registry as this program uses it: subjects and their versions.

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
from typing import Final, NamedTuple, TypeVar

import httpx2  # what confluent-kafka speaks through, and so whose faults come out of it
from confluent_kafka.schema_registry import (
    RegisteredSchema,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    SchemaRegistryError,
)
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

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


class Found(NamedTuple):
    """What a subject holds."""

    mine: int | None
    """The schema id of the file that was asked for; None where no version is exactly that."""
    versions: dict[int, tuple[str, ...]]
    """Schema id to the full names of its top-level messages, in their order."""


class _Version(NamedTuple):
    number: int
    schema_id: int
    schema_str: str
    references: dict[str, tuple[str, int]]
    """Imported file to the subject and version that it is read from."""


class Registry:
    """A registry behind Confluent's API. Transport faults and 5xx are tried `attempts` times, then raise RegistryError."""

    def __init__(self, url: str, *, timeout_s: float = 5.0, attempts: int = 5) -> None:
        self.url = url
        self._attempts = attempts
        # By path: a file that many topics import is registered once, which halves what a start asks of the registry.
        self._references: dict[str, SchemaReference] = {}
        self._versions: dict[tuple[str, int], _Version] = {}
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

    def find(self, subject: str, file: FileDescriptor) -> Found:
        """What `subject` holds, and which of it is exactly `file` with all that it imports. Changes nothing."""
        latest = self._latest(subject)
        if latest is None:
            return Found(None, {})
        older = self._numbers(subject) if latest.number > 1 else []
        versions = [latest, *(self._version(subject, number) for number in older if number != latest.number)]
        mine = next((one.schema_id for one in versions if self._is(one, file)), None)
        return Found(mine, {one.schema_id: message_names(one.schema_str) for one in versions})

    def register(self, subject: str, file: FileDescriptor) -> int:
        """Registers `file` and all that it imports; returns its schema id, under which `subject` holds exactly this file.

        Raises IncompatibleSchema, before anything of `subject` is changed, where the registry finds it incompatible.
        """
        references = [self._reference(imported) for imported in imports(file)]
        return self._register(subject, _schema(file, references))

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

    def _latest(self, subject: str) -> _Version | None:
        """The newest version: where it is the first, all that there is. None for a subject that nobody has registered."""
        try:
            one = self._client.get_latest_version(subject)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            raise self._fault(subject, error) from error
        except httpx2.TransportError as error:
            raise self._fault(subject, error) from error
        return self._kept(subject, one)

    def _numbers(self, subject: str) -> list[int]:
        return self._ask(f"versions of {subject}", lambda: self._client.get_versions(subject))

    def _version(self, subject: str, number: int) -> _Version:
        """One version of a subject, asked for once: it never changes."""
        known = self._versions.get((subject, number))
        if known is not None:
            return known
        ask = partial(self._client.get_version, subject, number)
        return self._kept(subject, self._ask(f"{subject} version {number}", ask))

    def _kept(self, subject: str, one: RegisteredSchema) -> _Version:
        assert one.schema_id is not None
        assert one.schema is not None
        assert one.version is not None
        references = {ref.name or "": (ref.subject or "", ref.version or 0) for ref in one.schema.references or ()}
        known = _Version(one.version, one.schema_id, one.schema.schema_str or "", references)
        self._versions[subject, one.version] = known
        return known

    def _is(self, one: _Version, file: FileDescriptor) -> bool:
        """Whether a version is this file, imports included. A registry that writes schemas anew never says so."""
        needed = {imported.name: imported for imported in imports(file)}
        return (
            one.schema_str == _text(file)
            and one.references.keys() == needed.keys()
            and all(self._is(self._version(*one.references[name]), imported) for name, imported in needed.items())
        )

    def _reference(self, file: FileDescriptor) -> SchemaReference:
        """Registers an imported file under its own path, as Confluent's serializers do, and refers to that version."""
        if file.name not in self._references:
            schema = _schema(file, [self._reference(imported) for imported in imports(file)])
            self._register(file.name, schema)
            found = self._ask(f"version of {file.name}", lambda: self._client.lookup_schema(file.name, schema))
            self._references[file.name] = SchemaReference(file.name, file.name, found.version)
        return self._references[file.name]

    def _register(self, subject: str, schema: Schema) -> int:
        """Sets the subject's compatibility, then adds the schema unless it is there; returns its id."""
        self._ask(subject, lambda: self._client.set_compatibility(subject, COMPATIBILITY))
        return self._ask(subject, lambda: self._client.register_schema(subject, schema))

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
    return Schema(_text(file), "PROTOBUF", references)


def _text(file: FileDescriptor) -> str:
    return base64.b64encode(file.serialized_pb).decode("ascii")


def _difference(message: str) -> str:
    """The registry's own list of differences, without the class names around it."""
    found = re.search(r"diff types: \[(.*)\]", message, flags=re.DOTALL)
    return " ".join((found[1] if found else message).split())
