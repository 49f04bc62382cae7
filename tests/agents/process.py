"""A process of ours on real servers, with topics of its own: to start, stop and kill, and to speak to through Kafka."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka import Producer as PlainProducer
from confluent_kafka.admin import AdminClient
from google.protobuf.message import Message

from connectors.key_files import KeyFiles
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from deploy.stack.topics import ensure_topics
from oo.v1.dead_letter_pb2 import DeadLetter
from oo.v1.key_pb2 import WrappedKey
from streams.cipher import KEY_BYTES
from streams.keys import Keys, about, name_of
from streams.partitioner import partition_of
from streams.reader import committed, end_offsets, read_partition, topic_ids
from streams.record import Record
from streams.schemas import Schemas
from streams.sealing import KEY_ID_BYTES, NO_KEYS, Sealing, opened
from streams.topics import PARTITIONS
from tests.agents.forks import Forked, fork
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


def until(done: Callable[[], bool], *, alive: AgentProcess | None = None) -> None:
    """Wait until it is so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"it did not come to be:\n{alive.log() if alive else ''}")
        time.sleep(0.05)


class Topics:
    """Topics and subjects under a prefix that nobody else uses."""

    def __init__(self, servers: RunningStack, *, bootstrap: str | None = None) -> None:
        self.prefix = f"t{uuid.uuid4().hex[:8]}."
        self.cluster = replace(servers.cluster, bootstrap=bootstrap or servers.cluster.bootstrap, prefix=self.prefix)
        self._kek_dir = servers.kek_dir
        self._bootstrap = servers.cluster.bootstrap
        ensure_topics(self.cluster)
        self._names = {short: topic.name for short, topic in self.cluster.topics.items()}
        self.schemas_file = servers.folder.schemas_file.with_name(f"schemas-{self.prefix}json")
        self._keep_schemas(servers.folder.schemas_file)
        self._schemas = Schemas(self.cluster, kept=self.schemas_file)
        asyncio.run(self._schemas.register())
        self.look_anew()

    def _keep_schemas(self, of_the_stack: Path) -> None:
        """A registry gives a schema the same id under every subject: what was learned of the stack's topics holds for these, and
        nobody has to be asked. Registering them took 1.7 s of processor time a test."""
        kept = json.loads(of_the_stack.read_text())
        self.schemas_file.write_text(json.dumps({**kept, "of": Schemas(self.cluster)._digest()}))

    def look_anew(self) -> None:
        """Write as a client that has just come, and knows of partitions that were added since."""
        self._producer = PlainProducer({"bootstrap.servers": self.cluster.bootstrap, "partitioner": "murmur2_random"})

    def close(self) -> None:
        """Delete them: the broker that all tests share has room for a few thousand partitions, and then stands still for seconds."""
        self._schemas.close()
        client = AdminClient({"bootstrap.servers": self._bootstrap})
        for future in client.delete_topics(list(self._names.values())).values():
            with suppress(KafkaException):
                future.result()

    def topic_id(self, short: str) -> bytes:
        return asyncio.run(topic_ids(self.cluster, [self._names[short]]))[self._names[short]]

    def produce(self, short: str, values: Sequence[Message | bytes], *, partition: int = 0, key: bytes = b"k") -> None:
        """Return once Kafka has them all."""
        for value in values:
            data = value if isinstance(value, bytes) else self._schemas.frame(short, value)
            self._producer.produce(self._names[short], key=key, value=data, partition=partition)
        assert self._producer.flush(PATIENCE_S) == 0

    def give_key(self, whose: str) -> None:
        """Make somebody a key, as a door does where they are new."""
        key_id, kek = secrets.token_bytes(KEY_ID_BYTES), KeyFiles(self._kek_dir)
        kek_id, wrapped = kek.wrap(secrets.token_bytes(KEY_BYTES), about(whose.encode(), key_id))
        word, name = WrappedKey(kek_id=kek_id, wrapped=wrapped), name_of(whose.encode(), key_id)
        self.produce("keys", [word], key=name, partition=partition_of(whose.encode(), PARTITIONS))

    def bury(self, short: str, *, key: bytes, partition: int) -> None:
        """Write a tombstone."""
        self._producer.produce(self._names[short], key=key, value=None, partition=partition)
        assert self._producer.flush(PATIENCE_S) == 0

    def read(self, short: str, *, partition: int = 0) -> list[Record]:
        async def all_of_it() -> list[Record]:
            lists = read_partition(self.cluster, self._names[short], partition)
            return [record async for records in lists for record in records]

        return asyncio.run(all_of_it())

    def keys(self) -> Keys:
        """Everybody's, as they stand now."""
        return asyncio.run(read_keys(self.cluster, self._kek_dir))

    def messages(self, short: str, *, partition: int = 0) -> list[Message]:
        """Opened where they are sealed."""
        records = self.read(short, partition=partition)
        sealing = Sealing(self._schemas, self.keys())
        return [sealing.unframe(short, record.value, whose=record.key or b"") for record in records]

    def dead_letters(self) -> list[DeadLetter]:
        """Opened."""
        letters, records = [], self.read("dead-letters")
        keys = self.keys() if records else NO_KEYS
        for record in records:
            letter = self._schemas.unframe("dead-letters", record.value)
            assert isinstance(letter, DeadLetter)
            letters.append(opened(letter, whose=letter.whose, keys=keys) if letter.sealed else letter)
        return letters

    def committed(self, process: str, short: str, *, partition: int = 0) -> int:
        """The group's committed offset; 0 before the first."""
        return asyncio.run(committed(self.cluster, self.cluster.group(process), self._names[short]))[partition] or 0

    def forget_commits(self, process: str, shorts: Sequence[str]) -> None:
        """Set a group that nobody is in back to the beginning of these topics."""
        places = [
            TopicPartition(self._names[short], number, 0)
            for short in shorts
            for number in range(self.cluster.topics[short].partitions)
        ]
        admin = AdminClient({"bootstrap.servers": self.cluster.bootstrap})
        asked = ConsumerGroupTopicPartitions(self.cluster.group(process), places)
        [answer] = admin.alter_consumer_group_offsets([asked]).values()
        answer.result(PATIENCE_S)

    def end(self, short: str, *, partition: int = 0) -> int:
        return asyncio.run(end_offsets(self.cluster, self._names[short]))[partition]


