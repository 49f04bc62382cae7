"""Learn: adds the partitions' sums into a policy version, publishes it, and marks it in every journal partition.

Sums are sealed with the key of a day, which learn ends once every partition has said its sums under a later one. A version is acknowledged before its marks are sent: whoever meets a mark finds its version. Learn keeps nothing of its
own: after a crash it reads both topics again and sends the newest version's marks again, which changes nothing where
they stand already.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import faust
from faust.types import StreamT
from google.protobuf.message import DecodeError

from agents.bandit.belief import is_named
from agents.features import SCORED, SPACES, Q, space_of
from agents.policies import DEFAULT as DEFAULT_POLICY
from agents.prior import fit
from agents.reward import DEFAULT, config_hash, hearing
from agents.step import STEP_VERSION
from oo.v1 import journal_pb2, policy_pb2
from streams import messages
from streams.clock import clock_ms
from streams.day_keys import day_of
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.partitions import Partitions
from streams.periodic import every
from streams.producer import Producer
from streams.record import Batch, Record
from streams.sealing import KEY_ID_BYTES, KeyMissing, NotOpened, opened
from streams.topics import Topic
from streams.units import DAY_MS
from tables import marginal
from tables.leavers import Leavers
from tables.totals import Total, merged, read
from tables.zones import TZDATA_VERSION

logger = logging.getLogger(__name__)

WRITER = "learn/1"
DRIFT_DISCOUNT = 0.5
VERSIONS_EVERY_S = 0.5
DRIFT_MS = 7 * DAY_MS
GROWTH_PERCENT = 2
"""A new version is worth making once the weight of what was learned has grown by this much."""

OTHERS_MIN = 10
"""People whose changes come with the first version without somebody."""

TOPIC_ID_BYTES = 16
SIZE = marginal.size(d=SCORED.d, q=Q)
SIZES = {one.version: marginal.size(d=one.d, q=Q) for one in SPACES.values()}
"""Of totals by the version of their features: those that we can read."""


class Learn:
    """The agent over the one partition of policy-sums."""

    def __init__(
        self,
        *,
        topics: dict[str, Topic],
        schemas: Frames,
        keys: Keys,
        maker: KeyMaker,
        producer: Producer,
        read: Callable[[str], AsyncIterator[list[Record]]],
        every_s: float,
        champion: Callable[[], str] = lambda: DEFAULT_POLICY,
        drifted_ms: Callable[[], int] = lambda: 0,
        config: policy_pb2.DecisionConfig = DEFAULT,
        model: Callable[[], str] = lambda: "",
        sample_permille: int = 0,
        leavers: Leavers | None = None,
        begun_with: Sequence[policy_pb2.Total] = (),
        now_ms: Callable[[], int] = clock_ms,
    ) -> None:
        """`model`: the trained model that versions hear, empty for none. `sample_permille`: with which probability shadows take the decisions
        of its versions, 0 for all. `leavers`: who left. `begun_with`: what is known from elsewhere, beside what people teach.
        """
        self._begun_with = begun_with
        self._leavers = leavers or Leavers(b"")
        self._now_ms = now_ms
        self._topics = topics
        self._schemas = schemas
        self._keys = keys
        self._maker = maker
        self._producer = producer
        self._read = read
        self._every_s = every_s
        self._champion = champion
        self._drifted_ms = drifted_ms
        self._settings = config
        self._model = model
        self._sample_permille = sample_permille
        self._parts: dict[int, policy_pb2.PartitionSums] = {}
        self._names = {str(number).encode() for number in range(topics["journal"].partitions)}
        """Partitions, as the Kafka keys of their sums name them."""
        self._shut: set[bytes] = set()
        """Those whose newest sums nobody can open: their owner says them anew."""
        self._ended_before = b""
        """The keys of days before this one are ended."""
        self._latest: policy_pb2.PolicyVersion | None = None
        self._time_ms = 0
        self._owner = False
        self._published_s = float("-inf")

    async def assign(self, partitions: set[int]) -> None:
        """Read both topics to their ends, and see to it that the newest version is marked everywhere."""
        self._parts.clear()
        self._shut.clear()
        async for records in self._read("policy-sums"):
            await self._receive(records)
        async for records in self._read("policies"):
            for record in records:
                version = messages.read(self._schemas, "policies", record)
                if not isinstance(version, policy_pb2.PolicyVersion) or not is_named(version):
                    continue
                if self._latest is None or version.sequence > self._latest.sequence:
                    self._latest = version
        self._owner = True
        if self._latest is not None:
            await self._mark(self._latest)
        await self.publish_version()

    async def revoke(self, partitions: set[int]) -> None:
        """Another worker learns now."""
        self._owner = False
        self._latest = None

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Keep the greatest sums of each partition."""
        for batch in batches:
            await self._receive(list(batch.records))
        await self._end_old_keys()

    async def publish_version(self) -> None:
        """Make, publish and mark a new version, if there is enough new to matter."""
        loop = asyncio.get_running_loop()
        if not self._owner or self._shut or loop.time() - self._published_s < self._every_s:
            return
        latest = self._latest
        told = [one for part in self._parts.values() for one in part.totals if one.feature_version in SPACES]
        totals = merged((_read(one) for one in (*self._begun_with, *told)), size=SIZE)
        if latest is not None and not self._is_worth_it(latest, sum(one.n for one in totals)):
            return
        version = fit(
            self._champion(),
            totals,
            before=latest,
            config=self._config,
            now_ms=self._time_ms,
            discount=self._discount(),
            inputs=[part.journal for _, part in sorted(self._parts.items())],
            sample_permille=self._sample_permille,
            erasures=self._erasures,
        )
        await self._producer.produce(
            self._topics["policies"].name,
            key=version.version_id.encode(),
            value=self._schemas.frame("policies", version),
        )
        await self._mark(version)
        self._latest = version
        self._published_s = loop.time()
        logger.info("version.published version_id=%s sequence=%d n=%d", version.version_id, version.sequence, version.n)

    @property
    def _config(self) -> policy_pb2.DecisionConfig:
        return hearing(self._settings, self._model())

    def _discount(self) -> float:
        """One half-life less for a while after a drift: what is new counts for twice as much beside what was."""
        drifted_ms = self._drifted_ms()
        return DRIFT_DISCOUNT if drifted_ms and self._time_ms - drifted_ms < DRIFT_MS else 1.0

    def _is_worth_it(self, latest: policy_pb2.PolicyVersion, n: int) -> bool:
        if self._discount() != (latest.discount or 1.0):
            return True
        if latest.sample_permille != self._sample_permille:
            return True
        config = self._config
        if latest.config != config or latest.policy != self._champion():
            return True
        if latest.feature_version != space_of(config).version:
            return True
        if self._erasures > latest.erasures:
            return self._tells_nobody(latest)
        return abs(n - latest.n) * 100 >= GROWTH_PERCENT * max(latest.n, 1) and n != latest.n

    @property
    def _erasures(self) -> int:
        """How many the sums are without."""
        return sum(part.erasures for part in self._parts.values())

    def _tells_nobody(self, latest: policy_pb2.PolicyVersion) -> bool:
        """Whether a version without people whom the last one had shows more than their numbers: two that differ by one person give
        that person away. So it comes with the changes of some others, or a day after the first of them left."""
        parts = self._parts.values()
        if sum(part.others for part in parts if part.since_sequence == latest.sequence) >= OTHERS_MIN:
            return True
        had = {(one.topic_id, one.partition): one.offset for one in latest.inputs}
        left_ms = [
            time_ms
            for place in (part.journal for part in parts)
            for time_ms in self._leavers.times(
                place.partition, above=had.get((place.topic_id, place.partition), -1), to=place.offset
            )
        ]
        return bool(left_ms) and self._now_ms() - min(left_ms) >= DAY_MS

    async def _mark(self, version: policy_pb2.PolicyVersion) -> None:
        value = self._schemas.frame("journal", mark_of(version))
        journal = self._topics["journal"]
        await asyncio.gather(
            *(
                self._producer.produce(journal.name, key=None, value=value, partition=number)
                for number in range(journal.partitions)
            )
        )

    async def _receive(self, records: list[Record]) -> None:
        found = [
            (record, part)
            for record in records
            if isinstance(part := messages.read(self._schemas, "policy-sums", record), policy_pb2.PartitionSums)
        ]
        if any(self._lacks(part) for _, part in found):
            # Its key may be on its way still; of old sums it is gone.
            await self._keys.catch_up()
        for record, part in found:
            name = record.key or b""
            try:
                self._take(opened(part, whose=part.whose, keys=self._keys))
                self._shut.discard(name)
                self._time_ms = max(self._time_ms, record.timestamp_ms)
            except KeyMissing:
                if not self._is_older(part, name):
                    self._shut |= {name} & self._names
            except NotOpened as bad:
                messages.pass_over(record, bad.reason)
            except NotSums:
                messages.pass_over(record, "not-sums")

    def _lacks(self, part: policy_pb2.PartitionSums) -> bool:
        """Whether the key of these sums is not among those that have come."""
        key_id = part.sealed[:KEY_ID_BYTES]
        return bool(key_id) and all(one.id != key_id for one in self._keys.held(part.whose))

    def _is_older(self, part: policy_pb2.PartitionSums, name: bytes) -> bool:
        """Whether sums that cannot be opened are of a day before those that are here: a worker that slept said them."""
        known = self._parts.get(int(name)) if name in self._names else None
        return known is not None and part.whose < known.whose

    def _take(self, part: policy_pb2.PartitionSums) -> None:
        journal = part.journal
        if len(journal.topic_id) != TOPIC_ID_BYTES or journal.partition not in range(len(self._names)):
            raise NotSums
        if any(len(one.contribution) != SIZES.get(one.feature_version, len(one.contribution)) for one in part.totals):
            raise NotSums
        known = self._parts.get(journal.partition)
        if known is None or known.journal.topic_id != journal.topic_id or journal.offset >= known.journal.offset:
            self._parts[journal.partition] = part

    async def _end_old_keys(self) -> None:
        """End the keys of all days before the first under which a partition's newest sums stand."""
        first = min((part.whose for part in self._parts.values()), default=b"")
        if self._shut or first <= self._ended_before:
            return
        await self._maker.forget_days("sums", before_ms=day_of(first, "sums") or 0)
        self._ended_before = first


