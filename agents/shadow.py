"""Shadow: what policies that are not served would do, what they would earn, and which one should be served.

It follows the topics of decisions and outcomes from their beginning, without a group, and holds all it knows in memory: a start
folds what retention has left, writes nothing that stands already, and goes on. One process does this for all partitions. It never
serves a decision; what it says of a champion, `learn` acts on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from google.protobuf.message import Message

from agents.evaluation.gate import Kind, Verdict
from agents.features import VERSION, D
from agents.messages import messages, pass_over, read
from agents.policies import DEFAULT
from agents.shadows import Shadows, evidence_of
from oo.v1 import decision_pb2, evaluation_pb2, outcome_pb2
from streams.frames import Frames
from streams.producer import Producer
from streams.reader import Tail
from streams.record import Record
from streams.topics import Topic

logger = logging.getLogger(__name__)

TOPIC_ID_BYTES = 16
YIELD_EVERY = 20
"""Records between two looks at anything else."""
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
        producer: Producer,
        shadows: Shadows,
        tail: Callable[[str], Tail],
        read: Callable[[str, int, int], AsyncIterator[list[Record]]],
        ends: Callable[[str], Awaitable[dict[int, int]]],
        clock_ms: Callable[[], int],
        every_s: float,
    ) -> None:
        """`read(topic, partition, start)` to its end now."""
        self._topics = topics
        self._schemas = schemas
        self._producer = producer
        self._shadows = shadows
        self._tail = tail
        self._read = read
        self._ends = ends
        self._clock_ms = clock_ms
        self._every_s = every_s
        self._said: dict[int, int] = {}
        """By partition, the journal offset up to which shadows have spoken already."""
        self._live = False
        self._promoted = evaluation_pb2.Promotion(policy=DEFAULT)
        """The last one."""
        self._past: deque[evaluation_pb2.Promotion] = deque()
        """Those that stood in the topic at the start and have not been come to: each begins an era at its time."""
        self._published: dict[bytes, bytes] = {}

    async def run(self) -> None:
        """Follow for ever."""
        await self._recall()
        promotions, tails = self._tail("promotions"), {name: self._tail(name) for name in ("decisions", "outcomes")}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("promotions", promotions), name="shadow-promotions")
            # Decisions of the past are folded under the champions of then.
            await promotions.caught_up.wait()
            for name, tail in tails.items():
                group.create_task(self._follow(name, tail), name=f"shadow-{name}")
            group.create_task(self._publish(list(tails.values())), name="shadow-estimates")

    async def _recall(self) -> None:
        """Learn how far shadows have spoken: the last message of each partition says."""
        for number, end in (await self._ends("shadows")).items():
            said: Message | None = None
            # Mostly the very last record; farther back where somebody else wrote there.
            for back in (1, 64, end):
                if said is not None or end == 0:
                    break
                async for records in self._read("shadows", number, max(0, end - back)):
                    said = next(
                        (one for record in records[::-1] if (one := read(self._schemas, "shadows", record))), said
                    )
            if said is not None:
                assert isinstance(said, evaluation_pb2.ShadowDecision)
                self._said[said.journal.partition] = said.journal.offset

    async def _follow(self, name: str, tail: Tail) -> None:
        async for record, message in messages(self._schemas, name, tail):
            match message:
                case decision_pb2.Decision() if not is_decision(message):
                    pass_over(record, "not-decision")
                case evaluation_pb2.Promotion() if not message.policy:
                    pass_over(record, "not-promotion")
                case decision_pb2.Decision():
                    await self._decide(message, key=record.key)
                case outcome_pb2.Outcome():
                    self._shadows.resolve(message)
                    await self._heed()
                case evaluation_pb2.Promotion():
                    self._promoted = message
                    if self._live:
                        self._heed_promotion(message)
                    else:
                        self._past.append(message)
            if record.offset % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _decide(self, decision: decision_pb2.Decision, *, key: bytes | None) -> None:
        while self._past and self._past[0].decided_ms <= decision.decided_ms:
            self._heed_promotion(self._past.popleft())
        place = decision.journal
        is_said = place.offset <= self._said.get(place.partition, -1)
        for one in self._shadows.decide(decision):
            if not is_said:
                await self._producer.room()
                self._producer.produce(
                    self._topics["shadows"].name,
                    key=key,
                    value=self._schemas.frame("shadows", one),
                    partition=place.partition,
                )
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
        """Says what the gate says, once. What it said of the past stands in the topic of promotions, if it was heeded."""
        found = verdict.evidence
        if verdict.kind not in CAUSES or found is None or not self._live:
            return
        logger.info(
            "gate.%s policy=%s champion=%s n=%d", verdict.kind.name.lower(), found.policy, found.champion, found.n
        )
        promotion = evaluation_pb2.Promotion(
            policy=found.policy,
            before=found.champion,
            cause=CAUSES[verdict.kind],
            why=f"ahead by {found.difference[0]:.3f} at the least, after {found.n} decisions",
            decided_ms=self._clock_ms(),
            evidence=evidence_of(found),
        )
        await self._producer.produce(
            self._topics["promotions"].name,
            key=found.policy.encode(),
            value=self._schemas.frame("promotions", promotion),
        )

    async def _publish(self, tails: list[Tail]) -> None:
        for tail in tails:
            await tail.caught_up.wait()
        # What the gate said of the past counts only where it was heeded.
        self._heed_promotion(self._promoted)
        self._past.clear()
        self._live = True
        logger.info("shadow.caught_up policies=%s", ",".join(self._shadows.learners))
        while True:
            for one in self._shadows.estimates(now_ms=self._clock_ms()):
                key = f"{one.policy}/{decision_pb2.Decision.TipKind.Name(one.kind)}/{one.prompt_version}".encode()
                stamp = one.updated_ms
                one.ClearField("updated_ms")
                content = one.SerializeToString(deterministic=True)
                if self._published.get(key) == content:
                    continue
                self._published[key] = content
                one.updated_ms = stamp
                await self._producer.produce(
                    self._topics["estimates"].name, key=key, value=self._schemas.frame("estimates", one)
                )
                await asyncio.sleep(0)
            await asyncio.sleep(self._every_s)


def is_decision(decision: decision_pb2.Decision) -> bool:
    """Tell whether it is whole enough to be decided again: a stranger's message on the topic of decisions is not."""
    eligible = [one for one in decision.slate if not one.ineligible]
    return (
        bool(decision.decision_id)
        and len(decision.journal.topic_id) == TOPIC_ID_BYTES
        and decision.chosen < len(decision.slate)
        and any(one.kind == decision_pb2.Decision.NONE for one in eligible)
        and (decision.feature_version != VERSION or all(len(one.x) == D for one in eligible))
    )
