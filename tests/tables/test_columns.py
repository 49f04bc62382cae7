"""Blocks of columns give back the numbers that went in, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables import columns
from tables.columns import ENTRIES_MAX, packed, unpacked
from tables.linear import Ints

LEAST, MOST = -(1 << 63), (1 << 63) - 1
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 63, 64, -64, -65, 1 << 28, (1 << 28) - 1, 1 << 56, 1 << 62, -(1 << 62), LEAST, MOST]),
    st.integers(-200, 200),
    # Times a little apart, and hashes.
    st.integers(1_790_000_000_000, 1_790_000_100_000),
    st.integers(LEAST, MOST),
)


@st.composite
def blocks(draw: st.DrawFn) -> Ints:
    width, n = draw(st.integers(1, 6)), draw(st.integers(0, 20))
    column = st.one_of(
        st.lists(NUMBERS, min_size=n, max_size=n),
        # The same throughout, and in runs.
        NUMBERS.map(lambda one: [one] * n),
        st.lists(st.sampled_from([0, 5, MOST]), min_size=n, max_size=n).map(sorted),
    )
    return np.array([draw(column) for _ in range(width)], dtype=np.int64).reshape(width, n)


@settings(deadline=None)
@given(blocks())
def test_a_block_gives_back_its_columns(made: Ints) -> None:
    block = packed(made)
    for width in (None, made.shape[0]):
        found = unpacked(block, width=width)
        assert found.dtype == np.int64
        assert found.shape == made.shape
        assert found.tolist() == made.tolist()


@settings(deadline=None)
@given(blocks())
def test_the_same_numbers_give_the_same_bytes_wherever_they_stand(made: Ints) -> None:
    among_others = np.full((made.shape[0] + 2, made.shape[1]), 7, dtype=np.int64)
    among_others[1:-1] = made
    assert packed(np.ascontiguousarray(among_others[1:-1])) == packed(made) == packed(unpacked(packed(made)))


@settings(deadline=None)
@given(blocks())
def test_no_column_takes_more_than_as_varints_or_as_it_stands(made: Ints) -> None:
    for column in made.tolist():
        varints = sum(max(1, -(-((one << 1) ^ (one >> 63)).bit_length() // 7)) for one in column)
        # Two varints for its shape, and a byte for its form.
        assert len(packed(np.array([column], dtype=np.int64))) <= 3 + min(varints, 8 * len(column))


@pytest.mark.parametrize("extreme", [0, -1, 1 << 62, LEAST, MOST])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_extremes_are_whole_in_every_form(extreme: int, n: int) -> None:
    for others in ([extreme] * n, [*range(n)], [LEAST, MOST] * n, [7, extreme] * n):
        made = np.array([[*others, extreme, *others]], dtype=np.int64)
        assert unpacked(packed(made), width=1).tolist() == made.tolist()


def test_every_form_is_chosen_where_it_is_shortest() -> None:
    made = {
        0: [1, 60, -3, 44, -60, 7, 9, -44],
        1: [1_790_000_000_000 + i for i in range(8)],
        2: [0] * 8,
        3: [hash((i, "x")) | 1 << 62 if i % 2 else LEAST + i * 0x1234567891 for i in range(8)],
    }
    for form, column in made.items():
        assert packed(np.array([column], dtype=np.int64))[2] == form


def test_no_bytes_are_columns_without_entries() -> None:
    assert unpacked(b"", width=3).shape == (3, 0)
    assert unpacked(packed(np.zeros((3, 0), dtype=np.int64)), width=3).shape == (3, 0)


@settings(deadline=None)
@given(blocks(), st.data())
def test_a_block_that_was_cut_or_went_on_is_none(made: Ints, data: st.DataObject) -> None:
    block = packed(made)
    cut = data.draw(st.integers(1, len(block) - 1))
    for torn in (block[:cut], block + b"\0", block + block):
        with pytest.raises(ValueError, match="not a block"):
            unpacked(torn, width=made.shape[0])


@settings(deadline=None)
@given(blocks(), st.integers(-2, 2).filter(bool))
def test_a_block_of_another_width_is_none(made: Ints, more: int) -> None:
    if made.shape[0] + more >= 0:
        with pytest.raises(ValueError, match="not a block"):
            unpacked(packed(made), width=made.shape[0] + more)


@settings(deadline=None, max_examples=300)
@given(blocks(), st.data())
def test_a_block_that_was_changed_is_none_or_other_columns(made: Ints, data: st.DataObject) -> None:
    block = bytearray(packed(made))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    read_as_often(bytes(block))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_are_none_or_columns(block: bytes) -> None:
    read_as_often(block)


def read_as_often(block: bytes) -> None:
    """The same whatever lies behind it in memory: nothing beyond its end is read."""
    said = []
    for behind in (b"", b"\0" * 64, b"\x80" * 64, b"\xff" * 64):
        # A slice of bytes is a copy: what follows differs each time.
        one = (block + behind)[: len(block)]
        try:
            found = unpacked(one)
        except ValueError:
            said.append(None)
            continue
        assert found.shape[0] * found.shape[1] <= ENTRIES_MAX
        said.append(found.tolist())
        assert not block or unpacked(packed(found)).tolist() == found.tolist()
    assert all(one == said[0] for one in said)


def varint(value: int) -> bytes:
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


@pytest.mark.parametrize(
    ("width", "n"),
    [(1, ENTRIES_MAX + 1), (ENTRIES_MAX + 1, 1), (ENTRIES_MAX + 1, 0), (1 << 32, 1 << 32), (1, 1 << 63), (1 << 63, 1), (1, (1 << 64) - 1),
     (0, 1), (0, 0)],
)  # fmt: skip
def test_more_than_anybody_has_is_none_before_room_is_made_for_it(width: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a block"):
        unpacked(varint(width) + varint(n) + bytes([2]) + varint(n) + b"\0")


@pytest.mark.parametrize(
    "block",
    [b"\x80", b"\x80" * 11, b"\x01", b"\x01\x01", b"\x01\x01\x04\x00", b"\x01\x01\xff\x00", b"\x01\x02\x02\x03\x00", b"\x01\x02\x02\x00\x00",
     b"\x01\x02\x02\x01\x00", b"\x01\x01\x03" + bytes(7), b"\x01\x01\x00" + b"\xff" * 11],
)  # fmt: skip
def test_what_says_otherwise_than_it_holds_is_none(block: bytes) -> None:
    with pytest.raises(ValueError, match="not a block"):
        unpacked(block)


def test_the_most_entries_are_written_and_read() -> None:
    made = np.arange(ENTRIES_MAX, dtype=np.int64).reshape(4, -1)
    assert (unpacked(packed(made), width=4) == made).all()


@given(st.integers(0, (1 << 64) - 1))
def test_an_unsigned_number_stands_as_a_signed_one(key: int) -> None:
    assert LEAST <= columns.signed(key) <= MOST
    assert columns.signed(key) % (1 << 64) == key
