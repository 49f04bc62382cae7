"""All keys wrapped anew on a real Kafka: the living are read as before, and copies of the disk from before open nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.message import Message

from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Tip
from streams.key_maker import KeyMaker
from streams.keys import Keys, name_of
from streams.producer import Producer
from streams.reader import read_partition
from streams.record import Record
from streams.rotation import rotate, rotate_if_due
from streams.schemas import Schemas
from streams.sealing import KeyMissing, opened, seal
from streams.topics import PARTITIONS
from tests.agents.process import Topics

TIP = Tip(decision_id="d", title="Call the dentist")


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


@dataclass
class World:
    under: Topics
    files: KeyFiles
    keys: Keys
    maker: KeyMaker
    producer: Producer

    def anew(self, files: KeyFiles | None = None) -> Keys:
        """As another process has them."""
        return Keys.of(self.under.cluster, files or self.files)

    async def records(self) -> list[Record]:
        name, found = self.under.cluster.name("keys"), []
        for number in range(PARTITIONS):
            async for records in read_partition(self.under.cluster, name, number):
                found += records
        return found


def told(under: Topics, folder: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def tell() -> None:
        schemas = Schemas(under.cluster, kept=under.schemas_file)
        await schemas.register()
        producer, files = Producer(under.cluster), KeyFiles(folder)
        files.make()
        keys = Keys.of(under.cluster, files)
        maker = KeyMaker(keys, topic=under.cluster.name("keys"), producer=producer, frames=schemas)
        try:
            await story(World(under, files, keys, maker, producer))
        finally:
            await producer.close()
            schemas.close()

    asyncio.run(tell())


def sealed(keys: Keys, whose: bytes) -> Message:
    return seal(TIP, whose=whose, keys=keys)


def test_copies_of_the_disk_from_before_open_nothing_of_somebody_whose_keys_went(under: Topics, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.maker.ensure([b"ada", b"bob"])
        of_ada, of_bob = sealed(world.keys, b"ada"), sealed(world.keys, b"bob")
        disk = await world.records()

        await world.maker.forget(b"ada")
        # Until then the copy opens: that is why it is not done before.
        stolen = world.anew()
        for record in disk:
            stolen.take(record)
        assert opened(of_ada, whose=b"ada", keys=stolen) == TIP

        assert await rotate(world.keys, world.files, world.maker, grace_s=0) == 1
        stolen = world.anew()
        for record in disk:
            stolen.take(record)
        for whose, message in ((b"ada", of_ada), (b"bob", of_bob)):
            with pytest.raises(KeyMissing):
                opened(message, whose=whose, keys=stolen)
        # All that stands in the topic today, and today's secrets.
        today = world.anew()
        await today.catch_up()
        assert opened(of_bob, whose=b"bob", keys=today) == TIP
        with pytest.raises(KeyMissing):
            opened(of_ada, whose=b"ada", keys=today)
        assert len(world.files.ids()) == 1

    told(under, tmp_path / "kek", story)


def test_a_word_that_came_behind_a_tombstone_counts_nothing_and_is_ended_again(under: Topics, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.maker.ensure([b"ada"])
        (one,) = world.keys.held(b"ada")
        late = (await world.records())[0]
        await world.maker.forget(b"ada")
        # As another that wraps anew had read it before, and writes it now.
        await world.producer.produce(late.topic, key=late.key, value=late.value, partition=late.partition)

        await rotate(world.keys, world.files, world.maker, grace_s=0)
        assert [record.value is None for record in await world.records()] == [False, True, False, True]
        today = world.anew()
        await today.catch_up()
        assert (today.lacks(b"ada"), today.again) == (True, set())
        assert (await world.records())[-1].key == name_of(b"ada", one.id)

    told(under, tmp_path / "kek", story)


def test_a_key_that_was_wrapped_while_the_old_one_went_is_written_again(under: Topics, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        (before,) = world.files.ids()
        making = asyncio.create_task(world.maker.ensure([b"ada"]))
        await asyncio.sleep(0)  # It is wrapped with the old one, and on its way.
        world.files.make()
        world.files.destroy(before)
        await making
        today = world.anew()
        await today.catch_up()
        assert opened(sealed(world.keys, b"ada"), whose=b"ada", keys=today) == TIP
        assert len(await world.records()) == 2

    told(under, tmp_path / "kek", story)


def test_two_do_not_wrap_anew_at_once_and_one_that_was_cut_off_lost_nothing(under: Topics, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.maker.ensure([b"ada"])
        of_ada = sealed(world.keys, b"ada")
        first = asyncio.create_task(rotate(world.keys, world.files, world.maker, grace_s=60))
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            await rotate(world.keys, world.files, world.maker, grace_s=0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(world.files.ids()) == 2
        assert await rotate(world.keys, world.files, world.maker, grace_s=0) == 1
        today = world.anew()
        await today.catch_up()
        assert opened(of_ada, whose=b"ada", keys=today) == TIP

    told(under, tmp_path / "kek", story)


def test_without_the_folder_of_key_encryption_keys_nothing_is_opened(under: Topics, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.maker.ensure([b"ada"])
        of_ada = sealed(world.keys, b"ada")
        shutil.copytree(tmp_path / "kek", tmp_path / "other")
        other = KeyFiles(tmp_path / "other")
        other.destroy(other.current())
        other.make()
        stolen = world.anew(other)
        await stolen.catch_up()
        with pytest.raises(KeyMissing, match="bring it back"):
            opened(of_ada, whose=b"ada", keys=stolen)

    told(under, tmp_path / "kek", story)


def test_it_is_done_once_a_day_and_not_before(under: Topics, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.maker.ensure([b"ada"])
        before = world.files.current()
        await rotate_if_due(world.keys, world.files, world.maker)
        assert world.files.ids() == [before]
        with world.files.alone():
            await rotate_if_due(world.keys, world.files, world.maker, every_ms=0)
        assert world.files.ids() == [before]

    told(under, tmp_path / "kek", story)
