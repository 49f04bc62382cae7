"""What a person has said of purposes and sources, and what of it stands: by the order in which the journal has it, never by a clock.

A withdrawal counts from its place on. A grant counts only if it names the last withdrawal, so that one which is late, or was sent
twice, gives nothing back. It never decides what rests on a purpose (tables.purposes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from oo.v1 import settings_pb2, subject_request_pb2
from tables.purposes import BY_NUMBER, PURPOSES

SOURCES_MAX = 64
"""Sources that are named in a row. Who withdraws one more has withdrawn them all: what could not be noted counts too."""

Consents = Sequence[settings_pb2.Consent]


class Word(NamedTuple):
    """That a purpose, or a source, is granted or withdrawn."""

    purpose: subject_request_pb2.Purpose.ValueType
    """0 where it is of a source."""
    source: str
    granted: bool
    id: str
    """The same id is the same word."""
    knows_of: str = ""
    """Of a grant: the withdrawal that it takes back."""
    text_version: str = ""


def of(said: subject_request_pb2.ConsentChanged, *, request_id: str) -> Word:
    """Return the word that a request says."""
    return Word(said.purpose, said.source, said.granted, request_id, said.knows_of, said.text_version)


def find(
    consents: Iterable[settings_pb2.Consent], *, purpose: int = 0, source: str = ""
) -> settings_pb2.Consent | None:
    """Return what was said last of a purpose or a source; None for nothing."""
    return next((one for one in consents if one.purpose == purpose and one.source == source), None)


def grants(consents: Iterable[settings_pb2.Consent], purpose: int) -> bool:
    """Whether a purpose is granted: as it was said last, else as it stands by default.

    >>> grants([], subject_request_pb2.PURPOSE_CALENDAR), grants([], subject_request_pb2.PURPOSE_EMAIL)
    (True, False)
    """
    found = find(consents, purpose=purpose)
    return BY_NUMBER[purpose].default if found is None else found.granted  # type: ignore[index]


def withdrawn_sources(consents: Iterable[settings_pb2.Consent]) -> frozenset[str]:
    """Return the sources of which nothing may be used."""
    return frozenset(one.source for one in consents if one.source and not one.granted)


def take(consents: Consents, word: Word, *, now_ms: int) -> tuple[list[settings_pb2.Consent], list[Word]]:
    """Return what stands after a word, by purpose, then by source, and which words changed what is granted.

    >>> tasks = subject_request_pb2.PURPOSE_TASKS
    >>> stand, _ = take([], Word(tasks, "", granted=False, id="w"), now_ms=1)
    >>> late, changed = take(stand, Word(tasks, "", granted=True, id="g", knows_of=""), now_ms=2)
    >>> (late == stand, changed), take(stand, Word(tasks, "", granted=True, id="g", knows_of="w"), now_ms=2)[1][0].granted
    ((True, []), True)
    """
    before = find(consents, purpose=word.purpose, source=word.source)
    stood = _stood(before, word)
    said = before or settings_pb2.Consent()
    if word.id and word.id in (said.withdrawn_by, said.granted_by):
        return list(consents), []
    if word.granted and word.knows_of != said.withdrawal:
        return list(consents), []
    others = [one for one in consents if one is not before]
    if word.source and before is None and sum(bool(one.source) for one in others) >= SOURCES_MAX:
        forgotten = next((one for one in others if one.source and one.granted), None)
        if forgotten is None:
            return _withdraw_all(consents, word, now_ms=now_ms)
        others.remove(forgotten)
    after = settings_pb2.Consent(
        granted=word.granted,
        since_ms=before.since_ms if before is not None and stood == word.granted else now_ms,
        text_version=word.text_version,
        withdrawal=said.withdrawal if word.granted else _name(said.withdrawal, word.id),
        withdrawn_by=said.withdrawn_by if word.granted else word.id,
        granted_by=word.id if word.granted else said.granted_by,
    )
    if word.source:
        after.source = word.source
    else:
        after.purpose = word.purpose
    stand = sorted([*others, after], key=lambda one: (bool(one.source), one.purpose, one.source))
    return stand, [] if stood == word.granted else [word]


def tell(changed: subject_request_pb2.ConsentChanged, stand: Consents) -> None:
    """Have a grant name the last withdrawal of the same, for somebody who has been shown what stands."""
    found = find(stand, purpose=changed.purpose, source=changed.source)
    if changed.granted and found is not None:
        changed.knows_of = found.withdrawal


def _name(before: str, request_id: str) -> str:
    """What a withdrawal is called: no two of a person's are called the same, also where a word comes again that was forgotten."""
    return hashlib.blake2b(f"{before}\n{request_id}".encode(), digest_size=16).hexdigest() if before else request_id


def _stood(before: settings_pb2.Consent | None, word: Word) -> bool:
    if before is not None:
        return before.granted
    return True if word.source else BY_NUMBER[word.purpose].default


def _withdraw_all(consents: Consents, word: Word, *, now_ms: int) -> tuple[list[settings_pb2.Consent], list[Word]]:
    """What comes from sources goes as a whole."""
    if word.granted:
        return list(consents), []
    changed: list[Word] = []
    stand = list(consents)
    for purpose in PURPOSES:
        if purpose.of_sources:
            stand, more = take(stand, word._replace(purpose=purpose.number, source=""), now_ms=now_ms)
            changed += more
    return stand, changed
