"""What process `score` says of slates in a simulation: which it scores, and when, as agents/score.py has it.

It stands apart since that brings all of a worker along. It asks no server: a model is a function here.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.score import APART_MS, SETTLE_MS, Floats, waiting
from oo.v1 import decision_pb2, journal_pb2


class Scorer:
    """One model, from a time on."""

    def __init__(self, model: str, expected: Callable[[decision_pb2.Decision, Floats], Floats]) -> None:
        """`model`: NAME@VERSION; `expected(decision, x)`: of its candidates that may be chosen, (n, d) to (n,), in units of a done."""
        self.model = model
        self._expected = expected
        self._scored: dict[str, tuple[int, int]] = {}

    def due_ms(self, decision: decision_pb2.Decision, *, now_ms: int) -> int:
        """When its slate is to be scored."""
        return max(now_ms + SETTLE_MS, self._scored.get(decision.user_id, (0, 0))[0] + APART_MS)

    def scores(self, decision: decision_pb2.Decision, *, now_ms: int) -> journal_pb2.Scores | None:
        """What is said of it; None where there is nothing to choose, or the same was scored before."""
        made = waiting(decision, due_ms=now_ms)
        if made is None or self._scored.get(decision.user_id, (0, 0))[1] == made.what:
            return None
        self._scored[decision.user_id] = now_ms, made.what
        return made.scores(self.model, self._expected(decision, made.x))
