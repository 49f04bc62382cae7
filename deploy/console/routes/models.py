"""Language models: who is asked with which prompt, what came of it, and what it costs. No word of a person is here."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import Mapping

from fastapi import APIRouter
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from agents.evaluation import rates
from agents.generation.prompts import PROMPTS
from agents.model_budget import Book, Key, Spent
from deploy.console.compared import compared_in
from deploy.console.stack import TheKeys, TheStack
from deploy.earned import newest_version
from deploy.prompted import ALPHA, summary
from deploy.stack.running import RunningStack
from deploy.stack.state import LOOPBACK
from oo.v1.model_budget_pb2 import ModelBudget
from oo.v1.policy_pb2 import PolicyVersion
from streams.clock import clock_ms
from streams.cluster import Cluster
from streams.frames import Frames
from streams.messages import read
from streams.metrics import METRICS
from streams.reader import read_partition
from streams.units import DAY_MS

router = APIRouter(tags=["models"])
TIMEOUT_S = 2.0
COMPARED_MS = 28 * DAY_MS

Labels = tuple[str, ...]
Numbers = Mapping[str, Mapping[Labels, float]]


class Variant(BaseModel):
    """A prompt and a model that requests are drawn for."""

    prompt: str
    model: str
    share: float
    """With which probability a request is drawn for it."""
    is_here: bool
    """This build can write with the prompt."""


class Counted(BaseModel):
    """How many of one thing, in its word."""

    what: str
    n: int


class Model(BaseModel):
    """One alias."""

    model: str
    calls_today: int
    """Over all processes, by days of UTC: spoken for or made."""
    tokens_today: int
    calls_left: int | None
    """None where no process says so."""
    is_shut: bool
    """It failed again and again, and is not asked for a while."""
    ended: list[Counted]
    """Calls since the process began, by how they ended."""
    tokens_in: int
    tokens_out: int


class Asked(BaseModel):
    """What the process that asks has done since it began."""

    since_ms: int
    in_flight: int
    calls: int
    call_s: float
    """In the mean."""
    requests: list[Counted]
    answers: list[Counted]
    held_back: list[Counted]
    """Written tips, by guard."""


class Models(BaseModel):
    """As `oo prompts list`, with what `generate` counts."""

    version: str
    person_calls: int
    person_tokens: int
    """Of one person and day, at most."""
    variants: list[Variant]
    models: list[Model]
    asked: Asked | None
    """None where no such process runs on this machine."""


class Share(BaseModel):
    """How often tips of one prompt and model are done, once seen."""

    prompt: str
    model: str
    tips: int
    done: int
    value: float
    low: float
    high: float


class Shares(BaseModel):
    """As `oo prompts compare`, of four weeks."""

    shares: list[Share]
    summary: str


@router.get("/models", summary="Who is asked, and what came of it")
def models(stack: TheStack) -> Models:
    version = asyncio.run(newest_version(stack.cluster)) or PolicyVersion()
    generation = version.config.generation
    total = sum(one.weight for one in generation.variants) or 1
    numbers, spent = _numbers(stack), asyncio.run(spent_on(stack.cluster, day=clock_ms() // DAY_MS))
    calls = (numbers or {}).get("oo_model_calls_total", {})
    names = {one.model for one in generation.variants} | spent.keys() | {model for model, *_ in calls}
    return Models(
        version=version.version_id,
        person_calls=generation.day_calls,
        person_tokens=generation.day_tokens,
        variants=[
            Variant(
                prompt=one.prompt_version,
                model=one.model,
                share=one.weight / total,
                is_here=one.prompt_version in PROMPTS,
            )
            for one in generation.variants
        ],
        models=[_model(name, spent.get(name, Spent()), numbers or {}) for name in sorted(names)],
        asked=None if numbers is None else _asked(numbers),
    )


@router.get("/models/shares", summary="How often written tips are done")
def shares(stack: TheStack, keys: TheKeys) -> Shares:
    found = compared_in(stack, keys, since_ms=clock_ms() - COMPARED_MS)
    told = []
    for (prompt, model), rate in found.rates.items():
        low, high = rates.interval(rate, alpha=ALPHA)
        told.append(
            Share(prompt=prompt, model=model, tips=rate.n, done=rate.done, value=rate.share, low=low, high=high)
        )
    return Shares(shares=told, summary=summary(found))


async def spent_on(cluster: Cluster, *, day: int) -> dict[str, Spent]:
    """By alias, what all processes have spent that day."""
    schemas, book = Frames(), Book()
    async for records in read_partition(cluster, cluster.name("model-budget"), 0):
        for record in records:
            word = read(schemas, "model-budget", record)
            if isinstance(word, ModelBudget):
                book.take(record.offset, Key(word.day, word.model, word.process), Spent(word.calls, word.tokens))
    found: dict[str, Spent] = {}
    for key, one in book.spent.items():
        if key.day == day:
            found[key.model] = found.get(key.model, Spent()).plus(calls=one.calls, tokens=one.tokens)
    return found


def _numbers(stack: RunningStack) -> Numbers | None:
    """What `generate` counts, by name and labels; None where it says nothing."""
    if "generate" not in stack.ports:
        return None
    page = f"http://{LOOPBACK}:{stack.ports['generate']}/metrics"
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(page, timeout=TIMEOUT_S) as answer:
        return told_in(answer.read().decode())
    return None


def told_in(page: str) -> dict[str, dict[Labels, float]]:
    """Our numbers on a page for Prometheus, by name and by what their labels say, in our order: the page has them sorted.

    >>> told_in('# TYPE oo_model_calls_total counter\\noo_model_calls_total{end="well",model="m"} 3.0\\n')
    {'oo_model_calls_total': {('m', 'well'): 3.0}}
    """
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(page):
        if (ours := METRICS.get(family.name)) is None:
            continue
        for one in family.samples:
            labels = tuple(one.labels[name] for name in ours.labels if name in one.labels)
            found.setdefault(one.name, {})[labels] = one.value
    return found


def _model(name: str, spent: Spent, numbers: Numbers) -> Model:
    ended = {end: n for (model, end), n in numbers.get("oo_model_calls_total", {}).items() if model == name}
    tokens = {way: int(n) for (model, way), n in numbers.get("oo_model_tokens_total", {}).items() if model == name}
    left = numbers.get("oo_model_budget_left", {}).get((name,))
    return Model(
        model=name,
        calls_today=spent.calls,
        tokens_today=spent.tokens,
        calls_left=None if left is None else int(left),
        is_shut=bool(numbers.get("oo_model_breaker_shut", {}).get((name,))),
        ended=_counted({(end,): n for end, n in ended.items()}),
        tokens_in=tokens.get("in", 0),
        tokens_out=tokens.get("out", 0),
    )


def _asked(numbers: Numbers) -> Asked:
    calls = int(_one(numbers, "oo_model_seconds_count"))
    return Asked(
        since_ms=int(_one(numbers, "oo_started_at_seconds") * 1000),
        in_flight=int(_one(numbers, "oo_model_calls_in_flight")),
        calls=calls,
        call_s=_one(numbers, "oo_model_seconds_sum") / calls if calls else 0.0,
        requests=_counted(numbers.get("oo_requests_total", {})),
        answers=_counted(numbers.get("oo_answers_total", {})),
        held_back=_counted(numbers.get("oo_guarded_tips_total", {})),
    )


def _one(numbers: Numbers, name: str) -> float:
    return sum(numbers.get(name, {}).values())


def _counted(found: Mapping[Labels, float]) -> list[Counted]:
    """The most frequent first."""
    return [Counted(what=label, n=int(n)) for (label,), n in sorted(found.items(), key=lambda one: (-one[1], one[0]))]
