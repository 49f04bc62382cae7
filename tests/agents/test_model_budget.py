"""The day's calls on a real broker, and several who speak for them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from secrets import token_hex

import pytest

from agents.model_budget import ModelBudget, Reserved
from deploy.stack.running import RunningStack
from oo.v1.model_budget_pb2 import ModelBudget as Word
from streams.producer import Producer
from streams.reader import Tail
from streams.schemas import Schemas
from streams.units import DAY_MS
from tests.agents.process import Topics

NOW_MS = 20_000 * DAY_MS


@pytest.fixture
def topics(servers: RunningStack) -> Iterator[Topics]:
    made = Topics(servers)
    yield made
    made.close()


def spoken(topics: Topics, *, processes: int, each: int, day_calls: int, back: int = 0, days_later: int = 0) -> int:
    """How many calls may go out of so many that each process asks for; `back`: of the first one's, given back in the end."""

    async def all_of_them() -> int:
        async with AsyncExitStack() as stack:
            budgets = [await opened(stack) for _ in range(processes)]
            asked = [budget.reserve("tip-generator", tokens=10) for budget in budgets for _ in range(each)]
            found = await asyncio.gather(*asked)
            for one in [one for one in found[:each] if one is not None][:back]:
                await budgets[0].settle(one, calls=0, tokens=0)
            return sum(isinstance(one, Reserved) for one in found)

    async def opened(stack: AsyncExitStack) -> ModelBudget:
        schemas = Schemas(topics.cluster, kept=topics.schemas_file)
        await schemas.register()
        producer = Producer(topics.cluster)
        stack.push_async_callback(producer.close)
        budget = ModelBudget(
            schemas=schemas,
            topic=topics.cluster.name("model-budget"),
            producer=producer,
            process=token_hex(4),
            day_calls=day_calls,
            clock_ms=lambda: NOW_MS + days_later * DAY_MS,
        )
        tail = Tail(topics.cluster, topics.cluster.name("model-budget"))
        following = asyncio.create_task(budget.follow(tail))
        stack.callback(following.cancel)
        await tail.caught_up.wait()
        return budget

    return asyncio.run(all_of_them())


def kept(topics: Topics) -> int:
    """Calls that the topic says are spoken for."""
    last: dict[str, int] = {}
    for word in topics.messages("model-budget"):
        assert isinstance(word, Word)
        last[word.process] = word.calls
    return sum(last.values())


def test_of_three_who_ask_at_once_no_call_goes_past_the_budget_and_none_is_counted_twice(topics: Topics) -> None:
    assert spoken(topics, processes=3, each=6, day_calls=100) == 18
    assert kept(topics) == 18
    granted = spoken(topics, processes=3, each=6, day_calls=25)
    assert granted <= 7
    assert kept(topics) == 18 + granted
    assert spoken(topics, processes=3, each=1, day_calls=18) == 0


def test_what_was_spoken_for_and_not_used_may_be_used_again(topics: Topics) -> None:
    assert spoken(topics, processes=1, each=5, day_calls=3, back=2) == 3
    assert kept(topics) == 1
    assert spoken(topics, processes=1, each=5, day_calls=3) == 2


def test_words_of_days_that_are_over_go_and_yesterdays_stay(topics: Topics) -> None:
    def standing() -> set[int]:
        last: dict[bytes, bool] = {}
        for record in topics.read("model-budget"):
            last[record.key or b""] = record.value is not None
        return {int(key.split(b"/")[0]) - NOW_MS // DAY_MS for key, stands in last.items() if stands}

    for day in range(3):
        assert spoken(topics, processes=2, each=1, day_calls=9, days_later=day) == 2
    assert standing() == {1, 2}
    assert spoken(topics, processes=1, each=9, day_calls=9, days_later=2) == 7
