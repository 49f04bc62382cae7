"""Ends a start that gets no further, and first says in the log where each of its tasks and threads stands.

It says names of tasks and places in code, and never a value: no word of a person can stand there. A process that has started is not
its concern.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from streams.starting import Starting
from streams.watchdog import EXIT_STALE

log = logging.getLogger(__name__)

PLACES_MAX: Final = 40
"""Of one stack, the innermost."""
_FRAME = ("cr_frame", "gi_frame", "ag_frame")
_INNER = ("cr_await", "gi_yieldfrom", "ag_await")


def end_if_stuck(starting: Starting, *, limit_s: float) -> Callable[[], None]:
    """End the process with EXIT_STALE where its start gets no further for so long (0: never); call what is returned once it has started.

    To be called in its loop.
    """
    over, loop = threading.Event(), asyncio.get_running_loop()
    if limit_s:
        # A thread: the loop itself may be what stands.
        threading.Thread(target=_look, args=(starting, limit_s, loop, over), name="start-watch", daemon=True).start()
    return over.set


def _look(starting: Starting, limit_s: float, loop: asyncio.AbstractEventLoop, over: threading.Event) -> None:
    seen = -1
    while seen != starting.moves:
        seen = starting.moves
        if over.wait(limit_s):
            return
    log.critical("start.stuck behind=%s seconds=%.1f", starting.last, limit_s)
    for name, places in sorted(waits(loop)):
        log.critical("start.waits what=%s at=%s", name, " < ".join(places))
    # Not an exception: whoever waits would not hear of it.
    os._exit(EXIT_STALE)


def waits(loop: asyncio.AbstractEventLoop) -> list[tuple[str, list[str]]]:
    """Each task of a loop and each other thread by name, and where it stands: the innermost place first. For any thread."""
    stacks = [(f"task:{one.get_name()}", _frames(one.get_coro())) for one in asyncio.all_tasks(loop)]
    names = {one.ident: one.name for one in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 (its public name)
        if ident != threading.get_ident():
            stacks.append((f"thread:{names.get(ident, '?')}", [one for one, _ in traceback.walk_stack(frame)]))
    return [(name, [_place(frame) for frame in frames[:PLACES_MAX]]) for name, frames in stacks]


def _frames(waiting: Any) -> list[FrameType]:
    """Of a coroutine and of all that it waits for, the innermost first: a task itself tells of the outermost alone."""
    frames = list[FrameType]()
    while waiting is not None:
        frames += [frame for name in _FRAME if (frame := getattr(waiting, name, None)) is not None]
        if any(hasattr(waiting, name) for name in _INNER):
            waiting = next(getattr(waiting, name) for name in _INNER if hasattr(waiting, name))
        else:
            # A step of an asynchronous generator does not say of which.
            waiting = next((one for one in gc.get_referents(waiting) if inspect.isasyncgen(one)), None)
    return frames[::-1]


def _place(frame: FrameType) -> str:
    """Where that is, such as `streams/reader.py:255 __aiter__`."""
    file = Path(frame.f_code.co_filename)
    return f"{file.parent.name}/{file.name}:{frame.f_lineno} {frame.f_code.co_name}"
