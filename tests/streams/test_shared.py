from __future__ import annotations

import asyncio

import pytest

from streams.shared import Shared


class Asked:
    """Answers with how often it was asked, each time after a while."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> int:
        self.times += 1
        answer = self.times
        await asyncio.sleep(0.01)
        return answer


def test_who_asks_in_the_same_turn_shares_one_answer() -> None:
    async def scenario() -> None:
        ask = Shared(Asked())
        assert await asyncio.gather(*(ask() for _ in range(8))) == [1] * 8

    asyncio.run(scenario())


def test_who_comes_once_it_was_asked_never_gets_the_older_answer() -> None:
    async def scenario() -> None:
        asked = Asked()
        ask = Shared(asked)
        first = asyncio.create_task(ask())
        while not asked.times:
            await asyncio.sleep(0)
        assert await ask() == 2
        assert await first == 1

    asyncio.run(scenario())


def test_a_fault_reaches_all_who_asked_and_one_who_gives_up_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        async def refused() -> int:
            await asyncio.sleep(0)
            raise ValueError("no")

        found = await asyncio.gather(*(Shared(refused)() for _ in range(2)), return_exceptions=True)
        assert [str(one) for one in found] == ["no", "no"]
        ask = Shared(Asked())
        impatient, patient = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asyncio.sleep(0.001)
        impatient.cancel()
        assert await patient == 1
        with pytest.raises(asyncio.CancelledError):
            await impatient

    asyncio.run(scenario())
