"""Who is to be woken: each row's newest word, once, and again only when nothing came of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.timers import RETRY_MS, Timers


def test_a_row_is_due_at_its_time_and_not_before() -> None:
    timers = Timers()
    timers.set("ada", wake_ms=100)
    assert timers.due(now_ms=99, limit=9) == []
    assert timers.due(now_ms=100, limit=9) == [("ada", 100)]


def test_the_newest_word_counts() -> None:
    timers = Timers()
    for wake_ms in (100, 300, 200):
        timers.set("ada", wake_ms=wake_ms)
    assert timers.due(now_ms=1000, limit=9) == [("ada", 200)]


def test_a_time_said_again_after_another_is_due_once() -> None:
    timers = Timers()
    for wake_ms in (100, 200, 100):
        timers.set("ada", wake_ms=wake_ms)
    assert timers.due(now_ms=150, limit=9) == [("ada", 100)]


def test_zero_means_never() -> None:
    timers = Timers()
    timers.set("ada", wake_ms=100)
    timers.set("ada", wake_ms=0)
    assert timers.due(now_ms=1000, limit=9) == []
    assert len(timers) == 0


def test_a_tick_that_nothing_came_of_is_due_again_after_five_seconds() -> None:
    timers = Timers()
    timers.set("ada", wake_ms=100)
    assert timers.due(now_ms=100, limit=9) == [("ada", 100)]
    assert timers.due(now_ms=100 + RETRY_MS - 1, limit=9) == []
    assert timers.due(now_ms=100 + RETRY_MS, limit=9) == [("ada", 100)]


def test_a_tick_that_was_folded_is_not_due_again() -> None:
    timers = Timers()
    timers.set("ada", wake_ms=100)
    timers.due(now_ms=100, limit=9)
    timers.set("ada", wake_ms=10**9)
    assert timers.due(now_ms=100 + 10 * RETRY_MS, limit=9) == []


def test_past_the_limit_the_others_come_next_time() -> None:
    timers = Timers()
    for n in range(5):
        timers.set(f"u{n}", wake_ms=n + 1)
    assert [user for user, _ in timers.due(now_ms=10, limit=3)] == ["u0", "u1", "u2"]
    assert [user for user, _ in timers.due(now_ms=10, limit=3)] == ["u3", "u4"]


def test_a_row_that_changes_its_mind_often_takes_no_more_room() -> None:
    timers = Timers()
    for n in range(10_000):
        timers.set("ada", wake_ms=10**9 + n)
    assert len(timers._heap) < 200


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=40))
def test_whatever_is_said_what_is_due_is_each_users_last_word(said: list[tuple[str, int]]) -> None:
    timers = Timers()
    for user, wake_ms in said:
        timers.set(user, wake_ms=wake_ms)
    last = dict(said)
    assert sorted(timers.due(now_ms=100, limit=99)) == sorted((u, w) for u, w in last.items() if w)


def test_a_wake_beyond_the_time_ahead_is_not_kept() -> None:
    timers = Timers()
    timers.until_ms = 1_000
    timers.set("ada", wake_ms=1_000)
    timers.set("bob", wake_ms=1_001)
    assert len(timers) == 1
    timers.set("ada", wake_ms=5_000)
    assert (len(timers), timers.due(now_ms=9_999, limit=9)) == (0, [])
