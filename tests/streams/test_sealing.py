"""What is sealed, and what a seal refuses; the keys of people, and how they come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from sealed import give, keys_in, sealing_in

from oo.v1 import (
    dead_letter_pb2,
    decision_pb2,
    device_pb2,
    evaluation_pb2,
    journal_pb2,
    key_pb2,
    outcome_pb2,
    policy_pb2,
    row_pb2,
    signal_pb2,
)
from streams import sealing
from streams.cipher import KEY_BYTES
from streams.cluster import Cluster
from streams.frames import MESSAGES, Frames
from streams.keys import OTHERS_S, Keys, name_of, opened_by
from streams.reader import Tail
from streams.record import Record
from streams.sealing import OPEN, KeyMissing, NotOpened, open_row, opened, seal, seal_row
from tables.row import FENCE_BYTES

POSITION = journal_pb2.Position(topic_id=bytes(range(16)), partition=3, offset=77)
WORDS = "Call the dentist about the crown"
SAID: list[Message] = [
    journal_pb2.JournalRecord(
        record_id=bytes(16),
        source=POSITION,
        signal=signal_pb2.Signal(user_id="ada", task_upserted=signal_pb2.TaskUpserted(external_id="1", title=WORDS)),
    ),
    decision_pb2.Tip(user_id="ada", journal=POSITION, decision_id="d", title=WORDS, valid_until_ms=9, decided_ms=8),
    decision_pb2.Decision(user_id="ada", journal=POSITION, decision_id="d", title=WORDS, policy="mixed"),
    outcome_pb2.Outcome(user_id="ada", journal=POSITION, outcome_id="o", kind=outcome_pb2.Outcome.DONE),
    evaluation_pb2.ShadowDecision(decision_id="d", journal=POSITION, cost_us=9),
    dead_letter_pb2.DeadLetter(topic="oo.signals", reason="bad-json", original=WORDS.encode(), whose=b"ada"),
    policy_pb2.PartitionSums(totals=[policy_pb2.Total(n=77)], journal=POSITION, whose=b"ada"),
]
ROW = row_pb2.UserRow(journal_offset=77, next_wake_ms=5, topic_id=bytes(16), user_id="ada", task_texts=WORDS)
WHO = (b"ada", b"bob")
kinds = pytest.mark.parametrize("message", SAID, ids=lambda one: type(one).__name__)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return sealing_in(tmp_path / "kek", "ada", "bob").keys  # type: ignore[return-value]


def row_bytes(row: row_pb2.UserRow = ROW) -> bytes:
    return row.SerializeToString(deterministic=True)


@kinds
def test_what_was_sealed_is_opened_whole_and_shows_nothing_but_its_open_fields(keys: Keys, message: Any) -> None:
    found = seal(message, whose=b"ada", keys=keys)

    assert opened(found, whose=b"ada", keys=keys) == message
    assert {field.name for field, _ in found.ListFields()} <= {*OPEN[type(message)], "sealed"}
    for name in OPEN[type(message)]:
        assert getattr(found, name) == getattr(message, name)
    assert WORDS.encode() not in found.SerializeToString()
    assert found.SerializeToString() == seal(message, whose=b"ada", keys=keys).SerializeToString()


@kinds
def test_a_message_of_before_is_read_as_it_is(keys: Keys, message: Any) -> None:
    assert opened(message, whose=b"somebody new", keys=keys) is message


@kinds
def test_anothers_key_opens_nothing(keys: Keys, message: Any) -> None:
    found = seal(message, whose=b"ada", keys=keys)
    with pytest.raises(KeyMissing, match="not in the topic of keys"):
        opened(found, whose=b"bob", keys=keys)


@kinds
def test_a_flipped_byte_opens_nothing(keys: Keys, message: Any) -> None:
    found = seal(message, whose=b"ada", keys=keys)
    for at in (8, len(found.sealed) // 2, -1):
        altered = bytearray(found.sealed)
        altered[at] ^= 1
        other = type(message)(sealed=bytes(altered))
        with pytest.raises(NotOpened):
            opened(other, whose=b"ada", keys=keys)
    for length in (1, 8, 9, 23):
        with pytest.raises(NotOpened):
            opened(type(message)(sealed=found.sealed[:length].ljust(8, b"\0")), whose=b"ada", keys=KeysOfAny(keys))


class KeysOfAny:
    """Whatever is asked for is the same person's first key."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def sealing(self, whose: bytes) -> Any:
        return self._keys.sealing(whose)

    def opening(self, whose: bytes, key_id: bytes) -> Any:
        return self._keys.sealing(b"ada")[1]


