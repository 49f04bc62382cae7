"""Keeps the parts of a stack running: starts each when what it needs is there, again when it dies, ends all in order.

It never looks inside a part: a part is a command, a question whether it serves, and the names of what it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.stack.forks import Forked, Preloaded
from deploy.stack.processes import Command, Identity, Log, alive, end, identify, pump, spawn
from deploy.stack.state import StateFolder
from streams.backoff import Backoff
from streams.watchdog import EXIT_NAME_LOST

READY_POLL_S = 0.05
SAYS_EVERY_S = 15.0
BACKOFF = Backoff(first_s=0.5, max_s=30.0)
STEADY_S = 5.0
"""A part that ran this long before it died starts again at once, as after its first death."""
FIRST_ATTEMPTS = 3
"""How often a part may die before it has ever served: then the start has failed."""

Told = Callable[[str, str], None]
"""Called with a part's name and what happened to it, in a few words."""


class StackError(Exception):
    """The stack cannot start; one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs as long as the stack."""

    name: str
    prepare: Callable[[], Command]
    ready: Callable[[], Awaitable[bool]]
    needs: tuple[str, ...] = ()
    death_signal: signal.Signals | None = None
    """What it gets when the supervisor is killed; its stop signal if None."""
    ends_before: tuple[str, ...] = ()
    """Parts that it does not need, and that still end after it."""
    ready_timeout_s: float = 60.0
    says_every_s: float = SAYS_EVERY_S
    """While it starts."""
    stop_timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done once, by a command that ends."""

    name: str
    command: Command
    needs: tuple[str, ...] = ()
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is done again and again while all runs, by a command that ends. One that fails is said, and is done again at its next turn."""

    name: str
    command: Command
    first_s: float
    every_s: float
    timeout_s: float


@dataclass(slots=True)
class _Live:
    """What the supervisor knows about one part now."""

    process: asyncio.subprocess.Process | Forked | None = None
    identity: Identity | None = None
    command: Command | None = None
    ready: bool = False
    restarts: int = 0


