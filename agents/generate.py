"""Generate: has a language model write tips where `step` asks for them, and puts the one answer to each request into the journal.

It calls for the newest request of a person alone, once, and never reads a row. Before each call it reads its partition of
requests to the end; when it gets a partition it reads the journal from the oldest request on that is not committed, and repeats no
call whose answer stands there. A call that is in flight when the process is killed, or its partition goes elsewhere, is paid again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import faust
from faust.types import StreamT

from agents.breaker import Breaker
from agents.generation.prompts import Chat, NoPrompt
from agents.model_budget import ModelBudget, Reserved
from agents.refuse import DeadLetters, Refusal
from agents.step import STEP_VERSION
from connectors.models import ModelFailed, Models, Said
from oo.v1.decision_pb2 import Ask, CandidateRequest
from oo.v1.journal_pb2 import Candidates, JournalRecord
from oo.v1.shadow_candidates_pb2 import ShadowCandidates
from streams import metrics
from streams.keys import Keys, opened_by
from streams.partitions import Partitions
from streams.producer import Producer
from streams.record import Batch, Record
from streams.sealing import KeyMissing, Sealing, stays_open
from streams.shared import Shared
from streams.topics import Topic
from streams.units import SECOND_MS
from streams.wire import BadFrame
from tables import ids
from tables.leavers import Leaving

logger = logging.getLogger(__name__)

WRITER = "generate/1"
STALLED_AFTER_S = 300.0
"""A request runs out after two minutes, and a call ends by its deadline: what is in work for longer stands."""
KNOWN_MAX = 50_000
"""Of how many people of a partition it is remembered what they asked last; and of how many answers that they stand."""

SHADOW_SHARE = 0.5
"""Of a day's calls of an alias that shadows may be among: the others are left to what is served."""
SHADOWS_MAX = 8
"""Of a partition that wait for a lull; of more there is no shadow."""
GAVE_WAY = "gave-way"
"""Why a shadow has no answer, where something that is served was to be asked."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is said to a model, and what is made of what it says: pure, and no business of this module's."""

    chat: Callable[[Ask], Chat]
    """What is sent. Raises NoPrompt."""
    tips: Callable[[CandidateRequest, str], Candidates]
    """(request, what the model wrote) -> its tips, or a reason why there are none."""


class Call(NamedTuple):
    """One call that was made: what came, or the word for why nothing did, and how long it took."""

    said: Said | None
    reason: str
    took_ms: int