def test_a_seal_is_tied_to_the_person_and_to_the_kind_of_message(keys: Keys) -> None:
    decision = seal(SAID[2], whose=b"ada", keys=keys)
    with pytest.raises(NotOpened):
        opened(decision, whose=b"bob", keys=KeysOfAny(keys))
    with pytest.raises(NotOpened):
        opened(outcome_pb2.Outcome(sealed=decision.sealed), whose=b"ada", keys=keys)  # type: ignore[attr-defined]


def test_a_row_keeps_its_front_open_and_is_tied_to_it(keys: Keys) -> None:
    row = row_bytes()
    found = seal_row(row, whose=b"ada", keys=keys)

    assert found[:FENCE_BYTES] == row[:FENCE_BYTES]
    assert open_row(found, whose=b"ada", keys=keys) == row
    assert open_row(row, whose=b"ada", keys=keys) is row
    read = row_pb2.UserRow.FromString(found)
    assert {field.name for field, _ in read.ListFields()} == {*OPEN[row_pb2.UserRow], "sealed"}
    assert WORDS.encode() not in found
    moved = found[:1] + b"\1" + found[2:]
    with pytest.raises(NotOpened):
        open_row(moved, whose=b"ada", keys=keys)


@given(text=st.text(max_size=300), offset=st.integers(0, 2**63 - 1), whose=st.binary(min_size=1, max_size=40))
def test_any_row_comes_back_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, text: str, offset: int, whose: bytes
) -> None:
    keys = KEPT.get("keys") or KEPT.setdefault("keys", keys_in(tmp_path_factory.mktemp("kek")))
    if keys.lacks(whose):
        give(keys, whose)
    row = row_bytes(
        row_pb2.UserRow(journal_offset=offset, next_wake_ms=0, topic_id=bytes(16), user_id="ada", task_texts=text)
    )
    assert open_row(seal_row(row, whose=whose, keys=keys), whose=whose, keys=keys) == row


KEPT: dict[str, Keys] = {}


