"""Ids and seeds: every one a hash of where a record came from, so that a replay makes the same ones.

They never come from a bare journal offset, which changes with a mirrored, copied or recreated topic.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator
from functools import lru_cache

_HALF = 10
"""Bytes of each half of a decision id: hash, then MAC."""
_CHARS = 32
"""Of its base32, without padding."""


def source_record_id(topic_id: bytes, *, partition: int, offset: int) -> bytes:
    """Names the journal record made from one source record; 16 bytes.

    >>> source_record_id(bytes(16), partition=0, offset=7).hex()
    '6f3a58b2ac9724c25e491fe48bbcb5fe'
    """
    return _hash(b"source", topic_id, partition.to_bytes(4, "big", signed=True), offset.to_bytes(8, "big"), size=16)


def tick_record_id(user_id: str, *, due_ms: int) -> bytes:
    """Names the tick of one due time; sending the tick again makes the same id."""
    return _hash(b"tick", user_id.encode(), due_ms.to_bytes(8, "big", signed=True), size=16)


def answer_record_id(request_id: str) -> bytes:
    """Names the one answer to a request; 16 bytes. An answer that is written again has the same."""
    return _hash(b"answer", request_id.encode(), size=16)


def scores_record_id(topic_id: bytes, partition: int, offset: int, model: str) -> bytes:
    """Names what a model says of the decision at a place of the journal; 16 bytes."""
    place = partition.to_bytes(4, "big", signed=True), offset.to_bytes(8, "big", signed=True)
    return _hash(b"scores", topic_id, *place, model.encode(), size=16)


def event_key(source: str, event_id: str) -> int:
    """Return a producer's own id of an event as 64 bits; never 0, which stands for "none given"."""
    return int.from_bytes(_hash(b"event", source.encode(), event_id.encode(), size=8), "big") or 1


def item_key(source: str, external_id: str) -> int:
    """Return a task's or event's identity within a person's row as 64 bits."""
    return int.from_bytes(_hash(b"item", source.encode(), external_id.encode(), size=8), "big")


def decision_id(user_id: str, *, record_id: bytes, mac_key: bytes) -> str:
    """Names the decision that a record led to, with a MAC over the user in its second half.

    >>> one = decision_id("ada", record_id=bytes(16), mac_key=b"k" * 32)
    >>> len(one), belongs(one, user_id="ada", mac_key=b"k" * 32), belongs(one, user_id="bob", mac_key=b"k" * 32)
    (32, True, False)
    """
    return spelled(decision_bytes(user_id, record_id=record_id, mac_key=mac_key))


def decision_bytes(user_id: str, *, record_id: bytes, mac_key: bytes) -> bytes:
    """Return the 20 bytes that such an id spells."""
    whose = _DECISION + _framed(user_id.encode())
    name = hashlib.blake2b(whose + _framed(record_id), digest_size=_HALF).digest()
    return name + _mac(whose, name, mac_key=mac_key)


_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_TO_LETTERS = bytes.maketrans(bytes(range(32)), _LETTERS.encode())
_DIGITS = bytes.maketrans(
    bytes(range(256)),
    bytes(b"0123456789abcdefghijklmnopqrstuv"[_LETTERS.find(chr(n))] if chr(n) in _LETTERS else 33 for n in range(256)),
)
"""From the letters of base32 in RFC 4648 to those of Python's numbers to the base 32; "!" for what is no such letter."""


def spelled(raw: bytes) -> str:
    """Return the decision id of these 20 bytes, as everybody but the row writes it: base32 (RFC 4648), in small letters."""
    bits = int.from_bytes(raw, "big")
    for low, high, apart in _APART:
        bits = bits & low | (bits & high) << apart
    return bits.to_bytes(_CHARS, "big").translate(_TO_LETTERS).decode()


