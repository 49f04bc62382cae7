"""Gives everybody of a folder from before a pseudonym: a new journal begins with each person as they stand, and the old one goes.

It works on servers alone, while nothing of ours runs. First all is staged on disk, sealed; from then on each step may be done again,
so that a kill at any moment is made good by the next call. It makes no decision and folds nothing: the workers do, at the next start.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from psycopg import sql
from valkey import Valkey

from agents import erasure, set_aside
from agents.learn import mark_of
from agents.rows import read_rows
from agents.step import STEP_VERSION
from connectors.key_files import KeyFiles
from deploy.cut import READERS, lag
from deploy.journal import newest_version
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder, write_private
from deploy.stack.topics import admin, ensure_topics
from oo.v1.audit_pb2 import AuditEntry
from oo.v1.dead_letter_pb2 import DeadLetter
from oo.v1.decision_pb2 import Decision, Tip
from oo.v1.journal_pb2 import JournalRecord, Moved
from oo.v1.key_pb2 import WrappedKey
from oo.v1.outcome_pb2 import Outcome
from oo.v1.row_pb2 import UserRow
from oo.v1.settings_pb2 import Settings
from streams.cipher import KEY_BYTES
from streams.cluster import Cluster
from streams.day_keys import NOBODYS
from streams.frames import Frames
from streams.keys import Keys, Wrapped, about, home, name_of
from streams.messages import messages, read
from streams.partitioner import partition_of
from streams.producer import Producer
from streams.reader import read_partition, topic_id
from streams.record import Record
from streams.schemas import Schemas
from streams.sealing import KEY_ID_BYTES, KeyMissing, NotOpened, Sealing, T, open_row, opened, seal
from streams.topics import PARTITIONS
from streams.wire import BadFrame
from tables import ids
from tables.pseudonyms import SECRET_BYTES, Pseudonyms
from tables.row import spelled_out

STAYS: Final = ("signals", "reactions", "subject-requests", "policies", "promotions", "estimates")
"""Topics that no pseudonym changes; every other one is made anew."""
STAGED: Final = ("keys", "journal", "audit", "dead-letters")
"""Topics that do not begin empty."""
_NOTED: Final = "SELECT obj_description('recommender'::regnamespace, 'pg_namespace')"
WRITER: Final = "moving/1"
GONE_S: Final = 120.0
MESSAGE_BYTES_MAX: Final = 2_000_000


class CannotMove(Exception):
    """Nothing was changed; says what to do first."""


@dataclass(slots=True)
class Move:
    """One folder's. `told` hears which step is done."""

    stack: RunningStack
    told: Callable[[str], None]
    folder: Path = field(init=False)
    pseudonyms: Pseudonyms = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.stack.folder.moving_dir

    async def run(self) -> int:
        """All of it, or what is left of it, but for `finish`; returns how many people there are."""
        await self._step("staged", self._stage)
        self.pseudonyms = Pseudonyms.in_file(self.folder / "name.key")
        await self._step("history", self._history)
        await self._step("topics", self._topics)
        people = sum(1 for line in self._lines("journal") if line["key"])
        await self._step("stores", self._stores)
        return people

    async def _step(self, name: str, do: Callable[[], Any]) -> None:
        """Does it where it was not done to the end."""
        done = self.folder / f"{name}.done"
        if done.exists():
            return
        await do()
        write_private(done, b"")
        self.told(name)

    # -- staging: nothing is changed but the folder

    async def _stage(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        self.pseudonyms = Pseudonyms(secrets.token_bytes(SECRET_BYTES))
        write_private(self.folder / "name.key", self.pseudonyms.secret)
        cluster = self.stack.as_admin.cluster
        await _check_settled(cluster)
        schemas = Schemas(cluster)
        await schemas.register()
        try:
            with contextlib.ExitStack() as stack:
                files = {name: stack.enter_context(_whole(self.folder / name)) for name in STAGED}
                await self._write(schemas, files)
        finally:
            schemas.close()

    async def _write(self, schemas: Schemas, files: Mapping[str, TextIO]) -> None:
        """What the new topics begin with."""
        cluster, kek = self.stack.as_admin.cluster, KeyFiles(self.stack.kek_dir)
        keys, new = await read_keys(cluster, self.stack.kek_dir), _no_keys(kek)

        def put(whose: bytes, number: int, one: Wrapped) -> None:
            word = schemas.frame("keys", WrappedKey(kek_id=one.kek_id, wrapped=one.wrapped))
            _put(files["keys"], number, name_of(whose, one.id), word)
            new.put(whose, one)

        for whose in keys.holders():
            if whose.startswith(NOBODYS):
                for one in keys.held(whose):
                    put(whose, home(whose), one)
        if (mark := await _mark(cluster)) is not None:
            for number in range(PARTITIONS):
                _put(files["journal"], number, None, schemas.frame("journal", mark))
        async for user, moved, has_left in _people(cluster, keys, self._names()):
            whose = self.pseudonyms.of(user).encode()
            number = partition_of(whose, PARTITIONS)
            if not has_left:
                put(whose, number, _new_key(kek, whose))
            record = JournalRecord(
                record_id=hashlib.blake2b(b"moved" + whose, digest_size=16).digest(),
                writer=WRITER,
                step_version=STEP_VERSION,
                moved=moved,
            )
            # Who left has no key, and nothing of theirs is in it.
            value = (
                schemas.frame("journal", record)
                if has_left
                else Sealing(schemas, new).frame("journal", record, whose=whose)
            )
            if len(value) > MESSAGE_BYTES_MAX:
                raise CannotMove(f"the row of {user} has {len(value)} bytes, too many for one record of the journal")
            _put(files["journal"], number, whose, value)
        await self._write_looks(schemas, files["audit"])

        def ensure(whose: bytes) -> None:
            if new.lacks(whose):
                put(whose, home(whose), _new_key(kek, whose))

        letters = Letters(schemas, Sealing(schemas, keys), Sealing(schemas, new), self.pseudonyms, ensure, cluster)
        async for records in read_partition(cluster, cluster.name("dead-letters"), 0):
            for refused in records:
                _put(files["dead-letters"], 0, refused.key, letters.renamed(refused), at_ms=refused.timestamp_ms)

    async def _write_looks(self, schemas: Schemas, file: TextIO) -> None:
        """Who looked at whom, under the pseudonym; Kafka stamps it anew, so the time is said."""
        cluster = self.stack.as_admin.cluster
        for number in range(PARTITIONS):
            records = read_partition(cluster, cluster.name("audit"), number)
            async for record, entry in messages(schemas, "audit", records):
                if isinstance(entry, AuditEntry):
                    whose = self.pseudonyms.of(record.key.decode()).encode() if record.key else None
                    entry.command += (
                        f", {datetime.fromtimestamp(record.timestamp_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
                    )
                    value = schemas.frame("audit", entry)
                    _put(file, partition_of(whose, PARTITIONS) if whose else number, whose, value)

    def _names(self) -> Names:
        return Names(self.pseudonyms, self.stack.mac_key_file.read_bytes())

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        with (self.folder / name).open() as file:
            yield from map(json.loads, file)

    def _new_keys(self) -> Keys:
        new = _no_keys(KeyFiles(self.stack.kek_dir))
        for offset, line in enumerate(self._lines("keys")):
            new.take(
                Record(
                    "", line["partition"], offset, 0, base64.b64decode(line["key"]), base64.b64decode(line["value"]), ()
                )
            )
        return new

    # -- steps that may be done again

    async def _history(self) -> None:
        """PostgreSQL in one transaction, which notes that it was made."""
        old, new, names = (
            await read_keys(self.stack.as_admin.cluster, self.stack.kek_dir),
            self._new_keys(),
            self._names(),
        )
        with psycopg.connect(self.stack.dsn("postgres")) as database:
            (noted,) = database.execute(_NOTED).fetchone() or ("",)
            if noted != self.pseudonyms.id:
                # A decision's scores are renamed before it is.
                database.execute("SET LOCAL session_replication_role = replica")
                for table, kind in (("decisions", Decision), ("outcomes", Outcome)):
                    _rename(database, table, kind, old=old, new=new, names=names)
                found = database.execute("SELECT DISTINCT user_id FROM recommender.erased").fetchall()
                for (user,) in found:
                    change = "UPDATE recommender.erased SET user_id = %s WHERE user_id = %s"
                    database.execute(change, (self.pseudonyms.of(user), user))
                note = sql.SQL("COMMENT ON SCHEMA recommender IS {}").format(sql.Literal(self.pseudonyms.id))
                database.execute(note)
        # What an update leaves behind would tell who had which pseudonym.
        with psycopg.connect(self.stack.dsn("postgres"), autocommit=True) as database:
            for table in ("decisions", "tip_scores", "outcomes", "erased"):
                database.execute(sql.SQL("VACUUM FULL {}").format(sql.Identifier("recommender", table)))

    async def _topics(self) -> None:
        """Made anew, and what was staged written to them."""
        cluster = self.stack.as_admin.cluster
        anew = [topic for name, topic in cluster.topics.items() if name not in STAYS]
        for name in STAGED:
            (self.folder / name).stat()  # Nothing is deleted of which nothing is left to write.
        client = admin(cluster)
        for future in client.delete_topics([topic.name for topic in anew]).values():
            with contextlib.suppress(KafkaException):  # Gone since the last call.
                future.result(60)
        await _until_gone(cluster, {topic.name for topic in anew})
        ensure_topics(cluster)
        for process in ("core", "publish", "record"):
            places = [TopicPartition(topic.name, number, 0) for topic in anew for number in range(topic.partitions)]
            asked = ConsumerGroupTopicPartitions(cluster.group(process), places)
            for answer in client.alter_consumer_group_offsets([asked]).values():
                answer.result(60)
        producer = Producer(cluster, client_id="oo-moving")
        try:
            for name in STAGED:
                for line in self._lines(name):
                    await producer.room()
                    producer.produce(
                        cluster.name(name),
                        key=base64.b64decode(line["key"]) if line["key"] else None,
                        value=base64.b64decode(line["value"]),
                        partition=line["partition"],
                        timestamp_ms=line["at_ms"],
                    )
                await producer.acknowledged()
        finally:
            await producer.close()

    async def _stores(self) -> None:
        """What is filled again from the new topics."""
        with Valkey.from_url(self.stack.as_admin.valkey_url) as valkey:
            valkey.flushdb()
        # Of the old journal, and under people's own names.
        shutil.rmtree(self.stack.folder.snapshots_dir, ignore_errors=True)
        for path in self.stack.folder.data("").glob("core-*/rows"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.stack.folder.data("shadow").glob("shadow.sqlite*"):
            path.unlink()


def finish(folder: StateFolder) -> None:
    """The last step, once the servers have ended and all of theirs is on the disk: from here on people have pseudonyms."""
    staged = folder.moving_dir
    folder.use_name_key((staged / "name.key").read_bytes())
    # At one moment: a part of it would be taken for a move that has to go on, and makes topics anew.
    staged.rename(folder.moved_dir)
    shutil.rmtree(folder.moved_dir)


@dataclass(frozen=True, slots=True)
class Names:
    """New names for old ones, the same at each call."""

    pseudonyms: Pseudonyms
    mac_key: bytes

    def decision(self, user: str, decision_id: str) -> str:
        """Empty for none: a decision that supersedes nothing."""
        raw = ids.packed(decision_id)
        return ids.spelled(self.decision_bytes(user, raw)) if raw else decision_id

    def decision_bytes(self, user: str, raw: bytes) -> bytes:
        return ids.decision_bytes(self.pseudonyms.of(user), record_id=raw, mac_key=self.mac_key)

    def outcome(self, user: str, outcome_id: str) -> str:
        return ids.outcome_id(self.pseudonyms.of(user), record_id=outcome_id.encode(), index=0)


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters under new names. `ensure` makes a key for somebody who has none."""

    frames: Frames
    old: Sealing
    new: Sealing
    pseudonyms: Pseudonyms
    ensure: Callable[[bytes], None]
    cluster: Cluster

    def renamed(self, record: Record) -> bytes:
        """The value of the same letter, sealed anew. What nobody can open keeps what stands open of it, under the pseudonym."""
        kept = read(self.frames, "dead-letters", record)
        if not isinstance(kept, DeadLetter):
            return record.value or b""
        whose = kept.whose if kept.whose.startswith(NOBODYS) or not kept.whose else self._of(kept.whose)
        try:
            letter = opened(kept, whose=kept.whose, keys=self.old.keys)
        except (KeyMissing, NotOpened):
            kept.whose = whose
            return self.frames.frame("dead-letters", kept)
        if letter.reason == set_aside.REASON and letter.topic == self.cluster.name("journal"):
            self._seal_record(letter)
        letter.whose = whose
        if whose:
            self.ensure(whose)
        return self.new.frame("dead-letters", letter, whose=whose)

    def _seal_record(self, letter: DeadLetter) -> None:
        """The journal record that it holds, under the pseudonym too."""
        whose = self._of(letter.original_key)
        with contextlib.suppress(KeyMissing, BadFrame):
            inside = self.old.unframe("journal", letter.original, whose=letter.original_key)
            self.ensure(whose)
            letter.original = self.new.frame("journal", inside, whose=whose)
            letter.original_length, letter.original_key = len(letter.original), whose
            letter.original_sha256 = hashlib.sha256(letter.original).digest()

    def _of(self, whose: bytes) -> bytes:
        return self.pseudonyms.of(whose.decode(errors="replace")).encode()


async def _check_settled(cluster: Cluster) -> None:
    """Raises CannotMove where something behind the door was not taken by whom it is for."""
    behind = [
        name
        for name, process in READERS.items()
        if name not in STAYS and await lag(cluster, cluster.name(name), cluster.group(process))
    ]
    if behind:
        raise CannotMove(
            f"not all of {', '.join(behind)} has been taken: start the stack once more ('oo up'), and end it when 'oo status' shows no lag"
        )


async def _mark(cluster: Cluster) -> JournalRecord | None:
    """Of the newest version: what everybody's next decision is made with."""
    latest = await newest_version(cluster)
    return None if latest is None else mark_of(latest)


async def _people(cluster: Cluster, keys: Keys, names: Names) -> AsyncIterator[tuple[str, Moved, bool]]:
    """Everybody who has a row, as they are to be in the new journal, and whether they have left."""
    journal_id = await topic_id(cluster, "journal")
    for number in range(PARTITIONS):
        rows = await read_rows(read_partition(cluster, cluster.name("rows"), number, ours=True), journal_id=journal_id)
        tips = await _newest(cluster, "tips", number, Tip, journal_id)
        settings = await _newest(cluster, "settings", number, Settings, journal_id)
        for user, sealed in rows.items():
            whose = user.encode()
            row = UserRow.FromString(open_row(sealed, whose=whose, keys=keys))
            moved = Moved(row=renamed(row, names).SerializeToString(deterministic=True))
            if not (has_left := erasure.is_stub(row)):
                if whose in tips:
                    tip = opened(tips[whose], whose=whose, keys=keys)
                    tip.decision_id = names.decision(user, tip.decision_id)
                    moved.tip = tip.SerializeToString(deterministic=True)
                if whose in settings:
                    moved.settings = opened(settings[whose], whose=whose, keys=keys).SerializeToString(
                        deterministic=True
                    )
            yield user, moved, has_left


def renamed(row: UserRow, names: Names) -> UserRow:
    """The same under the pseudonym. Places in it are of the public topics, which stay."""
    user, new = row.user_id, spelled_out(row)
    new.user_id = names.pseudonyms.of(user)
    for pending in new.pending:
        pending.decision_id = names.decision_bytes(user, pending.decision_id)
    return new


async def _newest(cluster: Cluster, name: str, number: int, kind: type[T], journal_id: bytes) -> Mapping[bytes, T]:
    """Of each person the one that stands, sealed as it is."""
    found: dict[bytes, Any] = {}
    async for records in read_partition(cluster, cluster.name(name), number):
        for record in records:
            message: Any = read(Frames(), name, record) if record.value is not None else None
            if not isinstance(message, kind) or record.key is None:
                continue
            known = found.get(record.key)
            at = message.journal  # type: ignore[attr-defined]  # both kinds have one
            of_this = at.topic_id == journal_id, at.offset
            if known is None or of_this >= (known.journal.topic_id == journal_id, known.journal.offset):
                found[record.key] = message
    return found


def _new_key(kek: KeyFiles, whose: bytes) -> Wrapped:
    key_id = secrets.token_bytes(KEY_ID_BYTES)
    return Wrapped(key_id, *kek.wrap(secrets.token_bytes(KEY_BYTES), about(whose, key_id)))


def _rename(
    database: psycopg.Connection, table: str, kind: type[Decision | Outcome], *, old: Keys, new: Keys, names: Names
) -> None:
    """Every row of a table under new names, in the transaction that is open."""
    own = "decision_id" if table == "decisions" else "outcome_id"
    select = sql.SQL("SELECT {}, user_id, message FROM {}").format(
        sql.Identifier(own), sql.Identifier("recommender", table)
    )
    change = sql.SQL("UPDATE {} SET {} WHERE {} = %(was)s").format(
        sql.Identifier("recommender", table),
        sql.SQL(
            "decision_id = %(decision)s, user_id = %(user)s, supersedes = %(supersedes)s, message = %(message)s"
            if table == "decisions"
            else "outcome_id = %(outcome)s, decision_id = %(decision)s, user_id = %(user)s, message = %(message)s"
        ),
        sql.Identifier(own),
    )
    with database.cursor(name=f"moving_{table}", withhold=False) as cursor:
        cursor.itersize = 500
        cursor.execute(select)
        for was, user, message in cursor:
            said: Any = opened(kind.FromString(message), whose=user.encode(), keys=old)
            whose = names.pseudonyms.of(said.user_id)
            said.decision_id = names.decision(said.user_id, said.decision_id)
            values = {"was": was, "user": whose, "decision": said.decision_id}
            if isinstance(said, Decision):
                said.supersedes = names.decision(said.user_id, said.supersedes)
                values["supersedes"] = said.supersedes
                database.execute(
                    "UPDATE recommender.tip_scores SET decision_id = %s WHERE decision_id = %s", (said.decision_id, was)
                )
            else:
                said.outcome_id = names.outcome(said.user_id, said.outcome_id)
                values["outcome"] = said.outcome_id
            said.user_id = whose
            values["message"] = seal(said, whose=whose.encode(), keys=new).SerializeToString(deterministic=True)
            database.execute(change, values)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A file of its owner's alone that is on the disk when this ends."""
    with path.open("w") as file:
        path.chmod(0o600)
        yield file
        file.flush()
        os.fsync(file.fileno())


def _put(file: TextIO, partition: int, key: bytes | None, value: bytes, *, at_ms: int | None = None) -> None:
    line = {
        "partition": partition,
        "at_ms": at_ms,
        "key": base64.b64encode(key).decode() if key else "",
        "value": base64.b64encode(value).decode(),
    }
    file.write(json.dumps(line) + "\n")


async def _until_gone(cluster: Cluster, names: set[str]) -> None:
    async with asyncio.timeout(GONE_S):
        while names & admin(cluster).list_topics(timeout=30).topics.keys():  # noqa: ASYNC110 - nobody else waits here
            await asyncio.sleep(0.1)


def _no_keys(kek: KeyFiles) -> Keys:
    """A table that follows no topic, and has nobody's yet."""

    async def nothing() -> dict[int, int]:
        return {}

    async def none(_: int, __: int, ___: int) -> AsyncIterator[list[Record]]:
        for records in list[list[Record]]():
            yield records

    return Keys(kek, ends=nothing, read=none)
