"""The columns of a lake: made of a protobuf descriptor in this one place, for Avro and for Parquet, with the rows that fill them.

Nothing is turned into what a reader could take for something else: a protobuf timestamp stays seconds and nanoseconds, an enum
becomes the name of its value, and what 64 unsigned bits hold is a decimal of 20 digits. It writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["bool", "int", "long", "ulong", "float", "double", "string", "bytes", "time", "record"]
Row = dict[str, Any]

_F = FieldDescriptor
_KINDS: Final[dict[int, Kind]] = {
    _F.TYPE_BOOL: "bool",
    _F.TYPE_INT32: "int",
    _F.TYPE_SINT32: "int",
    _F.TYPE_SFIXED32: "int",
    # Avro has no unsigned numbers: the next wider one.
    _F.TYPE_UINT32: "long",
    _F.TYPE_FIXED32: "long",
    _F.TYPE_INT64: "long",
    _F.TYPE_SINT64: "long",
    _F.TYPE_SFIXED64: "long",
    _F.TYPE_UINT64: "ulong",
    _F.TYPE_FIXED64: "ulong",
    _F.TYPE_FLOAT: "float",
    _F.TYPE_DOUBLE: "double",
    _F.TYPE_STRING: "string",
    _F.TYPE_BYTES: "bytes",
    _F.TYPE_ENUM: "string",
    _F.TYPE_MESSAGE: "record",
}
ULONG_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class Column:
    """One column, or one field of a record in one."""

    name: str
    kind: Kind
    path: str = ""
    """From the message on, such as `slate.id`."""
    repeated: bool = False
    nullable: bool = False
    columns: tuple[Column, ...] = ()
    """Of a record."""
    names: EnumDescriptor | None = None
    """Of an enum."""
    of: tuple[str, ...] = ()
    """Of a oneof: its fields; the column says which of them is set."""
    is_word: bool = False
    """Whether somebody's words may stand in it: a string or bytes that is no enum's, nor a oneof's."""


def columns_of(descriptor: Any, *, without: Collection[str] = (), path: str = "") -> tuple[Column, ...]:
    """The columns of a message by its descriptor, but those whose paths are in `without`. Raises ValueError for a map, a group or a message in itself.

    >>> from oo.v1.journal_pb2 import Position
    >>> [(one.name, one.kind) for one in columns_of(Position.DESCRIPTOR)]
    [('topic_id', 'bytes'), ('partition', 'int'), ('offset', 'long')]
    """
    if path.count(".") > 8 or descriptor.GetOptions().map_entry:
        raise ValueError(
            f"{descriptor.full_name} at {path} is a map, or stands in itself: the lake has no column for it"
        )
    found = []
    for field in descriptor.fields:
        at = f"{path}{field.name}"
        if at in without:
            continue
        inner = field.message_type
        kind = _KINDS[field.type]
        columns = columns_of(inner, without=without, path=f"{at}.") if inner is not None else ()
        repeated = field.is_repeated
        found.append(
            Column(
                field.name,
                kind,
                at,
                repeated=repeated,
                nullable=field.has_presence and not repeated,
                columns=columns,
                names=field.enum_type,
                is_word=kind in ("string", "bytes") and field.enum_type is None,
            )
        )
    for oneof in descriptor.oneofs:
        fields = tuple(one.name for one in oneof.fields if f"{path}{one.name}" not in without)
        # An optional field is a oneof of its own, to protobuf.
        if fields and not oneof.name.startswith("_"):
            found.append(Column(f"{oneof.name}_is", "string", f"{path}{oneof.name}", nullable=True, of=fields))
    return tuple(found)


