"""Somebody who was moved to another journal under a pseudonym: everything of theirs is there, and what comes afterwards counts as it did."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict

from agents.step import NOTHING, Entry, Outputs, step
from deploy.moving import Names, renamed
from oo.v1 import decision_pb2, journal_pb2, row_pb2
from tables import ids
from tables.pseudonyms import Pseudonyms
from tables.row import spelled_out
from tests.agents.build import (
    MAC_KEY,
    PRIOR,
    REACTIONS_ID,
    SIGNALS_ID,
    Person,
    entry,
    erasure,
    grant,
    profile,
    reaction,
    task,
    withdrawn,
)

SECRET = Names(Pseudonyms(b"secret of pseudonyms: 32 bytes. "), MAC_KEY)
SAME = Names(Pseudonyms(b""), MAC_KEY)
"""New ids under the same name: its draws are the same, so that what follows can be compared."""
NEW_JOURNAL = b"N" * 16


def told() -> Person:
    """Somebody with tasks, a zone, a withdrawal, and feedback on a tip."""
    ada = Person()
    ada.take(task("1", title="Call the dentist", priority=1))
    ada.take(task("2", title="Water the plants"))
    ada.take(profile("Europe/Berlin"))
    ada.take(withdrawn("calendar", word="w"))
    ada.react("DONE")
    return ada


def moved(ada: Person, names: Names, *, offset: int = 1) -> tuple[row_pb2.UserRow, Outputs]:
    assert ada.row is not None
    said = journal_pb2.Moved(row=renamed(ada.row, names).SerializeToString())
    tip = next((one.tip for _, one in reversed(ada.log) if one.tip is not None), None)
    if tip is not None:
        said.tip = tip.SerializeToString()
    record = journal_pb2.JournalRecord(record_id=bytes(16), moved=said)
    whose = names.pseudonyms.of(ada.user)
    row, outputs = step(None, Entry(whose, NEW_JOURNAL, 3, offset, ada.time_ms, record), PRIOR)
    assert row is not None
    return row, outputs


def shown(row: row_pb2.UserRow | None) -> Any:
    """All of a row but where it stands, and which decisions have which ids."""
    assert row is not None

    def without(one: Any) -> Any:
        if isinstance(one, list):
            return [without(each) for each in one]
        new = {"topic_id", "journal_offset", "decision_id", "user_id"}
        return {name: without(each) for name, each in one.items() if name not in new} if isinstance(one, dict) else one

    return without(MessageToDict(spelled_out(row), preserving_proto_field_name=True))


def test_the_row_is_the_same_at_its_new_place_and_the_tip_that_stood_stands() -> None:
    ada = told()
    row, outputs = moved(ada, SECRET)
    whose = SECRET.pseudonyms.of("ada")
    assert shown(row) == shown(ada.row)
    assert (row.user_id, row.topic_id, row.journal_offset) == (whose, NEW_JOURNAL, 1)
    assert outputs.decision is None and outputs.outcomes == () and outputs.erased is None
    assert outputs.tip is not None and outputs.tip.user_id == whose
    assert outputs.tip.journal == journal_pb2.Position(topic_id=NEW_JOURNAL, partition=3, offset=1)
    assert b"ada" not in row.SerializeToString()
    for one in spelled_out(row).pending:
        assert ids.belongs(ids.spelled(one.decision_id), user_id=whose, mac_key=MAC_KEY)


def test_what_comes_afterwards_counts_as_if_nothing_had_been() -> None:
    ada = told()
    row, _ = moved(ada, SAME)
    bob = Person(row=row, offset=ada.offset, time_ms=ada.time_ms)
    for person in (ada, bob):
        assert person.row is not None
        shown_id = spelled_out(person.row).pending[-1].decision_id
        person.take(reaction(ids.spelled(shown_id), "DONE"))
        person.take(task("3", title="Buy milk", priority=1))
        person.take(profile("Asia/Tokyo"))
    assert shown(bob.row) == shown(ada.row)
    kinds = [[one.kind for _, outputs in person.log[-3:] for one in outputs.outcomes] for person in (ada, bob)]
    assert kinds[0] == kinds[1] != []


def test_who_left_is_gone_in_the_new_journal_and_only_they_begin_again() -> None:
    ada = told()
    ada.take(erasure("receipt", ends={SIGNALS_ID: 50, REACTIONS_ID: 50}))
    row, outputs = moved(ada, SECRET, offset=7)
    assert outputs.erased is not None and outputs.tip is not None
    assert (outputs.erased.user_id, outputs.erased.receipt) == (row.user_id, "receipt")
    assert (outputs.erased.journal.topic_id, outputs.erased.journal.offset) == (NEW_JOURNAL, 7)
    assert outputs.tip.kind == decision_pb2.Decision.NONE
    somewhere = {"time_ms": ada.time_ms, "topic_id": NEW_JOURNAL, "user": row.user_id}
    assert step(row, entry(task("9"), offset=8, source_offset=60, **somewhere), PRIOR) == (row, NOTHING)  # type: ignore[arg-type]
    assert step(row, entry(task("9"), offset=9, source_offset=20, **somewhere), PRIOR) == (row, NOTHING)  # type: ignore[arg-type]
    back, said = step(row, entry(grant("g", knows_of="receipt"), offset=10, **somewhere), PRIOR)  # type: ignore[arg-type]
    assert back is not None and back.left.began_again
    assert said.erased is not None and said.erased.HasField("began_again")


def test_who_has_a_row_is_not_moved_once_more() -> None:
    ada = told()
    row, _ = moved(ada, SECRET)
    record = journal_pb2.JournalRecord(moved=journal_pb2.Moved(row=row.SerializeToString()))
    assert step(row, Entry(row.user_id, NEW_JOURNAL, 3, 2, ada.time_ms, record), PRIOR) == (row, NOTHING)
