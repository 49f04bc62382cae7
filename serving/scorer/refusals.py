"""Errors as the protocol has them: `{"error": "..."}`, with a word on what to do."""

from __future__ import annotations

import json

from serving.scorer.batches import Late, Overloaded
from serving.scorer.served import NotServed
from serving.scorer.wire import BadRequest

RETRY_AFTER_S = 1


class Refused(Exception):
    """An answer that is an error for a reason of HTTP's."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def refusal(error: Exception) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    match error:
        case BadRequest():
            status, why = 400, str(error)
        case Late():
            status, why = 504, "the time of this request was over before its answer was there"
        case Overloaded():
            status, why = 429, "more rows wait than may: ask again later, or run another scorer"
        case NotServed() | Refused():
            status, why = error.status, str(error)
        case _:
            status, why = 502, str(error)
    again = {"retry-after": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    return status, json.dumps({"error": why}).encode(), {"content-type": "application/json", **again}
