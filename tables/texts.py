"""What a decision needs of texts, as numbers: which words a title has, and which buckets labels fall into.

It never asks a model, and knows no language.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable
from functools import lru_cache

LABEL_BUCKETS = 4
WRITER_BUCKETS = 4
"""Of prompts, and of models: two fall into one with the probability of one in so many."""

_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


def words(title: str) -> frozenset[str]:
    """The words of a title, whatever their order, case and punctuation; none where it is all punctuation.

    >>> sorted(words("Call Mum! (call)"))
    ['call', 'mum']
    """
    return frozenset(title.translate(_SPACES).casefold().split())


@lru_cache(maxsize=4096)
def title_key(title: str) -> int:
    """A signed 64-bit hash of a title's words, by which titles that say the same are known; 0 for no words.

    >>> title_key("Call Mum!") == title_key("mum: call"), title_key("Call Mum") == title_key("Call Dad"), title_key("!")
    (True, False, 0)
    """
    said = words(title)
    if not said:
        return 0
    digest = hashlib.blake2b(" ".join(sorted(said)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def alike(one: frozenset[str], other: frozenset[str], *, permille: int) -> bool:
    """Whether two sets of words share so much of all their words (Jaccard 1901), in units of 1/1000.

    >>> alike(words("buy oat milk"), words("Buy milk"), permille=600)
    True
    """
    shared = len(one & other)
    return shared > 0 and shared * 1000 >= permille * (len(one) + len(other) - shared)


@lru_cache(maxsize=4096)
def bucket(text: str, buckets: int) -> int:
    """One of so many buckets by the hash of a text: Weinberger et al. 2009, "Feature hashing for large scale multitask learning"."""
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % buckets


def label_bits(labels: Iterable[str]) -> int:
    """The buckets of these labels, a bit each.

    >>> bin(label_bits(["home"])).count("1"), label_bits([])
    (1, 0)
    """
    bits = 0
    for label in labels:
        bits |= 1 << bucket(label, LABEL_BUCKETS)
    return bits
