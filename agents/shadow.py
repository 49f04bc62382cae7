"""Shadow: what policies that are not served would do, what they would earn, and which one should be served.

It takes decisions, outcomes, promotions and erasures in one order that follows from the records alone, without a group, from where its
snapshot stands (tables/shelf.py), or from their beginning where there is none that fits; so a kill changes nothing that it says.
One process does this for all partitions. It never serves a decision; what it says of a champion, `learn` acts on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import islice
from math import isfinite

from agents import snapshot
from agents.evaluation.gate import Kind, Verdict
from agents.policies import DEFAULT
from agents.shadows import NotOurs, Shadows, evidence_of
from oo.v1 import decision_pb2, erased_pb2, evaluation_pb2, outcome_pb2
from streams.frames import Frames
from streams.in_order import InOrder, Place
from streams.keys import Keys, opened_by
from streams.messages import pass_over, read
from streams.metrics import GAUGES, Labels
from streams.producer import Producer
from streams.reader import Together
from streams.record import Record
from streams.sealing import KeyMissing, NotOpened, Sealing
from streams.topics import Topic
from tables.leavers import Leavers
from tables.leavers import read as leavers_read
from tables.shelf import Shelf

logger = logging.getLogger(__name__)

TOPIC_ID_BYTES = 16
ROUND = 20
"""Records between two looks at anything else; their people's keys are made ready together."""
LOOK_EVERY_S = 0.5
"""Between two questions to Kafka where its topics end."""
READ = ("promotions", "outcomes", "decisions", "erasures")
"""What it takes; of records of the same moment in this order, as a reaction comes before the decision that follows it."""
CAUSES = {
    Kind.PROMOTE: evaluation_pb2.Promotion.PROVEN,
    Kind.ROLL_BACK: evaluation_pb2.Promotion.ROLLED_BACK,
}


