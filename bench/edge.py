"""The edge: GET /v1/tip beside a constant over the same app and token check, and beside one GET of Valkey.

The server has one processor for itself; load, Valkey and all else share the others. 1,000 users with tips, 32
connections, nothing pipelined. Turns of the compared paths follow each other, and of each number the median of the
turns counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
from valkey import Valkey

from bench.builds import ROOT
from bench.result import Bench, Plot, Result, Row, compared
from connectors.valkey import TipStore
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, journal_pb2
from serving.issuer import LocalIssuer
from streams.clock import clock_ms

USERS = 1_000
CONNECTIONS = 32
ROUNDS = 4
TURN_S = 3.0
WRITES_PER_S = 50
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9)

GRANIAN = "granian, tip"
PATHS = {
    "constant": ("uvicorn", "/bench/constant"),
    "tip": ("uvicorn", "/v1/tip"),
    "tip, 50 writes/s": ("uvicorn", "/v1/tip"),
    "constant, FastAPI route": ("uvicorn", "/bench/routed"),
    "Valkey GET": ("uvicorn", "/bench/get/{user}"),
    "granian, constant": ("granian", "/bench/constant"),
    GRANIAN: ("granian", "/v1/tip"),
}


@dataclass(slots=True)
class Turns:
    """What the turns of one path brought."""

    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    load_share: list[float] = field(default_factory=list)
    latencies_ms: list[list[float]] = field(default_factory=list)
    remembered: int = 0
    read: int = 0

    def rate(self) -> float:
        return statistics.median(self.per_s)

    def percentile(self, p: float) -> float:
        return statistics.median(turn[min(int(len(turn) * p / 100), len(turn) - 1)] for turn in self.latencies_ms)

    def hits(self) -> float:
        return 100 * self.remembered / max(self.remembered + self.read, 1)


@dataclass(slots=True)
class Server:
    """A running edge."""

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def reads(self) -> tuple[int, int]:
        """Tips from memory and from Valkey, so far."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("oo_edge_tip_reads_total"))
        return tuple(int(float(lines[f'oo_edge_tip_reads_total{{source="{one}"}}'])) for one in ("memory", "valkey"))  # type: ignore[return-value]


def measure(bench: Bench) -> Result:
    """Requests per second and p99, in turns."""
    with _elsewhere() as core, bench.stack(servers_only=True, nameless=True) as stack, ExitStack() as running:
        issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)
        users = [f"user-{number}" for number in range(USERS)]
        tokens = {user: issuer.mint(user) for user in users}
        asyncio.run(_publish(stack, users, offset=1))
        with Valkey.from_url(stack.valkey_url) as plain:
            plain.mset({f"get-{user}": bytes(222) for user in users})
        servers = {name: running.enter_context(_server(stack, name, core)) for name in ("uvicorn", "granian")}
        turns = {name: Turns() for name in PATHS}
        turn_s = 0.5 if bench.quick else TURN_S
        for number in range(1 if bench.quick else ROUNDS):
            for name, (server, path) in PATHS.items():
                lines = [f"{path.format(user=f'get-{user}')} {tokens[user]}" for user in users]
                if number == 0:
                    # Tokens are verified and memory is filled once; that is not what is measured.
                    _load(bench, servers[server].port, lines, seconds=0.5)
                with _writes(stack, users, on="writes" in name):
                    _turn(bench, servers[server], lines, turns[name], seconds=turn_s)
            bench.say(", ".join(f"{name} {turn.per_s[-1]:.0f}/s" for name, turn in turns.items()))
    return Result(_rows(turns), [_plot(turns)])


def _rows(turns: dict[str, Turns]) -> list[Row]:
    tip, constant, routed, get = (turns[name] for name in ("tip", "constant", "constant, FastAPI route", "Valkey GET"))
    written, granian, granian_constant = (turns[name] for name in ("tip, 50 writes/s", GRANIAN, "granian, constant"))
    same = "a constant, same app, token check and short way"
    cpu_us = {name: statistics.median(turn.cpu_us) for name, turn in turns.items()}
    note = (
        f"Of the tips, {tip.hits():.1f} % came from memory ({written.hits():.1f} % while 50 tips a second changed). A"
        f" request takes {cpu_us['tip']:.0f} µs of the server's processor time ({cpu_us[GRANIAN]:.0f} µs under granian),"
        f" the constant {cpu_us['constant']:.0f} µs, as a FastAPI route {cpu_us['constant, FastAPI route']:.0f} µs: the"
        " difference is routing and dependency resolution, which the short way leaves out. The load generator used"
        f" {100 * max(max(turn.load_share) for turn in turns.values()):.0f} % of a processor at most, so it was not what"
        " was measured."
    )
    over_valkey = compared(
        "edge-valkey",
        "GET /v1/tip, requests per second on one core",
        tip.rate(),
        "/s",
        peer=get.rate(),
        peer_name="one GET of Valkey on the same server, no token",
    )
    return [
        _rate("edge-rps", "GET /v1/tip", tip, constant, same, at_least=0.85, note=note),
        _p99("edge-p99", "GET /v1/tip", tip, constant, same, at_most=1.3),
        _rate("edge-rps-writes", "GET /v1/tip while 50 tips a second change", written, constant, same, at_least=0.85),
        _p99("edge-p99-writes", "GET /v1/tip while 50 tips a second change", written, constant, same, at_most=1.3),
        compared(
            "edge-cpu",
            "GET /v1/tip, processor time of the server",
            cpu_us["tip"],
            "µs",
            peer=cpu_us["constant"],
            peer_name=same,
        ),
        _rate("edge-routed", "GET /v1/tip", tip, routed, "a constant as a FastAPI route, same token check"),
        over_valkey,
        _rate("edge-granian-rps", "GET /v1/tip under granian", granian, granian_constant, f"{same}, granian"),
        _p99("edge-granian-p99", "GET /v1/tip under granian", granian, granian_constant, f"{same}, granian"),
        _rate("edge-granian", "GET /v1/tip under granian", granian, tip, "under uvicorn"),
    ]


