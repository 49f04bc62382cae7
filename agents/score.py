"""Score: has a trained model say what it expects of the candidates of new slates, and puts that into the journal.

Nobody waits for it, and it causes nothing (docs/adr/0067): what it has not scored when it is killed is never missed. The newest slate of
a person counts, a little after it was made; the same candidates are scored once by a model at such a moment (part of the day, weekend, busy).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import faust
import numpy as np
import numpy.typing as npt
from faust.types import StreamT

from agents.breaker import Breaker
from agents.features import NOW, ONE, SPACES
from agents.scores import moment_of
from agents.step import STEP_VERSION
from connectors.inference import InferenceFailed
from oo.v1.decision_pb2 import Decision
from oo.v1.journal_pb2 import JournalRecord, Position, Scores
from streams import metrics
from streams.keys import Keys, opened_by
from streams.messages import pass_over, read
from streams.partitions import Partitions
from streams.periodic import every
from streams.producer import Producer
from streams.record import Batch, Record
from streams.sealing import KeyMissing, NotOpened, Sealing
from streams.topics import Topic
from streams.units import MINUTE_MS, SECOND_MS
from tables import ids, slates
from tables.scored import UNIT, key_of

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

WRITER = "score/1"
BEHIND_MS = SECOND_MS
"""A slate that comes later than this is let go: what is behind is not helped by more records."""
APART_MS = 3 * MINUTE_MS
"""Between two scored slates of one person."""
SETTLE_MS = SECOND_MS
"""A slate is scored so long after it was made, unless a newer one takes its place: an import makes many."""
LOOK_EVERY_S = 0.2
ROWS_MAX = 1_000
"""Of one question."""
PEOPLE_MAX = 50_000
"""Of how many it is remembered what was scored last, and who waits."""
SHARE, PER_S, SAVED_MAX = 1 / 25, 2.0, 50.0
"""Scored are as many slates as this share of those that come, and so many a second beside; what is not used is saved up to the bound."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A slate that is to be scored."""

    due_ms: int
    decision: Position
    keys: tuple[int, ...]
    """Of those candidates that may be chosen, as tables.scored names them."""
    x: Floats
    """What the model is given of them, 0 to 1: (n, d)."""
    moment: int
    """As agents.scores.moment_of has it."""

    @property
    def what(self) -> int:
        """Names the candidates and the moment: the same is not scored twice."""
        return hash((self.keys, self.moment))

    def scores(self, model: str, expected: Floats) -> Scores:
        """What is put into the journal of it; expected: (n,), in units of a done."""
        whole = np.rint(expected * UNIT).astype(np.int64).clip(-UNIT, 2 * UNIT).tolist()
        said = sorted(zip(self.keys, whole, strict=True))
        return Scores(
            decision=self.decision,
            model=model,
            keys=[key for key, _ in said],
            expected=[one for _, one in said],
            moment=self.moment,
        )


@dataclass(slots=True)
class Allowance:
    """How many slates may be scored now: what scores cost stays a share of what all costs, however many people there are.

    >>> allowance = Allowance(now_ms=0)
    >>> allowance.spend(60, now_ms=0), allowance.spend(60, now_ms=0)
    (50, 0)
    >>> allowance.came(100)
    >>> allowance.spend(60, now_ms=500)
    5
    """

    now_ms: int
    saved: float = SAVED_MAX

    def came(self, slates: int) -> None:
        """Slates were heard of."""
        self.saved = min(SAVED_MAX, self.saved + slates * SHARE)

    def spend(self, most: int, *, now_ms: int) -> int:
        """Say how many of these may be scored; they count as scored."""
        self.saved = min(SAVED_MAX, self.saved + max(now_ms - self.now_ms, 0) / SECOND_MS * PER_S)
        self.now_ms = now_ms
        spent = min(most, int(self.saved))
        self.saved -= spent
        return spent


