"""What producers may write that is not as it should be: other schemas, other sizes, other times, everything again.

Each does its fault to a running stack while events are written, and returns when it is over. What has to become of each
record stands in the ledger, and the oracle compares.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from google.protobuf.json_format import Parse

from oo.v1.decision_pb2 import Tip
from oo.v1.signal_pb2 import Signal
from streams.topics import MIB
from tests.faults.scene import CORES, TERM, Scene
from tests.faults.stack import ROOT
from tests.faults.traffic import JSON, Sent, stamp

Headers = Sequence[tuple[str, bytes | None]]


class Pen:
    """Writes single records, and puts into the ledger what has to become of them."""

    def __init__(self, scene: Scene, *, compression: str = "none") -> None:
        self._scene = scene
        self._client = Producer(
            {
                "bootstrap.servers": scene.stack.running.cluster.bootstrap,
                "message.max.bytes": 8 * MIB,
                "enable.idempotence": True,
                "compression.type": compression,
                "log_level": 0,
            }
        )
        self._number = 0

    def write(
        self,
        value: bytes | None,
        *,
        reason: str = "",
        user: str = "pen",
        headers: Headers = (),
        key: bytes | None = None,
        time_ms: int = 0,
    ) -> tuple[str, int, int] | KafkaError:
        """Where the record stands, or why Kafka refused it."""
        self._number += 1
        told: list[tuple[KafkaError | None, Message]] = []
        self._client.produce(
            self._scene.stack.running.cluster.name("signals"),
            value,
            key,
            0,
            lambda error, message: told.append((error, message)),
            timestamp=time_ms,
            headers=list(headers),  # type: ignore[arg-type]
        )
        assert self._client.flush(60) == 0
        error, message = told[0]
        if error is not None:
            return error
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None
        place = ("signals", partition, offset)
        sent = Sent(f"pen-{self._number}", user, "bad" if reason else "pen", reason=reason)
        self._scene.traffic.ledger.acknowledged[place] = sent
        return place

    def good(self) -> int:
        """Write one that has to pass, behind all that was refused; the ms until Kafka had it in the journal."""
        user, oracle = self._scene.traffic.users[0], self._scene.oracle
        written_ms = time.time_ns() // 1_000_000
        place = self.write(json.dumps(task(user)).encode(), user=user, headers=JSON)
        assert isinstance(place, tuple)

        def there() -> bool:
            oracle.take()
            return place in oracle.sources

        self._scene.stack.until(there, what="journaled")
        return oracle.journaled_ms[place] - written_ms


def write_other_schemas(scene: Scene) -> None:
    """Messages that are none of ours, or no longer; the next good event goes through at once."""
    pen, registry = Pen(scene), scene.stack.running.cluster.registry_url
    prefix, user = scene.stack.running.cluster.prefix, scene.traffic.users[0]
    status, _ = _post(f"{registry}/subjects/{prefix}signals-value/versions", INCOMPATIBLE)
    if status != 409:
        scene.problems.append(f"the registry answered {status} to an incompatible schema")
    _, foreign = _post(f"{registry}/subjects/faults.foreign-value/versions", INCOMPATIBLE)
    ours, tips = (_latest(registry, f"{prefix}{name}-value") for name in ("signals", "tips"))
    good = Parse(json.dumps(task(user)), Signal()).SerializeToString()
    bads = [
        # A field of another type under our own id: the user is gone.
        ("invalid", _frame(ours, b"\x10\x07" + good[good.index(b"\x1a") :])),
        ("wrong-schema", _frame(foreign["id"], b"\x10\x07")),
        ("wrong-schema", _frame(tips, Tip(user_id=user, title="x").SerializeToString(), index=DECISION_TIP)),
        ("wrong-schema", _frame(ours, good, index=1)),
        ("unknown-schema", _frame(2_000_000_000, good)),
        ("truncated", _frame(ours, good[:-1])),
        ("garbage", _frame(ours, b"\xff" * 40)),
        ("no-frame", good),
        ("no-frame", None),
    ]
    scene.stack.wait(1)
    after_ms = {}
    for number, (reason, value) in enumerate(bads):
        for _ in range(3):
            pen.write(value, reason=reason)
        after_ms[f"{reason} {number}"] = pen.good()
    for _ in range(20):
        for reason, value in bads:
            pen.write(value, reason=reason)
    scene.notes.append(f"ms until a good event behind each kind was journaled: {after_ms}")
    scene.notes.append(f"behind {20 * len(bads)} of them: {pen.good()} ms")


def write_other_sizes_and_times(scene: Scene) -> None:
    """As large as Kafka takes and larger, in every part of a record; times that no event can have."""
    pen, user = Pen(scene), scene.traffic.users[0]
    ours = _latest(scene.stack.running.cluster.registry_url, f"{scene.stack.running.cluster.prefix}signals-value")
    good = Parse(json.dumps(task(user)), Signal()).SerializeToString()
    large, now_ms = MIB - 2_000, time.time_ns() // 1_000_000
    # An unknown field, as a newer producer writes it: kept or not, it must not stop anybody.
    padding = b"\xfa\x3f" + _varint(large - len(good) - 20)
    for number in range(3):
        pen.write(_frame(ours, good + padding + b"x" * (large - len(good) - 20)), user=user, key=user.encode())
        pen.write(b'{"title": "' + b"x" * large, reason="bad-json", headers=JSON)
        pen.write(json.dumps(task(user, title="x" * (large - 400))).encode(), reason="invalid", headers=JSON)
        pen.write(b"\x01", reason="no-frame", key=b"k" * large)
        pen.write(b"\x01", reason="no-frame", headers=[("h", b"v" * large)])
        pen.write(b"\x01", reason="no-frame", headers=[(f"h{at}", b"v") for at in range(1000)])
        pen.write(b"\x01", reason="no-frame", headers=[("nothing", None), ("", b"")])
        pen.write(b"", reason="no-frame", key=b"")
        for hours, reason in ((23, ""), (25, "time-ahead"), (24 * 365 * 8000, "invalid")):
            event_ms = now_ms + hours * 3_600_000
            if reason == "invalid":
                body = task(user, due="12000-01-01T00:00:00Z")
                pen.write(json.dumps(body).encode(), reason="bad-json", headers=JSON)
            else:
                body = task(user, event_time=stamp(event_ms))
                pen.write(json.dumps(body).encode(), user=user, reason=reason, headers=JSON)
        # Without a time of its own an event has the record's.
        pen.write(json.dumps(task(user)).encode(), user=user, headers=JSON, time_ms=now_ms - 86_400_000)
        pen.write(json.dumps(task(user)).encode(), reason="time-behind", headers=JSON, time_ms=1)
        scene.notes += [] if number else _refused_by_kafka(scene, pen, user, now_ms)
    # Kafka's bound holds for what is compressed: what comes out of it may be larger.
    padding = b"\xfa\x3f" + _varint(3 * MIB)
    for name in ("gzip", "snappy", "lz4", "zstd"):
        packed = Pen(scene, compression=name)
        packed.write(json.dumps(task(user)).encode(), user=user, headers=JSON)
        packed.write(_frame(ours, good + padding + b"x" * 3 * MIB), reason="too-large")
        packed.write(json.dumps(task(user, title="x" * 3 * MIB)).encode(), reason="too-large", headers=JSON)
    _strange_header(scene, user)
    scene.notes.append(f"a good event behind them was journaled after {pen.good()} ms")


def write_everything_again(scene: Scene) -> None:
    """All reactions stand in their topic twice; then workers that know nothing read every topic from its beginning."""
    stack, prefix = scene.stack, scene.stack.running.cluster.prefix
    stack.wait(8)
    client = Producer(
        {"bootstrap.servers": stack.running.cluster.bootstrap, "enable.idempotence": True, "log_level": 0}
    )
    again = 0
    for line in list(scene.oracle.log.news("reactions", again=True)):
        client.produce(f"{prefix}reactions", line.value, line.key or None, headers=list(JSON))
        again += 1
    assert client.flush(60) == 0
    scene.goes_on("reactions")
    names = (*CORES, "publish", "record")
    for name in names:
        stack.workers[name].end(TERM)
        shutil.rmtree(stack.workers[name].data)
    groups = [f"{prefix}{name}".replace(".", "-") for name in ("core", "publish", "record")]
    admin = AdminClient({"bootstrap.servers": stack.running.cluster.bootstrap, "log_level": 0})

    def forgotten() -> bool:
        # A static member stays in its group for a session after it has ended.
        for group in list(groups):
            try:
                admin.delete_consumer_groups([group])[group].result(30)
                groups.remove(group)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.NON_EMPTY_GROUP:
                    raise
        return not groups

    stack.until(forgotten, what="the groups forgotten")
    read = sum(sum(scene.oracle.log.ends(topic).values()) for topic in ("signals", "reactions", "journal"))
    stack.start(*names)
    took_s = scene.goes_on("signals", "reactions")
    scene.notes.append(f"{again} reactions written again; {read} records read again, admitted in {took_s:.1f} s")


INCOMPATIBLE = {
    "schemaType": "PROTOBUF",
    "schema": 'syntax = "proto3"; package oo.v1; message Signal { string event_id = 1; uint64 user_id = 2; }',
}
DECISION_TIP = list(Tip.DESCRIPTOR.file.message_types_by_name).index("Tip")


def _refused_by_kafka(scene: Scene, pen: Pen, user: str, now_ms: int) -> list[str]:
    """What never comes to us: past the topic's size, and record times ahead of the broker's clock."""
    told = []
    for what, found in (
        ("a record past 1 MiB", pen.write(b"x" * (MIB + 1), reason="never")),
        ("a record time a year ahead", pen.write(b"x", reason="never", user=user, time_ms=now_ms + 365 * 86_400_000)),
    ):
        if isinstance(found, KafkaError):
            told.append(f"{what}: refused by Kafka ({found.name()})")
        else:
            scene.problems.append(f"{what}: Kafka took it")
    return told


def _strange_header(scene: Scene, user: str) -> None:
    """A header whose name is not UTF-8: Kafka takes it, and nobody asked for it."""
    running = scene.stack.running
    command = (sys.executable, "-m", "tests.faults.strange", running.cluster.bootstrap, running.cluster.name("signals"))
    done = subprocess.run((*command, json.dumps(task(user))), cwd=ROOT, check=True, capture_output=True, text=True)
    partition, offset = (int(number) for number in done.stdout.split())
    scene.traffic.ledger.acknowledged["signals", partition, offset] = Sent("strange", user, "pen")


def task(user: str, **fields: str) -> dict[str, object]:
    own = {name: value for name, value in fields.items() if name == "event_time"}
    task = {"external_id": "pen", "title": "Written by hand", **{k: v for k, v in fields.items() if k not in own}}
    return {"user_id": user, "source": "pen", "task_upserted": task, **own}


def _frame(schema_id: int, message: bytes, *, index: int = 0) -> bytes:
    path = b"\x00" if index == 0 else bytes((2, 2 * index))
    return b"\x00" + schema_id.to_bytes(4, "big") + path + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _post(url: str, body: object) -> tuple[int, dict[str, int]]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, {}


def _latest(registry: str, subject: str) -> int:
    with urllib.request.urlopen(f"{registry}/subjects/{subject}/versions/latest", timeout=30) as answer:
        return int(json.load(answer)["id"])
