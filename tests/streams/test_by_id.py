"""A topic that was deleted and made anew under its old name is another one: for who reads, and for who commits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestHeader_v2
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.by_id import Answer, FetchById, Fetched, Limits, Place, Session, by_name
from streams.cluster import Cluster
from streams.commit_note import note
from streams.reader import topic_ids
from tests.streams.line import Line, create_topic, delete_topic


def id_of(line: Line) -> bytes:
    return asyncio.run(topic_ids(Cluster(line.bootstrap), [line.source]))[line.source]


async def commit(line: Line, offsets: dict[int, OffsetAndMetadata]) -> None:
    """Commit for the group, which has no member yet."""
    consumer = AIOKafkaConsumer(bootstrap_servers=line.bootstrap, group_id=line.group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(line.source, number) for number in offsets])
    await consumer.commit({TopicPartition(line.source, number): at for number, at in offsets.items()})
    await consumer.stop()


def test_what_stands_in_the_topic_made_anew_is_read_under_its_own_id_alone(line: Line) -> None:
    before = line.start("w-0", topic_id=id_of(line).hex())
    line.send(["a", "b", "c"])
    line.until_written(line.sink, 3)
    line.until_committed(3)
    delete_topic(line.bootstrap, line.source)
    create_topic(line.bootstrap, line.source, partitions=2)
    for partition in range(2):
        line.send(["d", "e", "f", "g"], partition=partition)
    before.until(lambda heard: sum(said["what"] == "assigned" for said in heard) > 2)
    # It comes beside the one of the old id, which has by then had every occasion to read on.
    after = line.start("w-1", topic_id=id_of(line).hex())
    line.until_written(line.sink, 3 + 4)
    before.kill()
    line.until_written(line.sink, 3 + 4 + 4)
    assert [said["count"] for said in before.heard if said["what"] == "handling"] == [3]
    after.until(lambda heard: sum(said["count"] for said in heard if said["what"] == "handling") == 8)


def test_a_commit_for_an_earlier_topic_of_the_name_does_not_count_and_one_that_names_none_does(line: Line) -> None:
    for partition in range(2):
        line.send(["a", "b", "c"], partition=partition)
    asyncio.run(commit(line, {0: OffsetAndMetadata(2, note(b"an earlier topic")), 1: OffsetAndMetadata(2, "")}))
    assert (line.committed(0), line.committed(1)) == (None, 2)
    line.start(topic_id=id_of(line).hex())
    line.until_written(line.sink, 4)
    assert (line.copied(0), line.copied(1)) == (["a", "b", "c"], ["c"])
    line.until_committed(3)


def test_a_fetch_names_only_what_has_moved_since_the_one_before() -> None:
    session = Session()
    everything = {("t", 0): 10, ("t", 1): 20, ("u", 0): 5}
    assert asked(session, everything) == (0, 0, everything, set())
    assert session.answered(Answer(0, 7, []))
    moved = {**everything, ("t", 1): 21}
    assert asked(session, moved) == (7, 1, {("t", 1): 21}, set())
    assert session.answered(Answer(0, 7, []))
    fewer = {("t", 0): 10, ("t", 1): 21}
    assert asked(session, fewer) == (7, 2, {}, {("u", 0)})
    assert session.answered(Answer(0, 7, []))
    assert asked(session, everything) == (7, 3, {("t", 1): 20, ("u", 0): 5}, set())


def test_a_fetch_of_which_nothing_was_heard_is_followed_by_one_for_everything() -> None:
    everything = {("t", 0): 10}
    session = Session()
    asked(session, everything)
    session.answered(Answer(0, 7, []))
    asked(session, everything)
    session.end()
    assert asked(session, everything) == (7, 0, everything, set())
    assert not session.answered(Answer(71, 0, []))  # its epoch was not the next one
    assert asked(session, everything) == (0, 0, everything, set())
    session.answered(Answer(0, 8, []))
    again = Session(session.id)
    assert asked(again, everything) == (8, 0, everything, set())
    again.answered(Answer(0, 0, []))  # the broker has no room for one more
    assert asked(again, everything) == (0, 0, everything, set())


def asked(session: Session, places: Mapping[Place, int]) -> tuple[int, int, Mapping[Place, int], set[Place]]:
    named = session.id, session.epoch
    changed, gone = session.ask(places)
    return *named, changed, set(gone)


class Uuid(AbstractType[bytes]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value


TAGS = ("tags", TaggedFields)
REQUEST = Schema(
    ("replica_id", Int32),
    ("max_wait_ms", Int32),
    ("min_bytes", Int32),
    ("max_bytes", Int32),
    ("isolation_level", Int8),
    ("session_id", Int32),
    ("session_epoch", Int32),
    (
        "topics",
        CompactArray(
            ("topic_id", Uuid),
            (
                "partitions",
                CompactArray(
                    ("partition", Int32),
                    ("current_leader_epoch", Int32),
                    ("fetch_offset", Int64),
                    ("last_fetched_epoch", Int32),
                    ("log_start_offset", Int64),
                    ("partition_max_bytes", Int32),
                    TAGS,
                ),
            ),
            TAGS,
        ),
    ),
    ("forgotten_topics_data", CompactArray(("topic_id", Uuid), ("partitions", CompactArray(Int32)), TAGS)),
    ("rack_id", CompactString("utf-8")),
    TAGS,
)
ANSWER = Schema(
    ("throttle_time_ms", Int32),
    ("error_code", Int16),
    ("session_id", Int32),
    (
        "topics",
        CompactArray(
            ("topic_id", Uuid),
            (
                "partitions",
                CompactArray(
                    ("partition", Int32),
                    ("error_code", Int16),
                    ("high_watermark", Int64),
                    ("last_stable_offset", Int64),
                    ("log_start_offset", Int64),
                    ("aborted_transactions", CompactArray(("producer_id", Int64), ("first_offset", Int64), TAGS)),
                    ("preferred_read_replica", Int32),
                    ("records", CompactBytes),
                    TAGS,
                ),
            ),
            TAGS,
        ),
    ),
    TAGS,
)
"""Version 13, from the protocol's own definition, in aiokafka's words for it."""
IDS = {f"topic {n}": bytes([n]) * 16 for n in range(200)}
LIMITS = Limits(wait_ms=500, bytes_min=1, bytes_max=2**30, partition_bytes=2**20, isolation=1)
offsets = st.integers(0, 2**63 - 1)
places = st.tuples(st.sampled_from(sorted(IDS)), st.integers(0, 200))


@given(st.dictionaries(places, offsets, max_size=40), st.dictionaries(places, offsets, max_size=40))
def test_a_request_is_written_as_the_protocol_says(before: dict[Place, int], now: dict[Place, int]) -> None:
    session = Session()
    FetchById(IDS, session, LIMITS, before).frame(1, "core-0")
    session.answered(Answer(0, 7, []))
    frame = FetchById(IDS, session, LIMITS, now).frame(2, "core-0")
    topics: defaultdict[bytes, list[Any]] = defaultdict(list)
    forgotten: defaultdict[bytes, list[int]] = defaultdict(list)
    for (name, number), offset in now.items():
        if before.get((name, number)) != offset:
            topics[IDS[name]].append((number, -1, offset, -1, -1, 2**20, {}))
    for name, number in before.keys() - now.keys():
        forgotten[IDS[name]].append(number)
    fields = [-1, 500, 1, 2**30, 1, 7, 1, [(*one, {}) for one in topics.items()]]
    body = REQUEST.encode([*fields, [(*one, {}) for one in forgotten.items()], "", {}])
    header = RequestHeader_v2(FetchById, correlation_id=2, client_id="core-0").encode()
    assert frame[4:] == header + body
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4


# aiokafka 0.14 writes a tag's value without the size that stands before it, and so could not read it back itself.
sized = st.binary(max_size=200).map(lambda value: UnsignedVarInt32.encode(len(value)) + value)
tags = st.dictionaries(st.integers(1, 300), sized, max_size=2)
partitions = st.tuples(
    st.integers(0, 200),
    st.integers(-1, 120),
    offsets,
    offsets,
    offsets,
    st.none() | st.lists(st.tuples(offsets, offsets, tags), max_size=3),
    st.integers(-1, 5),
    st.none() | st.binary(max_size=300),
    tags,
)
topics = st.tuples(st.sampled_from(sorted(IDS)), st.lists(partitions, max_size=3), tags)


@given(st.integers(-1, 120), st.integers(0, 2**31 - 1), st.lists(topics, max_size=3), tags, st.data())
def test_an_answer_is_read_as_the_protocol_says_and_one_that_is_cut_is_refused(
    error: int, session_id: int, said: list[Any], more: dict[int, bytes], data: st.DataObject
) -> None:
    named = [(IDS[name], some, tagged) for name, some, tagged in said]
    answer = (9).to_bytes(4, "big") + b"\0" + ANSWER.encode([0, error, session_id, named, more])
    request = FetchById(IDS, Session(), LIMITS, {})
    buffer = BytesIO(answer)
    assert request.parse_response_header(buffer).correlation_id == 9
    wanted = [
        Fetched((name, number), code, high, stable, [(who, first) for who, first, _ in aborted or ()], records or b"")
        for name, some, _ in said
        for number, code, high, stable, _, aborted, _, records, _ in some
    ]
    assert request.answer(request.decode(buffer)) == Answer(error, session_id, wanted)
    whole = len((9).to_bytes(4, "big") + b"\0" + ANSWER.encode([0, error, session_id, named, {}])) - 1
    cut = BytesIO(answer[: data.draw(st.integers(5, whole - 1))])
    request.parse_response_header(cut)
    with pytest.raises(ValueError, match="no answer to a fetch"):
        request.answer(request.decode(cut))


@pytest.mark.parametrize("version", [4, 5, 7, 11], ids=lambda version: f"version-{version}")
def test_an_answer_by_name_is_read_in_every_version(version: int) -> None:
    kind = next(one for one in FetchRequest._CLASSES if version == one.API_VERSION).RESPONSE_TYPE
    partition = [3, 0, 20, 15, *([1] if version >= 5 else []), [(8, 12)], *([-1] if version >= 11 else []), b"records"]
    head = [0, *([0, 0] if version >= 7 else [])]
    answer = kind.decode(BytesIO(kind.SCHEMA.encode([*head, [("t", [partition])]])))
    assert by_name(answer) == Answer(0, 0, [Fetched(("t", 3), 0, 20, 15, [(8, 12)], b"records")])
