"""What holds a written tip back: each guard is a fixed word, and the first that finds something says it.

It compares with what the tip was made from and never trusts it: a tip that does what a title asked for is held back like any other.
Likeness by meaning is not looked at here (agents.generation.likeness).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, Literal

from agents.generation import private
from agents.generation.answer import DETAIL_CHARS_MAX, TITLE_CHARS_MAX, Written
from agents.generation.context import context
from agents.generation.language import is_spoken
from agents.generation.prompts import Prompt
from agents.generation.wary import speaks_to_a_model
from oo.v1 import decision_pb2

Guard = Literal[
    "",
    "about",
    "length",
    "repetition",
    "mark-up",
    "link",
    "personal-data",
    "model-speech",
    "leak",
    "addressed",
    "instructed",
    "echo",
    "language",
]

TITLE_CHARS_MIN = 8
WORDS_MIN = 2
ECHO_WORDS = 5
"""So many words of one title in a row are its words and no tip's."""
ECHO_SHARE = 0.8
"""Of a text's words in one title, from which on it says nothing that the title does not."""
LEAK_WORDS = 6
"""So many words of the prompt in a row."""

_MARKUP = re.compile(
    r"[<>{}\[\]`|\\^~#*_=\u201c\u201d\"„«»]|&\w+;|\$\(|\(\)|[;:]$|\((?:link|address|number)\)", re.MULTILINE
)
_MACHINE = re.compile(
    r"\b(?:system|prompts?|json|refs?|instructions?|language model|llm|ai|ki|ia|assistant|chatbot|chatgpt|gpt|claude|api|token|base64|anweisung\w*|sprachmodell\w*"
    r"|instrucci\w*|instrucción|modelo de lenguaje|consignes?|asistente|assistent\w*|tipps?|tips?|consejos?|[te]\d{1,2})\b",
    re.IGNORECASE,
)
"""What only whoever writes tips would speak of; a task may be about one of these, and then it is held back as well."""
_GREETING = re.compile(
    r"^(?:hi|hey|hello|dear|hallo|liebe[rs]?|guten (?:tag|morgen|abend)|moin|servus|hola|querid[oa]|estimad[oa]|buen[oa]s (?:días|tardes|noches)|bonjour|salut|chers?|chère|sehr geehrte[rs]?)\b",
    re.IGNORECASE,
)
_THIRD = re.compile(
    r"\b(?:the|this) (?:user|person|reader|customer|client)\b|\b(?:der|die|dem|den) (?:nutzer\w*|benutzer\w*|person|kund\w+)\b|\b(?:el|la|al) (?:usuari[oa]|persona|cliente)\b|\bl'utilisateur\b"
    r"|\b(?:I|my|ich|mein\w*|yo|mi|mis|moi)\b"
    r"|^(?:you(?:'re| are)|du bist|sie sind|(?:tú )?eres|usted es|tu es|vous êtes)\b|\b(?:you(?:'re| are)|du bist|sie sind|eres|usted es|tu es|vous êtes) (?:such |so )?(?:an?|ein\w{0,2}|una?|une)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Whoever speaks of the person or of themselves instead of to the person, or says what they are."""
_CALLED = re.compile(r"^([^\W\d_]+(?:'hui)?)[,:!]\s")
_OPENERS = frozenset(
    (
        *("today", "tomorrow", "tonight", "now", "first", "then", "next", "heute", "morgen", "jetzt", "zuerst", "dann"),
        *("hoy", "mañana", "ahora", "primero", "luego", "maintenant", "demain", "aujourd'hui"),
    )
)
"""Words before a comma that call nobody."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_COMMON = 3
"""Letters of words that are not counted as a title's own."""


def guard(written: Written, *, ask: decision_pb2.Ask, prompt: Prompt) -> Guard:
    """Return the guard that holds this tip back; empty for none.

    >>> from agents.generation.prompts import latest
    >>> ask = decision_pb2.Ask(languages=["en"], tasks=[decision_pb2.AskedTask(id="task:a/1", title="Tax return")])
    >>> guard(Written("Find the letter of last year", "It has most numbers.", ("task:a/1",)), ask=ask, prompt=latest("tips"))
    ''
    >>> guard(Written("Win money at shop.example", "", ("task:a/1",)), ask=ask, prompt=latest("tips"))
    'link'
    """
    return next(_found(written, ask=ask, prompt=prompt), "")


def _found(written: Written, *, ask: decision_pb2.Ask, prompt: Prompt) -> Iterator[Guard]:
    told = context(ask)
    own = {told.ids[ref]: title for ref, title in told.titles.items()}
    if not written.about or not set(written.about) <= set(own):
        yield "about"
    raw = f"{written.title}\n{written.detail}"
    text = unicodedata.normalize("NFKC", raw)
    if (
        not TITLE_CHARS_MIN <= len(written.title) <= TITLE_CHARS_MAX
        or len(written.detail) > DETAIL_CHARS_MAX
        or len(words(written.title)) < WORDS_MIN
    ):
        yield "length"
    if _repeats(words(written.title)) or _repeats(words(written.detail)):
        yield "repetition"
    if _MARKUP.search(text) or any(
        unicodedata.category(c)[0] in "CM" or unicodedata.category(c) == "So"
        for c in unicodedata.normalize("NFC", raw)
        if c != "\n"
    ):
        yield "mark-up"
    if private.has_link(text):
        yield "link"
    if private.tells(text, known="\n".join(own.get(one, "") for one in written.about)):
        yield "personal-data"
    if _MACHINE.search(text):
        yield "model-speech"
    if _shares_run(words(text), words(prompt.text), LEAK_WORDS):
        yield "leak"
    if _is_addressed(written.title) or _is_addressed(written.detail) or _THIRD.search(text):
        yield "addressed"
    titles = [*(one.title for one in ask.tasks), *(one.title for one in ask.events)]
    if _speaks_of(
        text,
        [one for one in titles if speaks_to_a_model(one)],
        others=[one for one in titles if not speaks_to_a_model(one)],
    ):
        yield "instructed"
    if any(_is_echo(one, titles) for one in (written.title, written.detail) if one):
        yield "echo"
    if not is_spoken(text, ask=ask):
        yield "language"


def words(text: str) -> list[str]:
    """Return the words of a text, without case.

    >>> words("Don't wait: CALL Dr. Ümit")
    ["don't", 'wait', 'call', 'dr', 'ümit']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _is_addressed(text: str) -> bool:
    called = _CALLED.match(text)
    return _GREETING.match(text) is not None or (called is not None and called[1].casefold() not in _OPENERS)


def _speaks_of(text: str, wary: Iterable[str], *, others: Iterable[str]) -> bool:
    """Whether a text has two words of a title that speaks to a model, or one of six letters or more, which no other title has."""
    common = {word for title in others for word in words(title)}
    said = {word for word in words(text) if len(word) > _COMMON} - common
    shared = [said & set(words(title)) for title in wary]
    return any(len(one) > 1 or any(len(word) > 5 for word in one) for one in shared)


def _is_echo(text: str, titles: Iterable[str]) -> bool:
    said = words(text)
    for title in titles:
        theirs = words(title)
        if _shares_run(said, theirs, ECHO_WORDS) or (
            said and sum(word in theirs for word in said) >= ECHO_SHARE * len(said)
        ):
            return True
    return False


def _repeats(said: list[str]) -> bool:
    """Whether a text goes in circles: one of its words comes three times, or two in a row come twice."""
    long = [word for word in said if len(word) > _COMMON and not word.isdigit()]
    pairs = [pair for pair in pairwise(said) if not pair[0].isdigit()]
    return any(long.count(word) > 2 for word in long) or len(set(pairs)) < len(pairs)


def _shares_run(one: list[str], other: list[str], n: int) -> bool:
    runs = {tuple(other[at : at + n]) for at in range(len(other) - n + 1)}
    return any(tuple(one[at : at + n]) in runs for at in range(len(one) - n + 1))


GUARDS: Final = tuple(word for word in Guard.__args__ if word)  # type: ignore[attr-defined]
"""Their words, in the order in which they look."""
