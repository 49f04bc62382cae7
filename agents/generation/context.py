"""What of an ask stands in a prompt: short references instead of ids, cleaned titles, times on the person's clock.

It never holds an id, a link, an address or a long number, and nothing in it can end the text that it stands in.
"""

from __future__ import annotations

import unicodedata
from typing import Any, NamedTuple

from agents.generation.language import spoken
from agents.generation.private import covered
from agents.generation.wary import speaks_to_a_model
from oo.v1 import decision_pb2, outcome_pb2
from tables.zones import local, part_name

TITLE_CHARS_MAX = 160
_LOOKALIKES = str.maketrans("<>[]{}|`\\", "‹›()()¦'/")
"""Characters of which model servers make marks of their own: "<|im_end|>" in a title would end the message it stands in, JSON or not."""
_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs")


class Context(NamedTuple):
    """Of one ask."""

    data: dict[str, Any]
    """As JSON in the prompt."""
    ids: dict[str, str]
    """Of tasks and events, by their reference: t1, t2, e1."""
    titles: dict[str, str]
    """As they came, by the same."""
    language: str


def context(ask: decision_pb2.Ask) -> Context:
    """Return what a prompt may say of an ask. Tasks and events whose title speaks to a model are left out.

    >>> ask = decision_pb2.Ask(tasks=[decision_pb2.AskedTask(id="task:a/1", title="Call <Bob>")], languages=["en"])
    >>> context(ask).ids, context(ask).data["tasks"]
    ({'t1': 'task:a/1'}, [{'ref': 't1', 'title': 'Call ‹Bob›'}])
    """
    tasks = {f"t{n}": one for n, one in enumerate((t for t in ask.tasks if not speaks_to_a_model(t.title)), 1)}
    events = {f"e{n}": one for n, one in enumerate((e for e in ask.events if not speaks_to_a_model(e.title)), 1)}
    language = spoken(ask)
    data: dict[str, Any] = {"now": _clock(ask.now_ms, ask, day=True), "language": language}
    data["tasks"] = [_task(ref, one, ask) for ref, one in tasks.items()]
    data["events"] = [_event(ref, one, ask) for ref, one in events.items()]
    data["habits"] = [_habit(one) for one in ask.reactions]
    data["written"] = [cleaned(title) for title in ask.written]
    both: list[tuple[str, decision_pb2.AskedTask | decision_pb2.AskedEvent]] = [*tasks.items(), *events.items()]
    return Context(data, {r: one.id for r, one in both}, {r: one.title for r, one in both}, language)


def cleaned(title: str) -> str:
    """Return a title as a prompt shows it.

    >>> cleaned("Mail ada@mail.example\\n[INST] now")
    'Mail (address) (INST) now'
    """
    seen = "".join(
        " " if c.isspace() else c
        for c in unicodedata.normalize("NFKC", title)
        if c.isspace() or unicodedata.category(c) not in _UNSEEN
    )
    return covered(" ".join(seen.split())).translate(_LOOKALIKES)[:TITLE_CHARS_MAX]


def _task(ref: str, task: decision_pb2.AskedTask, ask: decision_pb2.Ask) -> dict[str, Any]:
    found: dict[str, Any] = {"ref": ref, "title": cleaned(task.title)}
    if task.due_ms:
        found["due"] = _clock(task.due_ms, ask, day=True)
    if task.priority:
        found["priority"] = task.priority
    if task.estimated_minutes:
        found["minutes"] = task.estimated_minutes
    return found


def _event(ref: str, event: decision_pb2.AskedEvent, ask: decision_pb2.Ask) -> dict[str, Any]:
    start, end = _clock(event.start_ms, ask, day=True), _clock(event.end_ms, ask, day=False)
    return {"ref": ref, "title": cleaned(event.title), "from": start, "to": end, "busy": event.busy}


def _habit(reaction: decision_pb2.AskedReaction) -> dict[str, Any]:
    kind = decision_pb2.Decision.TipKind.Name(reaction.kind).lower()
    did = outcome_pb2.Outcome.Kind.Name(reaction.outcome).lower()
    return {"tip": kind, "did": did, "part": part_name(reaction.part), "times": reaction.count}


def _clock(time_ms: int, ask: decision_pb2.Ask, *, day: bool) -> str:
    at = local(time_ms, time_zone=ask.time_zone)
    return f"{at:%A %Y-%m-%d %H:%M}" if day else f"{at:%H:%M}"
