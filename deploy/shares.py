"""Partitions shared out among processes that each fold some: what a process makes of its partitions comes back as they are done.

It knows nothing of what they do. No process outlives who waits for it: they end when the iteration does, and when that process is gone they
cannot report and end too.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from signal import SIG_IGN, SIGINT, signal
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from deploy.folding import Journal

T = TypeVar("T")
Work = Callable[[Journal, int, int, Callable[[int], None]], Awaitable[T]]
"""Given a journal, a partition, where to end, and whom to tell how many more records were read. Found by its name in the other process: a function of
a module, or a `functools.partial` of one."""


class RefoldError(Exception):
    """A process that folds partitions ended without having done so."""


@dataclass(frozen=True, slots=True)
class _Done:
    result: Any


async def in_processes(
    work: Work[T], journal: Journal, ends: Mapping[int, int], *, processes: int, progress: Callable[[int], None]
) -> AsyncGenerator[T, None]:
    """Do that for every partition, in at most so many processes at a time; yield what comes of each when it is done.

    Raises RefoldError for one that fails.
    """
    shares = share_out(ends, processes)
    said: asyncio.Queue[int | _Done | RefoldError] = asyncio.Queue()
    tasks = [asyncio.create_task(_listen(work, journal, share, said)) for share in shares]
    try:
        left = sum(len(share) for share in shares)
        while left:
            one = await said.get()
            if isinstance(one, RefoldError):
                raise one
            if isinstance(one, _Done):
                left -= 1
                yield one.result
            else:
                progress(one)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


PROCESS_RECORDS = 5_000
"""A process imports for longer than it takes to fold so many."""


def worth(records: int, *, cores: int = os.cpu_count() or 1) -> int:
    """How many processes are worth their start for so many records.

    >>> worth(4_999, cores=4), worth(12_000, cores=4), worth(1_000_000, cores=4)
    (1, 3, 4)
    """
    return min(cores, 1 + records // PROCESS_RECORDS)


def share_out(ends: Mapping[int, int], processes: int) -> list[list[tuple[int, int]]]:
    """Partitions with their ends in as many shares, the longest first and always to the share that holds least.

    >>> share_out({0: 5, 1: 9, 2: 3, 3: 1}, 2)
    [[(1, 9)], [(0, 5), (2, 3), (3, 1)]]
    """
    shares: list[list[tuple[int, int]]] = [[] for _ in range(min(processes, len(ends)))]
    for number, end in sorted(ends.items(), key=lambda one: -one[1]):
        min(shares, key=lambda share: sum(records for _, records in share)).append((number, end))
    return shares


async def _listen(
    work: Work[Any], journal: Journal, share: list[tuple[int, int]], said: asyncio.Queue[int | _Done | RefoldError]
) -> None:
    left = len(share)
    async with _child(work, journal, share) as (connection, readable):
        while left:
            await readable.wait()
            readable.clear()
            try:
                while left and connection.poll():
                    one = connection.recv()
                    said.put_nowait(one)
                    left -= not isinstance(one, int)
            except EOFError:
                said.put_nowait(RefoldError("a process that folds the journal ended on its way"))
                return


@asynccontextmanager
async def _child(
    work: Work[Any], journal: Journal, share: list[tuple[int, int]]
) -> AsyncIterator[tuple[Connection, asyncio.Event]]:
    # Spawned: a fork would take over the threads' locks of this process, librdkafka's among them.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    # What it puts aside goes with it, also when it is killed.
    aside = TemporaryDirectory(prefix="oo-fold-")
    process = context.Process(target=_work, args=(theirs, work, journal, share, aside.name), daemon=True)
    process.start()
    theirs.close()
    readable, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(ours.fileno(), readable.set)
    try:
        yield ours, readable
    finally:
        loop.remove_reader(ours.fileno())
        process.kill()  # What it has not said is not done.
        process.join()
        ours.close()
        aside.cleanup()


def _work(said: Connection, work: Work[Any], journal: Journal, share: list[tuple[int, int]], aside: str) -> None:
    """A process's life."""
    tempfile.tempdir = aside
    signal(SIGINT, SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one ends the others.
    with suppress(BrokenPipeError):  # Nobody listens any more.
        try:
            for number, end in share:
                said.send(_Done(asyncio.run(_called(work, journal, number, end, said.send))))
        except Exception as error:  # noqa: BLE001 - the process's edge: whoever listens says it
            said.send(RefoldError(f"{type(error).__name__}: {error}"))


async def _called(work: Work[Any], journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> Any:
    return await work(journal, number, end, progress)
