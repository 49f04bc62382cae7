"""POST /v1/signals: one or many signals in protobuf's JSON mapping, for producers that have no Kafka client.

It never takes part of a call: all of it is well-formed and goes to Kafka, or none of it does.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

import protovalidate
from fastapi import APIRouter, Header, Request, Response
from google.protobuf.json_format import ParseDict, ParseError
from protovalidate import Violation

from oo.v1 import signal_pb2
from serving.edge import TheEdge
from serving.identity import Who
from serving.log import LogUnavailable
from serving.problems import ERRORS_MAX, Fault, Problem, unavailable
from serving.routes.answers import problems
from serving.schemas import SignalsAccepted

router = APIRouter(tags=["signals"])

SIGNALS_MAX = 500
DEPTH_MAX = 16

_VALIDATOR = protovalidate.Validator()
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
    responses=problems(400, 401, 403, 413, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"One oo.v1.Signal as JSON, or a list of at most {SIGNALS_MAX}; `user_id` may be left out.",
            "content": {
                "application/json": {"schema": {"oneOf": [{"type": "object"}, {"type": "array"}]}, "example": _EXAMPLE}
            },
        }
    },
)
async def tell(
    request: Request,
    who: Who,
    edge: TheEdge,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[ -~]+$")] = None,
) -> Response:
    """A signal with an `event_id` counts once per source, however often it is sent."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported-media-type", detail="Send JSON, with `Content-Type: application/json`.")
    signals = _parse(await request.body(), user_id=who.user_id)
    if idempotency_key is not None:
        for index, signal in enumerate(signals):
            if not signal.event_id:
                text = f"{who.user_id}\0{idempotency_key}\0{index}"
                signal.event_id = hashlib.sha256(text.encode()).hexdigest()[:32]
    try:
        await edge.log.send("signals", [(who.user_id, signal) for signal in signals])
    except LogUnavailable:
        raise unavailable("log", detail="Kafka has not acknowledged all signals; send them again.") from None
    edge.metrics.signals.inc(len(signals))
    body = SignalsAccepted(accepted=len(signals)).model_dump_json()
    return Response(body, status_code=202, media_type="application/json")


def _parse(body: bytes, *, user_id: str) -> list[signal_pb2.Signal]:
    """Raises 400 for what is not JSON, 422 with pointers for what is not signals."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "not-json", detail="The body is not valid JSON.") from error
    many = isinstance(document, list)
    entries = document if many else [document]
    if not 1 <= len(entries) <= SIGNALS_MAX:
        raise Problem(422, "invalid-request", detail=f"Send 1 to {SIGNALS_MAX} signals in a call, not {len(entries)}.")
    signals: list[signal_pb2.Signal] = []
    faults: list[Fault] = []
    for index, entry in enumerate(entries):
        signal, mine = _signal(entry, user_id=user_id)
        signals.append(signal)
        where = f"/{index}" if many else ""
        faults += [Fault(pointer=where + fault.pointer, detail=fault.detail) for fault in mine]
    if faults:
        shown = f", the first {ERRORS_MAX} are listed" if len(faults) > ERRORS_MAX else ""
        detail = f"{len(faults)} fault(s){shown}; no signal of this call was taken."
        raise Problem(422, "invalid-signals", detail=detail, errors=faults)
    return signals


def _signal(entry: object, *, user_id: str) -> tuple[signal_pb2.Signal, list[Fault]]:
    signal = signal_pb2.Signal()
    if not isinstance(entry, dict):
        return signal, [Fault(pointer="", detail="a signal is a JSON object")]
    try:
        ParseDict(entry, signal, max_recursion_depth=DEPTH_MAX)
        signal.SerializeToString()
    except (ParseError, ValueError, TypeError, RecursionError, AttributeError) as error:
        return signal, [Fault(pointer="", detail=str(error)[:300])]
    if signal.user_id not in ("", user_id):
        return signal, [Fault(pointer="/user_id", detail="is not the token's subject; leave it out")]
    signal.user_id = user_id
    return signal, [
        Fault(pointer=_pointer(violation), detail=violation.proto.message)
        for violation in _VALIDATOR.collect_violations(signal)
    ]


def _pointer(violation: Violation) -> str:
    pointer = ""
    if violation.proto.field is not None:
        for element in violation.proto.field.elements:
            pointer += f"/{element.field_name}"
            if element.subscript is not None and element.subscript.field == "index":
                pointer += f"/{element.subscript.value}"
    return pointer
