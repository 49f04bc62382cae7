"""Ids come from where a record came from, and say whose they are."""

from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables import ids

KEY = bytes(range(32))


def made(user: str = "ada") -> str:
    return ids.decision_id(user, record_id=b"r" * 16, mac_key=KEY)


@given(st.text(min_size=1, max_size=128), st.binary(min_size=16, max_size=16))
def test_a_decision_id_belongs_to_its_user(user: str, record_id: bytes) -> None:
    user = user.encode("utf-8", "ignore").decode()
    assert ids.belongs(ids.decision_id(user, record_id=record_id, mac_key=KEY), user_id=user, mac_key=KEY)


@given(st.text(max_size=128), st.binary(min_size=1, max_size=200), st.binary(min_size=16, max_size=16))
def test_it_is_written_as_everybody_writes_base32_and_hmac(user: str, key: bytes, record_id: bytes) -> None:
    user = user.encode("utf-8", "ignore").decode()
    one = ids.decision_id(user, record_id=record_id, mac_key=key)
    raw = base64.b32decode(one.upper())
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in (b"decision", user.encode(), raw[:10]))
    assert raw[10:] == hmac.digest(key, framed, "sha256")[:10]
    assert ids.packed(one) == raw


def test_it_belongs_to_nobody_else() -> None:
    assert not ids.belongs(made(), user_id="bob", mac_key=KEY)
    assert not ids.belongs(made(), user_id="Ada", mac_key=KEY)
    assert not ids.belongs(made(), user_id="", mac_key=KEY)


def test_it_belongs_to_nobody_under_another_key() -> None:
    assert not ids.belongs(made(), user_id="ada", mac_key=b"x" * 32)


def test_every_changed_character_is_noticed() -> None:
    good = made()
    for place in range(len(good)):
        bad = good[:place] + ("a" if good[place] != "a" else "b") + good[place + 1 :]
        assert not ids.belongs(bad, user_id="ada", mac_key=KEY)


@pytest.mark.parametrize(
    "bad", ["", "x", "a" * 32, "a" * 40, "ß" * 32, "0" * 32, "a" * 31 + "=", "\x00" * 32, "é" * 64]
)
def test_what_is_no_id_belongs_to_nobody(bad: str) -> None:
    assert not ids.belongs(bad, user_id="ada", mac_key=KEY)


def test_capital_letters_are_another_id() -> None:
    assert not ids.belongs(made().upper(), user_id="ada", mac_key=KEY)


def test_letters_whose_capitals_are_ascii_make_no_second_id() -> None:
    good = next(
        one for one in (ids.decision_id("ada", record_id=bytes([n]), mac_key=KEY) for n in range(99)) if "s" in one
    )
    other = good.replace("s", "ſ")
    assert not ids.belongs(other, user_id="ada", mac_key=KEY)
    assert not ids.packed(other)


def test_ids_of_different_kinds_and_places_differ() -> None:
    topic = b"t" * 16
    all_ids = {
        ids.source_record_id(topic, partition=0, offset=1),
        ids.source_record_id(topic, partition=1, offset=0),
        ids.source_record_id(b"u" * 16, partition=0, offset=1),
        ids.tick_record_id("ada", due_ms=1),
        ids.tick_record_id("ada1", due_ms=1),
        ids.tick_record_id("ada", due_ms=11),
    }
    assert len(all_ids) == 6


def test_where_one_part_ends_and_the_next_begins_counts() -> None:
    assert ids.event_key("ab", "c") != ids.event_key("a", "bc")
    assert ids.item_key("ab", "c") != ids.item_key("a", "bc")
