"""What a model's answer says: tips where it keeps the form, else one fixed word. It never judges a tip (agents.generation.guards).

Nothing is asked twice: an answer that was cut is mended once, here, by taking the tips that are whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from agents.generation.context import context
from oo.v1 import decision_pb2

TITLE_CHARS_MAX = 90
DETAIL_CHARS_MAX = 180
ABOUT_MAX = 3
TEXT_CHARS_MAX = 20_000
"""Of an answer; a longer one is no answer."""

Reason = Literal["", "garbage", "no-tips"]


class Written(NamedTuple):
    """One tip as a model wrote it."""

    title: str
    detail: str
    about: tuple[str, ...]
    """Ids of tasks and events of its ask; empty where it named none that are there."""


class Parsed(NamedTuple):
    """One answer."""

    tips: tuple[Written, ...]
    reason: Reason
    """Why there are none."""


def schema(refs: Sequence[str], *, tips_max: int, openings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON schema of an answer: it can name only what it was told of. `openings`: with one of which a title then has to begin, of few words
    and without a detail.

    >>> tip = schema(["t1"], tips_max=1, openings=["Find", "Look up"])["properties"]["tips"]["items"]
    >>> tip["properties"]["title"]["pattern"]
    '^(Find|Look up)( [a-zA-Z]{1,12}){2,7}$'
    """
    title: dict[str, Any] = {"type": "string", "minLength": 8, "maxLength": TITLE_CHARS_MAX}
    detail: dict[str, Any] = {"type": "string", "maxLength": DETAIL_CHARS_MAX}
    if openings:
        title = {"type": "string", "pattern": f"^({'|'.join(openings)})( [a-zA-Z]{{1,12}}){{2,7}}$"}
        detail = {"type": "string", "maxLength": 0}
    tip = {
        "type": "object",
        "additionalProperties": False,
        "required": ["about", "title", "detail"],
        "properties": {
            "about": {
                "type": "array",
                "items": {"type": "string", "enum": list(refs) or ["none"]},
                "minItems": 1,
                "maxItems": ABOUT_MAX if len(refs) > 1 else 1,
            },
            "title": title,
            "detail": detail,
        },
    }
    tips = {"type": "array", "items": tip, "minItems": 1, "maxItems": max(tips_max, 1)}
    return {"type": "object", "additionalProperties": False, "required": ["tips"], "properties": {"tips": tips}}


def parse(text: str, *, ask: decision_pb2.Ask) -> Parsed:
    """Return the tips of an answer, at most as many as were asked for.

    >>> ask = decision_pb2.Ask(tips_max=2, tasks=[decision_pb2.AskedTask(id="task:a/1", title="Tax return")])
    >>> parse('```json {"tips": [{"title": "Find last year\\'s letter", "detail": "", "about": ["t1"]}, {"titl', ask=ask).tips[0].about
    ('task:a/1',)
    >>> parse("Sure! Here is a tip.", ask=ask).reason
    'garbage'
    """
    ids = context(ask).ids
    found = _tips(text) if len(text) <= TEXT_CHARS_MAX else None
    if found is None:
        return Parsed((), "garbage")
    whole = [tip for one in found[: ask.tips_max] if (tip := _tip(one, ids)) is not None]
    if found and not whole:
        return Parsed((), "garbage")
    return Parsed(tuple(whole), "" if whole else "no-tips")


def _tips(text: str) -> list[Any] | None:
    """Return the items of "tips"; of an answer that is no JSON, those that are whole. Nothing for an answer without any."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return list(_whole(text)) or None
    tips = said.get("tips") if isinstance(said, dict) else None
    return tips if isinstance(tips, list) else None


def _whole(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    _, begins, rest = text.partition('"tips"')
    at = len(text) - len(rest) + rest.find("[") + 1
    while begins and (at := text.find("{", at)) >= 0:
        try:
            one, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield one


def _tip(said: Any, ids: dict[str, str]) -> Written | None:
    if not isinstance(said, dict):
        return None
    title, detail, about = said.get("title"), said.get("detail", ""), said.get("about", [])
    if not isinstance(title, str) or not isinstance(detail, str) or not isinstance(about, list):
        return None
    refs = dict.fromkeys(ref for ref in about if isinstance(ref, str) and ref in ids)
    return Written(" ".join(title.split()), " ".join(detail.split()), tuple(ids[ref] for ref in refs)[:ABOUT_MAX])