def nameless(folder: Path) -> Path:
    """A file without a secret: names stay as they are, as in a folder from before there were pseudonyms."""
    path = folder / "name.key"
    path.touch()
    return path


class AgentProcess:
    """`python -m agents NAME` as the supervisor starts it."""

    def __init__(
        self,
        name: str,
        servers: RunningStack,
        under: Topics,
        folder: Path,
        more: Mapping[str, str],
        *,
        module: str = "agents",
    ) -> None:
        self.name = name
        self._module = module
        self._log = folder / f"{name}.log"
        self._environment = {
            **servers.environment(name),
            "OO_TOPIC_PREFIX": under.prefix,
            "OO_SCHEMAS_FILE": str(under.schemas_file),
            # The group outlives a test: a name of its own lets the next test's process in at once.
            "OO_WORKER_ID": f"{name}-{uuid.uuid4().hex[:6]}",
            "OO_DATA_DIR": str(folder / name),
            # Everybody is called as the test calls them; tests/e2e has people under pseudonyms.
            "OO_NAME_KEY_FILE": str(nameless(folder)),
            "OO_ROW_SNAPSHOTS_DIR": str(folder / "snapshots"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}",
            "PATH": os.environ["PATH"],
            **more,
        }
        self._process: Forked | None = None

    def start(self) -> Self:
        module, env, cwd = (self._module, self.name), self._environment, self._log.parent
        with self._log.open("ab") as log:
            self._process = fork(module, env=env, cwd=cwd, output=log)
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        return self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """Stop it as a machine that sleeps does; `resume` wakes it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-6000:]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        self._signal(number)
        assert self._process is not None
        return self._process.wait(PATIENCE_S)