def _rate(
    row: str, what: str, ours: Turns, peer: Turns, peer_name: str, *, at_least: float | None = None, note: str = ""
) -> Row:
    what = f"{what}, requests per second on one core"
    return compared(row, what, ours.rate(), "/s", peer=peer.rate(), peer_name=peer_name, at_least=at_least, note=note)


def _p99(row: str, what: str, ours: Turns, peer: Turns, peer_name: str, *, at_most: float | None = None) -> Row:
    what = f"{what}, p99 at {CONNECTIONS} connections"
    return compared(
        row, what, ours.percentile(99), "ms", peer=peer.percentile(99), peer_name=peer_name, at_most=at_most
    )


def _plot(turns: dict[str, Turns]) -> Plot:
    curves = {name: (PERCENTILES, [turn.percentile(p) for p in PERCENTILES]) for name, turn in turns.items()}
    title = f"Latency on one core, {CONNECTIONS} connections that never rest"
    return Plot("edge-latency", title, "percentile", "ms", curves, y_scale="log")


def _turn(bench: Bench, server: Server, lines: list[str], turns: Turns, *, seconds: float) -> None:
    reads, cpu_s = server.reads(), server.cpu_s()
    done = _load(bench, server.port, lines, seconds=seconds)
    cpu_s = server.cpu_s() - cpu_s
    latencies_ms = sorted(done["latencies_ms"])
    if set(done["statuses"]) != {"200"}:
        raise SystemExit(f"answers: {done['statuses']}")
    turns.per_s.append(len(latencies_ms) / done["seconds"])
    turns.cpu_us.append(cpu_s / done["all"] * 1e6)
    turns.load_share.append(done["cpu_s"] / done["seconds"])
    turns.latencies_ms.append(latencies_ms)
    remembered, read = server.reads()
    turns.remembered += remembered - reads[0]
    turns.read += read - reads[1]


def _load(bench: Bench, port: int, lines: list[str], *, seconds: float) -> dict:
    file = bench.scratch / "requests"
    file.write_text("\n".join(lines))
    answer = bench.scratch / "answer.json"
    argv = (sys.executable, "-m", "bench.http_load", str(port), str(CONNECTIONS), str(seconds), str(file))
    subprocess.run((*argv, str(answer)), cwd=ROOT, check=True, timeout=60)
    return json.loads(answer.read_text())


@contextmanager
def _elsewhere() -> Iterator[int]:
    """The processor that is left to the server; -1 where there is only one."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield -1
        return
    os.sched_setaffinity(0, cores - {min(cores)})
    try:
        yield min(cores)
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _server(stack: RunningStack, name: str, core: int) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {**os.environ, **stack.environment("bench"), "OO_EDGE_PORT": str(port)}
    argv = (sys.executable, "-m", "bench.edge_server", name, str(core))
    process = subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > until_s:
                raise SystemExit(f"the edge under {name} did not become ready")
            time.sleep(0.1)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _writes(stack: RunningStack, users: list[str], *, on: bool) -> Iterator[None]:
    """WRITES_PER_S tips change while the block runs, each a different user's."""
    ended = threading.Event()

    async def write() -> None:
        store, offset = TipStore(stack.valkey_url), clock_ms()
        while not ended.is_set():
            for user in users:
                offset += 1
                await store.publish_tips([_tip(user, offset=offset)])
                await asyncio.sleep(1 / WRITES_PER_S)
                if ended.is_set():
                    break
        await store.close()

    writer = threading.Thread(target=lambda: asyncio.run(write()))
    if on:
        writer.start()
    try:
        yield
    finally:
        ended.set()
        if on:
            writer.join()


async def _publish(stack: RunningStack, users: list[str], *, offset: int) -> None:
    store = TipStore(stack.valkey_url)
    await store.publish_tips([_tip(user, offset=offset) for user in users])
    await store.close()


def _tip(user: str, *, offset: int) -> decision_pb2.Tip:
    now_ms = clock_ms()
    return decision_pb2.Tip(
        user_id=user,
        journal=journal_pb2.Position(topic_id=bytes(16), offset=offset),
        decision_id=f"{offset:040x}",
        kind=decision_pb2.Decision.TASK,
        title="Write to Ben about the launch plans",
        source="todo.txt",
        why=["Due today", "Short, and there are 20 minutes"],
        decided_ms=now_ms,
        valid_until_ms=now_ms + 3_600_000,
    )
