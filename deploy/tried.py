"""What models wrote in the last days, by prompt and model, served and in the shadow: counts, and tips that may be judged. It only reads.

Requests, and with them what a tip's writer was told, stand in their topic for seven days: what is older is not in it.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.generation import judge
from connectors.leaving import leavers_of
from oo.v1.decision_pb2 import Ask, CandidateRequest
from oo.v1.journal_pb2 import Candidates, JournalRecord
from oo.v1.shadow_candidates_pb2 import ShadowCandidates
from streams.cluster import Cluster
from streams.frames import Frames
from streams.keys import Keys
from streams.reader import read_partition, topic_id
from streams.record import Record
from streams.sealing import KeyMissing, Sealing
from streams.topics import PARTITIONS
from streams.wire import BadFrame

TIPS_MAX = 500
"""Of a version that are kept for the judge."""


class Version(NamedTuple):
    """Who wrote it."""

    prompt: str
    model: str
    in_shadow: bool = False
    """Nobody was shown it."""


class Tip(NamedTuple):
    """One that may be judged."""

    external_id: str
    whose: str
    requested_ms: int
    ask: Ask
    title: str
    detail: str


@dataclass(slots=True)
class Wrote:
    """What a version wrote."""

    answers: int = 0
    """With a tip, or with what guards held back."""
    failed: int = 0
    """Answers that say why there are none."""
    tips: int = 0
    held: int = 0
    """By guards."""
    tokens: int = 0
    pairs: int = 0
    alike: int = 0
    """Sum of cosines of these pairs, in units of 1/1000."""
    sample: list[tuple[int, Tip]] = field(default_factory=list)
    """Of its tips, the first by rank: a heap of their ranks below 0."""

    def take(self, whose: str, request: CandidateRequest, said: Candidates) -> None:
        """Take in one answer."""
        self.tokens += said.tokens_in + said.tokens_out
        held = sum(one.count for one in said.dropped)
        if said.tips or held:
            self.answers += 1
        else:
            self.failed += 1
        self.tips += len(said.tips)
        self.held += held
        self.pairs += said.pairs
        self.alike += said.alike
        for one in said.tips:
            tip = Tip(one.external_id, whose, request.requested_ms, request.ask, one.title, one.detail)
            put = heapq.heappush if len(self.sample) < TIPS_MAX else heapq.heappushpop
            put(self.sample, (-judge.rank(tip.external_id), tip))

    def likeness(self) -> int | None:
        """The mean cosine of its pairs, in units of 1/1000; None where there is none."""
        return round(self.alike / self.pairs) if self.pairs else None


async def wrote(cluster: Cluster, keys: Keys, *, since_ms: int = 0) -> dict[Version, Wrote]:
    """Return what stands there. `keys`: of everybody."""
    leavers, sealing = await leavers_of(cluster), Sealing(Frames(), keys)
    journal_id = await topic_id(cluster, "journal")
    found: dict[Version, Wrote] = {}

    async def each(short: str, number: int, start: int = 0) -> AsyncIterator[tuple[Record, str, Any]]:
        async for records in read_partition(cluster, cluster.name(short), number, start=start):
            for record in records:
                whose = record.key or b""
                try:
                    yield record, whose.decode(), sealing.unframe(short, record.value, whose=whose)
                except (BadFrame, KeyMissing, UnicodeDecodeError):
                    continue

    for number in range(PARTITIONS):
        asked: dict[str, tuple[str, CandidateRequest]] = {}
        async for _, whose, request in each("candidate-requests", number):
            assert isinstance(request, CandidateRequest)
            at = request.journal
            if at.topic_id != journal_id or leavers.passes(whose.encode(), at.offset):
                continue
            if request.HasField("ask") and request.requested_ms >= since_ms:
                asked[request.request_id] = whose, request
        if not asked:
            continue

        def take(whose: str, said: Candidates, *, in_shadow: bool, asked: Any = asked) -> None:
            # A request has one answer that is served.
            find = asked.get if in_shadow else asked.pop
            person, request = find(said.request_id, (None, None))
            if person == whose:
                found.setdefault(Version(said.prompt_version, said.model, in_shadow), Wrote()).take(
                    whose, request, said
                )

        async for _, whose, said in each("shadow-candidates", number):
            assert isinstance(said, ShadowCandidates)
            take(whose, said.candidates, in_shadow=True)
        first = min(request.journal.offset for _, request in asked.values())
        async for _, whose, record in each("journal", number, first):
            if isinstance(record, JournalRecord) and record.HasField("candidates"):
                take(whose, record.candidates, in_shadow=False)
    return dict(sorted(found.items()))