def coarse(columns: tuple[Column, ...], *, kept: Collection[str], cut: Collection[str] = ()) -> tuple[Column, ...]:
    """The same without anybody's words: strings and bytes go, but those whose paths are in `kept`, and what is in `cut`; so do records that have nothing else.

    >>> from oo.v1.signal_pb2 import Signal
    >>> [one.name for one in coarse(columns_of(Signal.DESCRIPTOR), kept=["source"])][:3]
    ['source', 'event_time', 'task_upserted']
    """
    found = []
    for one in columns:
        if one.kind == "record":
            inner = coarse(one.columns, kept=kept, cut=cut)
            if inner:
                found.append(replace(one, columns=inner))
        elif one.path in kept or not (one.is_word or one.path in cut):
            found.append(one)
    return tuple(found)


def reader_of(columns: tuple[Column, ...]) -> Callable[[Message], Row]:
    """What makes rows of messages of these columns."""
    readers = [(one.name, _reader(one)) for one in columns]
    return lambda message: {name: read(message) for name, read in readers}


def _reader(column: Column) -> Callable[[Any], Any]:
    name = column.name
    if column.of:
        oneof = column.path.rpartition(".")[2]
        allowed = frozenset(column.of)

        def which(message: Message) -> str | None:
            found = message.WhichOneof(oneof)
            return found if found in allowed else None

        return which
    convert: Callable[[Any], Any] | None = None
    if column.kind == "record":
        convert = reader_of(column.columns)
    elif column.kind == "ulong":
        convert = Decimal
    elif column.names is not None:
        by_number = {number: one.name for number, one in column.names.values_by_number.items()}

        def convert(number: int) -> str:
            # A value that a newer build added keeps its number.
            return by_number.get(number) or str(number)

    if column.repeated:
        return lambda message: (
            [convert(one) for one in getattr(message, name)] if convert else list(getattr(message, name))
        )
    if convert is None:
        found: Callable[[Any], Any] = lambda message: getattr(message, name)  # noqa: E731
    else:
        made = convert
        found = lambda message: made(getattr(message, name))  # noqa: E731
    return (lambda message: found(message) if message.HasField(name) else None) if column.nullable else found


def time_of(ms: int) -> datetime:
    """A time as rows have it: aware, in UTC."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def avro(columns: tuple[Column, ...], name: str) -> dict[str, Any]:
    """The Avro schema. Each record in it has a name of its own: some readers know none by reference. No map, and no union but with null."""
    return {
        "type": "record",
        "name": name.replace(".", "_"),
        "namespace": "oo.lake",
        "fields": [{"name": one.name, "type": _avro(one, f"{name}.{one.name}")} for one in columns],
    }


def _avro(column: Column, name: str) -> Any:
    simple: dict[Kind, Any] = {
        "bool": "boolean",
        "ulong": {"type": "bytes", "logicalType": "decimal", "precision": ULONG_DIGITS, "scale": 0},
        "time": {"type": "long", "logicalType": "timestamp-micros"},
    }
    if column.kind == "record":
        kind = {key: value for key, value in avro(column.columns, name).items() if key != "namespace"}
    else:
        kind = simple.get(column.kind, column.kind)
    if column.repeated:
        return {"type": "array", "items": kind}
    return ["null", kind] if column.nullable else kind


def arrow(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema, as Parquet has it."""
    import pyarrow as pa

    kinds: dict[str, Callable[[], pa.DataType]] = {
        "bool": pa.bool_,
        "int": pa.int32,
        "long": pa.int64,
        "ulong": lambda: pa.decimal128(ULONG_DIGITS, 0),
        "float": pa.float32,
        "double": pa.float64,
        "string": pa.string,
        "bytes": pa.binary,
        "time": lambda: pa.timestamp("us", tz="UTC"),
    }

    def field(one: Column) -> pa.Field:
        kind = pa.struct([field(inner) for inner in one.columns]) if one.kind == "record" else kinds[one.kind]()
        return pa.field(
            one.name, pa.list_(pa.field("item", kind, nullable=False)) if one.repeated else kind, nullable=one.nullable
        )

    return pa.schema([field(one) for one in columns])