class Score:
    """The agent over its assigned partitions of decisions."""

    def __init__(
        self,
        *,
        topics: Mapping[str, Topic],
        sealing: Sealing,
        keys: Keys,
        producer: Producer,
        model: Callable[[], str],
        expected: Callable[[str, Floats], Awaitable[Floats]],
        clock_ms: Callable[[], int],
    ) -> None:
        """`model()`: NAME@VERSION of the one that decisions hear, empty for none; `expected(model, x)` may raise InferenceFailed."""
        self._topics = topics
        self._sealing = sealing
        self._keys = keys
        self._producer = producer
        self._model = model
        self._expected = expected
        self._clock_ms = clock_ms
        self._breaker = Breaker()
        self._allowance = Allowance(clock_ms())
        self._waiting: dict[bytes, Waiting] = {}
        """By person, the newest."""
        self._scored: dict[bytes, tuple[int, str, int]] = {}
        """By person, of the last one: when, by which model, and what (`Waiting.what`)."""
        metrics.GAUGES["oo_scorer_breaker_shut"] = lambda: {(): float(self._breaker.shut)}

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Note the slates that are to be scored; a newer one of the same person takes the place of what waits."""
        self._allowance.came(sum(len(batch.records) for batch in batches))
        for record in chain.from_iterable(batch.records for batch in batches):
            fate = await self._note(record)
            if fate:
                metrics.SLATES_SCORED[fate,] += 1

    async def _note(self, record: Record) -> str:
        """Say why a slate is not scored; empty for one that waits now."""
        model, whose = self._model(), record.key or b""
        if not model:
            return "no-model"
        if self._clock_ms() - record.timestamp_ms > BEHIND_MS:
            return "behind"
        decision = read(self._sealing.frames, "decisions", record)
        if not isinstance(decision, Decision) or not whose:
            return "not-decision"
        try:
            decision = await opened_by(self._keys, decision, whose=whose)
            made = waiting(decision, due_ms=self._due_ms(whose))
        except NotOpened as bad:
            pass_over(record, bad.reason)
            return "not-decision"
        except ValueError:
            pass_over(record, "not-decision")
            return "not-decision"
        except KeyMissing:
            return "left"
        self._waiting.pop(whose, None)
        if made is None:
            return "nothing-to-choose"
        if self._scored.get(whose, (0, "", 0))[1:] == (model, made.what):
            return "scored-before"
        _put(self._waiting, whose, made)
        return ""

    def _due_ms(self, whose: bytes) -> int:
        now_ms, there = self._clock_ms(), self._waiting.get(whose)
        if there is not None and there.due_ms <= now_ms:
            return there.due_ms  # It keeps its place: whoever asks often is not behind who has gone.
        return max(now_ms + SETTLE_MS, self._scored.get(whose, (0, "", 0))[0] + APART_MS)

    async def look(self) -> None:
        """Score what is due."""
        due = self._take_due()
        while due:
            some = _of_rows(due, ROWS_MAX)
            due = due[len(some) :]
            await self._score(some)

    def _take_due(self) -> list[tuple[bytes, Waiting]]:
        """Those that wait longest; what is not allowed now waits on, and a newer slate may take its place."""
        now_ms = self._clock_ms()
        due = [(whose, one) for whose, one in self._waiting.items() if one.due_ms <= now_ms]
        due.sort(key=lambda found: found[1].due_ms)
        due = due[: self._allowance.spend(len(due), now_ms=now_ms)]
        for whose, _ in due:
            del self._waiting[whose]
        return due

    async def _score(self, some: Sequence[tuple[bytes, Waiting]]) -> None:
        """Ask of these slates together, and write what is said of each."""
        model, now_ms = self._model(), self._clock_ms()
        if not model or not self._breaker.lets(now_ms=now_ms):
            metrics.SLATES_SCORED["breaker" if model else "no-model",] += len(some)
            return
        try:
            said = await self._expected(model, np.concatenate([one.x for _, one in some]))
        except InferenceFailed as failed:
            # A server that refuses one model answers for the next.
            self._breaker.ended(well=failed.reason == "refused", now_ms=self._clock_ms())
            metrics.SLATES_SCORED[failed.reason,] += len(some)
            logger.warning("score.failed model=%s reason=%s slates=%d", model, failed.reason, len(some))
            return
        self._breaker.ended(well=True, now_ms=self._clock_ms())
        writing, at = [], 0
        for whose, one in some:
            scores, at = one.scores(model, said[at : at + len(one.keys)]), at + len(one.keys)
            _put(self._scored, whose, (now_ms, model, one.what))
            writing.append(self._write(whose, scores))
        await asyncio.gather(*writing)

    async def _write(self, whose: bytes, scores: Scores) -> None:
        place = scores.decision
        record = JournalRecord(
            record_id=ids.scores_record_id(place.topic_id, place.partition, place.offset, scores.model),
            writer=WRITER,
            step_version=STEP_VERSION,
            event_time_ms=self._clock_ms(),
            scores=scores,
        )
        try:
            value = self._sealing.frame("journal", record, whose=whose)
        except KeyMissing:
            metrics.SLATES_SCORED["left",] += 1
            return
        journal = self._topics["journal"].name
        await self._producer.produce(journal, key=whose, value=value, partition=place.partition)
        metrics.SLATES_SCORED["scored",] += 1


def waiting(decision: Decision, *, due_ms: int) -> Waiting | None:
    """Read of a decision what there is to score; None where nothing could be chosen. Raises ValueError for a slate that nobody of ours made."""
    space = SPACES.get(decision.feature_version)
    if space is None or space.d < NOW.d or not decision.journal.topic_id:
        raise ValueError("of features that no model of ours is given")
    there = [one for one in slates.spelled_out(decision) if not one.ineligible and one.kind != Decision.NONE]
    if not there:
        return None
    if any(len(one.x) != space.d for one in there):
        raise ValueError("not of these features")
    x = np.array([one.x[: NOW.d] for one in there], dtype=np.float32) / np.float32(ONE)
    keys = tuple(key_of(one.id) for one in there)
    return Waiting(due_ms, decision.journal, keys, x, moment_of(there[0].x))


def _of_rows(due: Sequence[tuple[bytes, Waiting]], rows: int) -> list[tuple[bytes, Waiting]]:
    """The first of them that have no more rows together; one at least."""
    found, many = list[tuple[bytes, Waiting]](), 0
    for whose, one in due:
        many += len(one.keys)
        if found and many > rows:
            break
        found.append((whose, one))
    return found


def _put(into: dict[bytes, Any], whose: bytes, one: object) -> None:
    """As the newest; past the bound the oldest is forgotten."""
    into.pop(whose, None)
    into[whose] = one
    while len(into) > PEOPLE_MAX:
        del into[next(iter(into))]


def build(app: faust.App, score: Score, *, topics: Mapping[str, Topic]) -> Partitions:
    """Declare the agent on `app`, and its timer; the stream returned is for health and lag."""
    partitions = Partitions(app, topics["decisions"].name, score.handle)

    @app.agent(app.topic(topics["decisions"].name), name="score")
    async def run(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    every(app, LOOK_EVERY_S, score.look)
    return partitions