def _read(message: policy_pb2.Total) -> Total:
    """A published total, with all features."""
    total = read(message)
    total.contribution = marginal.resized(total.contribution, d=SPACES[message.feature_version].d, to=SCORED.d)
    return total


class NotSums(Exception):
    """A message that adds up to nothing here."""


def begun_with(data: bytes) -> Sequence[policy_pb2.Total]:
    """What is known from elsewhere, in a file of `oo lake import --prior`. Raises NotSums for what is none, or of features that this build has not.

    >>> begun_with(b"")
    Traceback (most recent call last):
    agents.learn.NotSums
    """
    try:
        totals = policy_pb2.PartitionSums.FromString(data).totals
    except DecodeError:
        raise NotSums from None
    if not totals or any(len(one.contribution) != SIZES.get(one.feature_version) for one in totals):
        raise NotSums
    return totals


def mark_of(version: policy_pb2.PolicyVersion) -> journal_pb2.JournalRecord:
    """From where it stands on, its partition decides with this version."""
    mark = journal_pb2.Mark(
        sequence=version.sequence,
        version_id=version.version_id,
        step_version=STEP_VERSION,
        config_hash=config_hash(version.config),
        tzdata_version=TZDATA_VERSION,
    )
    name = hashlib.blake2b(version.version_id.encode(), digest_size=16).digest()
    return journal_pb2.JournalRecord(record_id=name, writer=WRITER, step_version=STEP_VERSION, mark=mark)


def build(app: faust.App, learn: Learn, *, topics: dict[str, Topic]) -> Partitions:
    """Declare the agent and its timer."""
    partitions = Partitions(
        app, topics["policy-sums"].name, learn.handle, on_assigned=learn.assign, on_revoked=learn.revoke
    )

    @app.agent(app.topic(topics["policy-sums"].name), name="learn")
    async def agent(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    every(app, VERSIONS_EVERY_S, learn.publish_version)
    return partitions
