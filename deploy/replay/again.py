"""Has logged requests answered again by another prompt or model, offline, and sets what comes beside what was logged of the same requests.

It is an estimate of words, never of what people would have done. It reads Kafka and people's keys, asks one model, and writes nothing; nobody is
asked for whose consents, as they are now, no longer allow it.
"""

from __future__ import annotations

import hashlib
import heapq
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agents import limits
from agents.generation import answered
from agents.generation.likeness import Embedder, near_duplicate
from agents.generation.prompts import PROMPTS, Chat, NoPrompt, latest
from agents.written import EVENT_HEAD, TASK_HEAD
from connectors.leaving import leavers_of
from connectors.models import ModelFailed, Models
from deploy.folding import Journal, read
from deploy.keys import read_keys
from deploy.rows import row_of
from deploy.stack.running import RunningStack
from oo.v1 import row_pb2
from oo.v1.decision_pb2 import Ask, CandidateRequest
from oo.v1.journal_pb2 import Candidates, JournalRecord
from streams.frames import Frames
from streams.reader import topic_id
from streams.record import Record
from streams.sealing import KeyMissing, Keys, opened, stays_open
from streams.units import MINUTE_MS
from streams.wire import BadFrame

FAILED_MAX = 3
"""Calls in a row that bring nothing: after these nothing more is asked."""
SPARE = 4
"""Of so many times the sample is kept, for those that may not be asked any more."""
LATE_MS = 10 * MINUTE_MS
"""So long behind its end a request's answer is looked for."""

REASON_CALLS, REASON_TOKENS, REASON_FAILED = (
    "all were asked",
    "the tokens are spent",
    "the model failed again and again",
)


class NothingToAsk(Exception):
    """No request of the range may be asked again; the message says why."""


class Logged(NamedTuple):
    """A request that may be asked again, and what was answered to it then; None for nothing."""

    request: CandidateRequest
    answer: Candidates | None


@dataclass(slots=True)
class Picked:
    """Which requests are asked again."""

    logged: list[Logged] = field(default_factory=list)
    found: int = 0
    """Of the range."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Of those that were looked at: why they are not asked."""

    @property
    def people(self) -> int:
        """How many they are of."""
        return len({one.request.user_id for one in self.logged})


@dataclass(slots=True)
class Side:
    """What came of the same requests on one side."""

    answered: int = 0
    """With a tip that no guard held back."""
    tips: int = 0
    without: dict[str, int] = field(default_factory=dict)
    """Requests without a tip, by why."""
    held_back: dict[str, int] = field(default_factory=dict)
    """Tips, by guard."""
    tokens_in: int = 0
    tokens_out: int = 0
    call_s: float = 0.0
    """Over all calls."""

    def add(self, made: Candidates | None) -> None:
        """Count what came of one request; None where it has no answer."""
        if made is None:
            _count(self.without, "no answer")
            return
        self.tips += len(made.tips)
        if made.tips:
            self.answered += 1
        else:
            _count(self.without, made.reason or "no-tips")
        for one in made.dropped:
            _count(self.held_back, one.guard, one.count)
        self.tokens_in += made.tokens_in
        self.tokens_out += made.tokens_out
        self.call_s += made.took_ms / 1000


def _count(into: dict[str, int], what: str, n: int = 1) -> None:
    into[what] = into.get(what, 0) + n


@dataclass(slots=True)
class Again:
    """Both sides of the requests that were asked again."""

    requests: int = 0
    people: int = 0
    then: Side = field(default_factory=Side)
    now: Side = field(default_factory=Side)
    both: int = 0
    """Requests with tips on both sides; likeness is of these."""
    compared: int = 0
    """Tips of now that were held against those of then."""
    same: int = 0
    """Of them, those that ask for the same as one of then."""
    permille: int | None = None
    """How near the nearest one of then is, by MiniLM, in the mean of them; None without an embedder."""
    stopped: str = REASON_CALLS


