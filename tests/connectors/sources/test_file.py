"""What only files do: which may be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from connectors.sources.source import FaultKind
from tests.connectors.sources.file_worlds import TodoTxtWorld


def with_file(folder: Path, test: Callable[[TodoTxtWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        world = TodoTxtWorld(folder)
        async with world.running():
            await test(world)

    asyncio.run(run())


def test_a_file_outside_of_the_folder_is_not_read_by_any_way_in(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "secret.txt").write_text("Call Mom\n")
    (allowed / "link.txt").symlink_to(tmp_path / "secret.txt")

    async def test(world: TodoTxtWorld) -> None:
        for path in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
            reader = world.reader()
            reader.access = replace(reader.access, settings={"path": path})
            fault = await reader.read()
            assert fault is not None
            assert (fault.kind, fault.detail) == (FaultKind.GONE, "outside")
        reader = world.reader()
        reader.access = replace(reader.access, files=None)
        fault = await reader.read()
        assert fault is not None
        assert fault.kind is FaultKind.GONE

    with_file(allowed, test)


def test_a_file_that_is_no_text_says_what_to_do(tmp_path: Path) -> None:
    async def test(world: TodoTxtWorld) -> None:
        world.path.write_bytes(bytes(range(256)) * 40)
        reader = world.reader()
        fault = await reader.read()
        assert fault is not None
        assert fault.kind is FaultKind.ODD_ANSWER
        assert [str(one) for one in reader.problems] == ["it is not a text file"]

    with_file(tmp_path, test)
