"""Three people, folded record by record through `step`; ids are as long as those that the connectors make.

It runs on builds of before too (bench.builds), so it takes nothing from the product but what those have under the same name.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import Message

from tests.agents.build import Person, completed, event, task

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
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
    titles_differ: bool = False
    """Else there are eight titles, and most tasks say what another one says."""


LIVES = {
    "light": Life(tasks=5, events=3, reactions=6, days=7),
    "typical": Life(tasks=30, events=20, reactions=60, days=14),
    "heavy": Life(tasks=200, events=150, reactions=400, days=28),
}


def lived(life: Life, *, seed: int = 1, user: str = "0b9c6f2e-8f0a-4f63-9a53-0d5a9e2f7c11") -> Person:
    """Somebody after those days: imports on the first, then tasks that come and go, tips that are seen and reacted to."""
    chance = random.Random(seed)
    somebody = Person(user=user, time_ms=START_MS, offset=40_000)
    numbers = iter(range(1_000_000))

    def told(signal: Message, *, after_ms: int = 20) -> None:
        somebody.take(signal, after_ms=after_ms, event_id=f"e{next(numbers)}")  # type: ignore[arg-type]

    def add_task() -> None:
        number = next(numbers)
        title = chance.choice(TITLES)
        told(
            task(
                _task_id(number),
                title=f"{title}, number {number}" if life.titles_differ else title,
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
        wake_ms = somebody.now.next_wake_ms
        if wake_ms and chance.random() < 0.7:
            somebody.wait(max(wake_ms - somebody.time_ms, 1))
        _react(somebody, chance.choice(("SEEN", "DONE", "SNOOZE", "DISMISS", "DISMISS")), every_ms, next(numbers))
        now = somebody.now
        if len(now.tasks) < life.tasks:
            add_task()
        elif chance.random() < 0.1:
            done = chance.choice(now.tasks)
            told(completed(done.external_id, user=somebody.user))
            add_task()
    return somebody


def _react(somebody: Person, kind: str, every_ms: int, number: int) -> None:
    somebody.react("SEEN", after_ms=max(every_ms - HOUR_MS, 1000), event_id=f"r{number}")
    if kind != "SEEN":
        somebody.react(kind, after_ms=3 * MINUTE_MS, event_id=f"s{number}")


def _task_id(number: int) -> str:
    return f"todo.txt#{hashlib.sha256(str(number).encode()).hexdigest()[:16]}"
