"""How long features, decision and learning take, for K = 20 candidates, beside VW and river in the same process.

In turns: some decisions of one, then of the next, many times over, so that a busy machine slows all alike. Everyone gets
the same people, contexts and rewards, and draws its own action. It says nothing about who learns better.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from agents.bandit.learner import Floats, Ints, Learner
from agents.policies.vw import dense, said
from bench.decisions.libraries import River
from bench.decisions.ours import SPEED, Setting
from bench.decisions.processes import processes
from bench.decisions.vw import Vw
from bench.result import Bench, Plot, Result, Row, compared, slug

K = 20
SHARED = {32: 8, 64: 8, 128: 16}
"""By d: how many features are the context's; d over it are each candidate's, and d are their products."""
AT_LEAST = {32: 3.0, 64: 2.5, 128: 1.5}
"""By d: the goal for the first policy's rounds per core-second over VW's, who crosses by itself."""
USERS = 300
START_MS = 1_790_000_000_000
TURNS = 20
QUICK_TURNS = 4
TURN = 50
WARM = 200
SLOW_TURN = 5
"""Of river, whose learning takes longer than all else together."""

VW_COMPACT, VW_DENSE, RIVER = "VW, crosses by itself", "VW, all features spelled out", "river LinUCBDisjoint"


@dataclass(frozen=True, slots=True)
class Round:
    """One decision and its reward, the same for everyone."""

    user_id: str
    context: Ints
    own: Ints
    drawn: float
    noise: float
    time_ms: int
    key: int


@dataclass(slots=True)
class Racer:
    """Somebody who is timed, and the microseconds of each round so far: of wall time, and of the processor's."""

    learner: Learner
    features: Callable[[Ints, Ints], Ints | Apart]
    turn: int
    wall_us: list[float]
    cpu_us: list[float]


@dataclass(frozen=True, slots=True)
class Apart:
    """The slate as VW is told it: the context once, and what is each candidate's own."""

    context: Ints
    own: Ints

    def __len__(self) -> int:
        return len(self.own)


def told_apart(x: Apart) -> list[str]:
    """Context in a namespace s, a candidate's own in a namespace a.

    >>> told_apart(Apart(np.array([64, 32]), np.array([[64, -64], [64, 1]])))
    ['shared |s 0:1 1:0.5', '|a 0:1 1:-1', '|a 0:1 1:0.015625']
    """
    return [f"shared |s {said(x.context.tolist())}", *[f"|a {said(row)}" for row in x.own.tolist()]]


def crossed(context: Ints, own: Ints) -> Ints:
    """(s,) and (K, a) -> (K, s x a), in units of 1/64.

    >>> crossed(np.array([64, 32]), np.array([[64, -64]])).tolist()
    [[64, -64, 32, -32]]
    """
    x: Ints = (context[None, :, None] * own[:, None, :]).reshape(len(own), -1) >> 6
    return x


