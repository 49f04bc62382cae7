"""Which decisions shadows take: drawn by a hash of the decision's id, with a probability that its policy version's id names.

So it is fixed before a decision is made, logged with it, and the same for everybody who reads the log. Nothing is ever left out
for want of time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

PERMILLE_MIN = 100
"""Estimates divide by the probability, and what the gate needs grows with its inverse."""
_PART = re.compile(r"-s([0-9]{3})$")


def permille(probability: float) -> int:
    """Return it as a version has it: 0 for 1.

    >>> permille(0.1), permille(1.0)
    (100, 0)
    """
    return round(probability * 1000) % 1000


def suffix(permille: int) -> str:
    """What a version's id ends in, of which decisions are taken with this probability; 0 for all of them.

    >>> suffix(100), suffix(0)
    ('-s100', '')
    """
    assert permille == 0 or PERMILLE_MIN <= permille < 1000, permille
    return f"-s{permille}" if permille else ""


@lru_cache(maxsize=64)
def probability(version_id: str) -> float:
    """Return the probability with which decisions of this version are taken.

    >>> probability("mixed-7-1063f1866a2a59dc-s100"), probability("mixed-7-1063f1866a2a59dc")
    (0.1, 1.0)
    """
    found = _PART.search(version_id)
    return max(int(found[1]), PERMILLE_MIN) / 1000 if found else 1.0


def is_taken(decision_id: str, probability: float) -> bool:
    """Tell whether it is taken: what is with a small probability, is with every greater one.

    >>> is_taken("one", 1.0), sum(is_taken(str(n), 0.1) for n in range(1000))
    (True, 107)
    """
    if probability >= 1:
        return True
    name = blake2b(decision_id.encode(), digest_size=8, person=b"sample").digest()
    return int.from_bytes(name, "big") < probability * 2**64
