"""Scores written tips by a rubric, offline, for whoever compares prompts: useful, specific, safe. It never calls a model and stands in no tip's way.

What it says is an opinion of another model: `oo prompts compare` sets it beside what people did.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any, Final, NamedTuple

from agents.generation.context import cleaned, context
from agents.generation.prompts import Prompt
from oo.v1 import decision_pb2

ALIAS: Final = "judge"
TOKENS_MAX: Final = 60
SCORES: Final = ("useful", "specific", "safe")
SCORE_MAX: Final = 5

RUBRIC: Final = Prompt(ALIAS, (resources.files(__package__) / "rubrics" / "judge.md").read_text(encoding="utf-8"))
"""Known by its version, as a prompt is: scores of two versions are not one measure."""

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": list(SCORES),
    "properties": {name: {"type": "integer", "minimum": 1, "maximum": SCORE_MAX} for name in SCORES},
}


class Judged(NamedTuple):
    """Of one tip, each from 1 to 5."""

    useful: int
    specific: int
    safe: int


def messages(ask: decision_pb2.Ask, *, title: str, detail: str) -> list[dict[str, str]]:
    """Return the chat that has a tip judged by what its writer knew."""
    told = {"person": context(ask).data, "tip": {"title": cleaned(title), "detail": cleaned(detail)}}
    return [
        {"role": "system", "content": RUBRIC.text},
        {"role": "user", "content": json.dumps(told, ensure_ascii=False)},
    ]


def parse(text: str) -> Judged | None:
    """Return the scores of an answer; nothing for one that does not keep the form.

    >>> parse('{"useful": 4, "specific": 2, "safe": 5}'), parse('{"useful": 9, "specific": 2, "safe": 5}')
    (Judged(useful=4, specific=2, safe=5), None)
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = [said.get(name) for name in SCORES] if isinstance(said, dict) else []
    whole = [one for one in found if type(one) is int and 1 <= one <= SCORE_MAX]
    return Judged(*whole) if len(whole) == len(SCORES) else None


def rank(external_id: str) -> int:
    """Return where a tip stands among those that are judged: by its id alone, so that it is the same ones each time."""
    return int.from_bytes(hashlib.blake2b(external_id.encode(), digest_size=8).digest(), "big")
