"""Errors as a client sees them: application/problem+json (RFC 9457), whatever went wrong.

It never tells a client what our own faults look like inside, and never logs a body, a token or a title.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

ERRORS_MAX = 20
"""Faults listed in one answer; the rest is counted in `detail`."""

SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""On every answer, of whatever kind."""
CSP = "default-src 'none'; frame-ancestors 'none'"
"""On every answer that brings no policy of its own."""


class Fault(BaseModel):
    """One thing to mend in a request."""

    pointer: str = Field(description="JSON pointer to the value, or the name of the parameter or header")
    detail: str
    reason: str | None = Field(
        default=None, description="Of a signal: the word that a dead letter of the same signal on Kafka would have"
    )


class ProblemBody(BaseModel):
    """RFC 9457. `type` names the problem for programs, `detail` says what to do for people."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class Problem(Exception):
    """An answer that is an error.

    >>> Problem(404, "unknown-decision", detail="no").body()["type"]
    'urn:oo:problem:unknown-decision'
    """

    def __init__(
        self,
        status: int,
        kind: str,
        *,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = list(errors[:ERRORS_MAX])
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        body: dict[str, object] = {
            "type": f"urn:oo:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [fault.model_dump(exclude_none=True) for fault in self.errors]
        return body

    def response(self) -> Response:
        # Escaped, so that a lone surrogate out of a request cannot break the answer about it.
        return Response(
            json.dumps(self.body(), ensure_ascii=True),
            status_code=self.status,
            media_type="application/problem+json",
            headers={"cache-control": "no-store", **self.headers},
        )


def unavailable(what: str, *, detail: str, retry_after_s: int = 1) -> Problem:
    """503: something behind the edge does not answer; says when to come again."""
    return Problem(503, f"{what}-unavailable", detail=detail, headers={"retry-after": str(retry_after_s)})


def invalid_request(faults: Sequence[Fault]) -> Problem:
    """422: values to mend, by name."""
    detail = f"{len(faults)} value{'s' if len(faults) > 1 else ''} in this request must be mended."
    return Problem(422, "invalid-request", detail=detail, errors=faults)


def invalid_body(error: ValidationError) -> Problem:
    """The same for a body that does not fit its model."""
    return invalid_request([Fault(pointer=pointer(*fault["loc"]), detail=fault["msg"]) for fault in error.errors()])


def pointer(*path: int | str) -> str:
    """A JSON pointer (RFC 6901); half of a surrogate pair is written out.

    >>> pointer(), pointer("a/b", 0)
    ('', '/a~1b/0')
    """
    whole = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return whole.encode("utf-8", "backslashreplace").decode()


def install(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Parameters and headers: bodies are read by serving.json_body.
        return invalid_request(
            [Fault(pointer=str(fault["loc"][-1]), detail=str(fault["msg"])) for fault in error.errors()]
        ).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        details = {
            404: "There is nothing at this address; /openapi.json lists what there is.",
            405: "This address does not take this method; the Allow header lists those it takes.",
        }
        detail = details.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if "Allow" in headers:
            # Starlette says those of the first route at this address; serving.middleware answers HEAD wherever there is a GET.
            paths = request.app.openapi()["paths"]
            described = [
                path
                for path in paths
                if re.fullmatch(re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(path)), request.url.path)
            ]
            # An address that is named itself is no place of a longer name's.
            described = [one for one in described if "{" not in one] or described
            found = {method.upper() for path in described for method in paths[path]} or {*headers["Allow"].split(", ")}
            headers["Allow"] = ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))
        return Problem(error.status_code, kind, detail=detail, headers=headers).response()
