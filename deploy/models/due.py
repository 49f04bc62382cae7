"""Which models were made with somebody who left since, and until when they may stay. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connectors.model_registry import Version
from oo.v1.erased_pb2 import Erased
from streams.units import DAY_MS

FORGETS_MS = 30 * DAY_MS
"""A model that somebody was in who left is gone so long after they did, at the latest."""


@dataclass(frozen=True, slots=True)
class Due:
    """A version that has to go."""

    version: Version
    people: int
    """Who left since it was made; some of them may never have been in it."""
    by_ms: int


def may_hold(version: Version, word: Erased) -> bool:
    """Whether somebody who left may be in this model: they left behind the place up to which it had read who has.

    No model knows who is in it, so whoever came and left behind that place counts too.
    """
    about = version.about
    if about.get("journal_id") != word.journal.topic_id.hex():
        return False
    read_to = about.get("read_to", {}).get(str(word.journal.partition))
    return read_to is not None and word.journal.offset >= int(read_to)


def due(versions: Iterable[Version], words: Iterable[Erased]) -> list[Due]:
    """Return those that may hold somebody who left, in the order given."""
    left, found = list(words), list[Due]()
    for one in versions:
        if times := [word.erased_ms for word in left if may_hold(one, word)]:
            found.append(Due(one, len(times), min(times) + FORGETS_MS))
    return found
