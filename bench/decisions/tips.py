"""Table 2 of the decisions: captured gain on simulated tips, ours beside peers that are tuned in each scenario.

The scenarios are the product's own (deploy/simulator): their truth is nonlinear and partly hidden from every feature,
and was written before a policy of ours was run on it. Peers are tuned on people of their own seeds; on the others
every policy meets the same people, slates, delays and luck, so differences are paired. Ours have one setting for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.bandit.belief import Shape
from agents.bandit.learner import Ints, Learner
from agents.in_memory import InMemory
from agents.learn import GROWTH_PERCENT
from agents.reward import DEFAULT
from bench.decisions.played import gains, play
from bench.decisions.processes import processes
from bench.decisions.slates import NAMES, ONE, PER_USER, D, Slates, slates
from bench.decisions.tips_peers import FIXED, GRIDS
from bench.result import Bench, Plot, Result, Row, slug
from deploy.simulator.scenario import load
from oo.v1 import policy_pb2

Floats = npt.NDArray[np.float64]

SHAPE = Shape(mean=(0.0,) * D, q=PER_USER, variance=0.01)
"""Nothing is believed of any feature beforehand, as with the peers; the variance was chosen on the tuning seed."""
SCENARIOS = (
    "base",
    "adversarial_clickers",
    "costly_interruptions",
    "few_decisions",
    "mostly_hidden",
    "no_drift",
    "no_heterogeneity",
    "slow_reactions",
)
"""Of the fourteen; the others differ less from these than these from each other, and a run should end within the hour."""


@dataclass(slots=True)
class AsLearnDoes:
    """One of ours, refitted as the `learn` agent does it: whenever what was taught has grown by so many percent."""

    inner: InMemory
    _rewards: int = 0
    _fitted: int = 0

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        return self.inner.pmf(user_id, x, silent=silent, time_ms=time_ms, key=key)

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        self.inner.learn(user_id, x, action=action, reward=reward, propensity=propensity, time_ms=time_ms)
        self._rewards += 1
        if (self._rewards - self._fitted) * 100 >= GROWTH_PERCENT * max(self._fitted, 1):
            self.inner.refit()
            self._fitted = self._rewards


NEVER = 1 << 60
"""Rewards between two fits that InMemory makes by itself."""


def ours(name: str, *, shape: Shape = SHAPE, **changes: int) -> Learner:
    """One of ours with the product's configuration, or some of it changed."""
    config = policy_pb2.DecisionConfig()
    config.CopyFrom(DEFAULT)
    for key, value in changes.items():
        setattr(config, key, value)
    return AsLearnDoes(InMemory(name, shape, config, refit_every=NEVER, expand=with_routine))


TOPICS = tuple(range(1, PER_USER - 3))
PARTS = tuple(NAMES.index(part) for part in ("morning", "afternoon", "evening"))


def with_routine(x: Ints) -> Ints:
    """With a place for each topic in each part of the day, as the product's own features have for labels."""
    products = x[:, TOPICS, None] * x[:, None, PARTS] // ONE
    return np.hstack([x, products.reshape(len(x), -1)])


OURS: Mapping[str, Callable[[], Learner]] = {
    "mixed": lambda: ours("mixed"),
    "mixed, greedy": lambda: ours("mixed", exploration=0, floor_permille=0),
    "mixed, UCB": lambda: ours("linucb"),
    "shared Thompson": lambda: ours("lin_ts"),
}
"""Ours by name: the one place where a policy of ours comes into this table."""
MAIN, GREEDY = "mixed", "mixed, greedy"
"""Ours that is measured against the peers, and the same without any exploring."""

TUNING_SEEDS = (9001,)
SEEDS = tuple(range(9501, 9511))
"""None that a choice was made on."""
QUANTILE = {1: 12.706, 2: 4.303, 4: 2.776, 5: 2.571, 9: 2.262, 14: 2.145, 19: 2.093}
"""Student's t at 97.5 %, by degrees of freedom: those of the numbers of seeds that are used."""
LEAD_MIN = 0.04
EXPLORING_MAX = 0.015
CURVE_STEPS = 12


