"""Records as an outsider might write them: good ones, and each kind of wrong one by its name. Seeded, so that a run can
be had again. It writes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from oo.v1 import reaction_pb2, signal_pb2
from streams.frames import Schemas

JSON = ("content-type", b"application/json")
STRUCTURED = ("content-type", b"application/cloudevents+json")
Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Strange:
    """One record to write. `good`: it has to come into the journal; else a letter or the journal may have it."""

    topic: str
    kind: str
    value: bytes | None
    headers: Headers = ()
    key: bytes | None = None
    good: bool = False


def task(user: str, number: int) -> dict[str, Any]:
    """A good signal as a foreign producer writes it."""
    return {
        "user_id": user,
        "source": "fuzz",
        "event_id": f"{user}-{number}",
        "task_upserted": {"external_id": str(number % 50), "title": f"Task {number}", "labels": ["one", "two"]},
    }


def event(user: str, number: int) -> dict[str, Any]:
    """A good calendar entry."""
    times = {"start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"}
    return {
        "user_id": user,
        "source": "fuzz",
        "calendar_event_upserted": {"external_id": str(number), "title": "Standup", **times},
    }


def records(*, seed: int, count: int, schemas: Schemas) -> Iterator[Strange]:
    """`count` records: every third is good, the others go through the kinds in turn."""
    chance = random.Random(seed)
    kinds = list(KINDS)
    for number in range(count):
        user = f"fuzz-{seed}-{number % 20}"
        if number % 3 == 0:
            good = chance.choice((task, event))(user, number)
            yield Strange("signals", "good", json.dumps(good).encode(), (JSON,), good=True)
            continue
        kind = kinds[(number - number // 3) % len(kinds)]
        yield KINDS[kind](chance, user, number, schemas)


Maker = Callable[[random.Random, str, int, Schemas], Strange]
KINDS: dict[str, Maker] = {}


def kind(name: str) -> Callable[[Maker], Maker]:
    """Name a way to be wrong."""

    def register(make: Maker) -> Maker:
        KINDS[name] = lambda *args: _named(make(*args), name)
        return make

    return register


def _named(record: Strange, name: str) -> Strange:
    return Strange(record.topic, name, record.value, record.headers, record.key, record.good)


def _json(text: str | bytes, *headers: tuple[str, bytes | None], topic: str = "signals") -> Strange:
    return Strange(topic, "", text if isinstance(text, bytes) else text.encode(), (JSON, *headers))


def _places(message: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = message.items() if isinstance(message, dict) else enumerate(message) if isinstance(message, list) else ()
    for name, value in items:
        yield (*path, name)
        yield from _places(value, (*path, name))


def _with(message: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(message))
    at = copy
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return copy


VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**18, -(10**30), 1e308, "", "x" * 3000, [], {}, [[]], {"a": {}}, "1e999", "Infinity",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+25:00",
)  # fmt: skip
TEXTS = ("\\ud800", "\\udfff\\ud800", "\\u0000", "\\u0007", "\\u0085", "\\u2028", "\\ufeff", "\\u202e")
NUMBERS = ("9" * 400, "1e400", "-1e400", "0." + "1" * 400, "NaN", "Infinity", "1e-400", "00", "+1", "0x10")
TIMES = (
    "2026-01-01T00:00:00.1e99Z",
    "2026-01-01T00:00:00",
    "",
    "T",
    "2026-13-01T00:00:00Z",
    "1e5",
    "10000-01-01T00:00:00Z",
)


@kind("a value of another type")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    message = chance.choice((task, event))(user, number)
    return _json(json.dumps(_with(message, chance.choice(list(_places(message))), chance.choice(VALUES))))


@kind("a text that no text may hold")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    message = chance.choice((task, event))(user, number)
    path = chance.choice([one for one in _places(message) if isinstance(one[-1], str)])
    text = json.dumps(_with(message, path, "@"))
    return _json(text.replace("@", chance.choice(TEXTS)))


@kind("a name that no field has")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    name = chance.choice((*TEXTS, "colour", "", "user_id ", "task_upserted.title", "__proto__"))
    return _json(json.dumps(task(user, number))[:-1] + f', "{name}": 1}}')


@kind("a number beyond its type")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    field = chance.choice(("priority", "estimated_minutes", "value"))
    said = chance.choice(NUMBERS)
    if field == "value":
        return _json(f'{{"user_id":"{user}","source":"fuzz","activity":{{"kind":"steps","value":{said}}}}}')
    return _json(json.dumps(task(user, number))[:-2] + f', "{field}": {said}}}}}')


@kind("a time that no calendar has")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    said = chance.choice(TIMES)
    if chance.random() < 0.5:
        return _json(json.dumps(task(user, number)), ("ce_time", said.encode()))
    return _json(json.dumps({**task(user, number), "event_time": said}))


@kind("nested too deeply")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    deep = chance.choice((33, 200, 2500))
    opened, closed = chance.choice((('{"a":', "}"), ("[", "]")))
    return _json('{"user_id":' + opened * deep + "1" + closed * deep + "}")


@kind("cut or damaged JSON")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    body = bytearray(json.dumps(task(user, number)).encode())
    if chance.random() < 0.5:
        return _json(bytes(body[: chance.randrange(len(body))]))
    for _turn in range(chance.randrange(1, 4)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return _json(bytes(body))


@kind("a damaged frame")
def _(chance: random.Random, user: str, number: int, schemas: Schemas) -> Strange:
    signal = signal_pb2.Signal(
        user_id=user, source="fuzz", task_upserted=signal_pb2.TaskUpserted(external_id="1", title="x")
    )
    body = bytearray(schemas.frame("signals", signal))
    match chance.randrange(4):
        case 0:
            body = body[: chance.randrange(len(body))]
        case 1:
            body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        case 2:
            body[1:5] = chance.randrange(2**32).to_bytes(4, "big")
        case _:
            body += bytes(chance.randrange(256) for _ in range(8))
    return Strange("signals", "", bytes(body), key=bytes(chance.randrange(256) for _ in range(4)))


@kind("bytes of no kind")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    topic = chance.choice(("signals", "reactions"))
    return Strange(topic, "", chance.choice((None, b"", b"\x00", bytes(chance.randrange(256) for _ in range(64)))))


@kind("headers of no kind")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    names = ("content-type", "Content-Type", "ce_id", "ce_source", "ce_time", "oo_topic", "oo_redriven", "x" * 300)
    values = (None, b"", b"\xff\xfe", b"application/json;charset=latin1", b"\x00", b"1" * 5000)
    headers = tuple((chance.choice(names), chance.choice(values)) for _ in range(chance.randrange(1, 6)))
    return _json(json.dumps(task(user, number)), *headers)


@kind("a CloudEvent around it")
def _(chance: random.Random, user: str, number: int, _: Schemas) -> Strange:
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(number),
        "source": "fuzz",
        "type": "t",
        "data": task(user, number),
    }
    if chance.random() < 0.7:
        whole = _with(whole, chance.choice(list(_places(whole))), chance.choice(VALUES))
    if chance.random() < 0.2:
        whole["data_base64"] = chance.choice(("", "!", "e30=", 7))
    return Strange("signals", "", json.dumps(whole).encode(), (STRUCTURED,))


@kind("a reaction to nothing")
def _(chance: random.Random, user: str, number: int, schemas: Schemas) -> Strange:
    reaction = {"user_id": user, "decision_id": "a" * 32, "kind": chance.choice(("DONE", "SEEN", "NO", 7, None))}
    reaction["snooze_until"] = chance.choice((*TIMES, "2026-12-01T00:00:00Z"))
    if chance.random() < 0.3:
        framed = schemas.frame("reactions", reaction_pb2.Reaction(user_id=user, decision_id="b" * 64))
        return Strange("reactions", "", framed)
    return _json(json.dumps(reaction), topic="reactions")
