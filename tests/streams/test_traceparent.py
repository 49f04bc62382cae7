from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.traceparent import Span, said_in, sampled

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def header(*, version: str = "00", trace: str = TRACE, span: str = SPAN, flags: str = "01", rest: str = "") -> bytes:
    return f"{version}-{trace}-{span}-{flags}{rest}".encode()


@pytest.mark.parametrize("flags", ["01", "03", "ff", "81"])
def test_the_sampled_bit_counts_whatever_else_is_set(flags: str) -> None:
    assert sampled(header(flags=flags)) == Span(int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize("flags", ["00", "02", "fe"])
def test_without_it_nothing_is_sampled(flags: str) -> None:
    assert sampled(header(flags=flags)) is None


def test_a_version_to_come_may_say_more() -> None:
    assert sampled(header(version="cc", rest="-what-the-future-holds")) is not None
    assert sampled(header(version="cc")) is not None


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"",
        b"-",
        header()[:-1],
        header(rest="-"),
        header(rest="0"),
        header(rest="\n"),
        header(version="ff"),
        header(version="cc", rest=".more"),
        header(trace="0" * 32),
        header(span="0" * 16),
        header(trace=TRACE.upper()),
        header(flags="1"),
        header(flags="x1"),
        header().replace(b"-", b"_"),
        "٠٠-".encode() + header()[3:],
        b"\xff" * 55,
    ],
)
def test_what_is_no_such_header_names_no_trace(said: bytes | None) -> None:
    assert sampled(said) is None


@given(st.binary(max_size=80))
def test_no_bytes_are_a_fault(said: bytes) -> None:
    found = sampled(said)
    assert found is None or sampled(found.text.encode()) == found


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1))
def test_what_a_span_says_of_itself_is_read_back(trace_id: int, span_id: int) -> None:
    assert sampled(Span(trace_id, span_id).text.encode()) == Span(trace_id, span_id)


def test_the_hop_before_counts_more_than_where_an_event_came_from() -> None:
    assert said_in([("ce_traceparent", b"a"), ("traceparent", b"b")]) == b"b"
    assert said_in([("ce_traceparent", b"a")]) == b"a"
    assert said_in([("ce_id", b"7"), ("traceparent", None)]) is None
    assert said_in([("traceparent", b"a"), ("traceparent", b"a")]) is None
