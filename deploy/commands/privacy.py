"""`oo privacy status`: of somebody who left, per place what is gone and what waits. It only reads, and counts what it finds."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from valkey.exceptions import ValkeyError

from connectors.key_files import KeyFiles
from connectors.leaving import leavers_of
from connectors.valkey import TipStore
from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.lakes import remembered
from deploy.letters import letters
from deploy.rows import row_of
from deploy.stack.running import RunningStack
from oo.v1.erased_pb2 import Erased
from oo.v1.subject_request_pb2 import SubjectRequest
from streams.frames import Frames
from streams.keys import split
from streams.messages import messages
from streams.partitioner import partition_of
from streams.reader import read_partition
from streams.record import Record
from streams.topics import ENTRANCES, Topic
from streams.units import DAY_MS, HOUR_MS
from tables.leavers import Leavers
from tables.pseudonyms import Pseudonyms
from tables.snapshots import Damaged, Reading

NOBODY = Leavers(b"")

_KEYED = (
    *("signals", "reactions", "subject-requests", "journal", "rows", "decisions", "outcomes", "tips", "settings"),
    *("shadows", "candidate-requests", "shadow-candidates", "deliveries"),
)
"""Topics whose records have the person as their key."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place, and what was found there."""

    place: str
    gone: bool
    found: str


