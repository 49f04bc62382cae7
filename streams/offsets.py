"""Which offsets may be committed: pure book-keeping, it never talks to Kafka."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from faust.types import TP


@dataclass(slots=True)
class _Span:
    first: int
    last: int
    next: int
    finished: bool = False


@dataclass(slots=True)
class Ledger:
    """Batches in flight, per partition in the order of delivery.

    An offset may be committed when every batch delivered before it has finished; a hole in the log between or
    inside batches changes nothing, since batches are counted and not offsets.

    >>> ledger, tp = Ledger(), TP("t", 0)
    >>> ledger.delivered(tp, first=5, last=9); ledger.delivered(tp, first=40, last=41)
    >>> ledger.finished(tp, last=41); ledger.committable()
    {}
    >>> ledger.finished(tp, last=9); ledger.committable()
    {TP(topic='t', partition=0): 42}
    """

    _in_flight: dict[TP, deque[_Span]] = field(default_factory=dict)
    _handled: dict[TP, int] = field(default_factory=dict)
    _committed: dict[TP, int] = field(default_factory=dict)

    def delivered(self, tp: TP, *, first: int, last: int) -> None:
        """A batch starts its way to its handler."""
        spans = self._in_flight.setdefault(tp, deque())
        assert last >= first, (tp, first, last)
        assert not spans or first >= spans[-1].next, (tp, first, spans[-1])
        spans.append(_Span(first, last, last + 1))

    def finished(self, tp: TP, *, last: int) -> None:
        """The handler of the batch that ends at `last` returned; unknown if the partition was revoked meanwhile."""
        spans = self._in_flight.get(tp, deque())
        for span in spans:
            if span.last == last:
                span.finished = True
                break
        while spans and spans[0].finished:
            self._handled[tp] = spans.popleft().next

    def passed(self, tp: TP, *, upto: int) -> None:
        """Between what was delivered and here stands nothing for a handler: marks of transactions, aborted records.

        Else a group that has handled everything looks for ever as if something waited.
        """
        spans = self._in_flight.get(tp)
        if spans:
            spans[-1].next = upto
        else:
            self._handled[tp] = upto

    def committable(self) -> dict[TP, int]:
        """Offset to commit for each partition that has moved since its last commit."""
        return {tp: offset for tp, offset in self._handled.items() if self._committed.get(tp) != offset}

    def committed(self, offsets: dict[TP, int]) -> None:
        """Record these offsets as committed."""
        self._committed.update(offsets)

    def forget(self) -> None:
        """The assignment ended: whatever was in flight will be fetched again by its next owner."""
        self._in_flight.clear()
        self._handled.clear()
        self._committed.clear()

    def in_flight_from(self, tp: TP) -> int | None:
        """First offset of the oldest batch not finished; None when all are."""
        spans = self._in_flight.get(tp)
        return spans[0].first if spans else None

    def handled(self, tp: TP) -> int | None:
        """Offset after the last handled record."""
        return self._handled.get(tp)
