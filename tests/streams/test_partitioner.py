"""Our hash against the one of a client that speaks to Kafka."""

from __future__ import annotations

from aiokafka.partitioner import murmur2 as theirs
from hypothesis import given
from hypothesis import strategies as st

from streams.partitioner import murmur2


@given(st.binary(max_size=64))
def test_a_key_is_hashed_as_another_client_hashes_it(key: bytes) -> None:
    assert murmur2(key) == theirs(key) & 0xFFFFFFFF