def status(
    user: Annotated[str | None, typer.Option("--user", "-u", help="Who left.")] = None,
    receipt: Annotated[str | None, typer.Option("--receipt", help="What they were given when they left.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Of somebody who left: per place what is gone, and what waits. It looks, and trusts no date."""
    if (user is None) == (receipt is None):
        raise typer.BadParameter("name --user or --receipt")
    stack = open_state(state, "valkey_url", "recommender_dsn", "kek_dir", "name_key_file", ready=False)
    word, name, places = asyncio.run(_status(stack, user, receipt))
    if as_json:
        done = all(one.gone for one in places)
        print(
            json.dumps(
                {**_told(word, name), "done": done, "places": [asdict(one) for one in places]}, ensure_ascii=False
            )
        )
        return
    told = _told(word, name)
    again = ", and has begun again since" if told["began_again"] else ""
    print(f"{told['user']} left at {told['erased_at']}, receipt {told['receipt']}{again}")
    table = Table("place", "", "found")
    for one in places:
        table.add_row(one.place, "gone" if one.gone else "waits", one.found)
    Console(highlight=False).print(table)
    waiting = sum(not one.gone for one in places)
    print(f"not done: {waiting} places still hold something of before" if waiting else "done")


def _told(word: Erased, name: str) -> dict[str, object]:
    return {
        "user": name or word.user_id,
        "receipt": word.receipt,
        "erased_at": datetime.fromtimestamp(word.erased_ms / 1000, UTC).isoformat(timespec="seconds"),
        "began_again": word.HasField("began_again"),
    }


async def _status(stack: RunningStack, user: str | None, receipt: str | None) -> tuple[Erased, str, list[Place]]:
    """What is said of them, their own name where it is known, and the places."""
    leavers = await leavers_of(stack.cluster)
    word = leavers.word_of(stack.pseudonym(user)) if user else next((w for w in leavers if w.receipt == receipt), None)
    if word is None:
        raise CommandError(
            f"{user or receipt}: nobody left under that name, as far as oo.erasures says; a request is taken within a second "
            "or so while the workers run ('oo status')"
        )
    name = user or await _name_of(stack, word)
    places = [
        await _row(stack, word),
        await _key(stack, word),
        _kek(stack, word),
        await _valkey(stack, word),
        await _postgres(stack, word),
        *([await _notifier(stack, word), await _connections(stack, word)] if stack.postgres else []),
        await _model(stack, word),
        *_trained_models(stack, word),
        *([] if stack.snapshots_dir is None else [_snapshots(stack, word)]),
        *_lakes(stack, word),
        *[await _topic(stack, topic, word, name) for topic in _KEYED],
        await _letters(stack, word, name),
    ]
    return word, name, places


async def _name_of(stack: RunningStack, word: Erased) -> str:
    """The name of somebody whose receipt alone is told: it stands in their request, as long as that stands; then empty."""
    topic = stack.cluster.topics["subject-requests"]
    for number in range(topic.partitions):
        records = read_partition(stack.cluster, topic.name, number)
        async for _, request in messages(Frames(), "subject-requests", records):
            if isinstance(request, SubjectRequest) and request.request_id == word.receipt:
                return request.user_id
    return ""


async def _row(stack: RunningStack, word: Erased) -> Place:
    row = await row_of(stack, word.user_id)
    if row is None or row.left.receipt != word.receipt:
        return Place("row", gone=False, found="the row of before stands: the engine is behind")
    if row.left.began_again:
        return Place("row", gone=True, found="a row of the life that began since")
    return Place("row", gone=True, found=f"a stub of {row.ByteSize()} bytes")


async def _key(stack: RunningStack, word: Erased) -> Place:
    key, found = word.user_id.encode(), dict[bytes, bool]()
    number = partition_of(key, stack.cluster.topics["keys"].partitions)
    async for records in read_partition(stack.cluster, stack.cluster.name("keys"), number, ours=True):
        for record in records:
            named = split(record.key)
            # A key of the life that began since is made after its beginning, so behind the erasure.
            if named is not None and named[0] == key and (record.value is None or _is_before(record, word)):
                found[record.key or b""] = record.value is not None
    left = sum(found.values())
    return Place(
        "key", gone=not left, found=f"{left} keys of before" if left else "no key of before is left in the topic"
    )


def _kek(stack: RunningStack, word: Erased) -> Place:
    """Copies of the person's wrapped key may stand in segments and backups: they open with a key-encryption key of then."""
    old = [one for one in KeyFiles(stack.kek_dir).ids() if int(one.partition("-")[0]) <= word.erased_ms]
    found = "the one of then stands still, until the living are wrapped anew" if old else "the one of then is destroyed"
    return Place("key-encryption key", gone=not old, found=found)


async def _valkey(stack: RunningStack, word: Erased) -> Place:
    store = TipStore(stack.valkey_url)
    try:
        standing, settings = await store.read(word.user_id), await store.settings(word.user_id)
    except (ValkeyError, OSError, TimeoutError):
        return Place("Valkey", gone=False, found="it does not answer")
    finally:
        await store.close()
    is_old = (standing is not None and standing.offset < word.journal.offset) or (
        settings is not None and settings.journal.offset < word.journal.offset
    )
    found = "a tip or settings of before: publish is behind" if is_old else "no tip and no settings of before"
    return Place("Valkey", gone=not is_old, found=found)


async def _postgres(stack: RunningStack, word: Erased) -> Place:
    rows = 0
    try:
        async with await psycopg.AsyncConnection.connect(stack.recommender_dsn, connect_timeout=5) as connection:
            for table in (b"decisions", b"outcomes"):
                query = b"SELECT count(*) FROM recommender." + table + b" WHERE user_id = %s AND journal_offset <= %s"
                cursor = await connection.execute(query, (word.user_id, word.journal.offset))
                rows += (await cursor.fetchone() or (0,))[0]
    except psycopg.Error:
        return Place("PostgreSQL", gone=False, found="it does not answer")
    return Place("PostgreSQL", gone=not rows, found=f"{rows} rows of before")


async def _connections(stack: RunningStack, word: Erased) -> Place:
    try:
        async with await psycopg.AsyncConnection.connect(stack.dsn("integrations"), connect_timeout=5) as connection:
            query = b"SELECT count(*) FROM integrations.connections WHERE user_id = %s AND created_ms <= %s"
            row = await (await connection.execute(query, (word.user_id, word.erased_ms))).fetchone()
    except psycopg.Error:
        return Place("connections", gone=False, found="PostgreSQL does not answer")
    left = 0 if row is None else row[0]
    return Place("connections", gone=not left, found=f"{left} connections of before")


async def _notifier(stack: RunningStack, word: Erased) -> Place:
    """Of a local stack: elsewhere the operator does not sign in as `notify` does."""
    place, rows = word.journal.offset, 0
    try:
        async with await psycopg.AsyncConnection.connect(stack.dsn("notifier"), connect_timeout=5) as connection:
            for query, before in (
                (b"SELECT count(*) FROM notifier.standing WHERE user_id = %s AND journal_offset <= %s", place),
                (b"SELECT count(*) FROM notifier.deliveries WHERE user_id = %s AND journal_offset <= %s", place),
                (b"SELECT count(*) FROM notifier.devices WHERE user_id = %s AND made_ms <= %s", word.erased_ms),
            ):
                cursor = await connection.execute(query, (word.user_id, before))
                rows += (await cursor.fetchone() or (0,))[0]
    except psycopg.Error:
        return Place("devices and what they were told", gone=False, found="PostgreSQL does not answer")
    return Place("devices and what they were told", gone=not rows, found=f"{rows} rows of before")


def _trained_models(stack: RunningStack, word: Erased) -> list[Place]:
    from connectors.model_registry import RegistryFault
    from deploy.models.due import FORGETS_MS, may_hold
    from deploy.models.places import registry_of

    try:
        versions = registry_of(stack).versions()
    except RegistryFault:
        return [Place("trained models", gone=False, found="their registry does not answer")]
    held = [one.spelled for one in versions if may_hold(one, word)]
    by = datetime.fromtimestamp((word.erased_ms + FORGETS_MS) / 1000, UTC).date()
    found = f"{', '.join(held)} may have been made with them: retired by {by}" if held else "none was made with them"
    return [Place("trained models", gone=not held, found=found)]


async def _model(stack: RunningStack, word: Erased) -> Place:
    from deploy.journal import newest_version

    latest = await newest_version(stack.cluster)
    if latest is None:
        return Place("model", gone=True, found="no version was made yet")
    place = word.journal
    covers = next(
        (one.offset for one in latest.inputs if (one.topic_id, one.partition) == (place.topic_id, place.partition)), -1
    )
    if covers >= place.offset:
        return Place("model", gone=True, found=f"version {latest.sequence} is without them; older ones stay in the log")
    return Place("model", gone=False, found=f"version {latest.sequence} was made before; the next one is without them")


def _snapshots(stack: RunningStack, word: Erased) -> Place:
    key, place, found, unread = word.user_id.encode(), word.journal, 0, 0
    for one in stack.snapshots(place.topic_id).all(place.partition):
        # One that goes meanwhile holds nobody.
        with suppress(FileNotFoundError):
            try:
                with Reading(one.path) as reading:
                    found += one.offset < place.offset and any(key == whose for whose, _ in reading.rows(NOBODY))
            except Damaged:
                unread += one.offset < place.offset
    said = f"{found} with a row of before"
    if found:
        said += ", passed over unread, until the journal is trimmed"
    if unread:
        said += f"; {unread} of before are damaged and cannot be read: they go with the journal"
    return Place("row snapshots", gone=not (found or unread), found=said)


def _lakes(stack: RunningStack, word: Erased) -> list[Place]:
    if not (folders := remembered(stack)):
        return []
    from deploy.lake.rewriting import rows_of

    found = []
    for folder in folders:
        try:
            rows = rows_of(folder, lambda person, at: person == word.user_id and at < word.journal.offset)
        except FileNotFoundError:
            found.append(Place(f"lake {folder}", gone=False, found="its files are being written anew: ask again"))
            continue
        said = f"{rows} rows of before" + (", until 'oo lake forget'" if rows else "")
        found.append(Place(f"lake {folder}", gone=not rows, found=said))
    return found


async def _topic(stack: RunningStack, short: str, word: Erased, name: str) -> Place:
    topic, key, found = stack.cluster.topics[short], word.user_id.encode(), 0
    is_outside, pseudonyms = short in ENTRANCES.values(), Pseudonyms.in_file(stack.name_key_file)
    for number in range(topic.partitions) if is_outside else [partition_of(key, topic.partitions)]:
        async for records in read_partition(stack.cluster, topic.name, number, ours=short == "rows"):
            for record in records:
                if is_outside:
                    # Producers may write under any key: what holds the id counts, also as a part of another's.
                    said = pseudonyms.of((record.key or b"").decode(errors="replace"))
                    is_theirs = said == word.user_id or bool(name and name.encode() in (record.value or b""))
                else:
                    is_theirs = record.key == key
                # Of the journal the erasure's own place tells; elsewhere nothing of before is written behind it.
                is_before = record.offset < word.journal.offset if short == "journal" else _is_before(record, word)
                found += is_before and is_theirs
    return Place(
        topic.name, gone=not found, found=f"{found} records of before" + (f", {_until(topic)}" if found else "")
    )


def _until(topic: Topic) -> str:
    """How long what stands there may be found on a broker's disk, as streams/topics.py promises."""
    hours = topic.gone_ms // HOUR_MS
    if topic.cleanup == "compact":
        return f"until Kafka has cleaned up, {hours} hours at the most"
    if topic.trimmed:
        return "passed over unread by every fold, until the journal is trimmed"
    days = "OO_PUBLIC_DAYS" if topic.public else f"{topic.retention_ms // DAY_MS} days"
    return f"until their time is over, {days} and {hours} hours at the most"


def _is_before(record: Record, word: Erased) -> bool:
    return record.timestamp_ms < word.erased_ms


async def _letters(stack: RunningStack, word: Erased, name: str) -> Place:
    topic, key, found = stack.cluster.topics["dead-letters"], word.user_id.encode(), 0
    for one in await letters(stack.cluster, stack.kek_dir):
        # Sealed with a key of theirs, or with the door's, and then it holds their own name.
        is_theirs = one.message.whose == key or (name or word.user_id).encode() in one.message.SerializeToString()
        found += is_theirs and one.message.refused_ms < word.erased_ms
    return Place(
        topic.name, gone=not found, found=f"{found} letters that name them" + (f", {_until(topic)}" if found else "")
    )
