"""What a dead letter holds of its record: sealed, listed, opened, sent again, and gone with its key."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.refuse import DeadLetters, LetterKeys, Refusal
from connectors.key_files import KeyFiles
from deploy.letters import HEARD_MS, CannotRedrive, Letter, letters, redrive, target, whom
from deploy.stack.running import RunningStack
from oo.v1 import dead_letter_pb2, erased_pb2, journal_pb2
from serving.archive import FILES, archive
from serving.exports import Order
from streams.clock import clock_ms
from streams.cluster import Cluster
from streams.day_keys import of_day
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.producer import Producer
from streams.reader import read_partition
from streams.record import Record
from streams.units import DAY_MS
from tables.leavers import Leavers
from tables.pseudonyms import Pseudonyms
from tests.agents.process import Topics
from tests.sealed import keys_in

WORDS = b"Call the dentist"


@pytest.fixture(scope="module")
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


def test_a_letter_is_sealed_for_whom_it_names_or_with_the_doors_key_of_its_day_and_goes_with_that_key(
    servers: RunningStack, under: Topics
) -> None:
    asyncio.run(life_of_letters(servers, under))


async def life_of_letters(servers: RunningStack, under: Topics) -> None:
    cluster, signals = under.cluster, under.cluster.name("signals")
    producer, frames, now_ms = Producer(cluster), Frames(), clock_ms()

    def door() -> tuple[Keys, LetterKeys, DeadLetters]:
        keys = Keys.of(cluster, KeyFiles(servers.kek_dir))
        maker = KeyMaker(keys, topic=cluster.name("keys"), producer=producer, frames=frames)
        sealed_by, to, ids = LetterKeys(keys, maker), cluster.name("dead-letters"), {signals: b"T" * 16}
        return keys, sealed_by, DeadLetters(producer, frames, to, ids, now_ms=lambda: now_ms, sealed_by=sealed_by)

    async def raw() -> list[bytes]:
        reading = read_partition(cluster, cluster.name("dead-letters"), 0)
        return [record.value or b"" async for records in reading for record in records]

    keys, sealed_by, dead_letters = door()
    await sealed_by.maker.ensure([b"ada"])
    said = Record(signals, 2, 7, now_ms, b"true key", WORDS, (("content-type", b"x"), (WORDS.decode(), WORDS)))
    people = [b"ada", b"somebody new", b"", b"\xff\xfe", of_day("letters", now_ms), of_day("sums", now_ms)]
    refusals = [
        Refusal(said._replace(offset=number), "bad-json", "no JSON", whose=one) for number, one in enumerate(people)
    ]
    await dead_letters.refuse(refusals)
    # Another door, which has not read what the first one made.
    await door()[2].refuse([Refusal(said._replace(offset=len(people)), "bad-json", "no JSON")])

    assert not any(part in value for value in await raw() for part in (WORDS, b"true key"))
    found = await letters(cluster, servers.kek_dir)
    assert [one.message.whose for one in found] == [b"ada"] + [of_day("letters", now_ms)] * len(people)
    assert {(one.message.original, one.message.original_key, one.away) for one in found} == {(WORDS, b"true key", "")}

    nobody_left = partial(redrive, cluster=cluster, keys=keys, leavers=Leavers(b""), pseudonyms=Pseudonyms(b""))
    sent = await nobody_left(found[0], producer)
    reading = read_partition(cluster, signals, sent.partition)
    [again] = [record async for records in reading for record in records]
    assert (again.key, again.value, again.headers[:2]) == (said.key, said.value, said.headers)

    # In an export stand those that were sealed for them, and of the others those that name them.
    assert [len(await exported(cluster, servers, user)) for user in ("ada", "true key", "nobody")] == [
        1,
        len(people),
        0,
    ]

    # Who leaves takes their letters along; the door's go when their topic has them no more.
    await sealed_by.maker.forget(b"ada")
    topic = cluster.topics["dead-letters"]
    await sealed_by.end_old(topic, now_ms=now_ms + topic.retention_ms + topic.gone_ms)
    found = await letters(cluster, servers.kek_dir)
    assert [bool(one.away) for one in found] == [True] + [False] * len(people)
    await keys.catch_up()
    await sealed_by.end_old(topic, now_ms=now_ms + topic.retention_ms + topic.gone_ms + DAY_MS)
    found = await letters(cluster, servers.kek_dir)
    assert [one.away.partition(": ")[2] for one in found] == [
        "its person has left since, and its key is gone",
        *["the time of its day's key is over, and its key is gone"] * len(people),
    ]
    assert (found[0].id, found[0].message.reason, found[0].message.detail) == (f"{signals}/2/0", "bad-json", "no JSON")
    for one in found[:2]:
        with pytest.raises(CannotRedrive, match="cannot be opened"):
            await nobody_left(one, producer)
    await producer.close()


async def exported(cluster: Cluster, servers: RunningStack, user: str) -> list[Any]:
    """What is shown of refused records to this person."""
    order = Order(user, user, cluster, kek_dir=str(servers.kek_dir))
    whole = io.BytesIO(b"".join([piece async for piece in archive(order)]))
    with zipfile.ZipFile(whole) as found:
        shown: list[Any] = json.loads(found.read(FILES["dead-letters"][0]))
    assert all(one["original"] == base64.b64encode(WORDS).decode() for one in shown)
    return shown


def test_who_may_make_no_keys_keeps_no_bytes(servers: RunningStack, under: Topics) -> None:
    name = under.cluster.name("tips")

    async def refused() -> list[Letter]:
        producer = Producer(under.cluster)
        dead_letters = DeadLetters(producer, Frames(), under.cluster.name("dead-letters"), {name: b"T" * 16})
        await dead_letters.refuse([Refusal(Record(name, 0, 1, 0, b"ada", WORDS), "no-frame", "", whose=b"ada")])
        await producer.close()
        return await letters(under.cluster, servers.kek_dir)

    [letter] = [one.message for one in asyncio.run(refused()) if one.message.topic == name]
    assert (letter.offset, letter.reason) == (1, "no-frame")
    assert not (letter.original or letter.original_key or letter.original_length or letter.original_sha256)


OURS = Pseudonyms(bytes(32))
LEFT_MS = 1_000_000


@pytest.mark.parametrize(
    "says",
    [
        {"original": b'{"user_id": "ada"}', "whose": of_day("letters", LEFT_MS)},
        {"original": b'{"data": {"userId": "ada"}}'},
        {"original": b"junk", "whose": OURS.of("ada").encode()},
        {"original": b"junk", "original_key": b"ada"},
    ],
    ids=["under the door's key", "of before sealing", "under their key", "known by its key"],
)
@pytest.mark.parametrize("began_again", [False, True])
def test_a_letter_of_a_life_that_ended_is_not_sent_again_and_one_of_the_life_after_it_is(
    says: dict[str, bytes], began_again: bool, tmp_path: Path
) -> None:
    cluster, leavers = Cluster(""), Leavers(b"J" * 16)
    word = erased_pb2.Erased(user_id=OURS.of("ada"), receipt="r", erased_ms=LEFT_MS)
    word.journal.topic_id, word.journal.offset = b"J" * 16, 7
    if began_again:
        word.began_again.CopyFrom(journal_pb2.Position(offset=9))
    leavers.add(word)

    def goes(said: dict[str, bytes], **times: int) -> str:
        length = len(said["original"])
        message = dead_letter_pb2.DeadLetter(topic="oo.signals", original_length=length, **said, **times)  # type: ignore[arg-type]
        letter = Letter(0, message)
        return target(letter, cluster=cluster, keys=keys_in(tmp_path), leavers=leavers, pseudonyms=OURS)

    later_ms = LEFT_MS + HEARD_MS + 1
    for came_ms, refused_ms in ((0, LEFT_MS - 1), (0, LEFT_MS), (0, LEFT_MS + 999), (LEFT_MS, later_ms)):
        with pytest.raises(CannotRedrive, match="its person has left since"):
            goes(says, refused_ms=refused_ms, original_time_ms=came_ms)
    if began_again:
        assert goes(says, refused_ms=later_ms, original_time_ms=later_ms) == "oo.signals"
    assert goes({"original": b'{"user_id": "bob"}'}, refused_ms=LEFT_MS) == "oo.signals"


def test_whom_a_letter_names_is_told_by_its_key_of_then_its_words_or_its_kafka_key() -> None:
    def of(**says: bytes) -> list[str]:
        return whom(Letter(0, dead_letter_pb2.DeadLetter(**says)), OURS)  # type: ignore[arg-type]

    door, words = of_day("letters", LEFT_MS), b'{"user_id": "ada"}'
    assert of(whose=door, original=words, original_key=b"bob") == [OURS.of("ada")]
    assert of(whose=b"theirs", original=words) == ["theirs", OURS.of("ada")]
    assert of(whose=door, original_key=b"bob") == [OURS.of("bob"), "bob"]
    assert of(whose=door) == []
