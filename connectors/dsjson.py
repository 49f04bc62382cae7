"""Reads decision logs of Vowpal Wabbit and of Azure Personalizer, a line at a time: decisions of one slot, and what came of them, joined or not.

Pure: a line in, what it says out. What cannot be used raises with the reason; nothing is guessed and nothing is joined here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, Final

SUM_TOLERANCE: Final = 1e-3
"""Logs print probabilities of 32 bits with six digits."""
SHOWN_TOLERANCE: Final = 1e-5


class Unusable(ValueError):
    """A line that says nothing that can be used; the message says why."""


class SeveralSlots(ValueError):
    """A log of several slots (CCB, slates) or of continuous actions (CATS): another kind of problem than choosing one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was chosen from K actions, numbered from 0."""

    event_id: str
    action: int
    probabilities: tuple[float, ...]
    """With which each could have been chosen: (K,), the chosen one's as its label says."""
    rest_is_known: bool
    """Whether the others' stand in the log; they are taken to be equal where they do not."""
    dropped: float
    """With which probability a decision like this was not logged."""
    is_deferred: bool
    """It counts only if somebody says that the action was taken."""
    features: Mapping[str, Any]
    """The context's JSON, with the actions' in `_multi`."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A decision with what came of it: a joined line."""

    decision: Decision
    reward: float
    counts: bool
    """False where the action was never taken: `_skipLearn`, or deferred and not activated."""
    is_late: bool
    """Its label stands behind the context, where Vowpal Wabbit itself learns nothing from it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Something that came of a decision: a reward, or that its action was taken."""

    event_id: str
    reward: float | None
    at_ms: int | None
    is_activation: bool
    is_dangling: bool
    """It says itself that no decision was found for it when the log was joined."""


Said = Labelled | Decision | Observation


def read(line: bytes | str) -> Said:
    """What a line says. Raises Unusable, and SeveralSlots for a log that is of another kind.

    >>> said = read('{"_label_cost":-1,"_label_probability":0.8,"_label_Action":2,"_labelIndex":1,"EventId":"e","a":[2,1],"c":{"_multi":[{},{}]},"p":[0.8,0.2]}')
    >>> said.decision.action, said.decision.probabilities, said.reward
    (1, (0.2, 0.8), 1.0)
    >>> read('{"RewardValue":0.5,"EnqueuedTimeUtc":"2019-01-01T00:00:00Z","EventId":"e"}').is_dangling
    True
    """
    try:
        said = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))
        raise Unusable(f"no JSON: {why}") from None
    if not isinstance(said, dict):
        raise Unusable("no JSON object")
    context = said.get("c")
    if "_outcomes" in said or "_label_ca" in said or (isinstance(context, dict) and "_slots" in context):
        raise SeveralSlots
    if "_label_cost" in said:
        return _labelled(said)
    if "a" in said or "c" in said:
        return _decision(said)
    return _observation(said)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _labelled(said: dict[str, Any]) -> Labelled:
    decision = _decision(said)
    keys = list(said)
    late = "c" in said and keys.index("_label_cost") > keys.index("c")
    cost = _number(said, "_label_cost")
    activated = any(
        one.get("ActionTaken") is True or one.get("DeferredAction") is False for one in _objects(said.get("o"))
    )
    skipped = said.get("_skipLearn") is True or (said.get("_deferred") is True and not activated)
    # Not -cost: a cost of 0 is a reward of 0.0 and not of -0.0.
    return Labelled(decision, 0.0 - cost, not skipped, late)