@dataclass(slots=True, eq=False)
class _Desk:
    """One partition's life here."""

    number: int
    read_to: int
    """Offset of the requests below which all are known."""
    look: Shared[None] = field(init=False)
    """Makes all known that stands in the partition now."""
    newest: dict[bytes, int] = field(default_factory=dict)
    """Of each person, the place in the journal of their newest request, or of the word that took it back."""
    begun: dict[bytes, int] = field(default_factory=dict)
    """Of each person, the request that is in work, or was last."""
    answered: dict[str, None] = field(default_factory=dict)
    """Requests whose answer stands in the journal."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    shadows: set[asyncio.Task[None]] = field(default_factory=set)
    """Of requests that are answered; no commit waits for one."""

    def take(self, whose: bytes, request: CandidateRequest) -> None:
        """Know of a request, however often it comes."""
        place = request.journal.offset
        if place >= self.newest.get(whose, -1):
            _put(self.newest, whose, place)

    def is_over(self, whose: bytes, request: CandidateRequest) -> bool:
        """Whether another stands in its place."""
        return request.journal.offset < self.newest.get(whose, -1)


class Generate:
    """The agent over its assigned partitions of requests."""

    def __init__(
        self,
        *,
        topics: Mapping[str, Topic],
        journal_id: bytes,
        sealing: Sealing,
        keys: Keys,
        producer: Producer,
        dead_letters: DeadLetters,
        leaving: Leaving,
        models: Models,
        budget: ModelBudget,
        words: Words,
        ends: Callable[[], Awaitable[Mapping[int, int]]],
        committed: Callable[[int], Awaitable[int]],
        read: Callable[[str, int, int], AsyncIterator[list[Record]]],
        clock_ms: Callable[[], int],
        at_once: int,
        deadline_s: float,
    ) -> None:
        """`ends()`: where each partition of the requests ends now; `committed(partition)`: the group's offset there;
        `read(short, partition, start)`: a topic's records from there to its end now.
        """
        self._topics = topics
        self._journal_id = journal_id
        self._sealing = sealing
        self._keys = keys
        self._producer = producer
        self._dead_letters = dead_letters
        self._leaving = leaving
        self._models = models
        self._budget = budget
        self._words = words
        self._ends = ends
        self._committed = committed
        self._read = read
        self._clock_ms = clock_ms
        self._deadline_s = deadline_s
        self._room = asyncio.Semaphore(at_once)
        self._desks: dict[int, _Desk] = {}
        self._breakers: dict[str, Breaker] = {alias: Breaker() for alias in models.aliases}
        self._in_flight = 0
        self._in_work = 0
        self._lull = asyncio.Event()
        """Nothing that is served is in work."""
        self._lull.set()
        self._behind = asyncio.Lock()
        self._beside: asyncio.Task[Call] | None = None
        """The call of a shadow that is in flight."""
        self.stopping: Callable[[], bool] = lambda: False
        """Whether partitions are about to go: no call begins that would be cut."""
        metrics.GAUGES["oo_model_calls_in_flight"] = lambda: {(): self._in_flight}
        metrics.GAUGES["oo_model_breaker_shut"] = lambda: {
            (alias,): float(one.shut) for alias, one in self._breakers.items()
        }
        metrics.GAUGES["oo_model_budget_left"] = lambda: {(alias,): budget.left(alias) for alias in self._breakers}

    async def assign(self, partitions: set[int]) -> None:
        """Take partitions over: which requests of theirs are answered is known when this returns."""
        for number in sorted(partitions):
            desk = _Desk(number, await self._committed(number))
            desk.look = Shared(partial(self._look, desk))
            first: dict[bytes, int] = {}
            async for record, request in self._requests(desk):
                if not _takes_back(request):
                    first.setdefault(record.key or b"", request.journal.offset)
            await self._read_answers(desk, first)
            self._desks[number] = desk

    async def revoke(self, partitions: set[int]) -> None:
        """Give partitions back: no call of theirs goes on, and each answer that was written stands in Kafka when this returns."""
        gone = [self._desks.pop(number) for number in partitions & self._desks.keys()]
        tasks = [task for desk in gone for task in (*desk.tasks, *desk.shadows)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            await self._producer.flush()

    async def handle(self, batches: Sequence[Batch]) -> asyncio.Future[None] | None:
        """Begin with each request; what it returns is done when each is answered, or need not be."""
        refusals: list[Refusal] = []
        tasks: list[asyncio.Task[None]] = []
        for record in chain.from_iterable(batch.records for batch in batches):
            desk = self._desks[record.partition]
            try:
                request = self._request(record)
            except BadFrame as bad:
                refusals.append(Refusal(record, bad.reason, bad.detail))
                continue
            if request is None:
                continue
            whose, place = record.key or b"", request.journal.offset
            desk.take(whose, request)
            if _takes_back(request):
                metrics.REQUESTS["withdraws",] += 1
            elif place <= desk.begun.get(whose, -1):
                # What step said before it was killed, it says again.
                metrics.REQUESTS["repeated",] += 1
            else:
                _put(desk.begun, whose, place)
                task = asyncio.create_task(self._settle(desk, record, request), name=f"request-{record.offset}")
                desk.tasks.add(task)
                task.add_done_callback(desk.tasks.discard)
                tasks.append(task)
        await self._dead_letters.refuse(refusals)
        return asyncio.ensure_future(_all(tasks)) if tasks else None

    async def _settle(self, desk: _Desk, record: Record, request: CandidateRequest) -> None:
        """See one request to its end."""
        whose = record.key or b""
        self._in_work += 1
        self._lull.clear()
        if self._beside is not None:
            self._beside.cancel()
        try:
            async with self._room:
                if self.stopping():
                    # Until it is cancelled: whoever has the partition next begins with it.
                    await asyncio.Event().wait()
                metrics.REQUESTS[await self._answer(desk, whose, record, request),] += 1
        finally:
            self._in_work -= 1
            if not self._in_work:
                self._lull.set()

    async def _answer(self, desk: _Desk, whose: bytes, record: Record, request: CandidateRequest) -> str:
        """Have it answered; returns what became of it, in a word."""
        if (fate := self._gone(desk, whose, request)) is not None:
            return fate
        try:
            request = await opened_by(self._keys, request, whose=whose)
        except BadFrame as bad:
            await self._dead_letters.refuse([Refusal(record, bad.reason, bad.detail)])
            return "refused"
        except KeyMissing as missing:
            await self._leaving.catch_up()
            return self._without_key(whose, request, missing)
        if request.request_id in desk.answered:
            return "answered-before"
        ready = await self._ready(request)
        if isinstance(ready, str):
            return await self._write(desk, whose, request, Candidates(reason=ready))
        chat, reserved = ready
        await desk.look()
        if (fate := self._gone(desk, whose, request)) is not None:
            await self._budget.settle(reserved, calls=0, tokens=0)
            return fate
        call = await self._call(request, chat)
        # A server that refuses one request may take the next.
        self._breakers[request.ask.model].ended(well=call.reason in {"", "refused"}, now_ms=self._clock_ms())
        tokens = reserved.tokens if call.said is None else call.said.tokens_in + call.said.tokens_out
        await self._budget.settle(reserved, calls=1, tokens=tokens)
        await desk.look()
        if (fate := self._gone(desk, whose, request)) is not None:
            # Nobody would take it, and of who withdrew nothing is written any more.
            return fate
        fate = await self._write(desk, whose, request, self._made_of(request, call))
        if call.said is not None and request.ask.shadow and fate == "answered" and len(desk.shadows) < SHADOWS_MAX:
            task = asyncio.create_task(self._shadow(desk, whose, request), name=f"shadow-{record.offset}")
            desk.shadows.add(task)
            task.add_done_callback(desk.shadows.discard)
            task.add_done_callback(_say_why)
        return fate

    async def _shadow(self, desk: _Desk, whose: bytes, answered: CandidateRequest) -> None:
        """Have the shadow of an answered request asked, once nothing that is served is in work.

        Nobody waits for it: a served request ends its call, and so does whoever takes the partition away.
        """
        request = CandidateRequest()
        request.CopyFrom(answered)
        request.ask.prompt_version = answered.ask.shadow
        async with self._behind:
            await self._lull.wait()
            if self.stopping() or self._gone(desk, whose, request) is not None:
                return
            ready = await self._ready(request, in_shadow=True)
            if isinstance(ready, str):
                await self._write_shadow(desk, whose, request, Candidates(reason=ready))
                return
            chat, reserved = ready
            await desk.look()
            if not self._lull.is_set() or self._gone(desk, whose, request) is not None:
                await self._budget.settle(reserved, calls=0, tokens=0)
                return
            beside = self._beside = asyncio.create_task(self._call(request, chat), name="shadow-call")
            try:
                await asyncio.wait({beside})
            finally:
                beside.cancel()
                self._beside = None
            call = Call(None, GAVE_WAY, 0) if beside.cancelled() else beside.result()
            tokens = reserved.tokens if call.said is None else call.said.tokens_in + call.said.tokens_out
            await self._budget.settle(reserved, calls=1, tokens=tokens)
            await desk.look()
            if self._gone(desk, whose, request) is None:
                await self._write_shadow(desk, whose, request, self._made_of(request, call))

    async def _ready(self, request: CandidateRequest, *, in_shadow: bool = False) -> tuple[Chat, Reserved] | str:
        """What is to be sent, with the budget for it; or why nothing is."""
        ask, now_ms = request.ask, self._clock_ms()
        if now_ms >= request.runs_out_ms:
            return "run-out"
        try:
            chat = self._words.chat(ask)
        except NoPrompt:
            return "no-prompt"
        breaker = self._breakers.get(ask.model)
        if breaker is None:
            return "no-model"
        if breaker.shut if in_shadow else not breaker.lets(now_ms=now_ms):
            return "breaker"
        # No token is less than a byte.
        tokens = ask.tokens_max + sum(len(one["content"].encode()) for one in chat.messages)
        share = SHADOW_SHARE if in_shadow else 1.0
        reserved = await self._budget.reserve(ask.model, tokens=tokens, share=share)
        return (chat, reserved) if reserved else "budget"

    async def _call(self, request: CandidateRequest, chat: Chat) -> Call:
        ask = request.ask
        left_s = (request.runs_out_ms - self._clock_ms()) / SECOND_MS
        said, reason, began_s = None, "", time.monotonic()
        self._in_flight += 1
        try:
            said = await self._models.ask(
                ask.model,
                chat.messages,
                chat.schema,
                max_tokens=ask.tokens_max,
                deadline_s=max(0.0, min(self._deadline_s, left_s)),
            )
        except ModelFailed as failed:
            reason = failed.reason
        finally:
            self._in_flight -= 1
        took_s = time.monotonic() - began_s
        metrics.MODEL_CALLS[ask.model, reason or "well"] += 1
        metrics.MODEL_S.add(took_s)
        if said is not None:
            metrics.MODEL_TOKENS[ask.model, "in"] += said.tokens_in
            metrics.MODEL_TOKENS[ask.model, "out"] += said.tokens_out
        return Call(said, reason, round(took_s * SECOND_MS))

    def _made_of(self, request: CandidateRequest, call: Call) -> Candidates:
        said = call.said
        if said is None:
            return Candidates(reason=call.reason, took_ms=call.took_ms)
        made = self._words.tips(request, said.text)
        made.answered_by, made.took_ms = said.answered_by, call.took_ms
        made.tokens_in, made.tokens_out = said.tokens_in, said.tokens_out
        return made

    async def _write(self, desk: _Desk, whose: bytes, request: CandidateRequest, made: Candidates) -> str:
        """Put the answer into the journal; returns once it stands there."""
        made.request_id = request.request_id
        made.prompt_version, made.model = request.ask.prompt_version, request.ask.model
        answer = JournalRecord(
            record_id=ids.answer_record_id(request.request_id),
            writer=WRITER,
            step_version=STEP_VERSION,
            event_time_ms=self._clock_ms(),
            candidates=made,
        )
        try:
            value = self._sealing.frame("journal", answer, whose=whose)
        except KeyMissing as missing:
            return self._without_key(whose, request, missing)
        await self._producer.produce(self._topics["journal"].name, key=whose, value=value, partition=desk.number)
        _put(desk.answered, request.request_id, None)
        metrics.ANSWERS[made.reason or "tips",] += 1
        for one in made.dropped:
            metrics.GUARDED[one.guard,] += one.count
        return "answered"

    async def _write_shadow(self, desk: _Desk, whose: bytes, request: CandidateRequest, made: Candidates) -> None:
        """Put what a shadow's call came to where no decision hears of it."""
        made.request_id = request.request_id
        made.prompt_version, made.model = request.ask.prompt_version, request.ask.model
        said = ShadowCandidates(journal=request.journal, candidates=made)
        try:
            value = self._sealing.frame("shadow-candidates", said, whose=whose)
        except KeyMissing as missing:
            self._without_key(whose, request, missing)
            return
        await self._producer.produce(
            self._topics["shadow-candidates"].name, key=whose, value=value, partition=desk.number
        )
        metrics.SHADOW_ANSWERS[made.reason or "tips",] += 1

    def _gone(self, desk: _Desk, whose: bytes, request: CandidateRequest) -> str | None:
        """Why nothing is to be asked or written any more; None where it is."""
        if self._has_left(whose, request):
            return "left"
        return "superseded" if desk.is_over(whose, request) else None

    def _has_left(self, whose: bytes, request: CandidateRequest) -> bool:
        return self._leaving.leavers.are_of_before(whose.decode(errors="replace"), request.journal)

    def _without_key(self, whose: bytes, request: CandidateRequest, missing: KeyMissing) -> str:
        if self._has_left(whose, request):
            return "left"
        # Whoever folds ends over it, and says so; here others go on.
        logger.error("request.no_key partition=%d why=%s", request.journal.partition, missing)
        return "no-key"

    async def _look(self, desk: _Desk) -> None:
        """Know of all that stands in the partition, and of all who left."""
        if (await self._ends())[desk.number] > desk.read_to:
            async for _ in self._requests(desk):
                pass
        await self._leaving.catch_up()

    async def _requests(self, desk: _Desk) -> AsyncIterator[tuple[Record, CandidateRequest]]:
        """Those that the desk has not read, which it then knows."""
        async for records in self._read("candidate-requests", desk.number, desk.read_to):
            for record in records:
                desk.read_to = record.offset + 1
                try:
                    request = self._request(record)
                except BadFrame:
                    continue  # its turn comes
                if request is not None:
                    desk.take(record.key or b"", request)
                    yield record, request

    async def _read_answers(self, desk: _Desk, first: Mapping[bytes, int]) -> None:
        """Learn which of the requests that wait are answered. `first`: of each person who asked, the place of the oldest."""
        if not first:
            return
        async for records in self._read("journal", desk.number, min(first.values())):
            for record in records:
                whose = record.key or b""
                if record.offset < first.get(whose, record.offset + 1):
                    continue
                try:
                    journal = self._sealing.unframe("journal", record.value, whose=whose)
                except (BadFrame, KeyMissing):
                    continue  # a fold's to judge; an answer that nobody can open needs no second one
                if isinstance(journal, JournalRecord) and journal.HasField("candidates"):
                    _put(desk.answered, journal.candidates.request_id, None)
            await asyncio.sleep(0)

    def _request(self, record: Record) -> CandidateRequest | None:
        """The request, sealed as it stands; None where it is of another journal. Raises BadFrame."""
        if record.value is None or record.key is None:
            raise BadFrame("no-frame", "a request has a person and a value")
        request = self._sealing.frames.unframe("candidate-requests", record.value)
        assert isinstance(request, CandidateRequest), "one message type stands on this topic"
        return request if request.journal.topic_id == self._journal_id else None


def _takes_back(request: CandidateRequest) -> bool:
    """Whether it asks for nothing; as it stands, sealed or not."""
    return not request.sealed and stays_open(request)


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Returns when none runs; raises what ended one. One that was cancelled is of a partition that went elsewhere."""
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _say_why(shadow: asyncio.Task[None]) -> None:
    if not shadow.cancelled() and (error := shadow.exception()) is not None:
        logger.error("shadow.failed kind=%s", type(error).__name__)


def _put(known: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep the newest so many."""
    known.pop(key, None)
    known[key] = value
    if len(known) > KNOWN_MAX:
        del known[next(iter(known))]


def build(app: faust.App, generate: Generate, *, topics: Mapping[str, Topic]) -> Partitions:
    """Declare the agent on `app`; the stream returned is for health and lag."""
    partitions = Partitions(
        app,
        topics["candidate-requests"].name,
        generate.handle,
        on_assigned=generate.assign,
        on_revoked=generate.revoke,
        stalled_after_s=STALLED_AFTER_S,
        told_after_s=STALLED_AFTER_S,
    )
    generate.stopping = lambda: partitions.draining

    @app.agent(app.topic(topics["candidate-requests"].name), name="generate")
    async def run(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    return partitions
