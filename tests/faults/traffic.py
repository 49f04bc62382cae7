"""What producers write while a fault happens: events with unique ids at a steady pace, and which were acknowledged.

It speaks to Kafka alone, in JSON, and reads the tips that it reacts to from their topic.
"""

from __future__ import annotations

import datetime
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, Producer, TopicPartition
from google.protobuf.message import DecodeError

from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision, Tip
from streams.sealing import NotOpened
from tests.sealed import KeptKeys, opened_now

JSON = [("content-type", b"application/json")]
PARTITIONS = 8
ITEMS = 8
"""Calendar entries and tasks of each user, written over and over."""
REACT_SHARE = 0.15
REACTIONS = ("DONE", "SNOOZE", "DISMISS")


@dataclass(frozen=True, slots=True)
class Mix:
    """What is unusual about a row's events."""

    bad_share: float = 0.0
    duplicate_share: float = 0.0
    """Sent a second time, with the same event id and content."""
    late_share: float = 0.0
    """Told with an event time up to ten minutes ago, after newer ones."""
    skew_s: int = 0
    """Producers' clocks are off by this, half of them ahead and half behind."""
    hot_share: float = 0.0
    """Of all events for one user."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One record as it was written; `reason` is what it has to be refused for, if anything."""

    event_id: str
    user: str
    kind: str
    item: str = ""
    title: str = ""
    event_ms: int = 0
    decision_id: str = ""
    reason: str = ""
    repeats: bool = False


@dataclass(slots=True)
class Ledger:
    """What Kafka acknowledged, by topic, partition and offset; and what it did not."""

    acknowledged: dict[tuple[str, int, int], Sent] = field(default_factory=dict)
    unknown: list[Sent] = field(default_factory=list)
    """Reported as failed: each may stand in the topic or not."""


