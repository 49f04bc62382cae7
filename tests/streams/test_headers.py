"""Records with headers that Kafka takes and aiokafka does not."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from streams.headers import Records


class Name(str):
    """A header's name as a client in C may write it."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff" + super().encode(encoding, errors)


def batch(*names: str, compression: int = 0) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(
        2, compression, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 20
    )
    for offset, name in enumerate(names):
        builder.append(offset, 0, b"key", b"%d" % offset, [("plain", b"1"), (name, None)])
    return bytes(builder.build())


def read(records: Records | MemoryRecords) -> list[tuple[bytes, list[tuple[str, bytes | None]]]]:
    found = []
    while records.has_next():
        one = records.next_batch()
        assert one.validate_crc() and not one.is_control_batch
        found += [(record.value, record.headers) for record in one]
    return found


@pytest.mark.parametrize("compression", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_name_that_is_not_utf8_is_spelt_out_and_stops_nobody(compression: int) -> None:
    data = batch("a") + batch("b", Name("x"), "c", compression=compression) + batch("d")
    names = [headers[1][0] for _, headers in read(Records(data))]
    assert names == ["a", "b", "\\xffx", "c", "d"]


def test_all_else_is_as_aiokafka_reads_it() -> None:
    data = batch("a", "\u00e9", "b") + batch("c", compression=3)
    assert read(Records(data)) == read(MemoryRecords(data))