def may_be_asked(row: row_pb2.UserRow | None, ask: Ask) -> str:
    """Why this person's consents, as they are now, do not allow what was asked then; empty where they do.

    >>> may_be_asked(row_pb2.UserRow(), Ask()), may_be_asked(None, Ask())
    ('', 'left')
    """
    if row is None or (row.HasField("left") and not row.left.began_again):
        return "left"
    now = limits.of(row)
    sources = [
        *((one.id, TASK_HEAD, now.tasks_of) for one in ask.tasks),
        *((one.id, EVENT_HEAD, now.events_of) for one in ask.events),
    ]
    # Titles that were written may be made of anything, and how often tips were done is of all tasks.
    made_of_more = now.any and bool(ask.written)
    if now.generated or made_of_more or not all(of(_source(one, head)) for one, head, of in sources):
        return "withdrawn"
    return ""


def _source(external_id: str, head: str) -> str:
    return external_id.removeprefix(head).partition("/")[0]


async def pick(
    stack: RunningStack,
    *,
    start: Mapping[int, int],
    end: Mapping[int, int],
    users: Collection[str],
    sample: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Picked:
    """Return a sample of the requests of records in [start, end), by partition: the same ones each time, as long as they may be asked.

    `users`: pseudonyms; empty for everybody. Raises NothingToAsk.
    """
    journal = Journal(stack.cluster, await topic_id(stack.cluster, "journal"), {}, stack.kek_dir)
    picked, nearest = Picked(), list[tuple[int, int, int]]()
    kept: dict[tuple[int, int], tuple[bytes, CandidateRequest]] = {}
    for number in sorted(start):
        async for whose, request in _requests(journal, number):
            at = request.journal.offset
            if not start[number] <= at < end[number] or (users and whose.decode(errors="replace") not in users):
                continue
            if (place := (number, at)) in kept:
                continue  # What is said again after a kill.
            picked.found += 1
            progress(1)
            kept[place] = whose, request
            # Whoever is farthest makes way: a heap gives the least, so the draw is negative.
            heapq.heappush(nearest, (-_draw(number, at), number, at))
            if len(nearest) > sample * SPARE:
                del kept[heapq.heappop(nearest)[1:]]
    numbers = {number for number, _ in kept}
    keys = {number: await read_keys(stack.cluster, stack.kek_dir, partition=number) for number in numbers}
    leavers, some = await leavers_of(stack.cluster), list[CandidateRequest]()
    for _, number, at in sorted(nearest, reverse=True):
        if len(some) == sample:
            break
        whose, request = kept[number, at]
        why = "left"
        if not leavers.passes(whose, at):
            try:
                request = opened(request, whose=whose, keys=keys[number])
            except (KeyMissing, BadFrame):
                why = "no key"
            else:
                why = may_be_asked(await row_of(stack, whose.decode(), keys=keys[number]), request.ask)
        if why:
            picked.passed_over[why] += 1
        else:
            some.append(request)
    if not some:
        gone = ", ".join(f"{n} {why}" for why, n in picked.passed_over.most_common())
        raise NothingToAsk(
            f"of {picked.found} requests in the range none may be asked again{gone and f' ({gone})'}: "
            "requests are made where 'oo prompts list' shows a model, and are of people who still allow it"
        )
    answers: dict[str, Candidates] = {}
    for number, theirs in keys.items():
        answers |= await _answers(journal, number, some, theirs)
    picked.logged = [Logged(one, answers.get(one.request_id)) for one in some]
    return picked


def _draw(number: int, offset: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{number}/{offset}".encode(), digest_size=8).digest(), "big")


async def _requests(journal: Journal, number: int) -> AsyncIterator[tuple[bytes, CandidateRequest]]:
    """Whose, and the request as it stands, sealed; those that withdraw ask for nothing."""
    frames = Frames()
    async for records in read(journal, "candidate-requests", number):
        for record in records:
            try:
                request = frames.unframe("candidate-requests", record.value)
            except BadFrame:
                continue
            assert isinstance(request, CandidateRequest)
            asks = bool(request.sealed) or not stays_open(request)
            if record.key and asks and request.journal.topic_id == journal.topic_id:
                yield record.key, request


async def _answers(
    journal: Journal, number: int, requests: Sequence[CandidateRequest], keys: Keys
) -> dict[str, Candidates]:
    """By request, the first answer that the journal has."""
    mine = {one.request_id: one for one in requests if one.journal.partition == number}
    found: dict[str, Candidates] = {}
    if not mine:
        return found
    people = {one.user_id.encode() for one in mine.values()}
    until_ms = max(one.runs_out_ms for one in mine.values()) + LATE_MS
    frames, start = Frames(), min(one.journal.offset for one in mine.values())
    async for records in read(journal, "journal", number, start=start):
        for record in records:
            if record.key in people and (made := _answer(frames, record, keys)) and made.request_id in mine:
                found.setdefault(made.request_id, made)
        if records[-1].timestamp_ms > until_ms or len(found) == len(mine):
            break
    return found


def _answer(frames: Frames, record: Record, keys: Keys) -> Candidates | None:
    try:
        said = opened(frames.unframe("journal", record.value), whose=record.key or b"", keys=keys)
    except (BadFrame, KeyMissing):
        return None
    return said.candidates if isinstance(said, JournalRecord) and said.HasField("candidates") else None


def prompt_named(name: str) -> str:
    """The version of this prompt that this build has, by its name or NAME@HASH; raises KeyError.

    >>> prompt_named("tips") == prompt_named(prompt_named("tips"))
    True
    """
    return name if name in PROMPTS else latest(name).version


async def ask_again(
    picked: Picked,
    models: Models,
    *,
    model: str,
    prompt: str = "",
    tokens: int,
    deadline_s: float,
    embedder: Embedder | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Again:
    """Ask each once more, one after the other: `model` by `prompt`, or by its own where that is empty; a call each, and at most so many tokens in all.

    No call goes out that could pass `tokens`: one counts as all that it may take until it is known what it took, and one that failed stays so.
    """
    found, left, failed, nearness = Again(), tokens, 0, list[int]()
    for one in picked.logged:
        request = CandidateRequest()
        request.CopyFrom(one.request)
        request.ask.model = model
        if prompt:
            request.ask.prompt_version = prompt
        try:
            chat = answered.chat(request.ask)
        except NoPrompt:
            made = Candidates(reason="no-prompt")
        else:
            most = request.ask.tokens_max + sum(len(each["content"].encode()) for each in chat.messages)
            if most > left:
                found.stopped = REASON_TOKENS
                break
            made, took = await _asked(request, models, chat, embedder=embedder, deadline_s=deadline_s)
            left -= took if took is not None else most
            failed = failed + 1 if took is None else 0
        found.requests += 1
        found.then.add(one.answer)
        found.now.add(made)
        _compare(found, one.answer, made, embedder, nearness)
        progress(1)
        if failed == FAILED_MAX:
            found.stopped = REASON_FAILED
            break
    found.people = len({one.request.user_id for one in picked.logged[: found.requests]})
    if nearness:
        found.permille = round(sum(nearness) / len(nearness))
    return found


async def _asked(
    request: CandidateRequest, models: Models, chat: Chat, *, embedder: Embedder | None, deadline_s: float
) -> tuple[Candidates, int | None]:
    """What came, and for how many tokens; None where it failed."""
    began_s, ask = time.monotonic(), request.ask
    try:
        said = await models.ask(ask.model, chat.messages, chat.schema, max_tokens=ask.tokens_max, deadline_s=deadline_s)
    except ModelFailed as failure:
        return Candidates(reason=failure.reason, took_ms=round((time.monotonic() - began_s) * 1000)), None
    took_ms = round((time.monotonic() - began_s) * 1000)
    made = answered.candidates(request, said.text, embedder=embedder)
    made.took_ms, made.tokens_in, made.tokens_out = took_ms, said.tokens_in, said.tokens_out
    return made, said.tokens_in + said.tokens_out


def _compare(
    found: Again, then: Candidates | None, now: Candidates, embedder: Embedder | None, nearness: list[int]
) -> None:
    if then is None or not then.tips or not now.tips:
        return
    found.both += 1
    titles = [one.title for one in then.tips]
    for tip in now.tips:
        permilles = embedder.permilles(tip.title, titles) if embedder else [0] * len(titles)
        found.compared += 1
        pairs = zip(titles, permilles, strict=True)
        found.same += any(near_duplicate(tip.title, title, permille=n) for title, n in pairs)
        if embedder:
            nearness.append(max(permilles))
