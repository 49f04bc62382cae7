"""Writes the table of field limits in docs/bad-input.md from the rules in proto/. It never states a limit of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from oo.v1 import reaction_pb2, signal_pb2

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bad-input.md"
BEGIN, END = "<!-- fields: written by `make proto` -->\n", "<!-- end of fields -->\n"
PUBLIC = (signal_pb2.Signal.DESCRIPTOR, reaction_pb2.Reaction.DESCRIPTOR)
CONTROLS = {
    r"^[^\x00-\x1f\x7f-\x9f]*$": "no control characters",
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$": "no control characters but tab and line breaks",
    r"^[A-Za-z0-9._:-]*$": "letters, digits and `._:-`",
    r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$": "a language tag (BCP 47)",
    r"^(https?://[^\s\x00-\x1f\x7f-\x9f]+)?$": "http or https",
}


def fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """Every field of a message and of our own messages in it, outer ones first."""
    inner = []
    for field in message.fields:
        yield field
        if field.message_type is not None and field.message_type.file.package == message.file.package:
            inner.append(field.message_type)
    for one in inner:
        yield from fields(one)


def limit(field: FieldDescriptor) -> str:
    """What may stand in a field, in words; empty where its type alone says it, or where nothing bounds it."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    parts = ["required"] if rules.required else []
    match rules.WhichOneof("type"):
        case "string":
            parts += _string(rules.string)
        case "uint32":
            parts.append(f"0 to {rules.uint32.lte}")
        case "double":
            parts.append("a finite number")
        case "enum":
            values = field.enum_type.values if field.enum_type is not None else ()
            parts.append("one of " + ", ".join(f"`{value.name}`" for value in values if value.number))
        case "repeated":
            parts.append(f"at most {rules.repeated.max_items}, each {', '.join(_string(rules.repeated.items.string))}")
    if not parts and field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        parts.append("years 1 to 9999")
    return ", ".join(parts)


def unbounded(message: Descriptor) -> list[str]:
    """Texts, bytes and lists in a message that no rule bounds."""
    found = []
    for field in fields(message):
        rules = field.GetOptions().Extensions[validate_pb2.field]
        text = field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
        if (field.is_repeated and not rules.repeated.max_items) or (
            text and not field.is_repeated and not (rules.string.max_len or rules.string.max_bytes)
        ):
            found.append(name(field))
    return found


def name(field: FieldDescriptor) -> str:
    """`Signal.user_id`."""
    assert field.containing_type is not None
    return f"{field.containing_type.name}.{field.name}"


def table() -> str:
    """The table in Markdown, of the fields whose rules say more than their type."""
    rows = [f"| `{name(field)}` | {limit(field)} |" for message in PUBLIC for field in fields(message) if limit(field)]
    return "\n".join(["| field | what may stand in it |", "|---|---|", *rows]) + "\n"


def _string(rules: validate_pb2.StringRules) -> list[str]:
    most = f"{rules.max_bytes} bytes" if rules.max_bytes else f"{rules.max_len} characters"
    size = f"{rules.min_len} to {most}" if rules.min_len else f"at most {most}"
    return [size, *([CONTROLS[rules.pattern]] if rules.pattern else [])]


def main() -> None:
    """Puts the table between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