class Supervisor:
    """Runs one stack in one state folder, whose lock the caller holds."""

    def __init__(
        self,
        folder: StateFolder,
        parts: Sequence[Part],
        steps: Sequence[Step],
        *,
        facts: Mapping[str, Any],
        told: Told,
        chores: Sequence[Chore] = (),
        preloaded: Preloaded | None = None,
    ) -> None:
        self._folder = folder
        self._chores = chores
        self._parts = {part.name: part for part in parts}
        self._steps = {step.name: step for step in steps}
        self._facts = dict(facts)
        self._told = told
        self._preloaded = preloaded
        self._live = {name: _Live() for name in self._parts}
        self._done = {name: asyncio.Event() for name in (*self._parts, *self._steps)}
        self._stop = asyncio.Event()
        self._phase = "starting"
        self._error: str | None = None

    def stop(self) -> None:
        """Asks for the end; `run` then returns when every part has ended."""
        self._stop.set()

    async def run(self, *, when_ready: Callable[[], None]) -> None:
        """Starts everything, keeps it running until `stop`, ends it in reverse order; raises StackError."""
        self._write()
        tasks = [asyncio.create_task(self._keep(part), name=part.name) for part in self._parts.values()]
        steps = [asyncio.create_task(self._do(step), name=step.name) for step in self._steps.values()]
        chores: list[asyncio.Task[None]] = []
        try:
            if await self._all_done([*tasks, *steps]):
                self._phase = "ready"
                self._write()
                when_ready()
                chores = [asyncio.create_task(self._do_again(chore), name=chore.name) for chore in self._chores]
                await self._first_of([*tasks, *chores])
        except StackError as error:
            self._error = str(error)
            raise
        finally:
            for one in (*steps, *chores):
                one.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await self._end(tasks)

    async def _all_done(self, tasks: list[asyncio.Task[None]]) -> bool:
        """Waits until everything is there; False when it was asked to stop before, raises what failed."""
        waiting = asyncio.create_task(self._everything())
        stop = asyncio.create_task(self._wish_to_stop())
        try:
            pending = {waiting, stop, *tasks}
            while not waiting.done() and not stop.done():
                finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
            return waiting.done()
        finally:
            waiting.cancel()
            stop.cancel()
            await asyncio.gather(waiting, stop, return_exceptions=True)

    async def _everything(self) -> None:
        for event in self._done.values():
            await event.wait()

    async def _wish_to_stop(self) -> None:
        await self._stop.wait()

    async def _first_of(self, tasks: list[asyncio.Task[None]]) -> None:
        """Waits for the wish to stop; a part's keeper only ends by an error of ours."""
        stop = asyncio.create_task(self._wish_to_stop())
        finished, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in finished:
            task.result()

    async def _keep(self, part: Part) -> None:
        """Starts the part whenever it does not run, ever more slowly while it keeps dying."""
        for need in part.needs:
            await self._done[need].wait()
        with contextlib.closing(Log(self._folder.logs / f"{part.name}.log")) as log:
            await self._keep_up(part, log)

    async def _keep_up(self, part: Part, log: Log) -> None:
        live, failures, in_a_row = self._live[part.name], 0, 0
        while not self._stop.is_set():
            started_s = time.monotonic()
            reason = await self._run_once(part, live, log)
            if self._stop.is_set():
                return
            served = self._done[part.name].is_set()
            if reason == _status(EXIT_NAME_LOST):
                reason = "lost its name to another process: it is not started again, end that one first"
                if not served:
                    raise StackError(f"{part.name} {reason} (see {log.path})")
                self._told(part.name, reason)
                await self._stop.wait()
                return
            failures += 1
            if not served and failures >= FIRST_ATTEMPTS:
                raise StackError(f"{part.name} {reason}: {log.tail(1) or 'no output'} (see {log.path})")
            if time.monotonic() - started_s >= STEADY_S:
                in_a_row = 0
            wait_s = BACKOFF.pause_s(in_a_row) if in_a_row else 0.0
            in_a_row += 1
            live.restarts += 1
            self._told(part.name, f"{reason}, starts again {f'in {wait_s:.1f} s' if wait_s else 'at once'}")
            self._write()
            if wait_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), wait_s)

    async def _run_once(self, part: Part, live: _Live, log: Log) -> str:
        """One life of a part, from its preparation to its end; returns how it ended."""
        try:
            command = await asyncio.to_thread(part.prepare)
        except (OSError, RuntimeError) as error:
            log.write(f"{error}\n".encode())
            return "cannot be prepared"
        process = await self._started(command, part.death_signal or command.stop_signal)
        live.process, live.command, live.identity = process, command, identify(process.pid)
        self._write()
        assert process.stdout is not None
        output = asyncio.create_task(pump(process.stdout, log))
        serving = asyncio.create_task(self._becomes_ready(part, live))
        code = await process.wait()
        in_time = not serving.done() or serving.result()
        serving.cancel()
        # A grandchild may hold the pipe open for longer than the part lived.
        await asyncio.wait({output}, timeout=1.0)
        output.cancel()
        live.process, live.identity, live.ready = None, None, False
        self._write()
        if not in_time:
            return f"did not serve within {part.ready_timeout_s:.0f} s"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else _status(code)

    async def _started(self, command: Command, death_signal: signal.Signals) -> asyncio.subprocess.Process | Forked:
        if command.module and self._preloaded is not None:
            forked = await self._preloaded.fork(command, death_signal=death_signal)
            if forked is not None:
                return forked
        return await spawn(command, death_signal=death_signal)

    async def _becomes_ready(self, part: Part, live: _Live) -> bool:
        """Asks until the part serves; ends it and returns False when it never does."""
        began_s = said_s = time.monotonic()
        while not await part.ready():
            now_s = time.monotonic()
            if now_s - said_s >= part.says_every_s:
                said_s = now_s
                self._told(part.name, f"starts, {now_s - began_s:.0f} s so far, at most {part.ready_timeout_s:.0f} s")
            if now_s - began_s > part.ready_timeout_s:
                await self._end_part(part)
                return False
            await asyncio.sleep(READY_POLL_S)
        live.ready = True
        self._told(part.name, "ready")
        self._done[part.name].set()
        self._write()
        return True

    async def _do(self, step: Step) -> None:
        """Runs a step when what it needs is there; raises StackError when it fails."""
        for need in step.needs:
            await self._done[need].wait()
        if fault := await self._fault_of(step):
            raise StackError(f"{step.name} {fault}")
        self._told(step.name, "done")
        self._done[step.name].set()

    async def _do_again(self, chore: Chore) -> None:
        pause_s = chore.first_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = chore.every_s
            try:
                fault = await self._fault_of(chore)
            except OSError as error:
                fault = f"could not be started: {error}"
            if fault:
                self._told(chore.name, fault)

    async def _fault_of(self, what: Step | Chore) -> str:
        """Runs its command to the end, and says how it failed; empty where it did not."""
        with contextlib.closing(Log(self._folder.logs / f"{what.name}.log")) as log:
            process = await spawn(what.command, death_signal=signal.SIGKILL)
            assert process.stdout is not None
            try:
                async with asyncio.timeout(what.timeout_s):
                    await pump(process.stdout, log)
                    code = await process.wait()
            except TimeoutError:
                return f"did not end within {what.timeout_s:.0f} s (see {log.path})"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            return f"failed: {log.tail(1)} (see {log.path})" if code else ""

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        """Ends the parts, each after those that need it."""
        self._phase = "stopping"
        self._stop.set()
        self._write()
        left = dict(self._parts)
        while left:
            needed = {need for part in left.values() for need in (*self._needs_of(part), *part.ends_before)}
            last = [part for name, part in left.items() if name not in needed]
            await asyncio.gather(*(self._end_part(part) for part in last))
            for part in last:
                self._told(part.name, "stopped")
                del left[part.name]
        for task in tasks:
            # Those that never started still wait for what they need.
            if not self._done[task.get_name()].is_set():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._phase = "failed" if self._error else "stopped"
        self._write()

    def _needs_of(self, part: Part) -> set[str]:
        """All that must run for this part, through the steps between."""
        found: set[str] = set()
        ahead = list(part.needs)
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += (self._parts.get(name) or self._steps[name]).needs
        return found

    async def _end_part(self, part: Part) -> None:
        """Asks the part to end, and makes it after its patience; returns when it has."""
        live = self._live[part.name]
        process, command = live.process, live.command
        if process is None or command is None:
            return
        for number, patience_s in ((command.stop_signal, part.stop_timeout_s), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    self._told(part.name, f"did not stop within {part.stop_timeout_s:.0f} s: killed")
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience_s)
                return

    def _write(self) -> None:
        parts = {
            name: {
                "pid": live.identity.pid if live.identity else None,
                "born": live.identity.born if live.identity else None,
                "ready": live.ready,
                "restarts": live.restarts,
            }
            for name, live in self._live.items()
        }
        ready = self._phase == "ready" and all(live.ready for live in self._live.values())
        mine = identify(os.getpid())
        assert mine is not None
        supervisor = {"pid": mine.pid, "born": mine.born}
        state = {**self._facts, "phase": self._phase, "ready": ready, "error": self._error}
        self._folder.write({**state, "supervisor": supervisor, "parts": parts})


def _status(code: int) -> str:
    return f"ended with status {code}"


def leftovers(folder: StateFolder) -> dict[str, Identity]:
    """Parts that still run although their supervisor does not; call it with the folder's lock in hand."""
    state = folder.read()
    if state is None:
        return {}
    recorded = {
        name: Identity(part["pid"], part["born"]) for name, part in state["parts"].items() if part["pid"] is not None
    }
    return {name: identity for name, identity in recorded.items() if alive(identity)}


def end_leftovers(folder: StateFolder, *, told: Told) -> list[str]:
    """Ends what a killed supervisor left, never a process that only has the same pid; returns the names."""
    ended = []
    for name, identity in reversed(leftovers(folder).items()):
        told(name, f"left over from a supervisor that was killed (pid {identity.pid}): ending it")
        # The kernel has sent it its stop signal already; PostgreSQL takes SIGINT, and SIGTERM twice does no harm.
        end(identity, stop_signal=signal.SIGINT if name == "postgres" else signal.SIGTERM)
        ended.append(name)
    return ended
