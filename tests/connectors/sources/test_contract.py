"""Every source passes every case that says something about it; which those are is a table of docs/sources.md."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.sources.registry import SOURCES
from tests.connectors.sources.cases import CASES
from tests.connectors.sources.world import World
from tests.connectors.sources.worlds import WORLDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sources.md"


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind.name}-{case}")
        for kind in WORLDS
        for case in CASES
        if case not in kind.not_said
    ],
)
def test_a_source_keeps_the_contract(
    kind: type[World], case: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind.needs) if kind.needs else None

    async def run() -> None:
        world = kind(tmp_path, server) if kind.needs else kind(tmp_path)
        async with world.running():
            await CASES[case][1](world)

    asyncio.run(run())


def test_every_source_has_a_world() -> None:
    assert [kind.name for kind in WORLDS] == [one.description.name for one in SOURCES]


def table() -> list[str]:
    """The lines of the page's table, and of the reasons below it."""
    names = [kind.name for kind in WORLDS]
    reasons = list(dict.fromkeys(why for kind in WORLDS for why in kind.not_said.values()))
    lines = [f"| case | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for case, (what, _) in CASES.items():
        marks = [str(reasons.index(kind.not_said[case]) + 1) if case in kind.not_said else "yes" for kind in WORLDS]
        if case == "ten-thousand":
            marks = [mark if mark != "yes" else f"{kind.many:,}" for kind, mark in zip(WORLDS, marks, strict=True)]
        lines.append(f"| {what} | {' | '.join(marks)} |")
    return [*lines, "", *(f"{i}. {why}" for i, why in enumerate(reasons, 1))]


def test_the_page_shows_what_is_run() -> None:
    assert "\n".join(table()) in PAGE.read_text(), "\n" + "\n".join(table())
