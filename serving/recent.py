"""What this process has just sent, so that a repeated request is answered without sending again.

It never outlives the process: across restarts and edges, ids that are the same make the repetition count once.
"""

from __future__ import annotations

from collections import OrderedDict


class Recent:
    """The last events that this process sent, and what its Idempotency-Keys stood for; bounded, in memory only."""

    def __init__(self, size_max: int = 10_000) -> None:
        self._size_max = size_max
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._claims: OrderedDict[str, str] = OrderedDict()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._sent

    def add(self, event_id: str) -> None:
        self._sent[event_id] = None
        if len(self._sent) > self._size_max:
            self._sent.popitem(last=False)

    def claim(self, key: str, fingerprint: str) -> bool:
        """
        >>> recent = Recent()
        >>> recent.claim("k", "a"), recent.claim("k", "a"), recent.claim("k", "b")
        (True, True, False)
        """
        known = self._claims.setdefault(key, fingerprint)
        if len(self._claims) > self._size_max:
            self._claims.popitem(last=False)
        return known == fingerprint