class Traffic:
    """A seeded writer in a thread of its own."""

    def __init__(
        self, stack: RunningStack, *, run: str, seed: int, rate: float, users: int = 40, mix: Mix | None = None
    ) -> None:
        self.users = [f"{run}-u{number}" for number in range(users)]
        self.ledger = Ledger()
        self._bootstrap, self._prefix, self._run, self._rate = stack.cluster.bootstrap, stack.cluster.prefix, run, rate
        self._keys = KeptKeys.of(stack.cluster, KeyFiles(stack.kek_dir))
        self._mix = mix or Mix()
        self._chance = random.Random(f"{seed}/{run}")
        self._mine = {stack.pseudonym(user): user for user in self.users}
        self._met: set[str] = set()
        self._number = 0
        self._last_ms = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="traffic", daemon=True)
        self._failure: BaseException | None = None
        self._bads = list(bads())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more events; returns when Kafka has said of each whether it has it."""
        self._stop.set()
        self._thread.join(240)
        assert not self._thread.is_alive(), "the writer hangs"
        if self._failure is not None:
            raise self._failure

    @property
    def written(self) -> int:
        return self._number

    def _write(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            self._failure = error

    def _loop(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": 180_000,
                "log_level": 0,
            }
        )
        tips = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "faults-traffic",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        topic = f"{self._prefix}tips"
        tips.assign([TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS)])
        began_s = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - began_s) * self._rate)
            while self._number < due and not self._stop.is_set():
                self._event(producer)
            for message in tips.consume(200, 0.02):
                if message.error() is None:
                    self._react(producer, message)
            producer.poll(0)
        assert producer.flush(200) == 0, "Kafka said nothing of some events"
        tips.close()

    def _event(self, producer: Producer) -> None:
        chance, mix = self._chance, self._mix
        self._number += 1
        event_id = f"{self._run}-e{self._number}"
        user = self.users[0] if chance.random() < mix.hot_share else chance.choice(self.users)
        if chance.random() < mix.bad_share:
            reason, body, headers = chance.choice(self._bads)
            self._send(producer, "signals", body, Sent(event_id, user, "bad", reason=reason), headers=headers)
            return
        event_ms = self._time()
        if chance.random() < mix.late_share:
            event_ms -= chance.randrange(1, 600_000)
        if mix.skew_s:
            event_ms += 1000 * mix.skew_s * chance.choice((-1, 1))
        number, title = chance.randrange(ITEMS), f"Event {self._number}"
        signal: dict[str, Any] = {
            "user_id": user,
            "source": "faults",
            "event_id": event_id,
            "event_time": stamp(event_ms),
        }
        if chance.random() < 0.5:
            kind, item = "task", f"task-{number}"
            signal["task_upserted"] = {"external_id": item, "title": title, "priority": chance.randrange(5)}
        else:
            kind, item = "calendar", f"entry-{number}"
            day_ms = event_ms + 86_400_000 * 3
            signal["calendar_event_upserted"] = {
                "external_id": item,
                "title": title,
                "start": stamp(day_ms),
                "end": stamp(day_ms + 3_600_000),
            }
        sent = Sent(event_id, user, kind, item=item, title=title, event_ms=event_ms)
        body = json.dumps(signal).encode()
        self._send(producer, "signals", body, sent)
        if chance.random() < mix.duplicate_share:
            again = Sent(event_id, user, kind, item=item, title=title, event_ms=event_ms, repeats=True)
            self._send(producer, "signals", body, again)

    def _react(self, producer: Producer, message: Message) -> None:
        """Sometimes: seen, then what the person did. One reaction a decision."""
        value = message.value()
        assert value is not None
        try:
            tip = opened_now(Tip.FromString(unframed(value)), whose=message.key() or b"", keys=self._keys)
        except (AssertionError, IndexError, DecodeError, NotOpened):
            return  # a fault writes junk there
        user = self._mine.get(tip.user_id)
        if user is None or tip.kind not in (Decision.TASK, Decision.STARTER):
            return
        # After a kill the same tip stands in its topic again: a person still reacts once.
        met = tip.decision_id in self._met
        self._met.add(tip.decision_id)
        if met or self._chance.random() >= REACT_SHARE:
            return
        for kind in ("SEEN", self._chance.choice(REACTIONS)):
            event_id = f"{kind}-{tip.decision_id}"
            event_ms = self._time()
            if self._mix.skew_s:
                event_ms += 1000 * self._mix.skew_s * self._chance.choice((-1, 1))
            reaction = {
                "user_id": user,
                "decision_id": tip.decision_id,
                "kind": kind,
                "event_id": event_id,
                "source": "faults",
                "event_time": stamp(event_ms),
            }
            sent = Sent(event_id, user, kind, event_ms=event_ms, decision_id=tip.decision_id)
            body = json.dumps(reaction).encode()
            self._send(producer, "reactions", body, sent)
            if self._chance.random() < self._mix.duplicate_share:
                again = Sent(event_id, user, kind, event_ms=event_ms, decision_id=tip.decision_id, repeats=True)
                self._send(producer, "reactions", body, again)

    def _send(
        self, producer: Producer, topic: str, body: bytes, sent: Sent, headers: list[tuple[str, bytes]] = JSON
    ) -> None:
        def told(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.ledger.unknown.append(sent)
            else:
                place = (topic, message.partition(), message.offset())
                self.ledger.acknowledged[place] = sent  # type: ignore[index]

        # Half of it as a producer that knows no keys writes it: a user's events then come by several partitions.
        key = sent.user.encode() if self._chance.random() < 0.5 else None
        producer.produce(f"{self._prefix}{topic}", body, key, headers=list(headers), on_delivery=told)

    def _time(self) -> int:
        """Now, and never twice the same."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        return self._last_ms


def bads() -> list[tuple[str, bytes, list[tuple[str, bytes]]]]:
    """Records that must be refused: the reason, the value, its headers."""
    ahead = stamp(time.time_ns() // 1_000_000 + 86_400_000 * 365)
    good = {"user_id": "bad", "source": "faults", "task_upserted": {"external_id": "1", "title": "x"}}
    return [
        ("no-frame", b"\xff\xfe not a frame", []),
        ("unknown-schema", b"\x00\x00\x0f\x42\x40\x00abc", []),
        ("truncated", b"\x00\x00\x00", []),
        ("bad-json", b'{"user_id": ', JSON),
        ("bad-json", json.dumps({**good, "colour": "red"}).encode(), JSON),
        ("invalid", json.dumps({**good, "user_id": ""}).encode(), JSON),
        ("time-ahead", json.dumps({**good, "event_time": ahead}).encode(), JSON),
        (
            "invalid",
            json.dumps({**good, "task_upserted": {"external_id": "1", "title": "x" * 100_000}}).encode(),
            JSON,
        ),
    ]


def stamp(time_ms: int) -> str:
    """RFC 3339 with milliseconds."""
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"


def unframed(value: bytes) -> bytes:
    """The message behind Confluent's header: a zero, four bytes of id, then indexes as zigzag varints."""
    assert value[0] == 0, "no frame"
    at = 5
    count, at = _varint(value, at)
    for _ in range(count):
        _, at = _varint(value, at)
    return value[at:]


def _varint(value: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = value[at]
        found, shift, at = found | (byte & 0x7F) << shift, shift + 7, at + 1
        if not byte & 0x80:
            return (found >> 1) ^ -(found & 1), at
