"""How the routes' errors stand in OpenAPI. Never used at run time."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from serving.problems import ProblemBody

_TEXTS = {
    304: "Not changed since the ETag that was sent",
    400: "Not HTTP, not JSON, a name that this edge does not have, or a header twice that may come once",
    401: "No token, or one that does not count; `type` says which",
    403: "A foreign page used the session cookie",
    404: "Not this user's",
    408: "Headers or body came too slowly",
    409: "Not as things stand",
    412: "What If-Match names stands no longer: read again",
    413: "The body is too large",
    415: "The body is not said to be JSON",
    422: "Values to mend, listed in `errors`",
    428: "A grant needs If-Match: it has to know of the last withdrawal",
    429: "Too many at once, or in a minute",
    431: "The request line and headers are too large, or too many",
    500: "A fault of the edge, logged there",
    503: "Something behind the edge is away; `Retry-After` says when to come again",
}
_KINDS = {
    400: "not-json",
    401: "no-token",
    403: "foreign-origin",
    404: "unknown-decision",
    408: "too-slow",
    409: "not-left",
    412: "changed",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    428: "if-match-needed",
    429: "too-many-streams",
    431: "head-too-large",
    500: "fault",
    503: "log-unavailable",
}
"""For the examples: one of those that a status may have."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors that a route may answer with."""
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    documented: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        documented[status] = {"description": _TEXTS[status]}
        if status >= 400:
            example = {
                "type": f"urn:oo:problem:{_KINDS[status]}",
                "title": HTTPStatus(status).phrase,
                "status": status,
                "detail": _TEXTS[status],
            }
            documented[status]["content"] = {"application/problem+json": {"schema": schema, "example": example}}
    return documented
