"""How often the interval that `oo policies` shows holds the truth, on logs of the default policy, whose weights are heavy.

`mixed` is played on the product's own simulated people; what it drew is then drawn again by the same probabilities, so that a log is several.
Each log is cut into streams, and of each stream an evaluation of three policies begins at its beginning, with a reward model that knows nothing
yet. The truth is the mean of the true rewards over the stream's decisions. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from agents.bandit.learner import Ints
from agents.evaluation import estimates, model, switched
from agents.evaluation.estimates import Estimate
from agents.evaluation.event import Event, Floats, Range
from bench.decisions.played import play
from bench.decisions.slates import ONE, Slates, slates
from bench.decisions.tips import SCENARIOS, AsLearnDoes, ours
from bench.result import Bench, Plot, Result, Row, slug
from deploy.simulator import world
from deploy.simulator.scenario import load

SEEDS = (9201, 9202, 9203)
"""None that a choice was made on: those were 9101 to 9103."""
DECISIONS = 18_000
CHECKPOINTS = (200, 500, 1000, 2000)
REDRAWN = 4
POLICIES = ("random", "linucb", "mixed")
NOW, BEFORE = "as it is", "normal"
COVERED = (0.93, 0.975)
WIDER_MAX = 1.5


@dataclass(slots=True)
class Noted:
    """`mixed` as it decides, and what linucb would have done by the same beliefs."""

    inner: AsLearnDoes
    mixed: list[Floats] = field(default_factory=list)
    linucb: list[Floats] = field(default_factory=list)

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        policy = self.inner.inner
        other = policy.choose(policy.taught(user_id), x, silent=silent, time_ms=time_ms, key=key, policy="linucb")
        self.mixed.append(self.inner.pmf(user_id, x, silent=silent, time_ms=time_ms, key=key))
        self.linucb.append(np.array(other.numerators) / other.denominator)
        return self.mixed[-1]

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        self.inner.learn(user_id, x, action=action, reward=reward, propensity=propensity, time_ms=time_ms)


@dataclass(frozen=True, slots=True)
class Held:
    """One stream each: (streams,)."""

    truth: Floats
    low: Floats
    high: Floats

    @property
    def inside(self) -> Floats:
        return np.asarray((self.low <= self.truth) & (self.truth <= self.high), dtype=float)


Found = dict[tuple[str, str, int], list[Held]]
"""By policy, interval and number of events."""


def measure(bench: Bench) -> Result:
    """All scenarios on all seeds, one after the other; quick: one seed of two scenarios."""
    scenarios, seeds = (SCENARIOS[:2], SEEDS[:1]) if bench.quick else (SCENARIOS, SEEDS)
    found: dict[str, Found] = {name: {} for name in scenarios}
    pairs = [(name, seed) for name in scenarios for seed in seeds]
    with threadpool_limits(limits=1):
        for name, seed in bench.track(pairs, "playing", len(pairs)):
            for key, held in covered(name, seed).items():
                found[name].setdefault(key, []).extend(held)
    return Result(rows=list(_rows(found)), plots=[_plot(found)])


def covered(name: str, seed: int, *, decisions: int = DECISIONS, n: Sequence[int] = CHECKPOINTS) -> Found:
    """Play one population, and hold both intervals of each policy against the truth at each of the numbers of events."""
    scenario = load(name)
    crowd = slates(replace(scenario, people=max(1, round(decisions / scenario.decisions_per_person))), seed=seed)
    learner = ours("mixed")
    assert isinstance(learner, AsLearnDoes)
    noted = Noted(learner)
    play(crowd, noted)
    logging = np.array(noted.mixed)
    pmfs = np.stack([np.full_like(logging, 1 / logging.shape[1]), np.array(noted.linucb), logging])
    chance, length = np.random.default_rng([seed, 3, *name.encode()]), max(n)
    starts = np.arange(0, len(logging) - length + 1, length)
    lucks = [crowd.luck, *(chance.random(crowd.luck.shape) for _ in range(REDRAWN))]
    drawn = [_drawn(crowd, logging, luck) for luck in lucks]
    worth = world.worths(scenario) * (1 - world.losses(scenario))
    mean = crowd.shares @ worth - scenario.interruption_cost
    if crowd.silent is not None:
        mean[:, crowd.silent] = 0.0
    earned = world.worths(scenario) - scenario.interruption_cost
    rewards = Range(min(0.0, float(earned.min())), max(0.0, float(earned.max())))

    # Of each redraw all streams, side by side.
    which, place = np.repeat(np.arange(len(drawn)), len(starts)), np.tile(starts, len(drawn))
    actions, got = (np.stack([one[part] for one in drawn]) for part in range(2))
    shape = (len(POLICIES), len(place))
    predictor, truth = model.empty(crowd.x.shape[2], shape=(len(place),)), np.zeros(shape)
    plain, wide, found = estimates.empty(shape=shape), switched.empty(shape=shape), Found()
    for step in range(length):
        at = place + step
        x, action, reward = crowd.x[at] / ONE, actions[which, at].astype(np.int64), got[which, at]
        event = Event(logging[at], action, reward, model.predict(predictor, x))
        plain, wide = estimates.add(plain, event, pmfs[:, at]), switched.add(wide, event, pmfs[:, at])
        predictor = model.learn(predictor, x[np.arange(len(at)), action], reward)
        truth += (pmfs[:, at] * mean[at]).sum(axis=-1)
        if step + 1 in n:
            for which_one, one in ((BEFORE, estimates.dr(plain)), (NOW, switched.estimate(wide, rewards=rewards))):
                for index, policy in enumerate(POLICIES):
                    held = _held(one, truth / (step + 1), index)
                    found.setdefault((policy, which_one, step + 1), []).append(held)
    return found


def _drawn(crowd: Slates, pmf: Floats, luck: Floats) -> tuple[Ints, Floats]:
    """What is drawn with this luck, and what it counts, as `agents.evaluation.counted` has it: silence costs what it cost to interrupt."""
    scenario, every = crowd.scenario, np.arange(len(pmf))
    action = np.minimum((pmf.cumsum(axis=1) <= luck[:, :1]).sum(axis=1), pmf.shape[1] - 1)
    shares = crowd.shares[every, action]
    outcome = np.minimum((shares.cumsum(axis=1) <= luck[:, 1:2]).sum(axis=1), world.OUTCOMES - 1)
    came = luck[:, 2] >= world.losses(scenario)[outcome]
    reward = np.where(came, world.worths(scenario)[outcome], 0.0) - scenario.interruption_cost
    return action, reward if crowd.silent is None else np.where(action == crowd.silent, 0.0, reward)


def _held(one: Estimate, truth: Floats, index: int) -> Held:
    return Held(truth[index], one.low[index], one.high[index])


def together(found: Sequence[Held]) -> Held:
    """All streams of several logs."""
    return Held(*(np.concatenate([getattr(one, name) for one in found]) for name in ("truth", "low", "high")))


def _rows(found: dict[str, Found]) -> Iterator[Row]:
    for policy in POLICIES:
        for n in CHECKPOINTS:
            yield _row(policy, n, found)


def _row(policy: str, n: int, found: dict[str, Found]) -> Row:
    each = {name: tuple(together(one[policy, which, n]) for which in (NOW, BEFORE)) for name, one in found.items()}
    now, before = (together([pair[at] for pair in each.values()]) for at in range(2))
    told = np.isfinite(now.low)
    peer = float(before.inside.mean())
    name, said = slug(f"interval {policy} {n}"), f"normal interval, width {_width(before):.3f}"
    if told.mean() < 1 - COVERED[0]:
        wrong = float((told & (now.inside < 1)).mean())
        return Row(
            name, f"{policy} by the log of mixed, {n:,} events: too little to tell", round(1 - float(told.mean()), 3), "of streams",
            round(peer, 3), f"covered by the {said}", round((1 - float(told.mean())) / peer, 3),
            goal="a wrong interval in <= .05", met=wrong <= 0.05, note=f"{policy}, {n:,}: a wrong interval in {wrong:.3f} of streams.",
        )  # fmt: skip
    covers = float(now.inside[told].mean())
    wider = {
        one: _width(mine, told=mine.low) / _width(theirs, told=mine.low)
        for one, (mine, theirs) in each.items()
        if np.isfinite(mine.low).any()
    }
    covered_by = {one: float(theirs.inside.mean()) for one, (_, theirs) in each.items()}
    judged = {one: ratio for one, ratio in wider.items() if covered_by[one] >= COVERED[0]}
    ratio = _width(now, told=now.low) / _width(before, told=now.low)
    least = min(
        (float(mine.inside[np.isfinite(mine.low)].mean()), one) for one, (mine, _) in each.items() if one in wider
    )
    worst = max((ratio, one) for one, ratio in judged.items()) if judged else None
    return Row(
        name, f"{policy} by the log of mixed, {n:,} events: the 95 % interval holds the truth; width {_width(now, told=now.low):.3f}, {ratio:.2f} of the normal one's",
        round(covers, 3), "of streams", round(peer, 3), said, round(covers / peer, 3),
        goal=".93 to .975", met=COVERED[0] <= covers <= COVERED[1],
        note=f"{policy}, {n:,}: told in {float(told.mean()):.2f} of streams; least in a scenario {least[0]:.3f} ({least[1]}); "
        + (f"widest where the normal one covers {worst[0]:.2f} ({worst[1]})." if worst else "the normal one covers in no scenario."),
    )  # fmt: skip


def _width(held: Held, *, told: Floats | None = None) -> float:
    """In the mean; `told`: of those streams alone in which this is finite."""
    width = held.high - held.low
    return float((width if told is None else width[np.isfinite(told)]).mean())


def _plot(found: dict[str, Found]) -> Plot:
    curves = {}
    for policy in POLICIES:
        for which in (NOW, BEFORE):
            held = [together([h for one in found.values() for h in one[policy, which, n]]) for n in CHECKPOINTS]
            shares = [
                float(one.inside[np.isfinite(one.low)].mean()) if np.isfinite(one.low).any() else 1.0 for one in held
            ]
            curves[f"{policy}, {which}"] = (list(CHECKPOINTS), shares)
    return Plot(
        "intervals",
        "How often a 95 % interval holds the truth, by the log of mixed",
        "events",
        "of streams told",
        curves,
        x_scale="log",
    )
