"""What is shown of a refused value: as far as it can be read, and the place where that ends."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from deploy.decoded import decoded
from oo.v1 import signal_pb2
from streams.frames import Frames

JSON = [("content-type", b"application/json")]


def told() -> signal_pb2.Signal:
    signal = signal_pb2.Signal(user_id="ada", source="mine")
    signal.task_upserted.external_id = "1"
    signal.task_upserted.title = "Call the dentist"
    signal.task_upserted.priority = 2
    signal.task_upserted.labels.append("phone")
    return signal


FRAMED = Frames().frame("signals", told())


def test_a_whole_message_is_shown_and_nothing_is_wrong_with_it() -> None:
    found = decoded("signals", FRAMED)
    assert (found.message, found.fault) == (MessageToDict(told(), preserving_proto_field_name=True), None)


def test_of_a_message_that_was_cut_the_front_is_shown_and_the_field_in_which_it_ends() -> None:
    at = FRAMED.index(b"dentist")
    found = decoded("signals", FRAMED[:at])
    assert found.message["task_upserted"] == {"external_id": "1", "title": "Call the "}
    assert found.fault is not None
    assert (found.fault.path, found.fault.byte) == ("task_upserted.title", FRAMED.index(b"Call"))


def test_a_text_that_is_not_utf_8_is_shown_up_to_the_byte() -> None:
    found = decoded("signals", FRAMED.replace(b"dentist", b"den\xfftst"))
    assert found.message["task_upserted"]["title"] == "Call the den"
    assert found.fault is not None
    assert (found.fault.path, found.fault.byte) == ("task_upserted.title", FRAMED.index(b"dentist") + 3)


@given(st.integers(0, len(FRAMED)), st.binary(max_size=40))
def test_whatever_stands_there_something_can_be_said_of_it(front: int, rest: bytes) -> None:
    for headers in ([], JSON):
        assert decoded("signals", FRAMED[:front] + rest, headers).kind


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (b'{"user_id": ', {}, (None, 12, 1, 13)),
        ('{"title": "é", }'.encode(), {}, (None, 16, 1, 16)),
        (b'{"user_id": "ada", "colour": 1}', {"user_id": "ada"}, ("colour", None, None, None)),
        (
            b'{"task_upserted": {"title": "x", "priority": "high"}}',
            {"task_upserted": {"title": "x"}},
            ("task_upserted.priority", None, None, None),
        ),
    ],
)
def test_of_json_that_is_no_message_the_good_fields_are_shown_and_the_first_that_is_not(
    text: bytes, message: dict[str, object], place: tuple[str | None, int | None, int | None, int | None]
) -> None:
    found = decoded("signals", text, JSON)
    assert found.message == message
    fault = found.fault
    assert fault is not None
    assert (fault.path or None, fault.byte, fault.line, fault.column) == place


def test_json_without_its_header_is_read_as_json_and_the_header_is_what_is_wrong() -> None:
    found = decoded("signals", b'{"user_id": "ada"}')
    assert found.message == {"user_id": "ada"}
    assert found.fault is not None and "content-type: application/json" in found.fault.says
