"""Whether a run of `oo replay` proves that its policy should decide: by the gate's rule, on its decisions alone. Pure."""

from __future__ import annotations

from math import inf

from deploy.replay.diff import LOGGED, Diff, Value
from deploy.replay.words import gated
from oo.v1 import evaluation_pb2


def objection(found: Diff, *, champion: str) -> str:
    """Why a run does not prove that its policy should take the champion's place, in a sentence; empty where it does."""
    if set(found.logged) != {champion}:
        made = ", ".join(sorted(found.logged)) or "nobody"
        return f"{champion} decides now, and the decisions of the run were made by {made}: run it over decisions of {champion} alone"
    if found.gate is None or found.gate.verdict != "promote":
        return gated(found)
    return ""


def evidence_of(found: Diff) -> evaluation_pb2.Evidence | None:
    """What a run says of its policy beside what was logged, as a promotion keeps it."""
    earned = {one.policy: one for one in found.earned}
    if found.gate is None:
        return None
    return evaluation_pb2.Evidence(
        n=found.valued,
        policy=_interval(earned[found.second].doubly_robust),
        champion=_interval(earned[LOGGED].doubly_robust),
        ahead=evaluation_pb2.Interval(value=found.ahead.value, low=found.gate.low, high=found.gate.high),
        margin=found.gate.margin,
        alpha=found.gate.alpha,
        effective_n=earned[found.second].effective_n,
        mean_weight=earned[found.second].mean_weight,
    )


def _interval(value: Value) -> evaluation_pb2.Interval:
    low, high = (-inf, inf) if value.low is None or value.high is None else (value.low, value.high)
    return evaluation_pb2.Interval(value=value.value, low=low, high=high)
