"""What became of dead letters, from what stands in the topics; and which letters a filter keeps."""

from __future__ import annotations

import pytest

from deploy.letters import Letter, Wanted
from deploy.redriven import Redrive, fates
from oo.v1 import audit_pb2, dead_letter_pb2, journal_pb2
from streams.dead_letters import named
from tables.pseudonyms import Pseudonyms

SIGNALS, JOURNAL = b"S" * 16, b"J" * 16
OURS = Pseudonyms(bytes(32))


def letter(offset: int, *, said_at: int | None = None, **says: object) -> Letter:
    """Of a record at this offset; `said_at`: it was refused behind the door, and a producer said it there."""
    message = dead_letter_pb2.DeadLetter(topic="oo.signals", topic_id=SIGNALS, partition=3, offset=offset)
    if said_at is not None:
        message.topic, message.topic_id = "oo.journal", JOURNAL
    message.MergeFrom(dead_letter_pb2.DeadLetter(**says))  # type: ignore[arg-type]
    one = Letter(0, message)
    at = one.name if said_at is None else named(SIGNALS, partition=3, offset=said_at)
    return Letter(0, message, said_at=at)


def redriven(one: Letter, *, to: int, is_sent: bool = True) -> Redrive:
    message = one.message
    word = audit_pb2.Redrive(topic="oo.signals", is_sent=is_sent)
    word.letter.CopyFrom(
        journal_pb2.Position(topic_id=message.topic_id, partition=message.partition, offset=message.offset)
    )
    word.place.CopyFrom(journal_pb2.Position(topic_id=SIGNALS, partition=3, offset=to))
    return Redrive(0, word)


def test_a_letter_is_open_then_on_its_way_then_taken_once_the_door_has_passed_it() -> None:
    one = letter(7)
    begun, sent = redriven(one, to=20, is_sent=False), redriven(one, to=22)

    def state(*told: Redrive, passed: int = 0) -> str:
        return fates([one], told, passed={(SIGNALS, 3): passed})[one.name].state

    assert [state(), state(begun), state(begun, sent, passed=22), state(begun, sent, passed=23)] == [
        "open",
        "sending",
        "redriven",
        "taken",
    ]
    assert [fates([one], told, passed={})[one.name].is_open for told in ([], [begun], [begun, sent])] == [
        True,
        True,
        False,
    ]


def test_what_fails_again_at_the_door_or_behind_it_is_open_itself_and_names_its_first_failure() -> None:
    first, again = letter(7), letter(22)
    behind = letter(400, said_at=31)
    told = [redriven(first, to=22), redriven(again, to=31)]
    found = fates([first, again, behind], told, passed={(SIGNALS, 3): 99})
    assert [found[one.name].state for one in (first, again, behind)] == ["failed again", "failed again", "open"]
    assert [found[one.name].became for one in (first, again, behind)] == [again, behind, None]
    assert [found[one.name].first for one in (first, again, behind)] == [None, first, first]


def test_what_was_written_to_a_topic_of_before_is_nobodys_place_in_the_one_that_was_made_anew() -> None:
    one = letter(7)
    told = redriven(one, to=22)
    told.word.place.topic_id = b"O" * 16
    assert fates([one, letter(22)], [told], passed={(SIGNALS, 3): 99})[one.name].state == "redriven"


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Wanted(), True),
        (Wanted(reason="bad-json", topic="oo.signals", partition=3, since_ms=1_000, until_ms=1_001), True),
        (Wanted(whose=OURS.of("ada"), pseudonyms=OURS), True),
        (Wanted(whose=OURS.of("bob"), pseudonyms=OURS), False),
        (Wanted(reason="invalid"), False),
        (Wanted(topic="oo.reactions"), False),
        (Wanted(partition=0), False),
        (Wanted(since_ms=1_001), False),
        (Wanted(until_ms=1_000), False),
    ],
)
def test_a_filter_keeps_what_all_of_it_applies_to(wanted: Wanted, kept: bool) -> None:
    one = letter(7, reason="bad-json", refused_ms=1_000, original=b'{"user_id": "ada", "x": 1}')
    assert wanted.keeps(one) == kept
