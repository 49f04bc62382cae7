"""Reads topics without a consumer group: bounded for recovery, verify and replay, endless for policies.

Never commits, and never waits for an offset that is only a hole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from functools import partial as bind
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, TopicDescription
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec

from streams.cluster import Cluster
from streams.commit_note import of_another_topic
from streams.in_order import InOrder
from streams.record import Record

T = TypeVar("T")

CONSUMED_AT_ONCE = 500
"""Ten times as many take twice the processor time: their values no longer fit the cache."""
UNHURRIED: dict[str, Any] = {"fetch.wait.max.ms": 200, "fetch.min.bytes": 64 * 1024}
"""Where nobody waits for what comes: each fetch costs the broker and the client as much as ten records do."""
TOGETHER: dict[str, Any] = {**UNHURRIED, "queued.max.messages.kbytes": 8 * 1024}
"""Of the client that follows several topics together; and how much waits in it."""
BRIEF: dict[str, Any] = {"log_level": 0}
"""For a read that ends. Closed while it still signs in elsewhere, a client would complain; what matters comes out of its calls."""
QUIET: dict[str, Any] = {"fetch.wait.max.ms": 500}
"""For topics on which little comes, which is heard at once: how often it is asked for again meanwhile."""
WAITING_MAX = 500
"""Records of a partition that have come and wait for their turn; with so many it is read no further."""
_POLL_S = 0.1
_POLL_QUIET_S = 0.5
"""Where what comes ends the wait."""
_POLL_SOON_S = 0.01
"""Where somebody waits for what stands in the log: a call returns full or when its time is over, however little has come."""
_REQUEST_TIMEOUT_S = 15.0
_PASSING = frozenset(
    (
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 (its public name)
        KafkaError._NOENT,  # noqa: SLF001 (its public name)
        KafkaError._TIMED_OUT,  # noqa: SLF001 (its public name)
        KafkaError._TRANSPORT,  # noqa: SLF001 (its public name)
    )
)
"""What Kafka says for a moment: of a partition just created or moved, and while a broker starts or wakes."""
_STALE = frozenset(
    (KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError._NOENT)  # noqa: SLF001 (its public name)
)
"""What librdkafka 2.16 goes on answering from what it knows, of a broker that has started again (for minutes), of a topic that has
just been made (for as long as it is asked ten times a second), and of one that was made anew: a new client is told anew."""
_EARLIEST, _LATEST, _NEWEST = OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp()


async def read_partition(
    cluster: Cluster,
    topic: str,
    partition: int,
    *,
    start: int = 0,
    end: int | None = None,
    ours: bool = False,
) -> AsyncIterator[list[Record]]:
    """Yield the partition's records in [start, end) in large lists; `end` None means its end now.

    Starts at the oldest record where retention has taken `start`. `ours`: only we write there, see `settings`. Raises
    KafkaException when Kafka cannot be read.
    """
    reading = _read(cluster, topic, partition, start=start, end=end, ours=ours)
    async for messages in reading:
        yield [_record(message) for message in messages]


async def read_values(
    cluster: Cluster,
    topic: str,
    partition: int,
    *,
    start: int = 0,
    end: int | None = None,
) -> AsyncIterator[list[tuple[bytes | None, bytes | None]]]:
    """As `read_partition`, of a topic that only we write; keys and values only: a third of the work."""
    async for messages in _read(cluster, topic, partition, start=start, end=end, ours=True):
        yield [(message.key(), message.value()) for message in messages]


async def _read(
    cluster: Cluster, topic: str, partition: int, *, start: int, end: int | None, ours: bool
) -> AsyncIterator[list[Message]]:
    if end is not None and start >= end:
        return
    low, high = await _bounds(cluster, topic, partition, ours=ours)
    stop = high if end is None else min(end, high)
    at = max(start, low)
    if at >= stop:
        return
    async with _open(cluster, purpose=topic, ours=ours, told=BRIEF) as (client, call):
        await call(bind(client.assign, [TopicPartition(topic, partition, at)]))
        while at < stop:
            # Not in that thread: glibc gives its memory back to the system, and asks for it anew, a record at a time.
            messages = client.consume(CONSUMED_AT_ONCE, 0)
            if not messages:
                first = await call(bind(client.poll, _POLL_SOON_S))
                messages = [] if first is None else [first, *client.consume(CONSUMED_AT_ONCE - 1, 0)]
            found = [message for message in messages if message.error() is None]
            if len(found) < len(messages):
                # The end mark carries the next offset: past compacted records and transaction markers.
                at = max(_checked_offset(message) for message in messages if message.error() is not None)
            if found:
                at = max(at, _checked_offset(found[-1]) + 1)
            if at > stop:
                found = [message for message in found if _checked_offset(message) < stop]
            if found:
                yield found
            await asyncio.sleep(0)  # Others have their turn, also where what is asked for is always there.


async def bounds(cluster: Cluster, topic: str, partition: int) -> tuple[int, int]:
    """The oldest offset that the log of a partition that only we write still has, and its high-water mark.

    Raises KafkaException.
    """
    return await _bounds(cluster, topic, partition, ours=True)


async def _bounds(cluster: Cluster, topic: str, partition: int, *, ours: bool) -> tuple[int, int]:
    # Not a consumer's `get_watermark_offsets`: on a new client one in twenty took 0.7 s instead of 3 ms.
    place = TopicPartition(topic, partition)
    isolation = IsolationLevel.READ_UNCOMMITTED if ours else IsolationLevel.READ_COMMITTED
    low, high = await asyncio.gather(
        _offsets(cluster, [place], _EARLIEST, isolation), _offsets(cluster, [place], _LATEST, isolation)
    )
    return low[partition], high[partition]


async def _offsets(
    cluster: Cluster, places: Sequence[TopicPartition], which: OffsetSpec, isolation: IsolationLevel
) -> dict[int, int]:
    found = await _offsets_at(cluster, dict.fromkeys(places, which), isolation)
    return {partition: offset for (_, partition), offset in found.items()}


async def _offsets_at(
    cluster: Cluster, wanted: dict[TopicPartition, OffsetSpec], isolation: IsolationLevel
) -> dict[tuple[str, int], int]:
    return {at: found.offset for at, found in (await _listed(cluster, wanted, isolation)).items()}


async def _listed(
    cluster: Cluster, wanted: dict[TopicPartition, OffsetSpec], isolation: IsolationLevel
) -> dict[tuple[str, int], ListOffsetsResultInfo]:
    async def ask() -> dict[tuple[str, int], ListOffsetsResultInfo]:
        admin = _admin(cluster)
        found = admin.list_offsets(wanted, isolation_level=isolation, request_timeout=_REQUEST_TIMEOUT_S)
        return {(at.topic, at.partition): await asyncio.wrap_future(future) for at, future in found.items()}

    return await _patiently(ask)


class Tail:
    """Follows all partitions of a topic from the beginning, for ever: `async for records in Tail(...)`.

    `caught_up` is set once the loop body has finished with everything that stood in the topic at the start.
    """

    def __init__(self, cluster: Cluster, topic: str, *, heard: Callable[[], None] = lambda: None) -> None:
        """`heard` is called whenever records have come."""
        self.caught_up = asyncio.Event()
        self._cluster = cluster
        self._topic = topic
        self._heard = heard

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Meanwhile nothing is fetched, so that what comes then comes together. For the loop body."""
        every = [TopicPartition(self._topic, number) for number in self._next]
        await self._call(bind(self._client.pause, every))
        try:
            yield
        finally:
            await self._call(bind(self._client.resume, every))
            # librdkafka 2.16 looks for what to fetch up to a second later, unless something wakes it. Assigned anew, the first partition
            # is asked for alone, and the others wait as long as Kafka does for a record of it.
            with suppress(KafkaException):
                await self._call(bind(self._client.seek, TopicPartition(self._topic, *next(iter(self._next.items())))))

    async def __aiter__(self) -> AsyncIterator[list[Record]]:
        places = _places(self._topic, (await described(self._cluster, [self._topic]))[self._topic])
        starts, ends = await asyncio.gather(
            *(_offsets(self._cluster, places, which, IsolationLevel.READ_COMMITTED) for which in (_EARLIEST, _LATEST))
        )
        behind = {partition for partition, end in ends.items() if end > starts[partition]}
        async with _open(self._cluster, purpose=self._topic, told=QUIET) as (client, call):
            self._client, self._call = client, call
            # By number: a new client that is told OFFSET_BEGINNING does nothing for half a second.
            await call(bind(client.assign, [TopicPartition(self._topic, *start) for start in starts.items()]))
            self._next = starts
            while True:
                if not behind:
                    self.caught_up.set()
                records: list[Record] = []
                read = bind(client.consume, CONSUMED_AT_ONCE, _POLL_SOON_S) if behind else bind(_come, client)
                for message in await call(read):
                    offset = _checked_offset(message)
                    partition = message.partition()
                    assert partition is not None
                    self._next[partition] = offset if message.error() else offset + 1
                    if self._next[partition] >= ends[partition]:
                        behind.discard(partition)
                    if not message.error():
                        records.append(_record(message))
                if records:
                    self._heard()
                    yield records


