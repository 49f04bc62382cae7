"""How many bytes a person's row takes, and what they go to: `python -m bench.row_bytes`.

Three people, folded record by record through `step`; ids are as long as those that the connectors make. It measures
bytes only, so it says the same on every machine.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import Message

from oo.v1 import row_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tests.agents.build import Person, completed, event, task

START_MS = int(datetime(2026, 10, 19, 6, tzinfo=UTC).timestamp() * 1000)
TITLES = (
    "Call the dentist",
    "Hand in the tax return",
    "Buy milk",
    "Write to Ben about the launch plans",
    "Water the plants",
    "Sort the photos of last summer",
    "Renew the passport",
    "Book a table for Friday",
)


@dataclass(frozen=True, slots=True)
class Life:
    """What somebody has on their list and in their calendar, and how often they reacted over how many days."""

    tasks: int
    events: int
    reactions: int
    days: int


LIVES = {
    "light": Life(tasks=5, events=3, reactions=6, days=7),
    "typical": Life(tasks=30, events=20, reactions=60, days=14),
    "heavy": Life(tasks=200, events=150, reactions=400, days=28),
}


def main() -> None:
    """Print a column of bytes for each life."""
    people = {name: live(life) for name, life in LIVES.items()}
    shares = {name: parts(row) for name, row in people.items()}
    print(f"{'':24}" + "".join(f"{name:>10}" for name in people))
    print(f"{'whole row':24}" + "".join(f"{row.ByteSize():>10,}" for row in people.values()))
    for field in sorted({field for share in shares.values() for field in share}, key=lambda f: -shares["typical"][f]):
        print(f"{field:24}" + "".join(f"{share[field]:>10,}" for share in shares.values()))
    for field in ("tasks", "events", "pending", "tombstones"):
        print(f"{'number of ' + field:24}" + "".join(f"{len(getattr(row, field)):>10,}" for row in people.values()))


def live(life: Life, *, seed: int = 1) -> row_pb2.UserRow:
    """The row after those days."""
    return lived(life, seed=seed).now


def lived(life: Life, *, seed: int = 1, user: str = "0b9c6f2e-8f0a-4f63-9a53-0d5a9e2f7c11") -> Person:
    """Somebody after those days: imports on the first, then tasks that come and go, tips that are seen and reacted to."""
    chance = random.Random(seed)
    somebody = Person(user=user, time_ms=START_MS, offset=40_000)
    numbers = iter(range(1_000_000))

    def told(signal: Message, *, after_ms: int = 20) -> None:
        somebody.take(signal, after_ms=after_ms, event_id=f"e{next(numbers)}")  # type: ignore[arg-type]

    def add_task() -> None:
        number = next(numbers)
        told(
            task(
                _task_id(number),
                title=chance.choice(TITLES),
                priority=chance.choice((0, 0, 0, 1, 2, 3)),
                due_ms=START_MS + chance.randrange(28) * DAY_MS if chance.random() < 0.5 else 0,
                minutes=chance.choice((0, 0, 15, 30, 60)),
                user=somebody.user,
            )
        )

    for _ in range(life.tasks):
        add_task()
    for number in range(life.events):
        start_ms = START_MS + 2 * life.days * DAY_MS + number * 5 * HOUR_MS
        told(
            event(
                f"{hashlib.sha256(bytes([number])).hexdigest()[:26]}@google.com",
                title=chance.choice(TITLES),
                start_ms=start_ms,
                end_ms=start_ms + 45 * MINUTE_MS,
                user=somebody.user,
            )
        )
    every_ms = life.days * DAY_MS // life.reactions
    for _ in range(life.reactions):
        if somebody.now.next_wake_ms and chance.random() < 0.7:
            somebody.wait(max(somebody.now.next_wake_ms - somebody.time_ms, 1))
        _react(somebody, chance.choice(("SEEN", "DONE", "SNOOZE", "DISMISS", "DISMISS")), every_ms, next(numbers))
        if len(somebody.now.tasks) < life.tasks:
            add_task()
        elif chance.random() < 0.1:
            done = chance.choice(somebody.now.tasks)
            told(completed(done.external_id, user=somebody.user))
            add_task()
    return somebody


def _react(somebody: Person, kind: str, every_ms: int, number: int) -> None:
    somebody.react("SEEN", after_ms=max(every_ms - HOUR_MS, 1000), event_id=f"r{number}")
    if kind != "SEEN":
        somebody.react(kind, after_ms=3 * MINUTE_MS, event_id=f"s{number}")


def _task_id(number: int) -> str:
    return f"todo.txt#{hashlib.sha256(str(number).encode()).hexdigest()[:16]}"


def parts(row: row_pb2.UserRow) -> Counter[str]:
    """Bytes by field, with tags and lengths."""
    shares: Counter[str] = Counter()
    for field, _ in row.ListFields():
        only = row_pb2.UserRow()
        only.CopyFrom(row)
        only.ClearField(field.name)
        shares[field.name] = row.ByteSize() - only.ByteSize()
    return shares


if __name__ == "__main__":
    main()
