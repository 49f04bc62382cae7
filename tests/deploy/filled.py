"""Messages in which every field has a value, the greatest where it has one, made of their descriptors."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: -(1 << 31),
    FieldDescriptor.CPPTYPE_INT64: -(1 << 63),
    FieldDescriptor.CPPTYPE_UINT32: (1 << 32) - 1,
    FieldDescriptor.CPPTYPE_UINT64: (1 << 64) - 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.1,
    FieldDescriptor.CPPTYPE_FLOAT: 0.5,
    FieldDescriptor.CPPTYPE_BOOL: True,
}


def fill(message: Any, *, nth: int = 0) -> Any:
    """The message itself with all of its fields set; of each oneof the `nth`."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and field is not oneof.fields[nth % len(oneof.fields)]:
            continue
        if field.message_type is not None:
            inner = (
                [getattr(message, field.name).add() for _ in range(2)]
                if field.is_repeated
                else [getattr(message, field.name)]
            )
            for one in inner:
                one.SetInParent()
                fill(one, nth=nth)
        elif field.is_repeated:
            getattr(message, field.name).extend([_value(field), _value(field)])
        else:
            setattr(message, field.name, _value(field))
    return message


def _value(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"\x00\xff" + field.name.encode()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return f"ä\u2028\U0001f600 {field.name}"
    return _NUMBERS[field.cpp_type]


def paths(descriptor: Any, path: str = "") -> list[str]:
    """Of every field that holds a value, from the message on."""
    found = []
    for field in descriptor.fields:
        at = f"{path}{field.name}"
        found += paths(field.message_type, f"{at}.") if field.message_type is not None else [at]
    return found


def values(message: Message) -> int:
    """How many values it holds."""
    return sum(
        sum(values(one) for one in (value if field.is_repeated else [value])) if field.message_type is not None else 1
        for field, value in message.ListFields()
    )
