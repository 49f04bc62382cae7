"""POST /v1/signals: one or many signals in protobuf's JSON mapping, for producers that have no Kafka client.

It never takes part of a call: all of it is what the door takes and goes to Kafka, or none of it does.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Iterable

import protovalidate
from fastapi import APIRouter, Request, Response
from google.protobuf.json_format import ParseDict

from oo.v1 import signal_pb2
from serving.edge import TheEdge
from serving.idempotency import IdempotencyKey, claim
from serving.identity import Who
from serving.json_body import json_body
from serving.log import LogUnavailable
from serving.problems import ERRORS_MAX, Fault, Problem, pointer, unavailable
from serving.routes.answers import problems
from serving.schemas import SignalsAccepted
from streams import json_faults
from tables.backlog import to_ms
from tables.message_rules import breaches

router = APIRouter(tags=["signals"])

SIGNALS_MAX = 500
DEPTH_MAX = 16
VALUES_MAX = 128
"""In one signal, at all its levels; the contract has room for half as many."""
TEXT_CHARS_MAX = 4_000
"""Of the longest field of the contract."""
TURN_S = 0.005
"""Others are served after so much of one call's signals."""
_HALF = re.compile("[\ud800-\udfff]")

_VALIDATOR = protovalidate.Validator()
_SIGNAL = {"$ref": "#/components/schemas/Signal"}
_EXAMPLE = {
    "source": "todo.txt",
    "event_id": "7",
    "task_upserted": {"external_id": "7", "title": "Water the plants", "priority": 2, "due": "2026-12-01T09:00:00Z"},
}


@router.post(
    "/v1/signals",
    summary="Tell what changed",
    status_code=202,
    response_model=SignalsAccepted,
    responses=problems(401, 403, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"One oo.v1.Signal as JSON, or a list of at most {SIGNALS_MAX}; `user_id` may be left out.",
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [_SIGNAL, {"type": "array", "items": _SIGNAL, "minItems": 1, "maxItems": SIGNALS_MAX}]
                    },
                    "examples": {"one": {"value": _EXAMPLE}, "many": {"value": [_EXAMPLE]}},
                }
            },
        }
    },
)
async def tell(request: Request, who: Who, edge: TheEdge, idempotency_key: IdempotencyKey = None) -> Response:
    """A signal with an `event_id` counts once per source, however often it is sent."""
    edge.departed.check(who.pseudonym)
    signals = await _signals(await json_body(request), user_id=who.user_id, now_ms=edge.now_ms())
    if idempotency_key is not None:
        fingerprint = _fingerprint(signals)
        await claim(edge, who, key=f"signals\n{idempotency_key}", fingerprint=fingerprint)
        for index, signal in enumerate(signals):
            if not signal.event_id:
                signal.event_id = edge.mac("signal", who.user_id, idempotency_key, fingerprint, str(index))
    try:
        await edge.log.send("signals", [(who.user_id, signal) for signal in signals])
    except LogUnavailable:
        raise unavailable("log", detail="Kafka has not acknowledged all signals; send them again.") from None
    edge.metrics.signals.inc(len(signals))
    body = SignalsAccepted(accepted=len(signals)).model_dump_json()
    return Response(body, status_code=202, media_type="application/json")


async def _signals(document: object, *, user_id: str, now_ms: int) -> list[signal_pb2.Signal]:
    """Raises 422 with pointers for what is not signals. Others are served meanwhile."""
    many = isinstance(document, list)
    entries = document if isinstance(document, list) else [document]
    if not 1 <= len(entries) <= SIGNALS_MAX:
        raise Problem(422, "invalid-request", detail=f"Send 1 to {SIGNALS_MAX} signals in a call, not {len(entries)}.")
    signals: list[signal_pb2.Signal] = []
    faults: list[Fault] = []
    begun_s = time.perf_counter()
    for index, entry in enumerate(entries):
        signal, mine = _signal(entry, user_id=user_id, now_ms=now_ms)
        signals.append(signal)
        where = f"/{index}" if many else ""
        faults += [fault.model_copy(update={"pointer": where + fault.pointer}) for fault in mine]
        if len(faults) > ERRORS_MAX:
            break
        if time.perf_counter() - begun_s > TURN_S:
            await asyncio.sleep(0)
            begun_s = time.perf_counter()
    if faults:
        count = f"More than {ERRORS_MAX}" if len(faults) > ERRORS_MAX else str(len(faults))
        detail = f"{count} fault(s), listed in `errors`; no signal of this call was taken."
        raise Problem(422, "invalid-signals", detail=detail, errors=faults)
    return signals


def _signal(entry: object, *, user_id: str, now_ms: int) -> tuple[signal_pb2.Signal, list[Fault]]:
    signal = signal_pb2.Signal()
    if not isinstance(entry, dict):
        return signal, [Fault(pointer="", detail="a signal is a JSON object")]
    past = _past_bounds(entry)
    if past is not None:
        return signal, [past]
    try:
        ParseDict(entry, signal, max_recursion_depth=DEPTH_MAX)
        signal.SerializeToString()
    except Exception:  # noqa: BLE001 - protobuf raises what its parts do: OverflowError for a time, for one
        return signal, [Fault(pointer="", detail=json_faults.fault(entry, signal_pb2.Signal), reason="bad-json")]
    if signal.user_id not in ("", user_id):
        return signal, [Fault(pointer="/user_id", detail="is not the token's subject; leave it out")]
    signal.user_id = user_id
    event_time_ms = to_ms(signal.event_time) if signal.HasField("event_time") else now_ms
    found = breaches(signal, validator=_VALIDATOR, event_time_ms=event_time_ms, now_ms=now_ms)
    return signal, [Fault(pointer=pointer(*one.path), detail=one.detail, reason=one.reason) for one in found]


def _past_bounds(entry: dict[str, object]) -> Fault | None:
    """What makes a signal too much work before it is looked at, or no text at all.

    >>> _past_bounds({"activity": {"kind": "\\ud800"}}).pointer, _past_bounds({"activity": {"kind": "read"}})
    ('/activity/kind', None)
    """
    waiting: list[tuple[tuple[int | str, ...], object]] = [((), entry)]
    left = VALUES_MAX
    while waiting:
        path, value = waiting.pop()
        children: Iterable[tuple[int | str, object]] = ()
        if isinstance(value, dict):
            children = value.items()
        elif isinstance(value, list):
            children = enumerate(value)
        for name, child in children:
            left -= 1
            if left < 0:
                return Fault(pointer=pointer(*path), detail=f"a signal may hold {VALUES_MAX} values")
            waiting.append(((*path, name), child))
            for text in (name, child):
                if not isinstance(text, str):
                    continue
                if len(text) > TEXT_CHARS_MAX:
                    detail = f"a text may have {TEXT_CHARS_MAX} characters"
                    return Fault(pointer=pointer(*path, str(name)[:64]), detail=detail)
                if not text.isascii() and _HALF.search(text):
                    detail = "holds half of a surrogate pair, which is no character"
                    return Fault(pointer=pointer(*path, name), detail=detail)
    return None


def _fingerprint(signals: list[signal_pb2.Signal]) -> str:
    whole = hashlib.sha256()
    for signal in signals:
        raw = signal.SerializeToString(deterministic=True)
        whole.update(len(raw).to_bytes(4, "big") + raw)
    return whole.hexdigest()
