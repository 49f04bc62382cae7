"""What a refused value says, as far as it can be read, and where it cannot be read any further. Pure.

It asks no registry: of a frame it takes the message that belongs on the topic. It judges nothing: the door's reason stands in the letter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, SerializeToJsonError
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import MessageToString

from streams import cloudevents
from streams.frames import MESSAGES, index_of
from streams.json_faults import why
from streams.record import Record
from streams.topics import MIB
from streams.wire import BadFrame, is_json, read_header, varint

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Fault:
    """Where reading ended."""

    says: str
    path: str = ""
    """The field's, such as task_upserted.title; empty where no field is known."""
    byte: int | None = None
    """In the value; None where the place is a field's alone."""
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A value, taken apart."""

    kind: str
    """Such as "oo.v1.Signal, framed with schema id 7"."""
    message: dict[str, Any] = field(default_factory=dict)
    """As far as it could be read."""
    fault: Fault | None = None
    """None where all of it could be read; what else is wrong is a rule that a field breaks."""


def decoded(short: str, value: bytes, headers: Sequence[tuple[str, bytes | None]] = ()) -> Decoded:
    """Take a value of this topic apart, as far as that goes.

    >>> found = decoded("signals", b'{"user_id": "ada", "priority": 3}', [("content-type", b"application/json")])
    >>> found.message, found.fault.path
    ({'user_id': 'ada'}, 'priority')
    """
    kind = MESSAGES[short][0]
    name = kind.DESCRIPTOR.full_name
    try:
        record = cloudevents.binary(Record("", 0, 0, 0, None, value, tuple(headers)), bytes_max=MIB)
    except BadFrame as bad:
        return Decoded("a CloudEvent in structured mode", fault=Fault(bad.detail))
    value = record.value or b""
    if not value:
        return Decoded("nothing", fault=Fault("the value is empty", byte=0))
    if is_json(record.headers):
        return _of_json(kind, value, f"{name} as JSON")
    try:
        schema_id, path, begin = read_header(value)
    except BadFrame as bad:
        if value.lstrip()[:1] == b"{":
            found = _of_json(kind, value, f"{name} as JSON, without the header that says so")
            return found if found.fault else Decoded(found.kind, found.message, Fault(bad.detail, byte=0))
        return Decoded("no frame", fault=Fault(bad.detail, byte=min(len(value), 5) if value[:1] == b"\0" else 0))
    said = f"framed with schema id {schema_id}, message {list(path)}"
    if path != (index_of(kind),):
        return Decoded(said, fault=Fault(f"on this topic stands {name}, which is message [{index_of(kind)}]", byte=5))
    good, fault = _readable(kind, value[begin:], begin)
    try:
        message = kind.FromString(good)
    except DecodeError:  # of a field that is passed over here
        message = kind()
    return Decoded(f"{name}, {said}", _shown(message), fault)


def _shown(message: Message) -> dict[str, Any]:
    try:
        return MessageToDict(message, preserving_proto_field_name=True)
    except (SerializeToJsonError, ValueError):  # a time that no calendar has
        return {"as_text": MessageToString(message)}


def _of_json(kind: type[Message], value: bytes, said: str) -> Decoded:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Decoded(said, fault=Fault("not UTF-8", byte=error.start))
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        byte = len(text[: error.pos].encode("utf-8", "surrogatepass"))
        return Decoded(said, fault=Fault(error.msg, byte=byte, line=error.lineno, column=error.colno))
    except (ValueError, RecursionError):
        return Decoded(said, fault=Fault(why(text, kind)))
    if not isinstance(document, dict):
        return Decoded(said, fault=Fault("not a JSON object", byte=0))
    message, path = _fields(document, kind)
    try:
        ParseDict(document, kind())
        fault = None
    except Exception:  # noqa: BLE001 - protobuf raises what its parts do
        fault = Fault(why(text, kind), path)
    return Decoded(said, message, fault)


def _fields(document: dict[str, Any], kind: type[Message]) -> tuple[dict[str, Any], str]:
    """What of it is a field that can be read, and the path of the first that cannot; empty where all can."""
    every = cast(list[FieldDescriptor], kind.DESCRIPTOR.fields)  # the stubs name the C class beside it
    known = {name: one for one in every for name in (one.name, one.json_name)}
    message, wrong = dict[str, Any](), ""
    for name, value in document.items():
        one = known.get(name)
        if one is None:
            wrong = wrong or name
            continue
        try:
            ParseDict({one.name: value}, kind())
            message[one.name] = value
        except Exception:  # noqa: BLE001 - as above
            below = ""
            if one.message_type is not None and not one.is_repeated and isinstance(value, dict):
                message[one.name], below = _fields(value, GetMessageClass(one.message_type))
            wrong = wrong or ".".join(part for part in (one.name, below) if part)
    return message, wrong


def _readable(kind: type[Message], data: bytes, begin: int) -> tuple[bytes, Fault | None]:
    """The front of a serialized message that can be parsed, and what ends it. `begin`: where `data` stands in the value."""
    by_number = {one.number: one for one in cast(list[FieldDescriptor], kind.DESCRIPTOR.fields)}
    at = 0
    while at < len(data):
        path, field_at = "", at
        try:
            tag, at = _number(data, at)
            number, wire = tag >> 3, tag & 7
            one = by_number.get(number)
            path = one.name if one is not None else f"field {number}"
            if not 0 < number <= FieldDescriptor.MAX_FIELD_NUMBER:
                raise _Ends(f"a field's number is {number}, which none has", field_at)
            match wire:
                case 0:
                    _, at = _number(data, at)
                case 1 | 5:
                    at = _past(data, at, 8 if wire == _FIXED64 else 4)
                case 2:
                    length, content_at = _number(data, at)
                    at = content_at + length
                    content = data[content_at:at]
                    good, fault = _content(one, content, begin + content_at)
                    if fault is not None or at > len(data):
                        fault = fault or Fault(
                            f"says {length} bytes, and {len(content)} follow", byte=begin + content_at
                        )
                        whole = Fault(fault.says, ".".join(part for part in (path, fault.path) if part), fault.byte)
                        front = data[:field_at]
                        return front + (varint(tag) + varint(len(good)) + good if good else b""), whole
                case _:
                    raise _Ends(f"wire type {wire}, which no serializer of today writes", field_at)
        except _Ends as end:
            return data[:field_at], Fault(end.says, path, begin + end.at)
    try:
        kind.FromString(data)
    except DecodeError:
        return b"", Fault(f"the bytes are not a {kind.DESCRIPTOR.full_name}", byte=begin)
    return data, None


def _content(one: FieldDescriptor | None, content: bytes, begin: int) -> tuple[bytes, Fault | None]:
    """The same of what stands in one field."""
    if one is None:
        return b"", None
    if one.message_type is not None:
        return _readable(GetMessageClass(one.message_type), content, begin)
    if one.type == FieldDescriptor.TYPE_STRING:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            return content[: error.start], Fault("not UTF-8", byte=begin + error.start)
    return content if not one.is_repeated or one.type == FieldDescriptor.TYPE_STRING else b"", None


class _Ends(Exception):
    """Here nothing more can be read."""

    def __init__(self, says: str, at: int) -> None:
        super().__init__(says)
        self.says, self.at = says, at


def _past(data: bytes, at: int, length: int) -> int:
    if at + length > len(data):
        raise _Ends(f"{length} bytes belong here, and {len(data) - at} follow", at)
    return at + length


def _number(data: bytes, at: int) -> tuple[int, int]:
    begin, number = at, 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Ends("the value ends inside a number", begin)
        number |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return number, at
    raise _Ends("a number of more than 10 bytes", begin)
