"""How often the tips that a model wrote are done, by prompt and model. It only reads: PostgreSQL, and people's keys.

Tips count in the order of their decisions, each once it is known what came of it, and none behind one of which it is not: what is done is
answered sooner than what is not, and whoever counts answers as they come flatters every prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

from agents.evaluation import rates
from agents.evaluation.rates import Rate
from oo.v1.decision_pb2 import Decision
from tables import slates

ALPHA: Final = 0.05
GENERATED_HEAD: Final = "generated:"
SETTLED: Final = frozenset({"DONE", "SNOOZE", "DISMISS", "EXPIRED", "DONE_ELSEWHERE"})
"""Outcomes after which a tip is waited for no more. What was done elsewhere was not done for the tip."""
WRITTEN: Final[LiteralString] = """
SELECT d.user_id, d.decision_id, d.decided_ms, d.valid_until_ms, d.message,
  (SELECT o.kind FROM recommender.outcomes o WHERE o.decision_id = d.decision_id AND o.user_id = d.user_id
   ORDER BY (o.kind = 'SEEN'), o.journal_offset DESC LIMIT 1) AS outcome
FROM recommender.decisions d WHERE d.kind = 'GENERATED' AND d.decided_ms >= %(since)s ORDER BY d.decided_ms, d.decision_id
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """What is known of each prompt and model."""

    rates: Mapping[tuple[str, str], Rate] = field(default_factory=dict)
    """By prompt version and model alias."""
    done: Mapping[str, bool] = field(default_factory=dict)
    """Whether it was, of each tip that counts, by its id."""
    decisions: int = 0
    waiting: int = 0
    """Of which it is not known yet what came of them, or that stand behind one of these."""
    unseen: int = 0
    unshared: int = 0
    """Of people from whom nobody else may learn."""
    unread: int = 0
    """Whose key is gone, or that were decided before chances were noted."""


def compared(
    rows: Sequence[Mapping[str, Any]],
    *,
    opened: Callable[[str, bytes], Decision | None],
    now_ms: int,
    window_ms: int,
    so_far: bool = False,
) -> Compared:
    """Take the rows of `WRITTEN` in. `opened`: the decision in a message of a person's, None where its key is gone.

    `window_ms`: for how long a tip that was seen may be answered. `so_far`: nothing is waited for; what was seen and has no answer yet
    counts as not done, and every share is too low.
    """
    found: dict[tuple[str, str], Rate] = {}
    done: dict[str, bool] = {}
    waiting = unseen = unshared = unread = 0
    for place, row in enumerate(rows):
        outcome = row["outcome"]
        ends_ms = row["valid_until_ms"] + window_ms
        if outcome not in SETTLED and now_ms < ends_ms and not so_far:
            waiting = len(rows) - place
            break
        if outcome is None or outcome == "DONE_ELSEWHERE":
            unseen += 1
            continue
        decision = opened(row["user_id"], bytes(row["message"]))
        if decision is None or not decision.prompt_chances:
            unread += 1
            continue
        if decision.unshared:
            unshared += 1
            continue
        version = decision.prompt_version, decision.model
        chance = decision.propensity * decision.prompt_chance / decision.prompt_chances
        if slate := slates.spelled_out(decision):
            done[slate[decision.chosen].id.removeprefix(GENERATED_HEAD)] = outcome == "DONE"
        found[version] = rates.add(found.get(version, rates.empty()), done=outcome == "DONE", chance=chance)
    return Compared(dict(sorted(found.items())), done, len(rows), waiting, unseen, unshared, unread)


def summary(found: Compared) -> str:
    """What the shares rest on, in words.

    >>> summary(Compared())
    'No model has written a tip that was chosen yet.'
    >>> summary(Compared(decisions=3, waiting=2, unseen=1))
    'Of 3 tips that a model wrote 2 wait for what comes of them, 1 was never seen.'
    """
    if not found.decisions:
        return "No model has written a tip that was chosen yet."
    left = {
        "waits for what comes of it|wait for what comes of them": found.waiting,
        "was never seen|were never seen": found.unseen,
        "is of a person from whom nobody else may learn|are of people from whom nobody else may learn": found.unshared,
        "cannot be read|cannot be read": found.unread,
    }
    said = ", ".join(f"{n} {words.split('|')[n != 1]}" for words, n in left.items() if n)
    return f"Of {found.decisions} tips that a model wrote {said or 'all count'}."
