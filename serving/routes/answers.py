"""How the routes' errors stand in OpenAPI. Never used at run time."""

from __future__ import annotations

from typing import Any

from serving.problems import ProblemBody

_TEXTS = {
    304: "Not changed since the ETag that was sent",
    400: "Not JSON, or a header that cannot be",
    401: "No token, or one that does not count; `type` says which",
    403: "A foreign page used the session cookie",
    404: "Not this user's",
    409: "In conflict with an earlier request",
    413: "Too large",
    422: "Values to mend, listed in `errors`",
    429: "Too many at once",
    503: "Something behind the edge is away; `Retry-After` says when to come again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors that a route may answer with."""
    schema = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}}}
    return {
        status: {"description": _TEXTS[status], **({"content": schema} if status >= 400 else {})} for status in statuses
    }
