"""Says what keeps JSON from being a message, in our words alone: a parser's quote what stands there, and a refusal is kept and shown.

Looked for once parsing has failed, so it costs nobody who writes what can be read. Pure.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_NESTED = 16
"""Deeper than any message of ours."""
_NAME_CHARS = 64
"""Of a name that is none of ours: what is compared with those that are."""
_KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "a text",
    FieldDescriptor.CPPTYPE_ENUM: "a name of its enum",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
}


def why(text: str, kind: type[Message]) -> str:
    """What is wrong with a text that is not this message as JSON, holding none of its words.

    >>> from oo.v1 import signal_pb2
    >>> why('{"usr_id": "alice"}', signal_pb2.Signal)
    'the message has a field that it cannot have; did you mean user_id?'
    >>> why('{"task_upserted": {"priority": "high"}}', signal_pb2.Signal)
    'task_upserted.priority: is not a whole number'
    >>> why('{"user_id": ', signal_pb2.Signal)
    'not JSON at line 1, column 13'
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        return "not JSON that can be read: a number of too many digits, or too many levels"
    return fault(document, kind)


def fault(document: Any, kind: type[Message]) -> str:
    """As `why`, of what the text says."""
    together = "its fields do not go together: one of them twice, or two that exclude each other"
    return _fault(document, kind(), ()) or together


def _fault(document: Any, message: Message, path: tuple[str, ...]) -> str:
    where = ".".join(path) or "the message"
    if not isinstance(document, dict):
        return f"{where}: is not an object"
    every = cast(list[FieldDescriptor], message.DESCRIPTOR.fields)  # the stubs name the C class beside it
    fields = {name: field for field in every for name in (field.name, field.json_name)}
    for name, value in document.items():
        field = fields.get(name)
        if field is None:
            close = get_close_matches(name[:_NAME_CHARS], [one.name for one in every], 1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(one.name for one in every)}"
            return f"{where} has a field that it cannot have; {hint}"
        try:
            ParseDict({field.name: value}, type(message)())
        except Exception:  # noqa: BLE001 - protobuf raises what its parts do: OverflowError for a time, for one
            below = (*path, field.name)
            nested = _nested(field)
            if nested is not None and len(path) < _NESTED:
                return _fault(value, nested, below) or f"{'.'.join(below)}: its fields do not go together"
            return f"{'.'.join(below)}: is not {_wanted(field)}"
    return ""


def _nested(field: FieldDescriptor) -> Message | None:
    """An empty message of the field's own type, where it is one of ours that stands once."""
    if field.message_type is None or field.is_repeated or field.message_type.full_name.startswith("google."):
        return None
    return GetMessageClass(field.message_type)()


def _wanted(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        time = field.message_type.full_name == "google.protobuf.Timestamp"
        one = "a time as in 2026-12-01T09:00:00Z" if time else f"a {field.message_type.full_name}"
    else:
        one = _KINDS.get(field.cpp_type, "a whole number")
    return f"a list, each {one}" if field.is_repeated else one