def rounds(d: int, n: int, *, seed: int) -> list[Round]:
    """Contexts and candidates with a constant each, whole numbers in units of 1/64, none of them nought."""
    chance = np.random.default_rng(seed)
    shared = SHARED[d]
    found = []
    for at in range(n):
        context = chance.integers(1, 65, shared) * chance.choice((-1, 1), shared)
        own = chance.integers(1, 65, (K, d // shared)) * chance.choice((-1, 1), (K, d // shared))
        context[0], own[:, 0] = 64, 64
        found.append(
            Round(
                user_id=f"user-{chance.integers(USERS):03}",
                context=context,
                own=own,
                drawn=float(chance.random()),
                noise=float(chance.random()),
                time_ms=START_MS + at * 1_000,
                key=int(chance.integers(1, 1 << 62)) << 64 | at,
            )
        )
    return found


def measure(bench: Bench) -> Result:
    """For each d: rounds per second of the processor, the median and the 99th percentile of a round, beside each peer's."""
    rows: list[Row] = []
    medians: dict[str, list[float]] = {}
    with processes(1) as pool:
        for d in SHARED:
            times = pool.submit(race, d, turns=QUICK_TURNS if bench.quick else TURNS).result()
            for name, found in times.items():
                bench.say(f"d = {d}: {name}: {found}")
                medians.setdefault(name, []).append(found.percentile_us(50))
            rows += _rows(d, times)
    plot = Plot(
        "speed-median",
        f"Features, decide, learn: the median round at K = {K}",
        "d",
        "µs",
        {name: ([float(d) for d in SHARED], us) for name, us in medians.items()},
        x_scale="log",
        y_scale="log",
    )
    return Result(rows, [plot])


@dataclass(frozen=True, slots=True)
class Times:
    """Of all rounds of one racer; (n,) each, in microseconds."""

    wall_us: Floats
    cpu_us: Floats

    @property
    def per_core_s(self) -> float:
        return 1e6 / float(self.cpu_us.mean())

    def percentile_us(self, percent: float) -> float:
        return float(np.percentile(self.wall_us, percent))

    def __str__(self) -> str:
        return (
            f"{self.per_core_s:,.0f} per core-second, "
            f"p50 {self.percentile_us(50):.0f} µs, p99 {self.percentile_us(99):.0f} µs"
        )


def race(d: int, *, turns: int) -> Mapping[str, Times]:
    """Everyone's times at this d."""
    setting = Setting(actions=K, d=d, seed=0)
    racers = {
        **{name: Racer(make(setting), crossed, TURN, [], []) for name, make in SPEED.items()},
        VW_COMPACT: Racer(Vw("--epsilon 0.05 -q sa", seed=0, lines=told_apart), Apart, TURN, [], []),
        VW_DENSE: Racer(Vw("--epsilon 0.05", seed=0, lines=dense), crossed, TURN, [], []),
        RIVER: Racer(River(alpha=1.0, beta=1.0, seed=0), crossed, SLOW_TURN, [], []),
    }
    given = rounds(d, WARM + turns * TURN, seed=d)
    truth = np.random.default_rng(1).normal(size=d) / np.sqrt(d)
    for racer in racers.values():
        for one in given[: WARM if racer.turn == TURN else SLOW_TURN]:
            _round(racer, one, truth)
        racer.wall_us.clear()
        racer.cpu_us.clear()
    for turn in range(turns):
        at = WARM + turn * TURN
        for racer in racers.values():
            for one in given[at : at + racer.turn]:
                _round(racer, one, truth)
    return {name: Times(np.array(racer.wall_us), np.array(racer.cpu_us)) for name, racer in racers.items()}


def _round(racer: Racer, one: Round, truth: Floats) -> None:
    """Features, decision, draw and learning are timed; what the world answers in between is not."""
    learner = racer.learner
    began_ns, began_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    x = racer.features(one.context, one.own)
    p = learner.pmf(one.user_id, x, silent=None, time_ms=one.time_ms, key=one.key)
    action = min(int(p.cumsum().searchsorted(one.drawn, side="right")), K - 1)
    decided_ns, decided_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    expected = 0.5 + float(crossed(one.context, one.own[action : action + 1])[0] @ truth) / 64
    reward = float(one.noise < expected)
    answered_ns, answered_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    learner.learn(one.user_id, x, action=action, reward=reward, propensity=float(p[action]), time_ms=one.time_ms)
    learned_ns, learned_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    racer.wall_us.append((decided_ns - began_ns + learned_ns - answered_ns) / 1_000)
    racer.cpu_us.append((decided_cpu_ns - began_cpu_ns + learned_cpu_ns - answered_cpu_ns) / 1_000)


def _rows(d: int, times: Mapping[str, Times]) -> Iterator[Row]:
    for name in SPEED:
        for peer in (VW_COMPACT, VW_DENSE, RIVER):
            first = name == next(iter(SPEED))
            if not first and peer != VW_COMPACT:
                continue
            begin = f"speed-{d}-{slug(name)}-{slug(peer)}"
            what = f"{name}, K = {K}, d = {d}: features, decide, learn"
            yield compared(
                f"{begin}-rate",
                f"{what}, rounds per core-second",
                times[name].per_core_s,
                "/s",
                peer=times[peer].per_core_s,
                peer_name=peer,
                at_least=AT_LEAST[d] if first and peer == VW_COMPACT else None,
                note=NOTE,
            )
            for percent in (50, 99):
                yield compared(
                    f"{begin}-p{percent}",
                    f"the same, a round, p{percent}, n = {len(times[name].wall_us)}",
                    times[name].percentile_us(percent),
                    "µs",
                    peer=times[peer].percentile_us(percent),
                    peer_name=peer,
                )


NOTE = (
    "The context's s features times the candidate's a make d = s x a: 8 x 4, 8 x 8, 16 x 8. oO multiplies them into the "
    "slate, within the time; VW is told them once and crosses them by itself (`-q sa`), or is told all d of every "
    "candidate; its examples are parsed once a round and serve the decision and the reward. river keeps a regression of d for "
    "each of the 20. All in one process and in turns of 50 rounds (river: 5), 300 people, after 200 rounds to warm up "
    "(river: 5); the draw is within the time, the world's answer is not. A core-second is the thread's own processor time; "
    "the percentiles are wall time, with whatever else the machine did."
)
