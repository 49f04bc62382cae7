"""A record on which `step` itself fails: it changes nothing, says where, and stops nobody behind it."""

from __future__ import annotations

from agents.fold import PartitionState
from agents.step import Entry
from oo.v1 import journal_pb2, reaction_pb2, signal_pb2
from tests.agents.build import PRIOR


def entry(offset: int, record: journal_pb2.JournalRecord) -> Entry:
    record.record_id = offset.to_bytes(16, "big")
    record.event_time_ms = 1_790_000_000_000
    return Entry(
        user_id="ada", topic_id=bytes(16), partition=0, offset=offset, time_ms=1_790_000_000_000 + offset, record=record
    )


def task(external_id: str, title: str) -> journal_pb2.JournalRecord:
    upsert = signal_pb2.TaskUpserted(external_id=external_id, title=title)
    return journal_pb2.JournalRecord(signal=signal_pb2.Signal(user_id="ada", source="test", task_upserted=upsert))


def reaction_of_no_kind() -> journal_pb2.JournalRecord:
    """The door lets none in; a hand that writes to the journal itself may."""
    return journal_pb2.JournalRecord(reaction=reaction_pb2.Reaction(user_id="ada", decision_id="x"))


def test_a_failing_record_changes_nothing_and_names_the_place_but_no_text() -> None:
    partition = PartitionState(partition=0, versions={"": PRIOR})
    partition.apply(entry(1, task("1", "My secret")))
    before = partition.row("ada")

    outputs = partition.apply(entry(2, reaction_of_no_kind()))

    assert "KeyError" in outputs.fault
    assert "reactions.py" in outputs.fault
    assert "secret" not in outputs.fault
    assert partition.row("ada") == before


def test_the_record_behind_a_failing_one_is_folded() -> None:
    partition = PartitionState(partition=0, versions={"": PRIOR})
    partition.apply(entry(1, reaction_of_no_kind()))

    outputs = partition.apply(entry(2, task("1", "Call the dentist")))

    assert outputs.tip is not None
    assert outputs.tip.title == "Call the dentist"
