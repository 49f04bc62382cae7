"""One order for records of several partitions, whatever way they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.in_order import SLACK_MS, InOrder, Place
from streams.record import Record

RANKS = {"first": 0, "second": 1}
PLACES: list[Place] = [(topic, number) for topic in RANKS for number in range(2)]
FAR_MS = 10**9

lines = st.fixed_dictionaries({place: st.lists(st.integers(1, 6), max_size=8) for place in PLACES})


def records(times: dict[Place, list[int]]) -> dict[Place, list[Record]]:
    return {
        place: [Record(*place, offset, time, None, b"") for offset, time in enumerate(some)]
        for place, some in times.items()
    }


def everything(order: InOrder) -> list[Record]:
    found = []
    while (one := order.take()) is not None:
        found.append(one)
    return found


def at_once(log: dict[Place, list[Record]]) -> list[Record]:
    order = InOrder(RANKS, dict.fromkeys(PLACES, 0))
    for some in log.values():
        order.put(some)
    order.seen({place: len(log.get(place, ())) for place in PLACES}, at_ms=FAR_MS)
    return everything(order)


@given(lines, st.data())
def test_the_order_is_the_same_however_they_arrive_and_wherever_it_was_stopped(times, data) -> None:
    log = records(times)
    whole = at_once(log)
    assert len(whole) == sum(len(some) for some in log.values())
    left, found = {place: list(some) for place, some in log.items()}, []
    order = InOrder(RANKS, dict.fromkeys(PLACES, 0))
    while any(left.values()):
        place = data.draw(st.sampled_from([place for place, some in left.items() if some]))
        many = data.draw(st.integers(1, len(left[place])))
        order.put(left[place][:many])
        del left[place][:many]
        found += everything(order)
        if data.draw(st.booleans()):
            # A kill: what waits is read again from where it was taken.
            state = order.state()
            order = InOrder(RANKS, dict.fromkeys(PLACES, 0))
            order.restore(state)
            left = {at: log[at][start:] for at, start, _ in state}
    order.seen({place: len(some) for place, some in log.items()}, at_ms=FAR_MS)
    found += everything(order)
    assert found == whole
    assert order.late == 0


def test_within_a_partition_offsets_are_kept_whatever_their_times_say() -> None:
    assert [one.offset for one in at_once(records({("first", 0): [5, 2, 9, 1]}))] == [0, 1, 2, 3]


def test_nobody_is_waited_for_that_was_seen_at_its_end_and_everybody_else_is() -> None:
    order = InOrder(RANKS, {("first", 0): 0, ("second", 0): 0})
    order.put([Record("second", 0, 0, 100, None, b"")])
    assert order.take() is None
    order.seen({("first", 0): 0}, at_ms=100 + SLACK_MS)
    assert order.take() is None, "something of the same moment may come"
    order.seen({("first", 0): 1}, at_ms=200 + SLACK_MS)
    assert order.take() is None, "there is more of it than has come"
    order.reach(("first", 0), 1)
    order.seen({("first", 0): 1}, at_ms=200 + SLACK_MS)
    assert order.take() is not None


def test_what_comes_too_late_comes_next_and_is_counted() -> None:
    order = InOrder(RANKS, {("first", 0): 0, ("second", 0): 0})
    order.put([Record("second", 0, 0, 100, None, b"")])
    order.seen({("first", 0): 0}, at_ms=200 + SLACK_MS)
    assert order.take() is not None
    order.put([Record("first", 0, 0, 50, None, b"")])
    order.seen({("second", 0): 1}, at_ms=200 + SLACK_MS)
    late = order.take()
    assert late is not None
    assert (late.topic, order.late) == ("first", 1)


def test_it_says_how_far_it_is_behind() -> None:
    order = InOrder(RANKS, {("first", 0): 0, ("second", 0): 0})
    order.put([Record("first", 0, 0, 1, None, b""), Record("first", 0, 1, 1, None, b"")])
    assert order.behind({("first", 0): 2, ("second", 0): 3}) == {("first", 0): 2, ("second", 0): 3}
    order.reach(("second", 0), 3)
    assert order.behind({("first", 0): 2, ("second", 0): 3})["second", 0] == 0, "only holes"