def test_the_smallest_of_a_persons_keys_seals_and_any_opens(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    give(keys, b"ada", key_id=b"B" * 8)
    before = seal(SAID[1], whose=b"ada", keys=keys)
    give(keys, b"ada", key_id=b"A" * 8)
    after = seal(SAID[1], whose=b"ada", keys=keys)

    assert (before.sealed[:8], after.sealed[:8]) == (b"B" * 8, b"A" * 8)  # type: ignore[attr-defined]
    assert opened(before, whose=b"ada", keys=keys) == opened(after, whose=b"ada", keys=keys) == SAID[1]


def test_whose_key_is_forgotten_is_opened_no_more_and_a_later_word_on_it_counts_nothing(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    one = give(keys, b"ada")
    found = seal(SAID[1], whose=b"ada", keys=keys)

    assert keys.forget(b"ada") == [name_of(b"ada", one.id)]
    assert keys.lacks(b"ada")
    with pytest.raises(KeyMissing):
        opened(found, whose=b"ada", keys=keys)
    keys.put(b"ada", one)
    assert keys.held(b"ada") == []


def test_words_of_the_topic_are_taken_once_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    keys, frames = keys_in(tmp_path), Frames()
    one = give(keys_in(tmp_path), b"ada")
    value = frames.frame("keys", key_pb2.WrappedKey(kek_id=one.kek_id, wrapped=one.wrapped))
    name = name_of(b"ada", one.id)
    for offset, (key, said) in enumerate([(None, value), (b"short", value), (name, b"junk"), (name, value)]):
        keys.take(Record("oo.keys", 0, offset, 0, key, said))
    assert keys.held(b"ada") == [one]
    keys.take(Record("oo.keys", 0, 4, 0, name, None))
    keys.take(Record("oo.keys", 0, 3, 0, name, value))
    assert keys.lacks(b"ada")


def test_whoever_makes_all_keys_hears_of_them_unhurried_until_another_makes_one(tmp_path: Path) -> None:
    keys, frames, now_s = keys_in(tmp_path), Frames(), time.monotonic()
    own, others = give(keys_in(tmp_path), b"ada"), give(keys_in(tmp_path), b"bob")
    keys.made.add(name_of(b"ada", own.id))
    alone = []
    for offset, (whose, one) in enumerate([(b"ada", own), (b"bob", others)]):
        value = frames.frame("keys", key_pb2.WrappedKey(kek_id=one.kek_id, wrapped=one.wrapped))
        keys.take(Record("oo.keys", 0, offset, 0, name_of(whose, one.id), value))
        alone.append(keys.alone(now_s))
    assert alone == [True, False]
    assert (keys.held(b"ada"), keys.held(b"bob"), keys.made) == ([own], [others], set())
    assert keys.alone(time.monotonic() + OTHERS_S)


def test_a_key_on_its_way_is_heard_of_and_kafka_is_asked_for_one_that_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, asked = keys_in(tmp_path), list[str]()
    said = {
        whose: seal(decision_pb2.Decision(decision_id="d"), whose=whose, keys=holding(maker, whose)) for whose in WHO
    }
    (one,) = maker.held(WHO[0])
    word = Frames().frame("keys", key_pb2.WrappedKey(kek_id=one.kek_id, wrapped=one.wrapped))

    async def ends() -> dict[int, int]:
        asked.append("ends")
        return {}

    class Words(Tail):
        """Two, the second behind a rest that ends when somebody waits."""

        def __init__(self) -> None:
            super().__init__(Cluster("127.0.0.1:1"), "oo.keys")
            self.rested = False

        async def __aiter__(self) -> AsyncIterator[list[Record]]:
            self.caught_up.set()
            yield [Record("oo.keys", 0, 0, 0, None, word)]
            assert self.rested
            yield [Record("oo.keys", 0, 1, 0, name_of(WHO[0], one.id), word)]
            await asyncio.Event().wait()

        @asynccontextmanager
        async def at_rest(self) -> AsyncIterator[None]:
            yield
            self.rested = True

    async def listen() -> None:
        keys = Keys(maker.kek, ends=ends, read=maker._read)
        following = asyncio.create_task(keys.follow(Words()))
        await asyncio.sleep(0)
        assert (await opened_by(keys, said[WHO[0]], whose=WHO[0])).decision_id == "d"
        assert asked == []
        monkeypatch.setattr("streams.keys.HEARD_WITHIN_S", 0.01)
        for times in (1, 2):
            with pytest.raises(KeyMissing):
                await opened_by(keys, said[WHO[1]], whose=WHO[1])
            assert asked == ["ends"] * times
            # The second time it is known that it does not come.
            monkeypatch.setattr("streams.keys.HEARD_WITHIN_S", 10**9)
        following.cancel()

    monkeypatch.setattr("streams.keys.HEARD_WITHIN_S", 900.0)
    monkeypatch.setattr("streams.keys.HEARD_AGAIN_S", 10**9)
    asyncio.run(asyncio.wait_for(listen(), 60))


def holding(keys: Keys, whose: bytes) -> Keys:
    give(keys, whose)
    return keys


def test_keys_wrapped_together_come_out_one_by_one(tmp_path: Path) -> None:
    kek = keys_in(tmp_path).kek
    kek_id, (first, second) = kek.wrap_all([(b"1" * KEY_BYTES, [b"ada"]), (b"2" * KEY_BYTES, [b"bob"])])
    assert kek.unwrap(kek_id, first, [b"ada"]) == b"1" * KEY_BYTES
    assert kek.unwrap(kek_id, second, [b"bob"]) == b"2" * KEY_BYTES
    with pytest.raises(ValueError, match="did not wrap"):
        kek.unwrap(kek_id, second, [b"ada"])


def test_keys_made_ready_together_open_what_each_does_and_one_that_cannot_be_hinders_no_other(tmp_path: Path) -> None:
    keys, whole = keys_in(tmp_path), decision_pb2.Decision(decision_id="d")
    old = keys.kek.current()
    sealed = {}
    for whose in (b"gone", *WHO[:2]):
        if whose == WHO[0]:
            time.sleep(0.002)  # Keys are named by the millisecond in which they are made.
            keys.kek.make()  # type: ignore[attr-defined]
        give(keys, whose)
        sealed[whose] = seal(whole, whose=whose, keys=keys)
    keys.put(b"mixed up", keys.held(WHO[1])[0])
    keys.kek.destroy(old)  # type: ignore[attr-defined]
    keys._opened.clear()
    keys.make_ready([WHO[0], b"gone", b"mixed up", b"unknown", WHO[1], WHO[0]])
    assert keys._opened.keys() == {name_of(whose, keys.held(whose)[0].id) for whose in WHO[:2]}
    keys.kek.destroy(keys.kek.current())  # type: ignore[attr-defined]
    assert [opened(sealed[whose], whose=whose, keys=keys) for whose in WHO[:2]] == [whole, whole]
    with pytest.raises(KeyMissing, match="bring it back"):
        opened(sealed[b"gone"], whose=b"gone", keys=keys)


def test_a_key_encryption_key_that_is_gone_is_said_with_what_to_do(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    one = give(keys, b"ada")
    keys.kek.destroy(one.kek_id)  # type: ignore[attr-defined]
    assert keys.lacks(b"ada")
    with pytest.raises(KeyMissing, match="bring it back"):
        keys.opening(b"ada", one.id)


def test_opened_keys_are_bounded(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    keys._opened_max = 2
    for whose in (b"ada", b"bob", b"eve"):
        give(keys, whose)
        keys.sealing(whose)
    assert len(keys._opened) == 2
    assert keys.sealing(b"ada")[0] == keys.held(b"ada")[0].id


def test_keys_that_were_just_made_are_bounded_too_and_the_one_used_longest_ago_goes_first(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    keys._opened_max = 3
    give(keys, b"ada")
    key_id, cipher = keys.sealing(b"ada")
    for number in range(5):
        keys.opened(b"new%d" % number, key_id, cipher)
        assert keys.sealing(b"ada") == (key_id, cipher)
    assert [name.partition(b"\0")[0] for name in keys._opened] == [b"new3", b"new4", b"ada"]


IN_POSTGRESQL_ALONE = {device_pb2.Device}


def test_every_message_with_a_seal_is_in_the_table_and_every_open_field_is_one_of_it() -> None:
    with_seal = {kind for kinds in MESSAGES.values() for kind in kinds if "sealed" in kind.DESCRIPTOR.fields_by_name}
    assert with_seal | IN_POSTGRESQL_ALONE == set(OPEN)
    for kind, fields in OPEN.items():
        assert set(fields) <= set(kind.DESCRIPTOR.fields_by_name)
        assert "user_id" not in fields
        assert "title" not in fields
    front = row_pb2.UserRow.DESCRIPTOR.fields[:3]
    assert [one.name for one in front] == list(OPEN[row_pb2.UserRow])
    assert sealing._ROW_FRONT == FENCE_BYTES


ABOUT_NOBODY = {
    "SetAside", "PartitionRow", "PolicyVersion", "Estimate", "Promotion", "WrappedKey", "AuditEntry", "ModelBudget",
}  # fmt: skip
"""What stands on topics behind the door and holds no words of a single person."""
NAMES_WHO_LEFT = {"Erased"}
FROM_OUTSIDE = {"Signal", "Reaction", "SubjectRequest"}


def test_a_new_message_of_a_topic_is_sealed_or_said_to_be_nobodys() -> None:
    found = {kind.DESCRIPTOR.name for kinds in MESSAGES.values() for kind in kinds}
    sealed = {kind.DESCRIPTOR.name for kind in OPEN.keys() - IN_POSTGRESQL_ALONE}
    assert found == ABOUT_NOBODY | NAMES_WHO_LEFT | FROM_OUTSIDE | sealed


def test_the_page_says_which_fields_stand_open_and_why() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()
    shown = page[page.index("<!-- open:") : page.index("<!-- end of open -->")].splitlines()[3:]
    assert shown == [
        f"| `{kind.DESCRIPTOR.full_name}` | {f'`{name}`' if name else 'nothing'} | {why} |"
        for kind, fields in OPEN.items()
        for name, why in (fields.items() or [("", "all of it is inside; a mark is nobody's, and not sealed")])
    ]