class Shadow:
    """Follows, says what shadows would have done, and publishes estimates and promotions."""

    def __init__(
        self,
        *,
        topics: dict[str, Topic],
        schemas: Frames,
        keys: Keys,
        producer: Producer,
        shadows: Shadows,
        shelf: Shelf | None,
        together: Callable[[InOrder, Mapping[Place, int]], Together],
        read: Callable[[str, int, int], AsyncIterator[list[Record]]],
        ends: Callable[[str], Awaitable[dict[int, int]]],
        clock_ms: Callable[[], int],
        every_s: float,
        snapshot_every_s: float,
    ) -> None:
        """`read(topic, partition, start)` to its end now; without a shelf each start folds all of the log."""
        self._topics = topics
        self._schemas = schemas
        self._keys = keys
        self._sealing = Sealing(schemas, keys)
        self._producer = producer
        self._shadows = shadows
        self._shelf = shelf
        self._together = together
        self._read = read
        self._ends = ends
        self._clock_ms = clock_ms
        self._every_s = every_s
        self._snapshot_every_s = snapshot_every_s
        self._short = {topics[name].name: name for name in READ}
        starts = {(topics[name].name, number): 0 for name in READ for number in range(topics[name].partitions)}
        self._starts: dict[Place, int] = starts
        self._order = InOrder({topics[name].name: rank for rank, name in enumerate(READ)}, starts)
        self._round: deque[Record] = deque()
        """Given out by the order and not taken in whole."""
        self._ended: dict[Place, int] = {}
        """Where Kafka's topics ended when it was last asked."""
        self._said: dict[int, int] = {}
        """By partition, the journal offset up to which shadows have spoken already."""
        self._leavers = Leavers(b"")
        """Read where a key is not there."""
        self._restored = False
        self._live = asyncio.Event()
        """Set once all that stood there at the start is taken."""
        self._promoted = evaluation_pb2.Promotion(policy=DEFAULT)
        """The last one."""
        self._published: dict[bytes, bytes] = {}

    def behind(self) -> dict[Place, int]:
        """Return how many offsets of each partition it has not taken, as of its last question to Kafka."""
        return self._order.behind(self._ended)

    async def run(self) -> None:
        """Follow for ever; when it is cancelled, what it has taken is put away."""
        await self._recall()
        await self._restore()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="shadow")
                group.create_task(self._publish(), name="shadow-estimates")
        finally:
            if self._shelf is not None:
                if self._producer.failure is None and self._live.is_set() and not self._round:
                    await self._put_away(self._shelf)
                self._shelf.close()

    async def _recall(self) -> None:
        """Learn how far shadows have spoken: of each partition the last decision."""
        for number, end in (await self._ends("shadows")).items():
            # Farther back only where somebody else wrote there.
            for back in (64, end):
                if number in self._said or end == 0:
                    break
                async for records in self._read("shadows", number, max(0, end - back)):
                    for record in records:
                        one = read(self._schemas, "shadows", record)
                        if isinstance(one, evaluation_pb2.ShadowDecision):
                            self._said[one.journal.partition] = one.journal.offset

    async def _restore(self) -> None:
        """Go on from the snapshot, if there is one that fits what stands in Kafka."""
        content = None if self._shelf is None else self._shelf.state
        if self._shelf is None or content is None:
            return
        try:
            places, shadows = snapshot.unpacked(content)
        except snapshot.Unreadable as error:
            self._shelf.set_aside(str(error))
            return
        ends = {
            (self._topics[name].name, number): end for name in READ for number, end in (await self._ends(name)).items()
        }
        if any(ends.get(place, 0) < start for place, start, _ in places):
            self._shelf.set_aside("its topics end before it")
            return
        self._order.restore(places)
        self._starts.update((place, start) for place, start, _ in places)
        self._shadows.restore(shadows)
        self._restored = True
        logger.info(
            "snapshot.restored decisions=%d",
            sum(start for place, start, _ in places if self._short[place[0]] == "decisions"),
        )

    async def _follow(self) -> None:
        """Take what comes next, put away what was taken, and go on."""
        together, loop = self._together(self._order, self._starts), asyncio.get_running_loop()
        asked_ms = self._clock_ms()
        at_start = self._ended = await together.ends()
        self._order.seen(at_start, at_ms=asked_ms)
        looked_s, kept_s, taken, kept = loop.time(), loop.time(), 0, 0
        async for _ in together:
            while some := list(islice(iter(self._order.take, None), ROUND)):
                await self._take_round(some)
                taken += len(some)
                await asyncio.sleep(0)
            if not self._live.is_set() and not any(self._order.behind(at_start).values()):
                self._begin()
                kept_s = float("-inf")
            if loop.time() - looked_s >= LOOK_EVERY_S:
                asked_ms, looked_s = self._clock_ms(), loop.time()
                self._ended = await together.ends()
                self._order.seen(self._ended, at_ms=asked_ms)
            if self._shelf is not None and loop.time() - kept_s >= self._snapshot_every_s and taken != kept:
                await self._put_away(self._shelf)
                kept_s, kept = loop.time(), taken

    async def _put_away(self, shelf: Shelf) -> None:
        """What shadows said of it stands in Kafka by then: the next process would not say it again."""
        await self._producer.flush()
        shelf.commit(snapshot.packed((self._order.state(), self._shadows.state())))

    def _begin(self) -> None:
        """All that stood there is taken."""
        if not self._restored:
            # What the gate said of the past counts only where it was heeded.
            self._heed_promotion(self._promoted)
        self._live.set()
        logger.info("shadow.caught_up policies=%s", ",".join(self._shadows.learners))

    async def _take_round(self, some: list[Record]) -> None:
        self._round.extend(some)
        self._keys.make_ready(record.key for record in some if record.key is not None)
        while self._round:
            await self._take(self._short[self._round[0].topic], self._round[0])
            self._round.popleft()

    async def _take(self, name: str, record: Record) -> None:
        message = read(self._schemas, name, record)
        is_sealed = False
        if isinstance(message, decision_pb2.Decision | outcome_pb2.Outcome) and message.sealed:
            is_sealed = True
            try:
                message = await opened_by(self._keys, message, whose=record.key or b"")
            except NotOpened as bad:
                pass_over(record, bad.reason)
                return
            except KeyMissing:
                if not await self._is_of_who_left(message, record):
                    raise
                if isinstance(message, decision_pb2.Decision):
                    self._shadows.pass_over()
                return
        match message:
            case evaluation_pb2.Promotion() if not message.policy:
                if not message.HasField("model"):  # A trained model's is learn's to heed.
                    pass_over(record, "not-promotion")
            case decision_pb2.Decision():
                await self._decide(message, record, is_sealed=is_sealed)
            case outcome_pb2.Outcome():
                self._shadows.resolve(message)
                await self._heed()
            case erased_pb2.Erased():
                self._shadows.forget(message.user_id, message.journal)
                await self._heed()
            case evaluation_pb2.Promotion():
                self._promoted = message
                self._heed_promotion(message)

    async def _is_of_who_left(self, message: decision_pb2.Decision | outcome_pb2.Outcome, record: Record) -> bool:
        """Whether its key is gone because its person left, which stands in the topic of erasures before that."""
        if not self._leavers.passes(record.key, message.journal.offset):
            self._leavers = Leavers(message.journal.topic_id)
            for number in range(self._topics["erasures"].partitions):
                async for records in self._read("erasures", number, 0):
                    for one in records:
                        if (word := leavers_read(self._schemas, one)) is not None:
                            self._leavers.add(word)
        return self._leavers.passes(record.key, message.journal.offset)

    async def _decide(self, decision: decision_pb2.Decision, record: Record, *, is_sealed: bool) -> None:
        place = decision.journal
        if not decision.decision_id or len(place.topic_id) != TOPIC_ID_BYTES:
            pass_over(record, "not-decision")
            return
        try:
            said = self._shadows.decide(decision)
        except NotOurs:
            pass_over(record, "not-decision")
            return
        if said and place.offset > self._said.get(place.partition, -1):
            await self._producer.room()
            one = evaluation_pb2.ShadowDecision(decision_id=decision.decision_id, journal=place, said=said)
            # Somebody whose decision is of before there were keys may have none: what is said of it is as open as it is.
            whose = record.key or b""
            value = (
                self._sealing.frame("shadows", one, whose=whose) if is_sealed else self._schemas.frame("shadows", one)
            )
            self._producer.produce(self._topics["shadows"].name, key=record.key, value=value, partition=place.partition)
        for outcome in self._shadows.early(decision.decision_id):
            self._shadows.resolve(outcome)
        self._shadows.pass_time(decision.decided_ms)
        await self._heed()

    def _heed_promotion(self, promotion: evaluation_pb2.Promotion) -> None:
        """What the topic of promotions says counts, whatever the gate has come to."""
        rolled_back = promotion.cause == evaluation_pb2.Promotion.ROLLED_BACK
        self._shadows.champion_is(promotion.policy, rolled_back=rolled_back)

    async def _heed(self) -> None:
        for verdict in self._shadows.verdicts():
            await self._act(verdict)

    async def _act(self, verdict: Verdict) -> None:
        """Says what the gate says, once: not what it said of a past that it only looks back on, nor what stands there already."""
        found = verdict.evidence
        if verdict.kind not in CAUSES or found is None or not (self._live.is_set() or self._restored):
            return
        promotion = evaluation_pb2.Promotion(
            policy=found.policy,
            before=found.champion,
            cause=CAUSES[verdict.kind],
            why=f"ahead by {found.difference[0]:.3f} at the least, after {found.n} decisions",
            decided_ms=self._clock_ms(),
            evidence=evidence_of(found),
        )
        topic = self._topics["promotions"].name
        there = [record for record in self._round if record.topic == topic]
        async for records in self._read("promotions", 0, self._order.next((topic, 0))):
            there += records
        for one in (read(self._schemas, "promotions", record) for record in there):
            if isinstance(one, evaluation_pb2.Promotion) and one.evidence == promotion.evidence:
                return
        logger.info(
            "gate.%s policy=%s champion=%s n=%d", verdict.kind.name.lower(), found.policy, found.champion, found.n
        )
        await self._producer.produce(
            topic, key=found.policy.encode(), value=self._schemas.frame("promotions", promotion)
        )

    async def _publish(self) -> None:
        await self._live.wait()
        while True:
            said = []
            for one in self._shadows.estimates(now_ms=self._clock_ms()):
                key = f"{one.policy}/{decision_pb2.Decision.TipKind.Name(one.kind)}/{one.prompt_version}".encode()
                _show(one)
                stamp = one.updated_ms
                one.ClearField("updated_ms")
                content = one.SerializeToString(deterministic=True)
                if self._published.get(key) == content:
                    continue
                self._published[key] = content
                one.updated_ms = stamp
                value = self._schemas.frame("estimates", one)
                said.append(self._producer.produce(self._topics["estimates"].name, key=key, value=value))
                await asyncio.sleep(0)
            await asyncio.gather(*said)
            await asyncio.sleep(self._every_s)


def _show(one: evaluation_pb2.Estimate) -> None:
    """Keep what metrics say of a policy over all its tips; of a bound nothing while there is too little to tell."""
    if one.kind or one.prompt_version:
        return
    found = one.doubly_robust
    for bound, value in (("value", found.value), ("low", found.low), ("high", found.high)):
        if isfinite(value):
            REWARD_SHOWN[one.policy, bound] = value
        else:
            REWARD_SHOWN.pop((one.policy, bound), None)
    WEIGHT_SHOWN[one.policy,] = one.mean_weight
    N_SHOWN[one.policy,] = one.effective_n
    COST_SHOWN[one.policy,] = one.cost_us / 1e6


REWARD_SHOWN: dict[Labels, float] = {}
WEIGHT_SHOWN: dict[Labels, float] = {}
N_SHOWN: dict[Labels, float] = {}
COST_SHOWN: dict[Labels, float] = {}
GAUGES["oo_estimate_reward"] = lambda: REWARD_SHOWN
GAUGES["oo_estimate_mean_weight"] = lambda: WEIGHT_SHOWN
GAUGES["oo_estimate_effective_n"] = lambda: N_SHOWN
GAUGES["oo_shadow_policy_seconds"] = lambda: COST_SHOWN
