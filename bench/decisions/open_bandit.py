"""Real logs: what one policy's log says of the other, whose own log knows; and a policy learned from a log's first half.

Positions are handled as the dataset's own documentation does: a row is one item at one of three places, its propensity
that of the item at this place, and a policy's probabilities are asked for that place. It never shows anything to anyone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agents.bandit.learner import Floats, Learner
from agents.evaluation import estimates
from agents.evaluation.estimates import Z_95, Estimate
from agents.policies.vw import dense
from bench.decisions import logs
from bench.decisions.estimates import estimated
from bench.decisions.logs import CAMPAIGNS, POLICIES, POSITIONS, Log
from bench.decisions.ours import LOGGED, Make, Setting
from bench.decisions.vw import Vw
from bench.result import Bench, Result, Row, slug

START_MS = 1_574_553_600_000
"""24 November 2019, when the logs begin; a row a minute, about as they came."""
ROW_MS = 60_480
NAMED = {"random": "uniform", "bts": "Bernoulli TS"}
VW_NAME = "VW greedy, mtr"


def measure(bench: Bench) -> Result:
    """Six estimates whose truth is known, then six policies learned from half a log."""
    file = logs.wheel()
    rows: list[Row] = []
    learners: dict[str, Make] = {**LOGGED, VW_NAME: lambda setting: Vw("--epsilon 0", seed=setting.seed, lines=dense)}
    gains: dict[tuple[str, str], list[Gain]] = {}
    for campaign in CAMPAIGNS[1:2] if bench.quick else CAMPAIGNS:
        both = {policy: logs.read(file, campaign=campaign, policy=policy) for policy in POLICIES}
        rows += known_truths(campaign, both)
        for policy, log in both.items():
            for name, make in learners.items():
                gain = learned(log, make, rows_max=1_000 if bench.quick else len(log))
                bench.say(f"{campaign}, log of {NAMED[policy]}: {name}: {gain.said()}")
                gains.setdefault((name, policy), []).append(gain)
                if name != VW_NAME:
                    rows.append(
                        _gain_row(f"open-bandit-learned-{slug(name)}-{campaign}-{policy}", campaign, policy, name, gain)
                    )
    for (name, policy), found in gains.items():
        goal = name == next(iter(LOGGED))
        rows.append(
            _gain_row(
                f"open-bandit-learned-{slug(name)}-{policy}",
                "mean of the campaigns",
                policy,
                name,
                pooled(found),
                goal=goal,
            )
        )
    return Result(rows)


def known_truths(campaign: str, both: dict[str, Log]) -> Iterator[Row]:
    """Each policy's value from the other's log, beside what its own log says."""
    for target, log_of in (("random", "bts"), ("bts", "random")):
        log, own = both[log_of], both[target]
        probability = shares(own) if target == "bts" else np.full((log.items, POSITIONS), 1.0 / log.items)
        of_rows = probability[:, log.position].T
        sums, _ = estimated(of_rows, action=log.action, propensity=log.propensity, reward=log.reward)
        found, truth = estimates.dr(sums), float(own.reward.mean())
        others = {"IPS": estimates.ips(sums), "SNIPS": estimates.snips(sums)}
        yield Row(
            f"open-bandit-{campaign}-{target}-dr",
            f"{campaign}: {NAMED[target]} from the log of {NAMED[log_of]}, past-fit DR {_interval(found)}; "
            + "; ".join(f"{name} {_interval(one)}" for name, one in others.items())
            + f"; mean weight {estimates.mean_weight(sums):.2f}, effective sample {estimates.effective_n(sums):,.0f}",
            _permille(found.value),
            "clicks per 1,000",
            _permille(truth),
            "its own log",
            round(float(found.value) / truth, 3),
            "interval covers",
            bool(found.low <= truth <= found.high),
            NOTE,
        )


def shares(log: Log) -> Floats:
    """How often the log's policy showed each item at each place: (items, positions)."""
    counts = np.zeros((log.items, POSITIONS))
    np.add.at(counts, (log.action, log.position), 1.0)
    return counts / counts.sum(axis=0)


