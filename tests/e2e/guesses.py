"""What somebody could work out who knows all of a person's words and ids, and where the public topics' records stand, but no secret.

By the plain hashes of any library, and by oO's own ids where these need no secret. What is looked for stands in none of oO's stores
behind the door: else whoever reads one of them could ask it for a person by name.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator

from tables import ids

HASHES = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")
SIZES = (8, 10, 16, 20)
"""To which hashes are cut."""
START = 8
"""Bytes of a guess that are looked at first."""
Place = tuple[bytes, int, int]
"""Topic id, partition, offset."""


def guesses(user: str, words: Iterable[str], places: Iterable[Place]) -> dict[bytes, str]:
    """By each way in which it may be written: of what it is."""
    found: dict[bytes, str] = {}
    for what, raw in _worked_out(user, sorted({user, *words}), places):
        spelled = base64.b32encode(raw).rstrip(b"=")[: len(raw) * 8 // 5]
        for form in (
            raw,
            raw[::-1],
            raw.hex().encode(),
            spelled,
            spelled.lower(),
            base64.b64encode(raw).rstrip(b"=")[:-1],
        ):
            if len(form) >= START:
                found[form] = what
        if len(raw) == 8:
            found |= {str(int.from_bytes(raw, "big", signed=sign)).encode(): what for sign in (True, False)}
    return found


def _worked_out(user: str, words: list[str], places: Iterable[Place]) -> Iterator[tuple[str, bytes]]:
    for word in words:
        for name in HASHES:
            whole = hashlib.new(name, word.encode()).digest()
            yield from ((f"{name} of {word}", whole[:size]) for size in (*SIZES, len(whole)))
        for size in SIZES:
            yield f"blake2b of {word}", hashlib.blake2b(word.encode(), digest_size=size).digest()
    for one in words:
        for other in words:
            for source in (one, f"Signal:{one}", f"Reaction:{one}", f"ce:{one}"):
                yield f"event {one}, {other}", ids.event_key(source, other).to_bytes(8, "big")
            yield f"item {one}, {other}", ids.item_key(one, other).to_bytes(8, "big")
            yield f"sha256 of {one}, {other}", hashlib.sha256(f"{one}\0{other}".encode()).digest()[:16]
    for topic_id, partition, offset in places:
        record_id = ids.source_record_id(topic_id, partition=partition, offset=offset)
        at = f"of {user}, record {partition}/{offset}"
        yield f"decision {at}", ids.decision_bytes(user, record_id=record_id, mac_key=b"")[:10]
        yield f"outcome {at}", bytes.fromhex(ids.outcome_id(user, record_id=record_id, index=0))
        yield f"draw {at}", ids.draw_key(user, record_id=record_id).to_bytes(16, "big")


def found_in(data: bytes, guessed: dict[bytes, str], starts: dict[bytes, list[bytes]]) -> set[str]:
    """Of what the guesses are that stand in these bytes. `starts`: what `by_start` made of them.

    >>> made = guesses("ada", [], [])
    >>> found_in(b"key=" + hashlib.sha1(b"ada").digest(), made, by_start(made))
    {'sha1 of ada'}
    """
    return {
        guessed[one]
        for at in range(len(data) - START + 1)
        for one in starts.get(data[at : at + START], ())
        if data.startswith(one, at)
    }


def by_start(guessed: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """The guesses by their first bytes."""
    found: dict[bytes, list[bytes]] = {}
    for one in guessed:
        found.setdefault(one[:START], []).append(one)
    return found