def _decision(said: dict[str, Any]) -> Decision:
    actions = said.get("a")
    if (
        not isinstance(actions, list)
        or not actions
        or any(type(one) is not int for one in actions)
        or sorted(actions) != list(range(1, len(actions) + 1))
    ):
        raise Unusable("'a' is no ranking of the actions 1 to K")
    if "_label_Action" in said and said["_label_Action"] != actions[0]:
        raise Unusable(f"the label is of action {said['_label_Action']}, and {actions[0]} was ranked first")
    if "_labelIndex" in said and said["_labelIndex"] != actions[0] - 1:
        raise Unusable(f"_labelIndex is {said['_labelIndex']}, and the first of 'a' is action {actions[0]}")
    k, shown = len(actions), said.get("p")
    label = _number(said, "_label_probability") if "_label_probability" in said else None
    if shown is None:
        if label is None:
            raise Unusable("no probabilities: neither 'p' nor '_label_probability'")
        rest = (1 - label) / (k - 1) if k > 1 else 0.0
        shown, known = [label] + [rest] * (k - 1), False
    else:
        known = True
        if (
            not isinstance(shown, list)
            or len(shown) != k
            or not all(_is_number(one) and 0 <= one <= 1 for one in shown)
        ):
            raise Unusable(f"'p' has to be a probability for each of the {k} actions")
        if abs(sum(shown) - 1) > SUM_TOLERANCE:
            raise Unusable(f"'p' adds up to {sum(shown):g}, not to 1")
    first = shown[0] if label is None else label
    if abs(first - shown[0]) > SHOWN_TOLERANCE:
        raise Unusable(f"_label_probability is {label:g}, and 'p' says {shown[0]:g} of that action")
    if not 0 < first <= 1:
        raise Unusable(f"the chosen action's probability is {first:g}: it could not have been chosen")
    probabilities = [0.0] * k
    for action, one in zip(actions, [first, *shown[1:]], strict=True):
        probabilities[action - 1] = float(one)
    dropped = _number(said, "pdrop") if "pdrop" in said else 0.0
    if not 0 <= dropped < 1:
        raise Unusable(f"pdrop is {dropped:g}, which is no probability below 1")
    context = said.get("c", {})
    if not isinstance(context, dict):
        raise Unusable("'c' is no JSON object")
    multi = context.get("_multi")
    if multi is not None and (not isinstance(multi, list) or len(multi) != k):
        raise Unusable(f"'_multi' has to describe each of the {k} actions")
    return Decision(
        _event_id(said),
        actions[0] - 1,
        tuple(probabilities),
        known,
        dropped,
        is_deferred=said.get("DeferredAction") is True or said.get("_deferred") is True,
        features=context,
    )


def _observation(said: dict[str, Any]) -> Observation:
    name = next((one for one in ("RewardValue", "v") if one in said), None)
    activation = said.get("ActionTaken") is True or said.get("DeferredAction") is False
    if name is None and not activation:
        raise Unusable("neither a decision ('a', 'c') nor an observation ('v', 'RewardValue', 'ActionTaken')")
    at = said.get("EnqueuedTimeUtc")
    try:
        at_ms = None if at is None else int(datetime.fromisoformat(at).timestamp() * 1000)
    except (ValueError, TypeError):
        raise Unusable("EnqueuedTimeUtc is no time") from None
    # A joiner that finds no decision writes the reward under this name.
    return Observation(
        _event_id(said), None if name is None else _number(said, name), at_ms, activation, name == "RewardValue"
    )


def _event_id(said: dict[str, Any]) -> str:
    found = said.get("EventId", "")
    if not isinstance(found, str):
        raise Unusable("EventId is no text")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _number(said: dict[str, Any], name: str) -> float:
    if not _is_number(said[name]):
        raise Unusable(f"{name} is no number")
    return float(said[name])


def _objects(value: object) -> Iterator[dict[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def numbers(value: object, *, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a context or an action by the last part of its name, whatever namespaces it is in; true is 1. What Vowpal Wabbit passes over
    (names that begin with an underscore, `_multi` too) is none.

    >>> list(numbers({"User": {"morning": True, "age": 3}, "_id": 5, "list": [1]}))
    [('morning', 1.0), ('age', 3.0)]
    """
    if isinstance(value, dict):
        for key, one in value.items():
            if not key.startswith("_"):
                yield from numbers(one, name=key)
    elif name and (isinstance(value, bool) or _is_number(value)):
        yield name, float(value)  # type: ignore[arg-type]  # a number, as is said above
