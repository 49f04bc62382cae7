"""Somebody leaves: a stub, an empty tip, and nothing of before, however much of the journal is folded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.fold import PartitionState, taught
from agents.step import NOTHING, Entry, Outputs, step
from oo.v1 import decision_pb2, row_pb2
from tables.leavers import Leavers
from tables.totals import Totals
from tests.agents.build import (
    JOURNAL_ID,
    MONDAY_MS,
    PRIOR,
    REACTIONS_ID,
    REQUESTS_ID,
    SIGNALS_ID,
    Payload,
    Person,
    activity,
    candidates,
    completed,
    entry,
    erasure,
    grant,
    profile,
    reaction,
    task,
    tick,
)

RECEIPT = "receipt-of-leaving"
HOUR_MS = 3_600_000


def gone() -> Person:
    """Somebody with tasks and reactions, who left."""
    ada = Person()
    ada.take(task("1", title="Call the dentist"))
    ada.take(profile("Europe/Berlin"))
    ada.react("DONE")
    ada.take(erasure(RECEIPT, ends={SIGNALS_ID: 50, REACTIONS_ID: 50}))
    return ada


def test_an_erasure_leaves_a_stub_that_says_nothing_of_the_row_before_it_and_an_empty_tip() -> None:
    ada, nobody = gone(), Person(offset=3, time_ms=MONDAY_MS + 3000)
    outputs = ada.log[-1][1]
    nobody.take(erasure(RECEIPT, ends={SIGNALS_ID: 50, REACTIONS_ID: 50}))
    assert ada.row is not None and nobody.row is not None
    assert ada.row.SerializeToString(deterministic=True) == nobody.row.SerializeToString(deterministic=True)
    assert nobody.log[-1][1] == outputs
    assert ada.row.journal_offset == 4 and ada.row.next_wake_ms == 0 and not ada.row.taught
    assert outputs.decision is None and outputs.tip is not None and outputs.erased is not None
    assert outputs.tip.journal.offset == outputs.erased.journal.offset == 4
    assert not outputs.tip.decision_id and outputs.tip.kind == decision_pb2.Decision.NONE
    assert (outputs.erased.user_id, outputs.erased.receipt) == ("ada", RECEIPT)
    assert not outputs.erased.HasField("began_again")


@pytest.mark.parametrize(
    "payload",
    [
        task("2"),
        activity(),
        candidates("idea", expires_ms=MONDAY_MS + HOUR_MS),
        tick(MONDAY_MS),
        profile("Europe/Paris"),
        grant("an-older-grant-0001"),
        grant("another-grant-00001", knows_of="receipt-of-another"),
        erasure(RECEIPT),
    ],
    ids=lambda one: type(one).__name__,
)
def test_nobody_but_the_person_makes_a_row_of_the_stub(payload: Payload) -> None:
    ada = gone()
    stub = ada.row
    assert ada.take(payload, source_offset=900, after_ms=1) == NOTHING
    assert ada.row is stub


def test_a_reaction_to_a_tip_of_before_makes_no_row() -> None:
    ada = Person()
    ada.take(task("1"))
    shown = ada.current
    ada.take(erasure(RECEIPT))
    assert ada.take(reaction(shown, "DONE")) == NOTHING


def test_a_grant_that_names_the_receipt_begins_a_new_life_without_anything_of_the_old_one() -> None:
    ada = gone()
    outputs = ada.take(grant("begin-again-000001", knows_of=RECEIPT), source_offset=70)
    assert outputs.erased is not None and outputs.erased.began_again.offset == 5
    assert outputs.erased.journal.offset == 4
    assert outputs.decision is not None, "a first tip, as for anybody new"
    assert not ada.now.tasks and ada.now.time_zone == "UTC" and len(ada.now.pending) == 1
    ada.take(task("2", title="Something new"), source_offset=80)
    assert [one.title for one in ada.now.tasks] == ["Something new"]


def test_what_was_written_before_the_request_and_is_admitted_in_the_new_life_is_passed_over() -> None:
    ada = gone()
    ada.take(grant("begin-again-000001", knows_of=RECEIPT), source_offset=70)
    row = ada.row
    assert ada.take(task("old"), source_offset=49) == NOTHING
    assert ada.row is row
    assert ada.take(task("new"), source_offset=50) != NOTHING


def test_the_same_erasure_counts_once_also_after_a_new_life_has_begun() -> None:
    ada = gone()
    ada.take(grant("begin-again-000001", knows_of=RECEIPT), source_offset=70)
    for n in range(300):  # its key leaves the row, which remembers 256
        ada.take(activity(), source_offset=100 + n, event_id=f"e{n}")
    row = ada.row
    assert ada.take(erasure(RECEIPT), source_offset=500) == NOTHING
    assert ada.row is row


def test_who_left_twice_has_the_stub_of_the_second_time() -> None:
    ada = gone()
    outputs = ada.take(erasure("receipt-of-the-second"), source_offset=90)
    assert outputs.erased is not None and outputs.erased.journal.offset == 5
    assert ada.take(grant("begin-again-000001", knows_of=RECEIPT), source_offset=91) == NOTHING


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_history_folded_whole_and_without_what_stands_below_the_erasure_is_the_same(seed: int) -> None:
    history = made_up(random.Random(seed))
    whole, said = folded(history, Leavers(JOURNAL_ID))
    leavers = Leavers(JOURNAL_ID)
    for _, outputs in said:
        if outputs.erased is not None:
            leavers.add(outputs.erased)
    word = leavers.word_of("ada")
    assert word is not None
    passed, again = folded(history, leavers)
    assert passed.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)
    assert again == [one for one in said if one[0] >= word.journal.offset]


def test_after_erasures_the_running_totals_equal_a_recount_to_the_bit_and_a_journal_without_them() -> None:
    epochs = {PRIOR.version.epoch: PRIOR.belief.epoch}
    lives = [lived(f"user-{n}") for n in range(24)]
    leave = {f"user-{n}" for n in range(0, 24, 3)}

    def state() -> PartitionState:
        return PartitionState(partition=0, versions={"": PRIOR}, totals=Totals(epochs=epochs))

    whole, without = state(), state()
    offset = 0
    for turn in range(max(map(len, lives))):
        for life in lives:
            if turn < len(life):
                offset += 1
                whole.apply(life[turn]._replace(offset=offset))
                if life[turn].user_id not in leave:
                    without.apply(life[turn]._replace(offset=offset))
        whole.acknowledge()
        without.acknowledge()
    assert whole.totals is not None and without.totals is not None
    assert len(whole.others) == len(lives)
    for user in sorted(leave):
        offset += 1
        whole.apply(entry(erasure(RECEIPT, user=user), offset=offset, time_ms=MONDAY_MS + 30 * HOUR_MS, user=user))
        if offset % 3:
            whole.acknowledge()
    whole.acknowledge()
    anew = Totals(epochs=epochs)
    for message in whole.rows.values():  # type: ignore[attr-defined]
        anew.replace(None, taught(row_pb2.UserRow.FromString(message)))
    assert whole.totals.users == len(lives) - len(leave)
    assert whole.totals.to_bytes() == anew.to_bytes() == without.totals.to_bytes()
    assert whole.others == {f"user-{n}" for n in range(24)} - leave


def lived(user: str) -> list[Entry]:
    """Records of somebody who teaches something."""
    somebody = Person(user=user)
    for n in range(3):
        somebody.take(task(str(n), user=user))
        somebody.react("SEEN")
        somebody.react(("DONE", "SNOOZE", "DISMISS")[(n + len(user)) % 3])
    return [one for one, _ in somebody.log]


def folded(history: list[Entry], leavers: Leavers) -> tuple[row_pb2.UserRow, list[tuple[int, Outputs]]]:
    """The row, and what was said at each offset."""
    row, said = None, []
    for one in history:
        if leavers.passes(one.user_id.encode(), one.offset):
            continue
        row, outputs = step(row, one, PRIOR)
        if outputs != NOTHING:
            said.append((one.offset, outputs))
    assert row is not None
    return row, said


def made_up(chance: random.Random) -> list[Entry]:
    """A history with at least one erasure in it, with copies and late records."""
    ada, history, receipts = Person(), [], list[str]()
    sources = {SIGNALS_ID: 0, REACTIONS_ID: 0, REQUESTS_ID: 0}
    n = chance.randrange(4, 40)
    leaves_at = chance.randrange(n)
    for at in range(n):
        kind = chance.choice(["task", "done", "react", "tick", "tips", "activity", "leave", "return", "copy", "late"])
        if at == leaves_at:
            kind = "leave"
        ada.time_ms += chance.choice([1, 1000, HOUR_MS, 24 * HOUR_MS])
        place = {"offset": at * 3, "time_ms": ada.time_ms}
        if kind in ("copy", "late") and history:
            old = chance.choice(history)
            one = old._replace(offset=at * 3, time_ms=ada.time_ms)
        else:
            payload, topic = made(kind, chance, ada, receipts, sources)
            sources[topic] += chance.randrange(1, 3)
            one = entry(payload, source_offset=sources[topic], **place)
        history.append(one)
        ada.take_entry(one)
    return history


def made(
    kind: str, chance: random.Random, ada: Person, receipts: list[str], sources: dict[bytes, int]
) -> tuple[Payload, bytes]:
    """A record of this kind, and the topic that it comes from."""
    row = ada.row
    if kind == "leave":
        receipts.append(f"receipt-number-{len(receipts):04}")
        return erasure(receipts[-1], ends={topic: end + 1 for topic, end in sources.items()}), REQUESTS_ID
    if kind == "return" and receipts:
        return grant(f"grant-{chance.random():.16f}".replace(".", "-"), knows_of=chance.choice(receipts)), REQUESTS_ID
    if kind == "react" and row is not None and row.pending_columns:
        return reaction(ada.current, chance.choice(["SEEN", "DONE", "SNOOZE", "DISMISS"])), REACTIONS_ID
    if kind == "tick" and row is not None:
        return tick(row.next_wake_ms), SIGNALS_ID
    if kind == "done":
        return completed(str(chance.randrange(5))), SIGNALS_ID
    if kind == "tips":
        return candidates("idea", expires_ms=ada.time_ms + HOUR_MS), SIGNALS_ID
    return (task(str(chance.randrange(5))) if kind == "task" else activity()), SIGNALS_ID
