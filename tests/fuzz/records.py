"""Makes records that a stranger may write: good ones, and good ones spoiled in a known way. Pure, from a seed."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict

from oo.v1 import reaction_pb2, signal_pb2

Headers = list[tuple[str, bytes | None]]
JSON: Headers = [("content-type", b"application/json")]
STRUCTURED: Headers = [("content-type", b"application/cloudevents+json")]
TEXTS = [
    "\ud800",
    "a\udfffb",
    "\x00",
    "\x85",
    "\x1b[1m",
    "\u202e",
    "x" * 70_000,
    "",
    " ",
    "é" * 300,
    "🥛" * 600,
    "\u2028",
]
TIMES = [
    "2026-01-01T00:00:00.1e999Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "-1",
    "2026-13-01T00:00:00Z",
    "\ud800",
]
NUMBERS = ["1e400", "-1e999", "9" * 400, "NaN", "Infinity", "0.1e-999", "1" + "0" * 5000, "-0", "1e999999999999"]


@dataclass(frozen=True, slots=True)
class Made:
    """One record. `good`: it has to be let in; else either answer is right."""

    how: str
    value: bytes | None
    headers: Headers
    key: bytes | None
    good: bool = False


class Makes:
    """Records of one public topic."""

    def __init__(
        self, topic: str, *, seed: int, frame: Callable[[Any], bytes], decision_id: Callable[[str], str], user: str = ""
    ) -> None:
        """`frame`: a message behind its header; `decision_id`: one that belongs to this user."""
        self._topic = topic
        self._chance = random.Random(seed)
        self._frame = frame
        self._decision_id = decision_id
        self._n = 0
        self._user = user

    def said(self) -> dict[str, Any]:
        """A good message, as JSON has it."""
        self._n += 1
        user = self._user or f"fuzz-{self._chance.randrange(40)}"
        if self._topic == "reactions":
            kind = self._chance.choice(["DONE", "SNOOZE", "DISMISS", "SEEN"])
            return {"user_id": user, "decision_id": self._decision_id(user), "kind": kind, "event_id": f"r{self._n}"}
        payload = self._chance.choice(
            [
                {"task_upserted": {"external_id": f"t{self._n % 50}", "title": "Call", "labels": ["a"], "priority": 2}},
                {"task_completed": {"external_id": f"t{self._n % 50}"}},
                {"activity": {"kind": "k", "value": 1.5}},
                {"profile_changed": {"time_zone": "Europe/Berlin"}},
            ]
        )
        return {"user_id": user, "source": "fuzz", "event_id": f"s{self._n}", **payload}

    def good(self) -> Made:
        """One that has to be let in, as JSON, a frame or a structured CloudEvent."""
        said, key = self.said(), self._chance.choice([None, b"\xff\x00", b"key"])
        match self._chance.randrange(3):
            case 0:
                return Made("good JSON", json.dumps(said).encode(), JSON, key, good=True)
            case 1:
                return Made("good frame", self._frame(self._message(said)), [], key, good=True)
        return Made("good CloudEvent", json.dumps(self._envelope(said)).encode(), STRUCTURED, key, good=True)

    def bad(self) -> Made:
        """One that is spoiled."""
        how = self._chance.choice(
            [
                "text",
                "number",
                "time",
                "field",
                "nesting",
                "bytes",
                "cut",
                "frame",
                "schema id",
                "header",
                "envelope",
                "kind",
            ]
        )
        value, headers = self._spoil(how)
        return Made(how, value, headers, self._chance.choice([None, b"", b"\xff" * 9, b"k"]))

    def _spoil(self, how: str) -> tuple[bytes | None, Headers]:
        chance, said = self._chance, self.said()
        text = json.dumps(said)
        match how:
            case "text":
                return json.dumps(self._with(said, chance.choice(TEXTS))).encode("utf-8", "surrogatepass"), JSON
            case "number":
                return json.dumps(self._with(said, "@")).replace('"@"', chance.choice(NUMBERS)).encode(), JSON
            case "time":
                said["event_time"] = chance.choice(TIMES)
                return json.dumps(said).encode(), JSON
            case "field":
                said[chance.choice(["colour", "\ud800", "", "task_upserted", "user_id", "\x00"])] = chance.choice(
                    [None, [], {}, 1, "x"]
                )
                return json.dumps(said).encode(), JSON
            case "nesting":
                deep = chance.choice([20, 40, 2_500, 100_000])
                return (b'{"task_upserted":' + b"[" * deep + b"]" * deep + b"}"), chance.choice([JSON, STRUCTURED])
            case "bytes":
                return chance.choice([None, b"", chance.randbytes(chance.randrange(1, 300))]), chance.choice(
                    [[], JSON, STRUCTURED]
                )
            case "cut":
                whole = chance.choice([text.encode(), self._frame(self._message(said))])
                return whole[: chance.randrange(len(whole))], chance.choice([[], JSON])
            case "frame":
                whole = bytearray(self._frame(self._message(said)))
                for _ in range(chance.randrange(1, 4)):
                    whole[chance.randrange(len(whole))] = chance.randrange(256)
                return bytes(whole), []
            case "schema id":
                whole = self._frame(self._message(said))
                return b"\x00" + chance.choice([0, 1, 2, 3, 7, 10**6, 2**32 - 1]).to_bytes(4, "big") + whole[5:], []
            case "header":
                names = [
                    "ce_id",
                    "ce_source",
                    "ce_time",
                    "content-type",
                    "oo_redriven",
                    "oo_topic",
                    "".join(chance.choices(string.ascii_letters, k=9)),
                ]
                values = [
                    None,
                    b"",
                    b"\xff\xfe",
                    b"\x00",
                    *[time.encode("utf-8", "replace") for time in TIMES],
                    b"x" * 30_000,
                ]
                some = [(chance.choice(names), chance.choice(values)) for _ in range(chance.randrange(1, 200))]
                return text.encode(), [*some, *JSON] if chance.random() < 0.5 else [*JSON, *some]
            case "envelope":
                envelope: dict[str, Any] = self._envelope(said)
                name = chance.choice([*envelope, "data_base64", "time", "datacontenttype"])
                envelope[name] = chance.choice([None, [], 1, "\ud800", "text/xml", "", {"a": {}}, *TIMES, "\x00"])
                return json.dumps(envelope).encode(), STRUCTURED
        type_ = chance.choice(
            [b"text/plain", b"application/cloudevents-batch+json", b"\xff", b"application/JSON;;", b""]
        )
        return text.encode(), [("content-type", type_)]

    def _with(self, said: dict[str, Any], what: str) -> dict[str, Any]:
        """The message with one of its values, at any depth, made this."""
        changed: dict[str, Any] = json.loads(json.dumps(said))
        at = changed
        while True:
            name = self._chance.choice(list(at))
            if not isinstance(at[name], dict):
                at[name] = what
                return changed
            at = at[name]

    def _envelope(self, said: dict[str, Any]) -> dict[str, Any]:
        self._n += 1
        return {"specversion": "1.0", "id": f"e{self._n}", "source": "fuzz", "type": "t", "data": said}

    def _message(self, said: dict[str, Any]) -> Any:
        kind = reaction_pb2.Reaction if self._topic == "reactions" else signal_pb2.Signal
        return ParseDict(said, kind())
