"""What a dead letter keeps of a record."""

from __future__ import annotations

from streams.dead_letters import dead_letter
from streams.record import Record


def test_a_header_without_a_value_is_kept_as_an_empty_one() -> None:
    """Kafka lets one be written: it must not stop who refuses the record."""
    record = Record("oo.signals", 0, 7, 0, None, b"bad", (("nothing", None), ("something", b"1")))
    letter = dead_letter(record, topic_id=b"", reason="no-frame", detail="", refused_ms=0)
    assert [(header.key, header.value) for header in letter.original_headers] == [("nothing", b""), ("something", b"1")]
