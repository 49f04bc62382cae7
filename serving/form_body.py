"""The form that a request brings, bounded: its bytes, its fields, and each said once. It never says what may stand in it."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request
from starlette.requests import ClientDisconnect

from serving.problems import Fault, Problem, invalid_request

BYTES_MAX = 16 * 1024
FIELDS_MAX = 32


async def form_body(request: Request) -> dict[str, str]:
    """The fields. Raises problems: 415, 413, 400 (not all of it), 422 (no form, too many fields, or one twice)."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        detail = "Send a form, with `Content-Type: application/x-www-form-urlencoded`."
        raise Problem(415, "unsupported-media-type", detail=detail)
    try:
        raw = await request.body()
    except ClientDisconnect:
        raise Problem(400, "broken-off", detail="The body ended before it was whole.") from None
    if len(raw) > BYTES_MAX:
        raise Problem(413, "too-large", detail=f"A form may have {BYTES_MAX} bytes.")
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise invalid_request([Fault(pointer="", detail=f"must be a form of {FIELDS_MAX} fields at most")]) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise invalid_request([Fault(pointer="", detail="a field may come once")])
    return fields
