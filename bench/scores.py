"""What hearing a trained model costs at load, and a scorer that does not answer: beside a stack without one, in the same run.

Two stacks, one of them with MLflow, scorer and score, where decisions hear a model. A turn puts the same load on one of them, first for as long as score lets pass between two slates
of a person, so that what is measured is what stays; ratios are to the turns without a model just before and after.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from uuid import uuid4

import numpy as np
import uvloop

from agents.features import NOW
from agents.score import APART_MS, SETTLE_MS
from bench.arrivals import Stopwatch, Writer
from bench.freshness import announcements, first_task, names_of, until
from bench.load import parts_of, spent
from bench.result import Bench, Result, Row, compared
from connectors.mlflow_store import MlflowStore
from connectors.model_registry import CHAMPION
from deploy.stack.running import RunningStack
from oo.v1 import signal_pb2
from streams.schemas import Schemas
from training.calibrated import Calibrated
from training.export import exported
from training.models import MODELS

MODES = {"hears": "a model is heard", "dead": "the scorer hangs"}
PEOPLE, TASKS = 3_000, 8
PER_S, NEW_PER_S = 475, 25
"""Signals of people who are known, and first tasks of new ones, whose tips are waited for: 500 in all."""
WARM_S, TURN_S = APART_MS / 1000 + 5, 30.0
LATE_S = 10.0
ROUNDS = 1
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

    def known(self, chance: random.Random) -> tuple[str, str, bytes]:
        """A person's task that its source has changed: as many stay."""
        user = chance.choice(self.people)
        task = signal_pb2.TaskUpserted(
            external_id=f"{chance.randrange(TASKS)}",
            title=f"Sort folder {chance.randrange(1000)}",
            priority=chance.randrange(5),
        )
        told = signal_pb2.Signal(user_id=user, source="bench", event_id=uuid4().hex, task_upserted=task)
        return user, self.stack.cluster.name("signals"), self.schemas.frame("signals", told)

    async def load(self, seconds: float, chance: random.Random) -> Sequence[str]:
        """So long, and the names of the new people."""
        junk, first = Stopwatch(), first_task(self.stack, self.schemas)
        names = names_of(NEW_PER_S * seconds)
        events = [(name, *first(name), self.watch) for name in names]
        events += [(*self.known(chance), junk) for _ in range(round(PER_S * seconds))]
        chance.shuffle(events)
        loop, per_s = asyncio.get_running_loop(), len(events) / seconds
        start_s = loop.time()
        for number, (name, topic, value, watch) in enumerate(events):
            if (delay_s := start_s + number / per_s - loop.time()) > 0.001:
                await asyncio.sleep(delay_s)
            self.writer.write(topic, name, value, watch)
        return names

    async def turn(self, seconds: float, warm_s: float, chance: random.Random) -> Turn:
        """What the load brought, once it has been there for so long."""
        await self.load(warm_s, chance)
        self.watch.clear()
        parts = parts_of(self.stack)
        before, bytes_before = spent(parts), self.bytes()
        names = await self.load(seconds, chance)
        # As much as the last slates wait before they are scored: what came of those before this turn was counted for them.
        await asyncio.sleep(SETTLE_MS / 1000)
        await until(lambda: all(name in self.watch.arrived for name in names), LATE_S)
        after, bytes_after = spent(parts), self.bytes()
        signals = len(names) + round(PER_S * seconds)
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
    """Both modes in turn, between turns without a model."""
    with (
        bench.stack(nameless=True, name="without") as without,
        bench.stack(nameless=True, name="with", ml=True) as stack,
    ):
        _has_model(stack)
        plain, found = uvloop.run(_measure(bench, without, stack))
    return Result(list(_rows(plain, found)))


async def _measure(
    bench: Bench, without: RunningStack, stack: RunningStack
) -> tuple[list[Turn], dict[str, list[tuple[Turn, Turn]]]]:
    plain, found, chance = list[Turn](), {mode: list[tuple[Turn, Turn]]() for mode in MODES}, random.Random(0)
    seconds, warm_s = (TURN_S / 5, 5.0) if bench.quick else (TURN_S, WARM_S)
    async with AsyncExitStack() as ends:
        sides = []
        for one in (without, stack):
            schemas = Schemas(one.cluster)
            await schemas.register()
            watch = await ends.enter_async_context(announcements(one))
            side = Side(one, schemas, watch, Writer(one.cluster.bootstrap), names_of(PEOPLE))
            ends.callback(side.writer.close)
            ends.callback(schemas.close)
            sides.append(side)
        bare, hearing = sides
        scorer = parts_of(stack)["scorer"]
        for number in range(1 if bench.quick else ROUNDS):
            before = await bare.turn(seconds, warm_s, chance)
            plain.append(before)
            for mode, what in MODES.items():
                for process in scorer:
                    process.suspend() if mode == "dead" else process.resume()
                try:
                    turn = await hearing.turn(seconds, warm_s, chance)
                finally:
                    for process in scorer:
                        process.resume()
                after = await bare.turn(seconds, warm_s, chance)
                plain.append(after)
                beside = {part: mean((before[part], after[part])) for part in before}
                found[mode].append((turn, beside))
                said = ", ".join(f"{part} {turn[part]:,.4g} (x{turn[part] / beside[part]:.2f})" for part in turn)
                bench.say(f"round {number + 1}, {what}: {said}")
                before = after
    return plain, found


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


def _rows(plain: Sequence[Turn], found: dict[str, list[tuple[Turn, Turn]]]) -> Iterator[Row]:
    for mode, turns in found.items():
        for part, (what, unit) in PARTS.items():
            row = compared(
                f"scores-{mode}-{part}",
                f"{MODES[mode]}: {what}",
                median(turn[part] for turn, _ in turns),
                unit,
                peer=median(beside[part] for _, beside in turns),
                peer_name="no model",
                at_most=AT_MOST,
            )
            yield row


def _at(ordered: Sequence[float], percent: float) -> float:
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
