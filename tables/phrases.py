"""The engine's own sentences by their codes, so that who shows a tip can say them in another language. Pure.

It takes no word of a person's apart: what they called something is a value, as it stands. Another language is a file beside it
(phrases_de.json), which page and notifications read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypedDict

from oo.v1.decision_pb2 import Decision, Tip


class Code(StrEnum):
    """What is said."""

    NOTHING_ON_LIST = "nothing_on_list"
    OFTEN_NOW = "often_now"
    NEXT_ON_LIST = "next_on_list"
    NO_LIST = "no_list"
    PRIORITY_HIGHEST = "priority_highest"
    PRIORITY_HIGH = "priority_high"
    PRIORITY_MEDIUM = "priority_medium"
    PRIORITY_LOW = "priority_low"
    FITS_BEFORE = "fits_before"
    WAITING = "waiting"
    DUE_EARLIER = "due_earlier"
    OVERDUE = "overdue"
    DUE_TODAY = "due_today"
    DUE_TODAY_AT = "due_today_at"
    DUE_TOMORROW = "due_tomorrow"
    DUE_TOMORROW_AT = "due_tomorrow_at"
    DUE_IN = "due_in"
    ON_LIST = "on_list"
    IN_CALENDAR = "in_calendar"
    PLAN = "plan"
    PLAN_HOW = "plan_how"
    PAUSE = "pause"
    PAUSE_HOW = "pause_how"
    TIDY = "tidy"
    TIDY_HOW = "tidy_how"
    PREPARE = "prepare"
    STARTS_IN = "starts_in"
    GAP = "gap"
    FREE_MINUTES = "free_minutes"


class Phrase(NamedTuple):
    """One of them, with what stands in it."""

    code: Code
    values: dict[str, int | str]


class OfTip(NamedTuple):
    """What of a tip is the engine's own; None for a person's words or a model's."""

    title: Phrase | None
    detail: Phrase | None
    why: tuple[Phrase | None, ...]


class Language(TypedDict):
    """How it says them."""

    parts: Mapping[str, str]
    """Of a day."""
    phrases: Mapping[str, str | Mapping[str, str]]
    """By code; where a number decides, `by` names the value, and `one` and `other` are the forms."""


WHY: Final = (
    (Code.NOTHING_ON_LIST, "There is nothing on your list that could be done now"),
    (Code.OFTEN_NOW, "You often get things done in the {part}"),
    (Code.NEXT_ON_LIST, "It is next on your list"),
    (Code.NO_LIST, "It takes a moment, and no list"),
    (Code.PRIORITY_HIGHEST, "Highest priority"),
    (Code.PRIORITY_HIGH, "High priority"),
    (Code.PRIORITY_MEDIUM, "Medium priority"),
    (Code.PRIORITY_LOW, "Low priority"),
    (Code.FITS_BEFORE, "It fits into the {minutes} minutes before {title}"),
    (Code.WAITING, "It has been waiting for {days} days"),
    (Code.DUE_EARLIER, "It was due earlier today"),
    (Code.OVERDUE, "Overdue by {days} day"),
    (Code.OVERDUE, "Overdue by {days} days"),
    (Code.DUE_TODAY, "Due today"),
    (Code.DUE_TODAY_AT, "Due today at {clock}"),
    (Code.DUE_TOMORROW, "Due tomorrow"),
    (Code.DUE_TOMORROW_AT, "Due tomorrow at {clock}"),
    (Code.DUE_IN, "Due in {days} days"),
    (Code.ON_LIST, "On your list: {title}"),
    (Code.IN_CALENDAR, "In your calendar: {title}"),
)
"""As agents/why.py and agents/written.py say them."""
STARTERS: Final = (
    (Code.PLAN, "Write down the one thing you want done today"),
    (Code.PLAN_HOW, "One line is enough: oO takes it from there."),
    (Code.PAUSE, "Stand up and rest your eyes for five minutes"),
    (Code.PAUSE_HOW, "Look at something far away."),
    (Code.TIDY, "Clear one small thing that has been waiting"),
    (Code.TIDY_HOW, "A mail, a cup, a message: two minutes, not more."),
    (Code.PREPARE, "Take two minutes to get ready for {title}"),
    (Code.STARTS_IN, "It starts in {minutes} minutes."),
    (Code.GAP, "Start something small before {title}"),
    (Code.FREE_MINUTES, "You have {minutes} free minutes."),
)
"""As agents/candidates.py does."""

_VALUES: Final = {
    "days": "[0-9]+",
    "minutes": "[0-9]+",
    "clock": "[0-9]{2}:[0-9]{2}",
    "part": "night|morning|afternoon|evening",
    "title": ".*",
}


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", text)
    spelled = (f"(?P<{part}>{_VALUES[part]})" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile("".join(spelled), re.DOTALL)


_FIXED: Final = {
    kind: {text: Phrase(code, {}) for code, text in table if "{" not in text}
    for kind, table in (("why", WHY), ("starter", STARTERS))
}
_PATTERNS: Final = {
    kind: tuple((code, _pattern(text)) for code, text in table if "{" in text)
    for kind, table in (("why", WHY), ("starter", STARTERS))
}


def why(line: str) -> Phrase | None:
    """What a reason says; None for one that no code stands for.

    >>> why("Overdue by 3 days")
    Phrase(code=<Code.OVERDUE: 'overdue'>, values={'days': 3})
    >>> why("It fits into the 20 minutes before Stand-up").values
    {'minutes': 20, 'title': 'Stand-up'}
    >>> why("Because")
    """
    return _found("why", line)


def starter(text: str) -> Phrase | None:
    """What the title or the detail of a tip to begin with says: of no other tip, whose words are a person's or a model's.

    >>> starter("You have 45 free minutes.").values
    {'minutes': 45}
    """
    return _found("starter", text)


def of_tip(tip: Tip) -> OfTip:
    """What of it has a code. A task called as a tip to begin with is the person's all the same."""
    begins = tip.kind == Decision.STARTER
    return OfTip(
        starter(tip.title) if begins else None,
        starter(tip.detail) if begins else None,
        tuple(why(line) for line in tip.why),
    )


def said(phrase: Phrase, language: Language) -> str:
    """The sentence. Raises KeyError for a code that the language lacks.

    >>> days = {"by": "days", "one": "{days} Tag", "other": "{days} Tage"}
    >>> said(Phrase(Code.OVERDUE, {"days": 2}), {"parts": {}, "phrases": {"overdue": days}})
    '2 Tage'
    """
    form, values = language["phrases"][phrase.code], dict(phrase.values)
    if not isinstance(form, str):
        form = form["one" if values[form["by"]] == 1 else "other"]
    if "part" in values:
        values["part"] = language["parts"][str(values["part"])]
    return form.format_map(values)


def _found(kind: str, text: str) -> Phrase | None:
    if fixed := _FIXED[kind].get(text):
        return fixed
    for code, pattern in _PATTERNS[kind]:
        if match := pattern.fullmatch(text):
            found = match.groupdict()
            return Phrase(code, {name: int(one) if name in ("days", "minutes") else one for name, one in found.items()})
    return None
