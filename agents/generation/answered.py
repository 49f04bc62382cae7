"""Makes the one answer to a request of what a model wrote: its tips, or why there are none, and what was held back by which guard.

It never calls a model, and says nothing of a text but the guard's word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agents.generation import answer, guards
from agents.generation.answer import Written
from agents.generation.likeness import ALIKE_PERMILLE, Embedder, near_duplicate
from agents.generation.prompts import PROMPTS, Chat, NoPrompt, Prompt
from oo.v1 import decision_pb2, journal_pb2, subject_request_pb2
from tables.purposes import CALENDAR, GENERATED, TASKS

HELD_BACK = "held-back"
"""Why there are none, where the guards have them all."""
DUPLICATE, ALIKE = "duplicate", "alike"
"""The guards that look at likeness; the others are agents.generation.guards'."""


def chat(ask: decision_pb2.Ask) -> Chat:
    """Return what the model is sent for an ask; raises NoPrompt."""
    return _prompt(ask).chat(ask)


def candidates(
    request: decision_pb2.CandidateRequest, text: str, *, embedder: Embedder | None = None
) -> journal_pb2.Candidates:
    """Return the answer to a request that a model answered with this text; without an embedder only equal words are duplicates.

    Raises NoPrompt. Who answered, in which time and for how many tokens is the caller's to fill in.
    """
    ask = request.ask
    prompt = _prompt(ask)
    parsed = answer.parse(text, ask=ask)
    made = journal_pb2.Candidates(
        request_id=request.request_id, prompt_version=ask.prompt_version, model=ask.model, reason=parsed.reason
    )
    dropped: Counter[str] = Counter()
    for written in parsed.tips:
        tip = journal_pb2.GeneratedTip(
            external_id=f"{request.request_id}-{len(made.tips)}",
            title=written.title,
            detail=written.detail,
            about=written.about,
            purposes=_purposes(ask),
        )
        held: str = guards.guard(written, ask=ask, prompt=prompt)
        near: list[int] = []
        if not held:
            held, near = _duplicate(written, tip, ask, made.tips, embedder)
        if held:
            dropped[held] += 1
        else:
            made.tips.append(tip)
            made.pairs += len(near)
            made.alike += sum(near)
    if parsed.tips and not made.tips:
        made.reason = HELD_BACK
    made.dropped.extend(journal_pb2.Dropped(guard=guard, count=n) for guard, n in sorted(dropped.items()))
    return made


def _prompt(ask: decision_pb2.Ask) -> Prompt:
    if ask.prompt_version not in PROMPTS:
        raise NoPrompt(ask.prompt_version)
    return PROMPTS[ask.prompt_version]


def _duplicate(
    written: Written,
    tip: journal_pb2.GeneratedTip,
    ask: decision_pb2.Ask,
    before: Sequence[journal_pb2.GeneratedTip],
    embedder: Embedder | None,
) -> tuple[str, list[int]]:
    """Whether it asks for what is there, or says almost what is written; and its cosine to each written tip. Notes on the tip how near it comes."""
    others = [(one.title, one.id) for one in ask.tasks]
    others += [(title, "") for title in (*ask.written, *(one.title for one in before))]
    titles = [title for title, _ in others]
    if not titles:
        return "", []
    permilles = embedder.permilles(written.title, titles) if embedder else [0] * len(titles)
    if embedder:
        permille, (_, nearest) = max(zip(permilles, others, strict=True))
        tip.likeness.CopyFrom(journal_pb2.Likeness(embedder=embedder.version, permille=permille, to=nearest))
    same = (near_duplicate(written.title, one, permille=n) for one, n in zip(titles, permilles, strict=True))
    if any(same):
        return DUPLICATE, []
    near = permilles[len(ask.tasks) :] if embedder else []
    return (ALIKE if any(one >= ALIKE_PERMILLE for one in near) else ""), near


def _purposes(ask: decision_pb2.Ask) -> list[subject_request_pb2.Purpose.ValueType]:
    """Of all that the model was told: what is withdrawn takes along what was made of it."""
    return [GENERATED, *([TASKS] if ask.tasks else []), *([CALENDAR] if ask.events else [])]
