"""Marked words of one person, in every field that takes text, and where they are found: in all bytes of a stack's files, and in
what its stores give out.

A file is searched for the words as they are, and in the forms that software gives them on its way: UTF-16, hexadecimal, base64. What a
store may compress (PostgreSQL long values, RocksDB, Valkey's dump, Kafka) is asked of the store too.
"""

from __future__ import annotations

import base64
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import valkey
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import OffsetSpec

from deploy.stack.running import RunningStack
from deploy.stack.topics import admin

PREFIX = "kanari9z"
"""No word of a program or a library."""


def mark(where: str) -> str:
    """A word that only stands where it was put: `where` says in which field that was."""
    return f"{PREFIX}-{where}"


def _forms() -> dict[str, bytes]:
    plain = PREFIX.encode()
    forms = {"": plain, "UTF-16": PREFIX.encode("utf-16-le"), "UTF-16 BE": PREFIX.encode("utf-16-be")}
    forms |= {"hex": plain.hex().encode(), "HEX": plain.hex().upper().encode()}
    for shift in range(3):
        # Without the characters that what stands beside the word has a part in.
        spelled = base64.b64encode(bytes(shift) + plain)
        forms[f"base64 +{shift}"] = spelled[(shift * 8 + 5) // 6 : (shift + len(plain)) * 8 // 6]
    return forms


FORMS = _forms()
_WORD = re.compile(rb"kanari9z-((?:(?!kanari)[a-z_])+)")


def words_in(data: bytes) -> set[str]:
    """What is marked in these bytes, by field; a form that is not plain text is told by its name."""
    found = {word.decode() for word in _WORD.findall(data)}
    return found | {f"({form})" for form, spelled in FORMS.items() if form and spelled in data}


def sightings(stack: RunningStack) -> dict[str, set[str]]:
    """By place, the fields whose words were found there: places are `kafka oo.signals`, `postgres`, `rocksdb`, `logs` and so on."""
    found: dict[str, set[str]] = defaultdict(set)
    for place, data in _everything(stack):
        if words := words_in(data):
            found[place] |= words
    return dict(found)


def given_out(stack: RunningStack) -> Iterator[tuple[str, bytes]]:
    """By place, every record, row and value that a store gives out."""
    yield from _kafka(stack)
    yield from _postgres(stack)
    yield from _valkey(stack)


def _everything(stack: RunningStack) -> Iterator[tuple[str, bytes]]:
    root = stack.folder.root
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield _place(path.relative_to(root)), path.name.encode() + b"\0" + written(path)
    yield from given_out(stack)


def written(path: Path) -> bytes:
    """What a file holds, without its holes: Kafka's indexes are 10 MB of nothing each, at first."""
    parts, at = [], 0
    with path.open("rb", buffering=0) as file:
        with suppress(OSError):  # behind the last byte there is nothing more
            while True:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                parts.append(os.pread(file.fileno(), end - at, at))
                at = end
    return b"".join(parts)


def _place(path: Path) -> str:
    """
    >>> _place(Path("data/kafka/logs/oo.signals-3/00000000000000000000.log")), _place(Path("logs/edge.log"))
    ('kafka oo.signals', 'logs')
    """
    topic = re.search(r"/(oo\.[a-z-]+)-\d+/", f"/{path.as_posix()}")
    if topic:
        return f"kafka {topic[1]}"
    parts = path.parts
    return " ".join(parts[1:2] if parts[0] == "data" else parts[:1])


def _kafka(stack: RunningStack) -> Iterator[tuple[str, bytes]]:
    """Every record that the brokers still give out, of every topic there is."""
    client = Consumer(
        {
            **stack.as_admin.cluster.rdkafka(),
            "group.id": "canary",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
        }
    )
    topics = client.list_topics(timeout=30).topics
    places = [TopicPartition(name, number, 0) for name, topic in topics.items() for number in topic.partitions]
    client.assign(places)
    # Asked at once: a consumer's `get_watermark_offsets` takes a third of a second for each of some two hundred.
    asking = admin(stack.as_admin.cluster)
    asked = asking.list_offsets({TopicPartition(one.topic, one.partition): OffsetSpec.latest() for one in places})
    ends = {(one.topic, one.partition): future.result(30).offset for one, future in asked.items()}
    left = {place for place, end in ends.items() if end}
    while left:
        for message in client.consume(500, 0.5):
            place = message.topic(), message.partition()
            # Either tells: no end is told of a partition that moved meanwhile, and the last offset may be no record.
            if message.error() or message.offset() + 1 >= ends[place]:
                left.discard(place)
            if message.error():
                continue
            parts = [message.key(), message.value()]
            parts += [part for name, value in message.headers() or () for part in (name.encode(), value)]
            yield f"kafka {message.topic()}", b"\0".join(part for part in parts if part)
    client.close()


def _postgres(stack: RunningStack) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, as text."""
    with psycopg.connect(stack.dsn("postgres")) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            with connection.cursor().copy(f'COPY "{schema}"."{table}" TO STDOUT') as rows:
                for row in rows:
                    text = bytes(row)
                    yield "postgres", text
                    # A column of bytes comes out in hexadecimal.
                    for spelled in re.findall(rb"\\\\x([0-9a-f]+)", text):
                        yield "postgres", bytes.fromhex(spelled.decode())


def _valkey(stack: RunningStack) -> Iterator[tuple[str, bytes]]:
    """Every key, with all that it holds."""
    client = valkey.Valkey.from_url(stack.as_admin.valkey_url)
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        if kind == b"hash":
            held = [part for pair in client.hgetall(key).items() for part in pair]
        elif kind == b"zset":
            held = client.zrange(key, 0, -1)
        elif kind == b"set":
            held = list(client.smembers(key))
        elif kind == b"list":
            held = client.lrange(key, 0, -1)
        elif kind == b"stream":
            held = [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
        else:
            assert kind in (b"string", b"none"), (key, kind)
            held = [client.get(key) or b""]
        yield "valkey", b"\0".join([key, *held])
    client.close()