@dataclass(frozen=True, slots=True)
class Gain:
    """A learned policy's value on the second half, what was logged there, and their difference, paired by row."""

    value: float
    logged: float
    mean: float
    """Of the differences."""
    se: float
    weight_mean: float
    """Off 1 where the propensities are wrong."""
    effective: float
    """As many rows would say as much if they came from the policy itself."""

    def said(self) -> str:
        low, high = self.mean - Z_95 * self.se, self.mean + Z_95 * self.se
        return f"difference {_permille(self.mean):+g} [{_permille(low):+g}, {_permille(high):+g}]"


def learned(log: Log, make: Make, *, rows_max: int) -> Gain:
    """Learns from the first half in the order of time, then is asked, learning no more, about every row of the second."""
    half = rows_max // 2
    learner = make(Setting(actions=log.items, d=log.item_features.shape[1], seed=0))
    for row in range(half):
        learner.learn(
            log.user[row],
            log.slate(row),
            action=int(log.action[row]),
            reward=float(log.reward[row]),
            propensity=float(log.propensity[row]),
            time_ms=START_MS + row * ROW_MS,
        )
    second = slice(half, rows_max)
    target = np.array([_asked(learner, log, row) for row in range(half, rows_max)])
    reward = log.reward[second]
    sums, each = estimated(target, action=log.action[second], propensity=log.propensity[second], reward=reward)
    difference = each - reward
    return Gain(
        value=float(estimates.dr(sums).value),
        logged=float(reward.mean()),
        mean=float(difference.mean()),
        se=float(difference.std(ddof=1) / np.sqrt(len(difference))),
        weight_mean=float(estimates.mean_weight(sums)),
        effective=float(estimates.effective_n(sums)),
    )


def _asked(learner: Learner, log: Log, row: int) -> Floats:
    return learner.pmf(log.user[row], log.slate(row), silent=None, time_ms=START_MS + row * ROW_MS, key=row + 1)


def pooled(gains: list[Gain]) -> Gain:
    """The mean of independent ones."""
    n = len(gains)
    return Gain(
        value=sum(one.value for one in gains) / n,
        logged=sum(one.logged for one in gains) / n,
        mean=sum(one.mean for one in gains) / n,
        se=float(np.sqrt(sum(one.se**2 for one in gains))) / n,
        weight_mean=sum(one.weight_mean for one in gains) / n,
        effective=sum(one.effective for one in gains),
    )


def _gain_row(row_id: str, campaign: str, policy: str, name: str, gain: Gain, *, goal: bool = False) -> Row:
    return Row(
        row_id,
        f"{campaign}: {name} learned from the first half of the log of {NAMED[policy]}, by DR on the second: {gain.said()}; "
        f"mean weight {gain.weight_mean:.2f}, effective sample {gain.effective:,.0f}",
        _permille(gain.value),
        "clicks per 1,000",
        _permille(gain.logged),
        f"{NAMED[policy]}, as logged",
        round(gain.value / gain.logged, 3),
        "interval above 0" if goal else "",
        gain.mean - Z_95 * gain.se > 0 if goal else None,
    )


def _interval(found: Estimate) -> str:
    return f"{_permille(found.value):g} [{_permille(found.low):g}, {_permille(found.high):g}]"


def _permille(value: float | Floats) -> float:
    return round(1_000 * float(value), 2)


NOTE = (
    "The small Open Bandit Dataset (Saito et al. 2021), 10,000 rows per campaign and policy, 38 to 69 of them clicks: the "
    "truths themselves are known to about ±1.3 to ±1.6 clicks per 1,000 (95 %). In brackets 95 % intervals. Bernoulli TS "
    "looks at no context; its probabilities are the shares of its own log by place, without its clicks (those that follow from the "
    "prior which the dataset's package has for it correlate with the propensities that were logged by -.01 to .18 for all and women, "
    "by .77 to .80 for men). What learns from a log was settled on the logs of men. DR's reward model: "
    "an item's rate in the rows before, drawn towards that of all."
)
