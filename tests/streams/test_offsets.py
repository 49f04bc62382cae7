"""Which offsets may be committed, whatever order the handlers end in."""

from __future__ import annotations

from random import Random

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.offsets import Ledger

TP0, TP1 = TP("t", 0), TP("t", 1)

spans = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12).map(
    # (hole before, length - 1) -> [first, last] in order
    lambda pairs: [
        (first, first + pairs[at][1])
        for at, first in enumerate(
            sum(hole + length + 1 for hole, length in pairs[:index]) + pairs[index][0] for index in range(len(pairs))
        )
    ]
)


@given(spans, st.randoms(use_true_random=False))
def test_a_commit_never_passes_a_batch_in_flight_and_reaches_the_end_of_the_finished_ones(
    batches: list[tuple[int, int]], random: Random
) -> None:
    ledger = Ledger()
    for first, last in batches:
        ledger.delivered(TP0, first=first, last=last)
    unfinished = list(batches)
    for batch in random.sample(batches, len(batches)):
        unfinished.remove(batch)
        ledger.finished(TP0, last=batch[1])
        offset = ledger.committable().get(TP0)
        before = [done for done in batches if not unfinished or done < unfinished[0]]
        assert offset == (before[-1][1] + 1 if before else None)


def test_a_commit_is_due_once() -> None:
    ledger = Ledger()
    ledger.delivered(TP0, first=0, last=4)
    ledger.finished(TP0, last=4)
    ledger.committed(ledger.committable())
    assert ledger.committable() == {}
    assert ledger.handled(TP0) == 5


def test_what_ends_after_its_partition_was_revoked_is_not_committed() -> None:
    ledger = Ledger()
    ledger.delivered(TP0, first=0, last=4)
    ledger.forget()
    ledger.finished(TP0, last=4)
    assert ledger.committable() == {}


def test_partitions_do_not_wait_for_each_other() -> None:
    ledger = Ledger()
    ledger.delivered(TP0, first=0, last=0)
    ledger.delivered(TP1, first=7, last=9)
    ledger.finished(TP1, last=9)
    assert ledger.committable() == {TP1: 10}
    assert ledger.in_flight_from(TP0) == 0
    assert ledger.in_flight_from(TP1) is None


def test_what_no_handler_gets_is_passed_with_what_stands_before_it() -> None:
    ledger = Ledger()
    ledger.delivered(TP0, first=0, last=4)
    ledger.passed(TP0, upto=6)
    assert ledger.committable() == {}
    ledger.finished(TP0, last=4)
    assert ledger.committable() == {TP0: 6}
    ledger.passed(TP0, upto=9)
    assert ledger.committable() == {TP0: 9}
