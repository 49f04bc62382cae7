"""Admit and recommend over a backlog, decisions on, in one core process of a stack of servers that it starts: signals per second
of the process's processor time, all its threads."""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import uuid
from pathlib import Path

import psutil

from bench.measured import older, turns
from bench.measured.older import cores, result


def main(users: int, events: int) -> None:
    people = [f"bench-{uuid.uuid4().hex}" for _ in range(users)]
    with (
        tempfile.TemporaryDirectory(prefix="oo-bench-") as folder,
        result.Bench(Path(folder)).stack(servers_only=True) as stack,
        cores.cores(stack) as running,
    ):
        bootstrap, signals, schemas = older.bootstrap(stack), f"{older.prefix(stack)}signals", older.schemas(stack)
        asyncio.run(schemas.register())
        core = running.start("core-0")
        cores.write(bootstrap, signals, cores.framed(schemas, cores.homes(people), run="homes"))
        running.until_folded()
        broker, numbers = _broker(folder), itertools.count()

        def turn() -> turns.Numbers:
            number = next(numbers)
            records = cores.framed(schemas, cores.backlog(people, events, seed=number), run=f"turn-{number}")
            before_s, broker_before_s = core.cpu_s, _cpu_s(broker)
            cores.write(bootstrap, signals, records)
            running.until_folded()
            return {
                "signals per core-second": events / (core.cpu_s - before_s),
                "broker's microseconds": (_cpu_s(broker) - broker_before_s) / events * 1e6,
            }

        turns.answer(turn)


def _broker(folder: str) -> psutil.Process:
    return next(
        one
        for one in psutil.process_iter(["cmdline"])
        if "kafka.Kafka" in (one.info["cmdline"] or ()) and any(folder in word for word in one.info["cmdline"])
    )


def _cpu_s(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
