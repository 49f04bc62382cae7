"""Signals that are posted to us, signed by the rules of Standard Webhooks (standardwebhooks.com).

It asks nobody: what comes is verified, taken once, and is the person's whose connection it is, whatever it says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, Final

from google.protobuf.json_format import ParseDict, ParseError

from connectors.differences import ITEMS_MAX, Sent, content_digest, item_key
from connectors.source_file import Problem, cut, external_id, one_line, timestamp
from connectors.sources.kept import Kept
from connectors.sources.source import (
    Access,
    Connect,
    Delivery,
    Description,
    Failed,
    FaultKind,
    Field,
    Heard,
    Kind,
    Page,
    Way,
    signal_source,
)
from oo.v1.signal_pb2 import Signal

WINDOW_S: Final = 300
"""A delivery signed longer ago, or further ahead, is refused."""
BODY_MAX: Final = 1024 * 1024
SIGNALS_MAX: Final = 500
REMEMBERED_MAX: Final = 10_000
"""Ids of deliveries within the window; past it new ones wait until older ones have left it."""
PREFIX: Final = "whsec_"
_TAKEN: Final = (
    *("task_upserted", "task_completed", "task_removed"),
    *("calendar_event_upserted", "calendar_event_removed", "activity"),
)


class Hook:
    """A person's own sender."""

    description = Description(
        name="hook",
        title="Webhook",
        gives=(Kind.TASKS, Kind.EVENTS, Kind.ACTIVITY),
        ways=(Way(Connect.HOOK, (Field("secret", "Signing secret", "password", secret=True, generated=True),)),),
        every_s=24 * 3600,
    )

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield one page without signals: there is nothing to ask."""
        yield Page(cursor)

    def webhook(self, access: Access, cursor: bytes, delivery: Delivery) -> Heard:
        """Return the signals of a delivery: one in protobuf's JSON mapping, or `{"signals": [...]}`."""
        name, when = delivery.headers.get("webhook-id", ""), delivery.headers.get("webhook-timestamp", "")
        if len(delivery.body) > BODY_MAX or not 0 < len(name) <= 256 or not (when.isascii() and when.isdigit()):
            return Heard(None, "bad-body" if name and when else "bad-signature")
        signatures = delivery.headers.get("webhook-signature", "")
        if not _signed(access.credentials.get("secret", ""), f"{name}.{when}.".encode() + delivery.body, signatures):
            return Heard(None, "bad-signature")
        received_s = (delivery.received_ms or access.now_ms) / 1000
        if abs(received_s - int(when[:12])) > WINDOW_S:
            return Heard(None, "too-old")
        kept = Kept.opened(cursor)
        known = _digest(name)
        oldest_s = received_s - WINDOW_S
        heard: dict[str, int] = {key: at for key, at in kept.place.get("heard", {}).items() if at >= oldest_s}
        if known in heard:
            return Heard(Page(cursor))
        found = _signals(delivery.body)
        if found is None:
            return Heard(None, "bad-body")
        if len(heard) >= REMEMBERED_MAX:
            raise Failed(FaultKind.TOO_MUCH, "deliveries")  # It stays, and is read once older ones are forgotten.
        kept.place = {"heard": heard | {known: int(when)}}
        signals: list[Signal] = []
        problems: list[Problem] = []
        for number, said in enumerate(found):
            try:
                signal = _signal(said, name=self.description.name, access=access, event_id=f"{known}#{number}")
            except (ParseError, ValueError, TypeError) as error:
                what = f"signal {number} cannot be read ({cut(one_line(str(error)), 80)}); left out"
                problems.append(Problem(0, what, skipped=True))
                continue
            signals.append(signal)
            _note(kept, signal)
        return Heard(Page(kept.closed(), tuple(signals), problems=tuple(problems)))


def _signed(secret: str, content: bytes, signatures: str) -> bool:
    """Whether one of the signatures (separated by spaces, "v1," before each) is ours."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    if not key:
        return False
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
    given = [one.partition(",") for one in signatures.split(" ")[:16]]
    return any(version == "v1" and hmac.compare_digest(expected, said.encode()) for version, _, said in given)


def _signals(body: bytes) -> list[Any] | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    found = said.get("signals", [said])
    return found if isinstance(found, list) and len(found) <= SIGNALS_MAX else None


def _signal(said: Any, *, name: str, access: Access, event_id: str) -> Signal:
    signal = ParseDict(said, Signal(), ignore_unknown_fields=True)
    if signal.WhichOneof("payload") not in _TAKEN:
        raise ValueError("it says nothing that a webhook may say")
    signal.user_id, signal.source = access.user_id, signal_source(name, access)
    signal.event_id = external_id(signal.event_id or event_id)
    if not signal.HasField("event_time") or signal.event_time.ToMilliseconds() > access.now_ms:
        signal.event_time.CopyFrom(timestamp(access.now_ms))
    return signal


def _note(kept: Kept, signal: Signal) -> None:
    """Remember what stands, so that it can be taken back when the connection ends."""
    payload = signal.WhichOneof("payload") or ""
    if payload == "activity":
        return
    items = dict(kept.memory.items)
    key = item_key(signal)
    gone = not payload.endswith("upserted")
    if gone or (key not in items and len(items) >= ITEMS_MAX):
        items.pop(key, None)
    else:
        said_ms = signal.event_time.ToMilliseconds()
        items[key] = Sent(content_digest(signal), 0, source=signal.source, said_ms=said_ms)
    kept.memory = replace(kept.memory, items=items)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:24]
