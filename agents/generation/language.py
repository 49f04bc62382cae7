"""Which language a text is in (py3langid: Lui and Baldwin 2012, "langid.py"), imported where the first text is looked at.

A few words do not tell for certain: what is not clearly in another language counts as in the person's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from oo.v1 import decision_pb2

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNKNOWN = "en"
_TAG = re.compile(r"[a-z]{2,3}")
_CLEARLY = 4.0
"""Times as likely as the person's own language."""
_LETTERS_MIN = 8
"""Of less, nothing is said."""


def load() -> None:
    """Import what tells languages apart, where nobody waits: it takes half a second of processor time."""
    _identifier()


def spoken(ask: decision_pb2.Ask) -> str:
    """Return the person's first language as ISO 639 writes it; unknown, the one that their lists are in.

    >>> spoken(decision_pb2.Ask(languages=["de-AT", "en"]))
    'de'
    """
    for tag in ask.languages:
        if found := _base(tag):
            return found
    titles = " ".join([*(one.title for one in ask.tasks), *(one.title for one in ask.events)])
    return str(_identifier().classify(titles)[0]) if _enough(titles) else UNKNOWN


def is_spoken(text: str, *, ask: decision_pb2.Ask) -> bool:
    """Whether a text may be in a language of this person; a text of few letters may.

    >>> is_spoken("Ruf vor Mittag beim Zahnarzt an", ask=decision_pb2.Ask(languages=["de"]))
    True
    >>> is_spoken("Call the dentist before noon", ask=decision_pb2.Ask(languages=["de"]))
    False
    """
    if not _enough(text):
        return True
    known = {spoken(ask), *filter(None, map(_base, ask.languages))}
    ranked = _identifier().rank(text)
    return (
        ranked[0][0] in known or max((p for tag, p in ranked if tag in known), default=0.0) * _CLEARLY >= ranked[0][1]
    )


def _base(tag: str) -> str:
    first = tag.replace("_", "-").split("-")[0].lower()
    return first if _TAG.fullmatch(first) else ""


def _enough(text: str) -> bool:
    return sum(map(str.isalpha, text)) >= _LETTERS_MIN


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
