"""The bytes of one value: Confluent's header before a protobuf message, or protobuf JSON. Pure.

It never knows which schema ids are right: that is the registry's to say (streams/schemas.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from google.protobuf.json_format import Parse
from google.protobuf.message import DecodeError, Message

from streams.json_faults import why

JSON_DEPTH_MAX: Final = 32
DETAIL_LENGTH_MAX: Final = 300

Reason = Literal[
    "no-frame",
    "truncated",
    "garbage",
    "bad-json",
    "too-large",
    "unknown-schema",
    "wrong-schema",
    "registry-unavailable",
    "not-opened",
]
"""Why a value cannot be read; docs/bad-input.md says what each means."""


class BadFrame(Exception):
    """A value that cannot be read: a fixed word for the dead letter, and a sentence that says what to mend."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail[:DETAIL_LENGTH_MAX]
        super().__init__(f"{reason}: {self.detail}")


def header(schema_id: int, index: int) -> bytes:
    """Confluent's header before a top-level message: magic, schema id, message index.

    >>> header(7, 0).hex(), header(7, 2).hex()
    ('000000000700', '00000000070204')
    """
    path = b"\x00" if index == 0 else b"\x02" + varint(2 * index)
    return b"\x00" + schema_id.to_bytes(4, "big") + path


def read_header(value: bytes) -> tuple[int, tuple[int, ...], int]:
    """Schema id, message index path and length of the header before a message; raises BadFrame.

    >>> read_header(bytes.fromhex("00000000070204") + b"message")
    (7, (2,), 7)
    """
    if not value or value[0] != 0:
        hint = "; JSON needs the header content-type: application/json" if value[:1] in (b"{", b"[") else ""
        raise BadFrame("no-frame", f"the value does not begin with the magic byte 0 of a Confluent frame{hint}")
    if value[5:6] == b"\0":  # The first message of its file.
        return int.from_bytes(value[1:5], "big"), (0,), 6
    if value[5:6] == b"\2" and value[6:7] < b"\x80" and len(value) > 6:  # One of the next.
        return int.from_bytes(value[1:5], "big"), (value[6] >> 1 ^ -(value[6] & 1),), 7
    if len(value) < 6:
        raise BadFrame("truncated", f"the value ends inside its frame's header, after {len(value)} bytes")
    schema_id = int.from_bytes(value[1:5], "big")
    count, at = _zigzag(value, 5)
    if count == 0:
        return schema_id, (0,), at
    if not 0 < count <= 16:
        raise BadFrame("garbage", f"a message index of {count} levels is none that a serializer writes")
    path = []
    for _ in range(count):
        index, at = _zigzag(value, at)
        path.append(index)
    return schema_id, tuple(path), at


def payload(value: bytes) -> bytes:
    """The message's bytes in a frame, whatever schema id it carries; raises BadFrame. Needs no registry.

    >>> payload(bytes.fromhex("00000000070204") + b"message")
    b'message'
    """
    return value[read_header(value)[2] :]


def from_json(kind: type[Message], value: bytes | None, *, bytes_max: int) -> Message:
    """A message from protobuf's JSON mapping, UTF-8. Raises BadFrame; a field that `kind` does not have is an error.

    An unknown field is refused, not ignored: JSON is written by hand, and a mistyped name would else be lost in silence.

    >>> from oo.v1 import signal_pb2
    >>> from_json(signal_pb2.Signal, b'{"userId": "alice"}', bytes_max=100).user_id
    'alice'
    """
    if not value:
        raise BadFrame("no-frame", "the value is empty")
    if len(value) > bytes_max:
        raise BadFrame("too-large", f"{len(value)} bytes of JSON; the most is {bytes_max}")
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFrame("bad-json", f"not UTF-8 at byte {error.start}") from error
    if not text.lstrip().startswith("{"):
        # The parser would take [] for a message without fields.
        raise BadFrame("bad-json", "not a JSON object")
    try:
        return Parse(text, kind(), max_recursion_depth=JSON_DEPTH_MAX)
    except Exception as error:  # protobuf raises what its parts do: OverflowError for a time, for one
        raise BadFrame("bad-json", why(text, kind)) from error


def parse(kind: type[Message], data: bytes) -> Message:
    """The message in bare bytes; raises BadFrame, `truncated` where the last field runs past the end."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        name = kind.DESCRIPTOR.full_name
        if _is_cut_short(data):
            raise BadFrame("truncated", f"the last field of this {name} runs past the end of the value") from error
        raise BadFrame("garbage", f"the bytes are not a {name}") from error


def _is_cut_short(data: bytes) -> bool:
    """Whether the bytes look like a message up to a last field that runs past the end."""
    at = 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            match tag & 7:
                case 0:
                    _, at = _read_varint(data, at)
                case 1:
                    at += 8
                case 2:
                    length, at = _read_varint(data, at)
                    at += length
                case 5:
                    at += 4
                case _:
                    return False
            if tag >> 3 == 0:
                return False
    except BadFrame as bad:
        return bad.reason == "truncated"
    return at > len(data)


def is_json(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether a record's headers say that its value is JSON.

    >>> is_json([("Content-Type", b"application/json; charset=utf-8")]), is_json([])
    (True, False)
    """
    return content_type(headers) == b"application/json"


def content_type(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """What a record's headers call its value, without parameters and in small letters; empty where they do not."""
    for key, value in headers:
        if key.lower() == "content-type" and value is not None:
            return value.split(b";")[0].strip().lower()
    return b""


def varint(number: int) -> bytes:
    """A number as protobuf writes it.

    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(value: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(value):
            raise BadFrame("truncated", f"the value ends inside a number, after {len(value)} bytes")
        number |= (value[at] & 0x7F) << shift
        at += 1
        if value[at - 1] < 0x80:
            return number, at
    raise BadFrame("garbage", "a number of more than 10 bytes is none that a serializer writes")


def _zigzag(value: bytes, at: int) -> tuple[int, int]:
    number, at = _read_varint(value, at)
    return (number >> 1) ^ -(number & 1), at
