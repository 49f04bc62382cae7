"""What hearing a trained model costs at load, and a scorer that does not answer: beside a stack without one, in the same run.

Two stacks, one of them with MLflow, scorer and score, where decisions hear a model. Everybody has their tasks before the first turn. A turn
puts the same load on one of them; ratios are to the turns without a model just before and after. 500 signals a second fill two cores, so that latencies are told at 200 too.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from uuid import uuid4

import numpy as np
import uvloop

from agents.features import NOW
from agents.score import SETTLE_MS
from bench.arrivals import Stopwatch, Writer
from bench.freshness import announcements, first_task, names_of, until
from bench.load import parts_of, spent
from bench.result import Bench, Result, Row, compared
from connectors.mlflow_store import MlflowStore
from connectors.model_registry import CHAMPION
from deploy.stack.running import RunningStack
from oo.v1 import signal_pb2
from streams.schemas import Schemas
from streams.topics import PARTITIONS
from training.calibrated import Calibrated
from training.export import exported
from training.models import MODELS

MODES = {"hears": "a model is heard", "dead": "the scorer hangs"}
PEOPLE, TASKS = 3_000, 8
RATES = {500: MODES, 200: ("hears",)}
"""Signals a second, and what is measured at such a rate."""
NEW = 0.05
"""The share of signals that are first tasks of new people, whose tips are waited for."""
FILL_PER_S, FILLED_S = 800, 120.0
WARM_S, TURN_S = 10.0, 30.0
LATE_S = 10.0
AT_MOST = 1.1
PARTS = {
    "fresh-p50": ("a new person's first task acknowledged to their tip, p50", "ms"),
    "fresh-p99": ("the same, p99", "ms"),
    "core": ("the core's processor time of a signal", "µs"),
    "journal": ("bytes in the journal of a signal", "bytes"),
    "rows": ("bytes in the changelog of rows of a signal", "bytes"),
}
Turn = dict[str, float]


@dataclass(slots=True)
class Side:
    """One of the two stacks."""

    stack: RunningStack
    schemas: Schemas
    watch: Stopwatch
    writer: Writer
    people: Sequence[str]

    def known(self, user: str, number: int, chance: random.Random) -> tuple[str, str, bytes]:
        """A person's task that its source has changed: as many stay."""
        task = signal_pb2.TaskUpserted(
            external_id=f"{number}",
            title=f"Sort folder {chance.randrange(1000)}",
            priority=chance.randrange(5),
        )
        told = signal_pb2.Signal(user_id=user, source="bench", event_id=uuid4().hex, task_upserted=task)
        return user, self.stack.cluster.name("signals"), self.schemas.frame("signals", told)

    async def fill(self, chance: random.Random) -> None:
        """Everybody has all their tasks, and the stack is up to date."""
        junk = Stopwatch()
        events = [(*self.known(one, number, chance), junk) for number in range(TASKS) for one in self.people]
        await self.write(events, FILL_PER_S)
        first, names = first_task(self.stack, self.schemas), names_of(8 * PARTITIONS)
        for name in names:
            topic, value = first(name)
            self.writer.write(topic, name, value, self.watch)
        await until(lambda: all(name in self.watch.arrived for name in names), FILLED_S)

    async def load(self, per_s: int, seconds: float, chance: random.Random) -> Sequence[str]:
        """So long, and the names of the new people."""
        junk, first = Stopwatch(), first_task(self.stack, self.schemas)
        names = names_of(NEW * per_s * seconds)
        events = [(name, *first(name), self.watch) for name in names]
        for _ in range(round(per_s * seconds) - len(names)):
            events.append((*self.known(chance.choice(self.people), chance.randrange(TASKS), chance), junk))
        chance.shuffle(events)
        await self.write(events, per_s)
        return names

    async def write(self, events: Sequence[tuple[str, str, bytes, Stopwatch]], per_s: float) -> None:
        """At this rate."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for number, (name, topic, value, watch) in enumerate(events):
            if (delay_s := start_s + number / per_s - loop.time()) > 0.001:
                await asyncio.sleep(delay_s)
            self.writer.write(topic, name, value, watch)

    async def turn(self, per_s: int, seconds: float, warm_s: float, chance: random.Random) -> Turn:
        """What the load brought, once it has been there for so long."""
        await self.load(per_s, warm_s, chance)
        self.watch.clear()
        parts = parts_of(self.stack)
        before, bytes_before = spent(parts), self.bytes()
        names = await self.load(per_s, seconds, chance)
        # As much as the last slates wait before they are scored: what came of those before this turn was counted for them.
        await asyncio.sleep(SETTLE_MS / 1000)
        await until(lambda: all(name in self.watch.arrived for name in names), LATE_S)
        after, bytes_after = spent(parts), self.bytes()
        signals = round(per_s * seconds)
        fresh = sorted(
            max(self.watch.arrived[name] - self.watch.acknowledged[name], 0.0) * 1000
            for name in names
            if name in self.watch.arrived and name in self.watch.acknowledged
        )
        assert len(fresh) > 0.99 * len(names), f"{len(names) - len(fresh)} of {len(names)} new people have no tip"
        return {
            "fresh-p50": _at(fresh, 50),
            "fresh-p99": _at(fresh, 99),
            "core": (after["core"] - before["core"]) / signals * 1e6,
            "all": (sum(after.values()) - sum(before.values())) / signals * 1e6,
            **{topic: (bytes_after[topic] - bytes_before[topic]) / signals for topic in ("journal", "rows")},
        }

    def bytes(self) -> Counter[str]:
        """How long each topic's log is on the broker's disk."""
        found: Counter[str] = Counter()
        for file in self.stack.folder.data("kafka").glob("logs/*-*/*.log"):
            found[file.parent.name.rpartition("-")[0].removeprefix(self.stack.cluster.prefix)] += file.stat().st_size
        return found


def measure(bench: Bench) -> Result:
    """At each rate its modes in turn, between turns without a model."""
    with (
        bench.stack(nameless=True, name="without") as without,
        bench.stack(nameless=True, name="with", ml=True) as stack,
    ):
        _has_model(stack)
        found = uvloop.run(_measure(bench, without, stack))
    return Result(list(_rows(found)))


async def _measure(
    bench: Bench, without: RunningStack, stack: RunningStack
) -> Mapping[tuple[int, str], tuple[Turn, Turn]]:
    """By rate and mode: the turn, and the mean of those beside it."""
    found, chance = dict[tuple[int, str], tuple[Turn, Turn]](), random.Random(0)
    seconds, warm_s = (TURN_S / 5, 2.0) if bench.quick else (TURN_S, WARM_S)
    async with AsyncExitStack() as ends:
        sides = []
        for one in (without, stack):
            schemas = Schemas(one.cluster)
            await schemas.register()
            watch = await ends.enter_async_context(announcements(one))
            people = names_of(PEOPLE / 10 if bench.quick else PEOPLE)
            side = Side(one, schemas, watch, Writer(one.cluster.bootstrap), people)
            ends.callback(side.writer.close)
            ends.callback(schemas.close)
            await side.fill(chance)
            sides.append(side)
        bare, hearing = sides
        scorer = parts_of(stack)["scorer"]
        for per_s, modes in RATES.items():
            before = await bare.turn(per_s, seconds, warm_s, chance)
            for mode in modes:
                for process in scorer:
                    process.suspend() if mode == "dead" else process.resume()
                try:
                    turn = await hearing.turn(per_s, seconds, warm_s, chance)
                finally:
                    for process in scorer:
                        process.resume()
                after = await bare.turn(per_s, seconds, warm_s, chance)
                beside = {part: mean((before[part], after[part])) for part in before}
                found[per_s, mode] = turn, beside
                said = ", ".join(f"{part} {turn[part]:,.4g} (x{turn[part] / beside[part]:.2f})" for part in turn)
                bench.say(f"{per_s}/s, {MODES[mode]}: {said}")
                before = after
    return found


def _has_model(stack: RunningStack) -> None:
    """A boosting model of all features, made of made-up rows, and what decisions hear."""
    random = np.random.default_rng(0)
    x = (random.integers(0, 65, size=(4_000, NOW.d)) / 64).astype(np.float32)
    y = x[:, 0] * x[:, 1] + random.normal(0, 0.3, size=len(x))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        (made / "model.onnx").write_bytes(
            exported(Calibrated(MODELS["boosting"](x, y), 0.9, 0.01), names=[f"f{n}" for n in range(NOW.d)])
        )
        about = {
            "features": [f"f{n}" for n in range(NOW.d)],
            "feature_version": NOW.version,
            "metrics": {},
            "erasures": 0,
        }
        (made / "model.json").write_text(json.dumps(about))
        store = MlflowStore(stack.mlflow_url, made / "copies")
        store.set_alias("tips", CHAMPION, store.register("tips", made))
    for words in (("models", "promote", "tips@1"), ("policies", "promote", "mixed_hearing", "--why=measured")):
        state = f"--state={stack.folder.root}"
        subprocess.run((sys.executable, "-P", "-m", "deploy.cli", *words, state), check=True, stdout=subprocess.DEVNULL)


def _rows(found: Mapping[tuple[int, str], tuple[Turn, Turn]]) -> Iterator[Row]:
    for (per_s, mode), (turn, beside) in found.items():
        for part, (what, unit) in PARTS.items():
            yield compared(
                f"scores-{mode}-{per_s}-{part}",
                f"{MODES[mode]}, {per_s} signals a second: {what}",
                turn[part],
                unit,
                peer=beside[part],
                peer_name="no model",
                at_most=AT_MOST,
            )


def _at(ordered: Sequence[float], percent: float) -> float:
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
