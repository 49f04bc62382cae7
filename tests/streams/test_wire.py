"""The bytes of one value, without any registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo.v1 import decision_pb2, reaction_pb2, row_pb2, signal_pb2
from streams.frames import MESSAGES, Frames
from streams.topics import topics
from streams.wire import JSON_DEPTH_MAX, BadFrame, from_json, header, is_json, parse, payload, read_header

SIGNAL = signal_pb2.Signal(
    event_id="e1", user_id="alice", task_upserted=signal_pb2.TaskUpserted(external_id="1", title="Água 🌊 שלום")
)
MIB = 1024 * 1024


def refusal(call, *args, **kwargs) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        call(*args, **kwargs)
    return caught.value


def test_every_topic_names_the_message_that_its_values_are_read_as():
    assert {name: kinds[0].DESCRIPTOR.full_name for name, kinds in MESSAGES.items()} == {
        name: topic.value for name, topic in topics().items()
    }


def test_every_message_of_a_topic_stands_in_one_file_and_so_under_one_subject():
    for kinds in MESSAGES.values():
        assert len({kind.DESCRIPTOR.file.name for kind in kinds}) == 1
        assert all(kind.DESCRIPTOR.containing_type is None for kind in kinds)


def test_a_frame_comes_back_as_the_message_that_went_in():
    schemas = Frames()
    assert schemas.unframe("signals", schemas.frame("signals", SIGNAL)) == SIGNAL


def test_the_message_index_tells_a_users_row_from_a_partitions():
    schemas = Frames()
    user, partition = row_pb2.UserRow(journal_offset=7), row_pb2.PartitionRow(journal_offset=7)
    assert schemas.unframe("rows", schemas.frame("rows", user)) == user
    assert schemas.unframe("rows", schemas.frame("rows", partition)) == partition


def test_payload_skips_a_header_of_any_schema_id():
    assert payload(header(0xFFFFFFFF, 300) + b"message") == b"message"


@given(st.integers(0, 2**32 - 1), st.integers(0, 10_000), st.binary(max_size=20))
def test_a_header_reads_back_as_it_was_written(schema_id, index, rest):
    written = header(schema_id, index)
    assert read_header(written + rest) == (schema_id, (index,), len(written))


def test_what_two_bytes_say_of_a_path_is_read_as_written_longer() -> None:
    front = bytes(4) + b"\7"
    for byte in range(128):
        found, path, length = read_header(front + b"\2" + bytes([byte]) + b"rest")
        assert (found, path, length + 1) == read_header(front + b"\x82\0" + bytes([byte]) + b"rest"), byte
    with pytest.raises(BadFrame, match="ends inside a number"):
        read_header(front + b"\2")


def test_a_message_index_written_the_long_way_is_the_same_message():
    long_way = b"\x00\x00\x00\x00\x05\x02\x00" + SIGNAL.SerializeToString()
    assert Frames().unframe("signals", long_way) == SIGNAL


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_value_is_no_frame(value):
    assert refusal(Frames().unframe, "signals", value).reason == "no-frame"


def test_a_value_without_the_magic_byte_is_no_frame():
    assert refusal(Frames().unframe, "signals", b"\x01\x00\x00\x00\x05\x00").reason == "no-frame"


def test_json_without_its_content_type_is_no_frame_and_says_which_header_to_send():
    bad = refusal(Frames().unframe, "signals", b'{"user_id": "alice"}')
    assert bad.reason == "no-frame"
    assert "content-type: application/json" in bad.detail


@pytest.mark.parametrize("length", [1, 4, 5])
def test_a_value_that_ends_inside_its_header_is_truncated(length):
    assert refusal(Frames().unframe, "signals", header(5, 0)[:length]).reason == "truncated"


def test_a_message_cut_inside_its_last_field_is_truncated():
    value = Frames().frame("signals", SIGNAL)
    assert refusal(Frames().unframe, "signals", value[:-1]).reason == "truncated"


@pytest.mark.parametrize("body", [b"\x07\x07\x07", b"\x00\x01", b"\x0a\x02\xff\xfe", b"\x0b" * 300])
def test_bytes_that_are_no_message_are_garbage(body):
    assert refusal(parse, signal_pb2.Signal, body).reason == "garbage"


def test_a_message_index_of_absurd_depth_is_garbage():
    assert refusal(Frames().unframe, "signals", b"\x00\x00\x00\x00\x05\xfe\x7f" + b"\x02" * 9000).reason == ("garbage")


def test_a_message_index_of_another_message_is_a_wrong_schema():
    schemas = Frames()
    decision = schemas.frame("decisions", decision_pb2.Decision(user_id="alice"))
    assert refusal(schemas.unframe, "tips", decision).reason == "wrong-schema"


@given(st.binary(max_size=64))
def test_no_bytes_do_more_than_be_refused(value):
    try:
        Frames().unframe("signals", value)
    except BadFrame as bad:
        assert len(bad.detail) <= 300


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_frame_with_one_byte_changed_does_no_more_than_be_refused(at, byte):
    value = bytearray(Frames().frame("signals", SIGNAL))
    value[at % len(value)] = byte
    try:
        Frames().unframe("signals", bytes(value))
    except BadFrame as bad:
        assert bad.reason in {"no-frame", "truncated", "garbage", "wrong-schema"}


def test_json_takes_both_spellings_of_a_field_and_the_names_of_enums():
    text = b'{"userId": "alice", "decision_id": "d", "kind": "DONE", "event_time": "2026-11-23T10:00:00Z"}'
    reaction = from_json(reaction_pb2.Reaction, text, bytes_max=MIB)
    assert (reaction.user_id, reaction.decision_id, reaction.kind) == ("alice", "d", reaction_pb2.Reaction.DONE)
    assert reaction.event_time.ToJsonString() == "2026-11-23T10:00:00Z"


def test_json_with_a_byte_order_mark_is_read():
    assert from_json(signal_pb2.Signal, b'\xef\xbb\xbf{"user_id": "alice"}', bytes_max=MIB).user_id == "alice"


def test_json_with_a_mistyped_field_is_refused_and_the_field_that_was_meant_is_named():
    bad = refusal(from_json, signal_pb2.Signal, b'{"usr_id": "alice"}', bytes_max=MIB)
    assert bad.reason == "bad-json"
    assert "user_id" in bad.detail


NO_SIGNALS = (
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"\xff\xfe",
    b'{"user_id": 7}',
    b'{"user_id": "a", "user_id": "b"}',
    b'{"event_time": "yesterday"}',
    b'{"event_time": "9999999-01-01T00:00:00Z"}',
    b'{"event_time": "2026-01-01T00:00:00.1e999Z"}',
    b'{"activity": {"value": 1e99999}}' * 2,
    b'{"task_completed": {}, "task_removed": {}}',
    b'{"task_completed": "words"}',
    b'{"task_upserted": {"labels": [7]}}',
    b'{"task_upserted": {"labels": "words"}}',
    b'{"task_upserted": {"title": {"words": 1}}}',
    b'{"task_upserted": {"words": {"words": "words"}}}',
    b'{"words": [{"words": "words"}]}',
    b'{"user_id": "words" words}',
    b'{"user_id": "words',
    b"[" * 100_000,
    b'{"task_upserted":' * 50_000,
    b'{"task_upserted": {"priority": ' + b"9" * 10_000 + b"}}",
)


@pytest.mark.parametrize("text", NO_SIGNALS, ids=lambda text: text[:30].decode("latin-1"))
def test_json_that_is_no_signal_is_refused_as_bad_json_and_none_of_its_words_is_quoted(text):
    bad = refusal(from_json, signal_pb2.Signal, text, bytes_max=MIB)
    assert bad.reason == "bad-json"
    assert not any(word in bad.detail for word in ("words", "yesterday", "9999", " 7", "1e9"))


def test_json_past_the_topics_size_is_refused_before_it_is_read():
    bad = refusal(from_json, signal_pb2.Signal, b"{" + b" " * MIB + b"}", bytes_max=MIB)
    assert bad.reason == "too-large"
    assert str(MIB) in bad.detail


def test_json_nests_no_deeper_than_any_of_our_messages_needs():
    def depth(descriptor, seen=()):
        below = [f.message_type for f in descriptor.fields if f.message_type and f.message_type not in seen]
        return 1 + max((depth(one, (*seen, descriptor)) for one in below), default=0)

    assert depth(signal_pb2.Signal.DESCRIPTOR) < JSON_DEPTH_MAX


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("content-type", b"application/json")], True),
        ([("Content-Type", b"Application/JSON; charset=utf-8")], True),
        ([("content-type", b"application/x-protobuf")], False),
        ([("content-type", None)], False),
        ([("ce_id", b"1")], False),
    ],
)
def test_json_is_told_by_its_content_type(headers, expected):
    assert is_json(headers) is expected
