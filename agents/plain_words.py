"""What is said to a model where no prompt is known, and its answer taken as it is: nothing is guarded here."""

from __future__ import annotations

import json

from agents.generate import Words
from oo.v1.decision_pb2 import Ask, CandidateRequest
from oo.v1.journal_pb2 import Candidates, GeneratedTip

SCHEMA = {"type": "object", "properties": {"tips": {"type": "array"}}, "required": ["tips"]}


def messages(ask: Ask) -> list[dict[str, str]]:
    return [{"role": "user", "content": json.dumps({"tasks": [one.title for one in ask.tasks]})}]


def tips(request: CandidateRequest, text: str) -> Candidates:
    try:
        found = json.loads(text)["tips"]
        made = [
            GeneratedTip(
                external_id=f"{request.request_id}-{index}", title=one["title"], expires_ms=request.runs_out_ms
            )
            for index, one in enumerate(found)
        ]
    except (ValueError, KeyError, TypeError):
        return Candidates(reason="no-json")
    return Candidates(tips=made)


WORDS = Words(messages=messages, schema=SCHEMA, tips=tips)
