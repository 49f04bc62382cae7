"""What notifications say besides the tip, by language. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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
"""A language is a table here; each has the same lines."""


def language(wanted: Sequence[str]) -> str:
    """Return the first of these, best first (BCP 47), in which there are texts.

    >>> language(["fr-CH", "de-CH", "en"]), language([])
    ('de', 'en')
    """
    spoken = (one.partition("-")[0].lower() for one in wanted)
    return next((one for one in spoken if one in TEXTS), DEFAULT)