class Together:
    """Follows all partitions of some topics from given offsets, for ever, with a bound on what waits of each.

    What it reads it keeps in `order`, which says what comes next.
    """

    def __init__(self, cluster: Cluster, order: InOrder, starts: Mapping[tuple[str, int], int]) -> None:
        self._cluster = cluster
        self._order = order
        self._starts = dict(starts)
        self._paused: set[tuple[str, int]] = set()

    async def __aiter__(self) -> AsyncIterator[None]:
        """Go round after each read, whether something came or not."""
        order = self._order
        async with _open(self._cluster, purpose="together", told=TOGETHER) as (client, call):
            await call(bind(client.assign, [TopicPartition(*place, at) for place, at in self._starts.items()]))
            while True:
                await self._pause(client, call)
                found = []
                for message in await call(bind(client.consume, CONSUMED_AT_ONCE, _POLL_S)):
                    offset, place = _checked_offset(message), (message.topic() or "", message.partition() or 0)
                    if message.error():
                        order.reach(place, offset)
                    elif offset >= self._starts[place]:
                        # What a pause had dropped is read again from where it was taken.
                        self._starts[place] = offset + 1
                        found.append(_record(message))
                order.put(found)
                yield

    async def ends(self) -> dict[tuple[str, int], int]:
        """Last stable offset of each partition now."""
        wanted = {TopicPartition(*place): _LATEST for place in self._starts}
        return await _offsets_at(self._cluster, wanted, IsolationLevel.READ_COMMITTED)

    async def _pause(self, client: Consumer, call: Call[Any]) -> None:
        full = {place for place in self._starts if self._order.waiting(place) >= WAITING_MAX}
        low = {place for place in self._paused if self._order.waiting(place) < WAITING_MAX // 2}
        if full - self._paused:
            await call(bind(client.pause, [TopicPartition(*place) for place in full - self._paused]))
        if low:
            await call(bind(client.resume, [TopicPartition(*place) for place in low]))
        self._paused = (self._paused | full) - low


class Follower:
    """Follows some partitions of a topic that only we write, without a group: `async for records in Follower(...)`.

    Partitions come and go while it runs. A record is yielded at most once while its partition stays.
    """

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._next: dict[int, int] = {}
        self._changed = asyncio.Event()

    def add(self, partition: int, *, start: int) -> None:
        """Follow this partition too, from this offset on."""
        self._next[partition] = start
        self._changed.set()

    def remove(self, partition: int) -> None:
        """Follow it no more."""
        self._next.pop(partition, None)
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[list[Record]]:
        async with _open(self._cluster, purpose=self._topic, ours=True, told=UNHURRIED) as (client, call):
            while True:
                if self._changed.is_set():
                    self._changed.clear()
                    places = [TopicPartition(self._topic, number, at) for number, at in self._next.items()]
                    await call(bind(client.assign, places))
                if not self._next:
                    await self._changed.wait()
                    continue
                records: list[Record] = []
                messages = await call(bind(client.consume, CONSUMED_AT_ONCE, _POLL_S))
                if self._changed.is_set():
                    continue  # Of a partition that has gone and come again: it is read from its start.
                for message in messages:
                    offset = _checked_offset(message)
                    partition = message.partition()
                    # What was fetched before a change may belong to a partition that has gone, or come again.
                    if message.error() or partition is None or offset < self._next.get(partition, offset + 1):
                        continue
                    self._next[partition] = offset + 1
                    records.append(_record(message))
                if records:
                    yield records


class Described(NamedTuple):
    """What a topic is."""

    topic_id: bytes
    """Kafka's 16 bytes; a recreated topic has others."""
    partitions: int


async def described(cluster: Cluster, names: Sequence[str]) -> dict[str, Described]:
    """Ask for all of them at once. Raises KeyError for one that is missing."""

    async def ask() -> dict[str, Described]:
        admin = _admin(cluster)
        asked = admin.describe_topics(TopicCollection(list(names)), request_timeout=_REQUEST_TIMEOUT_S)
        found = {}
        for name, future in asked.items():
            try:
                one = await asyncio.wrap_future(future)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise KeyError(name) from error
                raise
            found[name] = Described(_id(one), len(one.partitions))
        return found

    return await _patiently(ask)


async def topic_ids(cluster: Cluster, names: Sequence[str]) -> dict[str, bytes]:
    """Kafka's 16-byte ids of the topics; a recreated topic has another. Raises KeyError for one that is missing."""
    return {name: found.topic_id for name, found in (await described(cluster, names)).items()}


async def topic_id(cluster: Cluster, short: str) -> bytes:
    """That of one of our topics, by its short name. Raises KeyError where it is missing."""
    name = cluster.name(short)
    return (await topic_ids(cluster, [name]))[name]


async def partition_counts(cluster: Cluster, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each topic has. Raises KeyError for one that is missing."""
    return {name: found.partitions for name, found in (await described(cluster, names)).items()}


async def end_offsets(cluster: Cluster, topic: str) -> dict[int, int]:
    """Last stable offset of each partition, behind which a transaction may be open. KeyError for a topic that is missing."""
    found = (await described(cluster, [topic]))[topic]
    return await _offsets(cluster, _places(topic, found), _LATEST, IsolationLevel.READ_COMMITTED)


async def newest_ms(cluster: Cluster, topic: str) -> dict[int, int]:
    """The greatest time that a record of each partition carries; -1 where there is none. KeyError for a topic that is missing."""
    found = (await described(cluster, [topic]))[topic]
    listed = await _listed(cluster, dict.fromkeys(_places(topic, found), _NEWEST), IsolationLevel.READ_UNCOMMITTED)
    return {partition: one.timestamp for (_, partition), one in listed.items()}


def _places(topic: str, found: Described) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(found.partitions)]


async def committed(cluster: Cluster, group: str, topic: str) -> dict[int, int | None]:
    """Committed offset of the group in each partition; None where it never committed."""
    asked = (await described(cluster, [topic]))[topic]
    wanted = _places(topic, asked)
    # Not the admin client's question: a coordinator that still loads, or has moved, crashes the process in librdkafka
    # 2.12 to 2.16 (rd_kafka_cgrp_op without a group). A consumer asks again; one that never subscribes never joins.
    async with _open(cluster, purpose="committed", group=group, told=BRIEF) as (client, call):

        async def ask() -> list[TopicPartition]:
            answer: list[TopicPartition] = await call(bind(client.committed, wanted, timeout=_REQUEST_TIMEOUT_S))
            for at in answer:
                if at.error is not None:
                    raise KafkaException(at.error)
            return answer

        found = await _patiently(ask)
    return {
        at.partition: at.offset if at.offset >= 0 and not of_another_topic(at.metadata, asked.topic_id) else None
        for at in found
    }


async def held(cluster: Cluster, group: str) -> frozenset[tuple[str, int]] | None:
    """Which partitions the group's members hold; None while somebody joins or leaves."""

    async def ask() -> Any:
        admin = _admin(cluster)
        described = admin.describe_consumer_groups([group], request_timeout=_REQUEST_TIMEOUT_S)
        return await asyncio.wrap_future(described[group])

    answer = await _patiently(ask)
    if answer.state != ConsumerGroupState.STABLE:
        return None
    return frozenset((at.topic, at.partition) for member in answer.members for at in member.assignment.topic_partitions)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` returns; asked again for a while where Kafka's answer is one of a moment (a start, a move, a wake)."""
    deadline_s = time.monotonic() + _REQUEST_TIMEOUT_S
    while True:
        try:
            return await ask()
        except KafkaException as refused:
            code = refused.args[0].code()
            if time.monotonic() > deadline_s or code not in _PASSING:
                raise
            if code in _STALE:
                _admin_of.cache_clear()
        await asyncio.sleep(_POLL_S)


def _admin(cluster: Cluster) -> AdminClient:
    """Keep it in a name: its answers may die with it."""
    return _admin_of((("client.id", cluster.client_id("admin")), *sorted(cluster.rdkafka().items())))


@lru_cache(maxsize=4)
def _admin_of(settings: tuple[tuple[str, str], ...]) -> AdminClient:
    # One for a process, that lasts: what it cannot reach comes out as errors of its calls, so it prints nothing itself.
    return AdminClient({"log_level": 0, **dict(settings)})


def _id(described: TopicDescription) -> bytes:
    uuid: Any = described.topic_id
    most, least = uuid.get_most_significant_bits(), uuid.get_least_significant_bits()
    high: bytes = most.to_bytes(8, "big", signed=True)
    low: bytes = least.to_bytes(8, "big", signed=True)
    return high + low


Call = Callable[[Callable[[], T]], asyncio.Future[T]]


def settings(
    cluster: Cluster, *, group: str = "oo-reader", ours: bool = False, purpose: str = "reader"
) -> dict[str, Any]:
    """librdkafka's, for reading without a group; `purpose`: as `Cluster.client_id` has it.

    Reads committed, as the live consumer does: what strangers write in a transaction counts once it is committed. A
    changelog is `ours`: we never write it in a transaction, and one that a stranger left open must not hide our rows.
    """
    return {
        "client.id": cluster.client_id(purpose),
        # Required by the library; never joined and never committed to.
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_uncommitted" if ours else "read_committed",
        "fetch.wait.max.ms": 50,
        # When 64 MB wait to be taken it fetches no more for this long; by default a second, in which they are taken.
        "fetch.queue.backoff.ms": 5,
        # The first step of a back-off that doubles: a new client finds its broker in two of them.
        "reconnect.backoff.ms": 10,
        "fetch.message.max.bytes": 4 * 1024 * 1024,
        **cluster.rdkafka(),
    }


@asynccontextmanager
async def _open(  # type: ignore[no-untyped-def]
    cluster: Cluster,
    *,
    purpose: str,
    group: str = "oo-reader",
    ours: bool = False,
    told: Mapping[str, Any] = MappingProxyType({}),
):
    """A client and a way to call it: its blocking calls run in one thread of its own, closing included."""
    client = Consumer({**settings(cluster, group=group, ours=ours, purpose=purpose), **told})
    thread = ThreadPoolExecutor(1, thread_name_prefix="reader")
    loop = asyncio.get_running_loop()
    try:
        yield client, bind(loop.run_in_executor, thread)
    finally:
        # Behind a call that was cancelled midway: closing under it would crash the process. Nobody waits for either.
        thread.submit(client.close)
        thread.shutdown(wait=False)


def _come(client: Consumer) -> list[Message]:
    """What has come as soon as anything has; nothing where nothing does for a while. Each look costs as much as reading many records."""
    first = client.poll(_POLL_QUIET_S)
    return [] if first is None else [first, *client.consume(CONSUMED_AT_ONCE - 1, 0)]


def _checked_offset(message: Message) -> int:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (its public name)
        raise KafkaException(error)
    offset = message.offset()
    assert offset is not None
    return offset


def _record(message: Message) -> Record:
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),  # type: ignore[arg-type]
    )
