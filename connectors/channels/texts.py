"""What notifications say, by language: their own words, and the tip where it is the engine's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from oo.v1.decision_pb2 import Tip
from tables import phrases

DEFAULT: Final = "en"

TEXTS: Final = {
    "en": {
        "done": "Done",
        "snooze": "Later",
        "dismiss": "Not for me",
        "why": "Why:",
        "open": "Open oO",
        "unsubscribe": "No more mail with tips",
        "confirm.subject": "Is this your address?",
        "confirm.text": "Somebody, hopefully you, wants tips of oO at this address. If so, confirm it here; else do nothing.",
    },
    "de": {
        "done": "Erledigt",
        "snooze": "Später",
        "dismiss": "Nichts für mich",
        "why": "Warum:",
        "open": "oO öffnen",
        "unsubscribe": "Keine Mail mit Tipps mehr",
        "confirm.subject": "Ist das deine Adresse?",
        "confirm.text": "Jemand, hoffentlich du, möchte Tipps von oO an diese Adresse. Wenn ja, bestätige sie hier; sonst tu nichts.",
    },
}
"""A language is a table here, and a file beside tables/phrases.py; each has the same lines."""
PHRASES: Final[Mapping[str, phrases.Language]] = {
    one: json.loads((files("tables") / f"phrases_{one}.json").read_bytes()) for one in TEXTS if one != DEFAULT
}
"""The engine says its own sentences in the default language itself."""


class InWords(NamedTuple):
    """A tip as it is read."""

    title: str
    detail: str
    why: tuple[str, ...]


def language(wanted: Sequence[str]) -> str:
    """Return the first of these, best first (BCP 47), in which there are texts.

    >>> language(["fr-CH", "de-CH", "en"]), language([])
    ('de', 'en')
    """
    spoken = (one.partition("-")[0].lower() for one in wanted)
    return next((one for one in spoken if one in TEXTS), DEFAULT)


def in_words(tip: Tip, language: str) -> InWords:
    """Return what a tip says in that language; a person's words, and a model's, stay as they are."""
    spoken = PHRASES.get(language)
    found = phrases.of_tip(tip)

    def say(text: str, phrase: phrases.Phrase | None) -> str:
        return text if phrase is None or spoken is None else phrases.said(phrase, spoken)

    return InWords(
        say(tip.title, found.title),
        say(tip.detail, found.detail),
        tuple(say(*line) for line in zip(tip.why, found.why, strict=True)),
    )
