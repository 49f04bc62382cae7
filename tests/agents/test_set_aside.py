"""A record that ends its worker again and again: it is set aside, said, and the next one is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agents import set_aside
from agents.active_version import ActiveVersion
from deploy.folding import Journal
from deploy.keys import read_keys
from deploy.letters import Letter, redrive
from deploy.refold import compare_part
from deploy.stack.running import RunningStack
from oo.v1 import journal_pb2
from oo.v1.journal_pb2 import JournalRecord
from oo.v1.policy_pb2 import PolicyVersion
from streams.frames import Frames
from streams.messages import messages
from streams.metrics import SKIPPED
from streams.producer import Delivered, Producer
from streams.reader import end_offsets, read_partition
from streams.record import Record
from streams.topics import PARTITIONS
from tables.leavers import Leavers
from tables.pseudonyms import Pseudonyms
from tests.agents.build import task
from tests.agents.process import AgentProcess, Topics, until
from tests.faults.poisoned import END_THE_DOOR, END_THE_FOLD


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


def test_a_record_that_ends_every_worker_is_set_aside_at_the_door_and_in_every_fold(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    worker = AgentProcess("core", servers, under, tmp_path, {}, module="tests.faults.poisoned").start()
    under.produce(
        "signals",
        [
            task("1", title="Before"),
            task("2", title=f"{END_THE_DOOR}, if you can"),
            task("3", title=f"{END_THE_FOLD}, if you can"),
            task("4", title="Behind"),
        ],
        partition=2,
    )
    # Three ends over each, and that is all, though the door has journaled copies at each of them.
    for _ in range(6):
        until(lambda: not worker.running())
        worker.start()
    until(lambda: len({letter.topic for letter in under.dead_letters()}) == 2, alive=worker)
    until(lambda: under.committed("core", "signals", partition=2) == 4, alive=worker)
    until(lambda: all(taken(under, number) for number in range(PARTITIONS)), alive=worker)
    assert worker.stop() == 0
    assert {letter.reason for letter in under.dead_letters()} == {"set-aside"}
    letters = {letter.topic.removeprefix(under.prefix): letter for letter in under.dead_letters()}
    assert letters["signals"].offset == 1
    home = letters["journal"].partition
    keys = asyncio.run(read_keys(under.cluster, servers.kek_dir))
    titles = {
        record.signal.task_upserted.title
        for record in under.messages("journal", partition=home)
        if isinstance(record, JournalRecord) and record.HasField("signal")
    }
    assert titles == {"Before", f"{END_THE_FOLD}, if you can", "Behind"}
    journal_id, mac_key = under.topic_id("journal"), servers.mac_key_file.read_bytes()
    versions = {"": ActiveVersion.first(mac_key=mac_key)}
    for version in under.messages("policies"):
        assert isinstance(version, PolicyVersion)
        versions[version.version_id] = ActiveVersion.of(version, mac_key=mac_key)

    async def differences(*, with_words: bool) -> int:
        records = read_partition(under.cluster, f"{under.prefix}set-aside", 0)
        words = messages(Frames(), "set-aside", records)
        aside = await set_aside.passed_over(words, journal_id=journal_id)
        assert list(aside) == [home]
        journal = Journal(
            under.cluster,
            topic_id=journal_id,
            versions=versions,
            kek_dir=servers.kek_dir,
            aside=aside if with_words else {},
        )
        end = (await end_offsets(under.cluster, f"{under.prefix}journal"))[home]
        return (await compare_part(journal, home, end, lambda _: None)).differences.n

    assert asyncio.run(differences(with_words=True)) == 0
    # What the word is for: a fold that did not read it has another row.
    assert asyncio.run(differences(with_words=False)) == 1

    async def send_again() -> Delivered:
        producer = Producer(under.cluster)
        delivered = await redrive(
            Letter(0, letters["journal"]),
            producer,
            cluster=under.cluster,
            keys=keys,
            leavers=Leavers(b""),
            pseudonyms=Pseudonyms(b""),
        )
        await producer.close()
        return delivered

    # Mended: the same words go through as a new record.
    again = asyncio.run(send_again())
    assert again.topic == f"{under.prefix}signals"
    mended = AgentProcess("core", servers, under, tmp_path, {}).start()
    try:
        until(lambda: under.committed("core", "signals", partition=again.partition) > again.offset, alive=mended)
        until(lambda: taken(under, home), alive=mended)
        assert {letter.reason for letter in under.dead_letters()} == {"set-aside"}
    finally:
        assert mended.stop() == 0
    assert asyncio.run(differences(with_words=True)) == 0


def test_what_is_no_word_is_counted_and_passed_over_and_the_words_behind_it_count() -> None:
    schemas = Frames()
    place = journal_pb2.Position(topic_id=b"J" * 16, partition=2, offset=7)
    word = schemas.frame("set-aside", journal_pb2.SetAside(place=place, digest=b"d" * 16))
    elsewhere = journal_pb2.SetAside(place=journal_pb2.Position(topic_id=b"K" * 16, partition=3), digest=b"d" * 16)
    values = (b"junk", None, schemas.frame("set-aside", elsewhere), word)

    async def records() -> AsyncIterator[list[Record]]:
        yield [Record("junk.set-aside", 0, offset, 0, None, value) for offset, value in enumerate(values)]

    words = messages(schemas, "set-aside", records())
    found = asyncio.run(set_aside.passed_over(words, journal_id=b"J" * 16))
    expected = set_aside.Aside()
    expected.add(b"d" * 16, offset=7)
    assert found == {2: expected}
    assert SKIPPED["junk.set-aside",] == 1


def taken(under: Topics, partition: int) -> bool:
    """Whether all that stands in this partition of the journal is committed."""
    return under.committed("core", "journal", partition=partition) == under.end("journal", partition=partition)
