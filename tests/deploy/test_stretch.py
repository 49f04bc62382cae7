"""What a fold says, held against what is kept some at a time."""

import asyncio

from deploy.differing import Differences, Kept
from deploy.stretch import STRETCH, Stretch
from tables.leavers import Leavers


def made(at: int) -> Kept:
    """Of the record at this offset."""
    return Kept(f"{at}", "ada", at, 1, b"")


class Whole:
    """Has one of every record."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    async def between(self, name: str, low: int, high: int) -> list[Kept]:
        """See History."""
        assert name == "decision"
        self.asked.append((low, high))
        return [made(at) for at in range(low, high)]

    async def excuses(self) -> tuple[Leavers, int]:
        """See History."""
        return Leavers(b""), 0


def test_so_many_are_held_against_what_is_kept_and_then_as_many_again() -> None:
    history, found = Whole(), Differences()
    stretch = Stretch(history, found, start=0, cut=2 * STRETCH, from_ms=0, names=("decision",))
    for at in range(2 * STRETCH):
        stretch.add("decision", made(at))
        if stretch.full:
            asyncio.run(stretch.compare(at + 1))
    assert history.asked == [(0, STRETCH), (STRETCH, 2 * STRETCH)]
    assert found.n == 0
