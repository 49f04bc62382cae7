"""Tips while a language model answers well, hangs, refuses, says garbage or is gone: beside a stack without one, in the same run.

Two stacks, one of them with a model that is a server of ours. A turn puts the same steady load on one of them: first tasks of new
people, each of whom is asked for some seconds later, more tasks and reactions of people who are known, and GET /v1/tip. It is measured once
the first of them are asked for. Each turn with the model stands between two without one, and its ratio is to what those had in the
mean; of each number the median of the rounds counts.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import mean, median
from uuid import uuid4

import httpx
import psycopg
import uvloop
from valkey import Valkey

from agents.reward import ASKING
from bench.arrivals import Stopwatch, Writer
from bench.builds import ROOT
from bench.freshness import announcements, first_task, names_of
from bench.result import Bench, Result, Row, compared
from connectors.valkey import tip_key
from deploy.stack.running import RunningStack
from oo.v1 import reaction_pb2, signal_pb2
from serving.issuer import LocalIssuer
from streams.clock import clock_ms
from streams.schemas import Schemas
from tables.backlog import from_ms
from tests.model_server import ModelServer

MODES = {
    "well": "answers well",
    "hangs": "hangs for 20 s",
    "busy": "answers 429",
    "garbage": "answers garbage",
    "gone": "is gone: connection refused",
}
ROUNDS, LONG_ROUNDS = 2, 6
TURN_S = 5.0
SETTLE_S = ASKING.settle_ms / 1000 + 0.5
"""From somebody's first signal until they are asked for: so long the load is there before it is measured, and the mode after it."""
WARM_S = 1.5
NEW_PER_S, KNOWN_PER_S, GETS_PER_S = 20, 20, 100
"""First tasks of new people; tasks of people who are known, and as many reactions; requests over HTTP."""
KNOWN, CONNECTIONS = 300, 8
LATE_S, BACK_S = 20.0, 90.0
"""How long a tip is waited for; and until requests are drained and the model asked again."""
AT_MOST = 1.1
PARTS = {"tip-p50": "GET /v1/tip, p50", "tip-p99": "GET /v1/tip, p99", "fresh-p50": "a new person's first task acknowledged to their tip, p50", "fresh-p99": "the same, p99"}  # fmt: skip
NUMBER = re.compile(r"^(oo_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)

Numbers = Counter[tuple[str, str]]
"""What a page of metrics says: by name, and by labels as they stand there."""


@dataclass(slots=True)
class Turn:
    """What one turn of load brought, in milliseconds by `PARTS`."""

    ms: dict[str, float]
    waiting: int
    """New people without a tip."""


@dataclass(slots=True)
class Asked:
    """What a mode of the model came to, over its turns."""

    turns: list[Turn] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    answers: Counter[str] = field(default_factory=Counter)
    """By reason."""
    ends: Counter[str] = field(default_factory=Counter)
    """Calls, by how they ended."""
    reached: int = 0
    """Calls that the server saw."""
    over: Counter[str] = field(default_factory=Counter)
    """Requests that needed no answer any more, by why."""
    waited: list[int] = field(default_factory=list)
    """Of each turn: requests that waited when the model was back,"""
    drained_s: list[float] = field(default_factory=list)
    """how long it took until none of these did,"""
    again_s: list[float] = field(default_factory=list)
    """and until a model's tips came again."""


class Side:
    """One of the two stacks, and who is known there."""

    def __init__(self, stack: RunningStack, schemas: Schemas, watch: Stopwatch, bench: Bench) -> None:
        self.stack = stack
        self.watch = watch
        self.writer = Writer(stack.cluster.bootstrap)
        self._schemas = schemas
        self._first = first_task(stack, schemas)
        self._bench = bench
        self._chance = random.Random(0)
        self._known = names_of(KNOWN)
        issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)
        self._gets = bench.scratch / f"gets-{uuid4().hex}"
        self._gets.write_text("\n".join(f"/v1/tip {issuer.mint(user)}" for user in self._known))

    def close(self) -> None:
        self.writer.close()
        self._schemas.close()

    async def begin(self) -> None:
        """People who are known, each with a tip; and the edge has seen every token."""
        for number in range(3):
            for user in self._known:
                self._write(user, *self._task(user, number))
        await self.heard(self._known)
        await self._load(1.0)
        self.watch.clear()

    async def turn(self, seconds: float, *, after_s: float) -> Turn:
        """So much time under the load, after so much that is not measured."""
        await self._put(names_of(NEW_PER_S * after_s), after_s)
        self.watch.clear()
        names = names_of(NEW_PER_S * seconds)
        loading = asyncio.create_task(self._load(seconds))
        await self._put(names, seconds)
        await self.heard(names)
        watch = self.watch
        # A tip can be there before the producer has heard of its signal.
        fresh = sorted(
            max(watch.arrived[name] - watch.acknowledged[name], 0.0) * 1000 for name in names if name in watch.arrived
        )
        tip = sorted(await loading)
        turn = Turn(
            {
                "tip-p50": _at(tip, 50),
                "tip-p99": _at(tip, 99),
                "fresh-p50": _at(fresh, 50),
                "fresh-p99": _at(fresh, 99),
            },
            len(names) - len(fresh),
        )
        watch.clear()
        return turn

    async def _put(self, names: Sequence[str], seconds: float) -> None:
        """First tasks of these, and what people do who are known."""
        tips, junk = self._standing(), Stopwatch()
        events = [(name, *self._first(name), self.watch) for name in names]
        known = self._chance.sample(sorted(tips), min(round(KNOWN_PER_S * seconds), len(tips)))
        events += [(user, *self._reaction(user, tips[user]), junk) for user in known]
        events += [(user, *self._task(user, uuid4().int), junk) for user in known]
        self._chance.shuffle(events)
        loop, per_s = asyncio.get_running_loop(), len(events) / seconds
        start_s = loop.time()
        for number, (name, topic, value, watch) in enumerate(events):
            if (delay_s := start_s + number / per_s - loop.time()) > 0:
                await asyncio.sleep(delay_s)
            self.writer.write(topic, name, value, watch)

    def one_more(self) -> None:
        """A new person's first task."""
        (name,) = names_of(1)
        self._write(name, *self._first(name))

    async def numbers(self) -> Numbers:
        """What generate says of itself; nothing where it does not run."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            try:
                page = (await http.get(f"http://127.0.0.1:{self.stack.ports['generate']}/metrics")).text
            except httpx.ConnectError:
                return Counter()
        return Counter(
            {(name, labels): int(float(value)) for name, labels, value in NUMBER.findall(page) if float(value) < 1e15}
        )

    async def heard(self, names: Sequence[str]) -> None:
        """Until each of these has a tip, or it is late."""
        until_s = time.monotonic() + LATE_S
        watch = self.watch
        while time.monotonic() < until_s:
            if all(name in watch.arrived and name in watch.acknowledged for name in names):
                return
            await asyncio.sleep(0.05)

    def _write(self, name: str, topic: str, value: bytes) -> None:
        self.writer.write(topic, name, value, self.watch)

    def _task(self, user: str, number: int) -> tuple[str, bytes]:
        task = signal_pb2.TaskUpserted(
            external_id=f"{number}", title=f"Sort folder {number % 997}", priority=number % 5
        )
        told = signal_pb2.Signal(user_id=user, source="bench", event_id=uuid4().hex, task_upserted=task)
        return self.stack.cluster.name("signals"), self._schemas.frame("signals", told)

    def _reaction(self, user: str, decision_id: str) -> tuple[str, bytes]:
        kind = self._chance.choice(
            (reaction_pb2.Reaction.DONE, reaction_pb2.Reaction.SNOOZE, reaction_pb2.Reaction.DISMISS)
        )
        made = reaction_pb2.Reaction(
            user_id=user, decision_id=decision_id, kind=kind, source="bench", event_id=uuid4().hex
        )
        made.event_time.CopyFrom(from_ms(clock_ms()))
        return self.stack.cluster.name("reactions"), self._schemas.frame("reactions", made)

    def _standing(self) -> dict[str, str]:
        """Of whom a tip stands, its decision."""
        with Valkey.from_url(self.stack.valkey_url) as plain:
            pipe = plain.pipeline(transaction=False)
            for user in self._known:
                pipe.hget(tip_key(user), "decision_id")
            found = pipe.execute()
        return {user: one.decode() for user, one in zip(self._known, found, strict=True) if one}

    async def _load(self, seconds: float) -> list[float]:
        """Latencies of GET /v1/tip, in milliseconds."""
        answer = self._bench.scratch / f"answer-{uuid4().hex}.json"
        argv = ("-m", "bench.http_load", f"{self.stack.ports['edge']}", f"{CONNECTIONS}", f"{seconds}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, str(self._gets), str(answer), f"{GETS_PER_S}", cwd=ROOT
        )
        if await process.wait():
            raise SystemExit("the load over HTTP ended")
        done = json.loads(answer.read_text())
        # 204: there is nothing worth saying.
        if not done["statuses"].keys() <= {"200", "204"}:
            raise SystemExit(f"GET /v1/tip was answered {done['statuses']}")
        found: list[float] = done["latencies_ms"]
        return found


def measure(bench: Bench) -> Result:
    """Every mode in turn, between turns without a model."""
    with ModelServer() as server, bench.stack(nameless=True, name="without") as without:
        server.hangs_s = 20.0
        with bench.stack(nameless=True, name="with", llm=server.url) as stack:
            plain, found = uvloop.run(_measure(bench, server, without, stack))
            decisions, wrong = _decisions(without), _decisions(stack)
    rows = list(_rows(plain, found, made=decisions[0] + wrong[0], wrong=decisions[1] + wrong[1]))
    return Result(rows, beside={"generated-tips": _table(plain, found, rows)}, failed=_failed(found, rows))


async def _measure(
    bench: Bench, server: ModelServer, without: RunningStack, stack: RunningStack
) -> tuple[list[Turn], dict[str, Asked]]:
    plain, found = list[Turn](), {mode: Asked() for mode in MODES}
    seconds = TURN_S / 3 if bench.quick else TURN_S
    async with AsyncExitStack() as ends:
        sides = []
        for one in (without, stack):
            schemas = Schemas(one.cluster)
            await schemas.register()
            side = Side(one, schemas, await ends.enter_async_context(announcements(one)), bench)
            ends.callback(side.close)
            await side.begin()
            sides.append(side)
        bare, asking = sides
        # Generate starts last, and nobody waits for it.
        while not await asking.numbers():
            await asyncio.sleep(0.5)
        # Everybody who is known is asked for once.
        await asyncio.sleep(SETTLE_S)
        await _back(asking, server, 0.0)
        for number in range(1 if bench.quick else LONG_ROUNDS if bench.long else ROUNDS):
            before = await bare.turn(seconds, after_s=WARM_S)
            plain.append(before)
            for mode in list(MODES)[:: -1 if number % 2 else 1]:
                asked = found[mode]
                turn, after = await _mode(mode, asked, bare, asking, server, seconds)
                plain.append(after)
                asked.turns.append(turn)
                for part in PARTS:
                    asked.ratios[part].append(turn.ms[part] / mean((before.ms[part], after.ms[part])))
                before = after
                said = ", ".join(f"{part} x{asked.ratios[part][-1]:.2f}" for part in PARTS)
                bench.say(f"round {number + 1}, {MODES[mode]}: {said}, drained in {asked.drained_s[-1]:.1f} s")
    return plain, found


async def _mode(
    mode: str, asked: Asked, bare: Side, asking: Side, server: ModelServer, seconds: float
) -> tuple[Turn, Turn]:
    """A turn with the model in this mode, and one without a model while it recovers."""
    before, reached, began_s = await asking.numbers(), len(server.calls), time.monotonic()
    if mode == "gone":
        server.go()
    else:
        server.mood = mode  # type: ignore[assignment]
    turn = await asking.turn(seconds, after_s=SETTLE_S)
    # The last of them are asked for in this mode too.
    await asyncio.sleep(SETTLE_S)
    if mode in ("well", "hangs"):
        # There is much to be done with, and it is not to be done while what has no model is measured.
        await _back(asking, server, began_s + server.hangs_s if mode == "hangs" else 0.0, asked)
        after = await bare.turn(seconds, after_s=WARM_S)
    else:
        _, after = await asyncio.gather(_back(asking, server, 0.0, asked), bare.turn(seconds, after_s=WARM_S))
    now = await asking.numbers()
    now.subtract(before)
    for (name, labels), count in now.items():
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if name == "oo_answers_total":
            asked.answers[told["reason"]] += count
        elif name == "oo_model_calls_total":
            asked.ends[told["end"]] += count
        elif name == "oo_requests_total" and told["fate"] != "answered":
            asked.over[told["fate"]] += count
    asked.reached += len(server.calls) - reached
    return turn, after


async def _back(asking: Side, server: ModelServer, back_s: float, asked: Asked | None = None) -> None:
    """The model answers well from `back_s` on (monotonic): until nothing waits, and its tips come again."""
    waiting = _lag(await asking.numbers())
    await asyncio.sleep(max(back_s - time.monotonic(), 0))
    server.mood = "well"
    if not server.listens:
        server.back()
    began_s, drained_s = time.monotonic(), None
    tips = (await asking.numbers())[TIPS]
    while time.monotonic() < began_s + BACK_S:
        now = await asking.numbers()
        if drained_s is None and not _lag(now):
            drained_s = time.monotonic() - began_s
        if drained_s is not None and now[TIPS] > tips:
            break
        if drained_s is not None:
            asking.one_more()
        await asyncio.sleep(0.5)
    else:
        raise SystemExit(f"{BACK_S:.0f} s after the model was back its tips did not come, or requests waited")
    if asked is not None:
        asked.waited.append(waiting)
        asked.drained_s.append(drained_s)
        asked.again_s.append(time.monotonic() - began_s)


TIPS = ("oo_answers_total", 'reason="tips"')


def _lag(numbers: Numbers) -> int:
    return sum(count for (name, _), count in numbers.items() if name == "oo_lag_records")


def _decisions(stack: RunningStack) -> tuple[int, int]:
    """How many were made, and how many of them have no valid propensity."""
    query = (
        "SELECT count(*), count(*) FILTER (WHERE NOT (propensity > 0 AND propensity <= 1)) FROM recommender.decisions"
    )
    with psycopg.connect(stack.recommender_dsn) as database:
        found: tuple[int, int] = database.execute(query).fetchone()  # type: ignore[assignment]
    return found


def _rows(plain: Sequence[Turn], found: dict[str, Asked], *, made: int, wrong: int) -> Iterator[Row]:
    for mode, asked in found.items():
        for part, what in PARTS.items():
            row = compared(
                f"model-{mode}-{part}",
                f"the model {MODES[mode]}: {what}",
                median(turn.ms[part] for turn in asked.turns),
                "ms",
                peer=median(turn.ms[part] for turn in plain),
                peer_name="no model",
                at_most=AT_MOST,
            )
            # Of neighbours in time, as a machine slows down and comes to itself.
            ratio = round(median(asked.ratios[part]), 3)
            yield replace(row, ratio=ratio, met=ratio <= AT_MOST)
        yield compared(
            f"model-{mode}-calls",
            f"the model {MODES[mode]}: calls that went out",
            asked.ends.total(),
            "calls",
            peer=asked.answers.total() + asked.over.total(),
            peer_name="requests made",
            at_most=1.0,
        )
    yield compared(
        "model-propensity",
        "decisions without a valid propensity",
        wrong,
        "decisions",
        peer=made,
        peer_name="decisions made",
        at_most=0.0,
        note=f"Of {len(plain) // (len(found) + 1)} rounds, turns of {TURN_S:g} s: a second {NEW_PER_S} first tasks of new people, each of whom is asked for later,"
        f" {KNOWN_PER_S} more tasks and {KNOWN_PER_S} reactions of others, {GETS_PER_S} GET /v1/tip. Ratios are to the turns just before and after.",
    )  # fmt: skip


def _table(plain: Sequence[Turn], found: dict[str, Asked], rows: Sequence[Row]) -> list[str]:
    by_id = {row.id: row for row in rows}
    cells = [f"{median(turn.ms[part] for turn in plain):.3g}" for part in PARTS]
    waiting = sum(turn.waiting for turn in plain)
    lines = [
        "| the model | GET /v1/tip p50 | p99 | first tip p50 | p99 | requests | answers | calls | waited, drained in | its tips again after | people without a tip |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        f"| there is none | {' ms | '.join(cells)} ms | | | | | | {waiting} |",
    ]
    for mode, asked in found.items():
        cells = []
        for part in PARTS:
            row = by_id[f"model-{mode}-{part}"]
            cells.append(f"{row.value:.3g} ms ({row.ratio:.2f})")
        said = ", ".join(f"{count} {reason}" for reason, count in asked.answers.most_common() if count)
        cells += [
            f"{asked.answers.total() + asked.over.total()}",
            said,
            f"{asked.ends.total()}",
            f"{sum(asked.waited)}, {median(asked.drained_s):.1f} s",
            f"{median(asked.again_s):.1f} s",
            f"{sum(turn.waiting for turn in asked.turns)}",
        ]
        lines.append(f"| {MODES[mode]} | {' | '.join(cells)} |")
    row = by_id["model-propensity"]
    return [*lines, "", f"{row.note} Decisions without a valid propensity: {row.value:g} of {row.peer:,.0f}."]


def _failed(found: dict[str, Asked], rows: Sequence[Row]) -> str:
    wrong = [f"{sum(turn.waiting for turn in asked.turns)} people without a tip while it {MODES[mode]}" for mode, asked in found.items() if any(turn.waiting for turn in asked.turns)]  # fmt: skip
    # Of one that is gone nobody but generate can count.
    wrong += [f"{asked.reached} calls came for {asked.ends.total()} while it {MODES[mode]}" for mode, asked in found.items() if mode != "gone" and asked.reached != asked.ends.total()]  # fmt: skip
    wrong += [row.what for row in rows if row.id == "model-propensity" and row.value]
    return "; ".join(wrong)


def _at(ordered: Sequence[float], percent: float) -> float:
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else float("nan")