def _apart() -> Iterator[tuple[int, int, int]]:
    """Bits of lower halves, of upper ones, and how far these move: 160 bits become two halves, those two each, until every five have a byte."""
    for bits in (80, 40, 20, 10, 5):
        slot = bits * 8 // 5
        low = sum(((1 << bits) - 1) << at for at in range(0, 8 * _CHARS, 2 * slot))
        yield low, low << bits, slot - bits


_APART = tuple(_apart())


def packed(decision: str) -> bytes:
    """Return the 20 bytes that a decision id spells, as the row keeps them; empty for a text that is none.

    >>> packed(spelled(bytes(range(20)))) == bytes(range(20)), packed("no id"), packed("A" * 32)
    (True, b'', b'')
    """
    if len(decision) != _CHARS or not decision.isascii():
        return b""
    try:
        return int(decision.encode().translate(_DIGITS), 32).to_bytes(2 * _HALF, "big")
    except ValueError:
        return b""


def belongs(decision: str, *, user_id: str, mac_key: bytes) -> bool:
    """True where this decision id was made for this user; needs no look-up and takes constant time."""
    raw = packed(decision)
    return bool(raw) and hmac.compare_digest(
        raw[_HALF:], _mac(_DECISION + _framed(user_id.encode()), raw[:_HALF], mac_key=mac_key)
    )


def outcome_id(user_id: str, *, record_id: bytes, index: int) -> str:
    """Names the index-th outcome that a record led to."""
    return _hash(b"outcome", user_id.encode(), record_id, index.to_bytes(4, "big"), size=16).hex()


def request_id(user_id: str, *, record_id: bytes) -> str:
    """Names what a language model is asked after a record."""
    return _hash(b"request", user_id.encode(), record_id, size=16).hex()


def request_draw(user_id: str, *, record_id: bytes) -> int:
    """Return 64 bits from which the variant of such a request is drawn."""
    return int.from_bytes(_hash(b"variant", user_id.encode(), record_id, size=8), "big")


def shadow_draw(user_id: str, *, record_id: bytes) -> int:
    """Return 64 bits from which the shadow of such a request is drawn, apart from its variant."""
    return int.from_bytes(_hash(b"shadow", user_id.encode(), record_id, size=8), "big")


def deaf_draw(user_id: str, *, record_id: bytes) -> int:
    """Return 64 bits from which it is drawn whether a decision hears no model, apart from its choice."""
    return int.from_bytes(_hash(b"deaf", user_id.encode(), record_id, size=8), "big")


def delivery_id(user_id: str, *, record_id: bytes) -> str:
    """Names what is said unasked after a record, or taken back."""
    return _hash(b"delivery", user_id.encode(), record_id, size=16).hex()


def interruption_key(user_id: str, record_id: bytes) -> int:
    """Return the 128-bit key of the generator from which it is drawn whether a tip is said unasked, apart from its choice."""
    return int.from_bytes(_hash(b"interrupt", user_id.encode(), record_id, size=16), "big")


def draw_key(user_id: str, *, record_id: bytes) -> int:
    """Return the 128-bit key of the counter-based generator that a decision draws from."""
    return int.from_bytes(_hash(b"draw", user_id.encode(), record_id, size=16), "big")


def _mac(whose: bytes, name: bytes, *, mac_key: bytes) -> bytes:
    mac = _keyed(mac_key).copy()
    mac.update(whose + _framed(name))
    return mac.digest()[:_HALF]


@lru_cache(maxsize=8)
def _keyed(mac_key: bytes) -> hmac.HMAC:
    """Return a MAC that has taken the key in: a copy of it costs half of what a new one does."""
    return hmac.new(mac_key, digestmod="sha256")


def _hash(*parts: bytes, size: int) -> bytes:
    framed = b""
    for part in parts:
        framed += _LENGTH(len(part)) + part
    return hashlib.blake2b(framed, digest_size=size).digest()


def _framed(part: bytes) -> bytes:
    # Its length in front, so that ("ab", "c") and ("a", "bc") differ.
    return _LENGTH(len(part)) + part


_LENGTH = struct.Struct(">I").pack
_DECISION = _framed(b"decision")