@dataclass(frozen=True, slots=True)
class Paired:
    """A difference of captured gain over seeds, with its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, mine: Sequence[float], peer: Sequence[float]) -> Paired:
        """By Student's t over the paired differences.

        >>> Paired.of([0.5, 0.6], [0.4, 0.5]).low > 0.09
        True
        """
        apart = np.array(mine) - np.array(peer)
        half = QUANTILE[len(apart) - 1] * float(apart.std(ddof=1)) / np.sqrt(len(apart))
        return cls(float(apart.mean()), float(apart.mean() - half), float(apart.mean() + half))

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, slots=True)
class Found:
    """What one policy captured on one population."""

    gains: dict[str, float]
    curve: list[float]
    """By how many decisions a person had made before, in CURVE_STEPS steps of equal width."""


def measure(bench: Bench) -> Result:
    """Tune the peers, then play all scenarios; quick: two scenarios and three seeds, tuned on one."""
    scenarios = SCENARIOS[:2] if bench.quick else SCENARIOS
    peers = bench.asked_for((*GRIDS, *FIXED))
    tuning, seeds = (TUNING_SEEDS[:1], SEEDS[:3]) if bench.quick else (TUNING_SEEDS, SEEDS)
    with processes() as pool:
        tuned = _tuned(pool, scenarios, tuning, [one for one in peers if one in GRIDS], bench)
        pairs = [(scenario, seed) for scenario in scenarios for seed in seeds]
        found: dict[tuple[str, int], dict[str, Found]] = {}
        played = pool.map(_play_all, *zip(*[(s, n, peers, tuned[s], not bench.only) for s, n in pairs], strict=True))
        told = bench.track(played, "playing the scenarios", len(pairs))
        for (scenario, seed), one in zip(pairs, told, strict=True):
            found[scenario, seed] = one
            if seed == seeds[-1]:
                bench.say(f"{scenario}: " + ", ".join(_said(found, scenario, seeds, name) for name in one))
    return Result(rows=list(_rows(found, scenarios, seeds, tuned)), plots=[_plot(found, seeds)])


def _tuned(
    pool: ProcessPoolExecutor, scenarios: Sequence[str], seeds: Sequence[int], peers: Sequence[str], bench: Bench
) -> dict[str, dict[str, str]]:
    """By scenario and peer, the setting that captured most on the tuning seeds."""
    pairs = [(scenario, seed, peers) for scenario in scenarios for seed in seeds]
    totals: dict[tuple[str, str, str], float] = {}
    tuned = pool.map(_play_grids, *zip(*pairs, strict=True))
    for (scenario, *_), one in zip(pairs, bench.track(tuned, "tuning the peers", len(pairs)), strict=True):
        for (peer, setting), gain in one.items():
            totals[scenario, peer, setting] = totals.get((scenario, peer, setting), 0.0) + gain
    chosen = {
        scenario: {peer: max(GRIDS[peer], key=lambda one: totals[scenario, peer, one]) for peer in peers}
        for scenario in scenarios
    }
    for scenario, settings in chosen.items():
        bench.say(f"{scenario}, tuned: " + "; ".join(f"{peer}: {setting}" for peer, setting in settings.items()))
    return chosen


def _play_grids(name: str, seed: int, peers: Sequence[str]) -> dict[tuple[str, str], float]:
    scenario = load(name)
    crowd = slates(scenario, seed=seed)
    return {
        (peer, setting): gains(crowd, play(crowd, make(scenario.interruption_cost)).value)["all"]
        for peer in peers
        for setting, make in GRIDS[peer].items()
    }


def _play_all(name: str, seed: int, peers: Sequence[str], tuned: Mapping[str, str], all_ours: bool) -> dict[str, Found]:
    scenario = load(name)
    crowd = slates(scenario, seed=seed)
    cost = scenario.interruption_cost
    # In turns of whole runs: each policy has the core to itself while it plays.
    found = {one: _found(crowd, make()) for one, make in OURS.items() if all_ours or one == MAIN}
    made = {peer: GRIDS[peer][tuned[peer]] if peer in tuned else FIXED[peer] for peer in peers}
    return found | {peer: _found(crowd, make(cost)) for peer, make in made.items()}


def _found(crowd: Slates, learner: Learner) -> Found:
    value = play(crowd, learner).value
    step = -(-crowd.scenario.decisions_per_person // CURVE_STEPS)
    curve = []
    for first in range(0, crowd.scenario.decisions_per_person, step):
        among = crowd.counted & (crowd.nth >= first) & (crowd.nth < first + step)
        oracle, random = crowd.oracle[among].sum(), crowd.random[among].sum()
        curve.append(float((value[among].sum() - random) / (oracle - random)))
    return Found(gains(crowd, value), curve)


def _rows(
    found: Mapping[tuple[str, int], Mapping[str, Found]],
    scenarios: Sequence[str],
    seeds: Sequence[int],
    tuned: Mapping[str, Mapping[str, str]],
) -> Iterator[Row]:
    peers = [one for one in found[scenarios[0], seeds[0]] if one not in OURS]

    def over_seeds(scenario: str, name: str, which: str = "all") -> list[float]:
        return [found[scenario, seed][name].gains[which] for seed in seeds]

    def row(name: str, what: str, mine: Sequence[float], peer: Sequence[float], peer_name: str, **goal: object) -> Row:
        a, b = float(np.mean(mine)), float(np.mean(peer))
        return Row(name, what, round(a, 3), "", round(b, 3), peer_name, round(a / b, 3), **goal)  # type: ignore[arg-type]

    for scenario in scenarios:
        for peer in peers:
            mine, theirs = over_seeds(scenario, MAIN), over_seeds(scenario, peer)
            apart = Paired.of(mine, theirs)
            yield row(
                slug(f"tips {scenario} {peer}"),
                f"{scenario}: captured gain, difference {apart}",
                mine,
                theirs,
                f"{peer} ({tuned[scenario][peer]})" if peer in GRIDS else peer,
                goal="95 % bound of the difference > 0",
                met=apart.low > 0,
                note=f"{scenario}: {load(scenario).about}.",
            )
    for which, said in (("first", "first 10 decisions"), ("drifted", "after a change of tastes")):
        for peer in peers:
            mine, theirs = over_seeds("base", MAIN, which), over_seeds("base", peer, which)
            what = f"base, {said}: captured gain, difference {Paired.of(mine, theirs)}"
            yield row(slug(f"tips base {which} {peer}"), what, mine, theirs, peer)
    # Scenarios weigh the same; a seed is the same people in each, so the mean over scenarios is what is paired.
    means = {
        name: np.mean([over_seeds(one, name) for one in scenarios], axis=0).tolist() for name in found["base", seeds[0]]
    }
    for peer in peers:
        lead = Paired.of(means[MAIN], means[peer])
        goal = {"goal": f"difference >= +{LEAD_MIN:g}", "met": lead.mean >= LEAD_MIN} if peer == "VW tuned" else {}
        yield row(
            slug(f"tips mean {peer}"), f"mean over {len(scenarios)} scenarios: captured gain, difference {lead}",
            means[MAIN], means[peer], peer, **goal,
        )  # fmt: skip
    if GREEDY in means:
        costs = Paired.of(means[GREEDY], means[MAIN])
        yield row(
            "tips-exploring", f"what exploring costs, mean over {len(scenarios)} scenarios: {costs}",
            means[MAIN], means[GREEDY], GREEDY, goal=f"<= {EXPLORING_MAX:g}", met=costs.mean <= EXPLORING_MAX,
        )  # fmt: skip


def _said(found: Mapping[tuple[str, int], Mapping[str, Found]], scenario: str, seeds: Sequence[int], name: str) -> str:
    mine, theirs = ([found[scenario, seed][one].gains["all"] for seed in seeds] for one in (MAIN, name))
    apart = "" if name == MAIN else f" (difference {Paired.of(mine, theirs)})"
    return f"{name} {np.mean(theirs):.3f}{apart}"


def _plot(found: Mapping[tuple[str, int], Mapping[str, Found]], seeds: Sequence[int]) -> Plot:
    step = load("base").decisions_per_person / CURVE_STEPS
    curves = {}
    for name in found["base", seeds[0]]:
        y = np.mean([found["base", seed][name].curve for seed in seeds], axis=0).tolist()
        curves[name] = ([step * (index + 0.5) for index in range(len(y))], y)
    return Plot("tips-learning", "Simulated tips, base", "decisions of a person so far", "captured gain", curves)
