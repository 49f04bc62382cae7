"""Whether what evaluation says is true: coverage, false promotions, and what a real difference costs, on known truth.

It starts no server and reads no file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from estimators.bandits import cs, gaussian, ips, snips

from agents.evaluation import gate, model, sequence
from agents.evaluation.event import Event, Range, at
from bench.decisions import honesty_coverage as coverage
from bench.decisions import honesty_watch as watch
from bench.decisions.logged import REWARDS, Worlds, near_truth, rounds, softmax, worlds
from bench.result import Bench, Plot, Result, Row, compared

SEED = 19
CHECKPOINTS = (50, 100, 200, 500, 1000, 2000)


def measure(bench: Bench) -> Result:
    """All of it; minutes. With `bench.quick` a tenth of the streams."""
    less = 10 if bench.quick else 1
    those = worlds(np.random.default_rng([SEED, 0]))

    bench.say("coverage")
    held = coverage.covered(those, np.random.default_rng([SEED, 1]), streams=2000 // less, checkpoints=CHECKPOINTS)
    gap = max(coverage.on_policy_gap(those, np.random.default_rng([SEED, 2]), streams=200 // less, n=500))
    bench.say("widths beside vw-estimators")
    widths = against_vw(those, np.random.default_rng([SEED, 3]), streams=100 // less, n=2000)
    bench.say("equal policies, watched")
    equal = watch.watched(
        those, np.random.default_rng([SEED, 4]), lift=0.0, streams=1000 // less, n=20_000, say=bench.say
    )
    bench.say("a challenger that earns 10 % more, watched")
    better = watch.watched(
        those, np.random.default_rng([SEED, 5]), lift=0.1, streams=1000 // less, n=20_000, say=bench.say
    )
    bench.say("cost")
    ours_us, theirs_us = costs_us(events=2000 // less)

    rows = [
        *coverage_rows(held, streams=2000 // less),
        compared(
            "width_vw",
            "confidence sequence of one policy, 2,000 events: mean width, IPS scores",
            widths[0],
            "reward",
            peer=widths[2],
            peer_name="vw-estimators 0.2.2, same events",
            at_most=1.0,
        ),
        compared(
            "width_dr",
            "the same with the reward model (doubly robust)",
            widths[1],
            "reward",
            peer=widths[2],
            peer_name="vw-estimators 0.2.2, same events",
            at_most=1.0,
        ),
        *watch_rows(equal, better),
        Row(
            "on_policy",
            "a policy's IPS and SNIPS estimate from its own log: greatest distance from the mean reward",
            gap,
            "reward",
            1e-12,
            "rounding",
            gap / 1e-12,
            "<= 1e-12",
            gap <= 1e-12,
        ),
        compared(
            "cost",
            "one event into the gate (K 20, d 34, one challenger), its model and decision included",
            ours_us,
            "µs",
            peer=theirs_us,
            peer_name="vw-estimators: IPS, SNIPS, two intervals, both policies",
        ),
    ]
    return Result(rows, plots(held, equal, better))


def coverage_rows(held: coverage.Coverage, *, streams: int) -> list[Row]:
    last = {name: shares[-1] for name, shares in held.inside.items()}
    dr, always = last[coverage.DR], held.left[coverage.ALWAYS]
    rejected = ", ".join(f"{name} {last[name]:.3f}" for name in (coverage.CLIPPED, coverage.WRONG, coverage.IN_SAMPLE))
    return [
        Row(
            "coverage",
            f"95 % interval of past-fit DR holds the truth, 2,000 events, {streams:,} streams",
            round(dr, 4),
            "of streams",
            round(last[coverage.IPS], 4),
            coverage.IPS,
            round(dr / last[coverage.IPS], 3),
            ".93 to .975",
            0.93 <= dr <= 0.975,
            f"SNIPS {last[coverage.SNIPS]:.3f}. What looks precise and is wrong: {rejected}. Mean widths: DR"
            f" {held.width[coverage.DR][-1]:.4f}, SNIPS {held.width[coverage.SNIPS][-1]:.4f}, IPS {held.width[coverage.IPS][-1]:.4f};"
            f" effective sample {held.effective_n:.0f} of {held.n[-1]:,}.",
        ),
        Row(
            "coverage_always",
            f"the truth outside at any of the looks up to 2,000 events, {streams:,} streams",
            round(always, 4),
            "of streams",
            round(held.left[coverage.DR], 4),
            "95 % DR interval",
            round(always / held.left[coverage.DR], 4),
            "<= .05",
            always <= 0.05,
            f"Mean width of the sequence at the end {held.width[coverage.ALWAYS][-1]:.3f}.",
        ),
        Row(
            "wrong_propensities",
            "wrong logged propensities found within 2,000 events",
            round(held.alarms["wrong"], 4),
            "of streams",
            1.0,
            "all of them",
            round(held.alarms["wrong"], 4),
            ">= .99, and <= .001 on right ones",
            held.alarms["wrong"] >= 0.99 and held.alarms["right"] <= 0.001,
            f"Planted: the log says half uniform where it was not. Mean weight {held.mean_weight['wrong']:.3f}"
            f" (right: {held.mean_weight['right']:.3f}). Alarms on right propensities: {held.alarms['right']:.4f}.",
        ),
    ]


def watch_rows(equal: watch.Watched, better: watch.Watched) -> list[Row]:
    false, naive = equal.promoted(watch.GATE), equal.promoted(watch.NAIVE)
    streams = len(equal.first[watch.GATE])
    needed = better.events(watch.GATE, 0.8)
    return [
        Row(
            "false_promotions",
            f"promotions of an equal policy, {streams:,} streams watched over {equal.n:,} events",
            round(false, 4),
            "of streams",
            round(naive, 4),
            watch.NAIVE,
            round(false / naive, 4),
            "<= .05",
            false <= 0.05,
        ),
        compared(
            "plus_ten",
            "events until 80 % of streams promote a policy that earns 10 % more",
            needed,
            "events",
            peer=better.one_look,
            peer_name="one look, its time fixed in advance (5 %, power 80 %)",
            note=f"Half of the streams after {better.events(watch.GATE, 0.5):.0f} events, 95 % after"
            f" {better.events(watch.GATE, 0.95):.0f}. Watching instead of waiting costs the ratio.",
        ),
        compared(
            "plus_ten_plug_in",
            f"the same, beside the closed-form sequence of the paper ({better.n:,} where it did not get there)",
            needed,
            "events",
            peer=better.events(watch.PLUG_IN, 0.8),
            peer_name=watch.PLUG_IN,
            at_most=1.0,
        ),
    ]


def plots(held: coverage.Coverage, equal: watch.Watched, better: watch.Watched) -> Sequence[Plot]:
    events = [int(one) for one in np.geomspace(30, equal.n, 40)]
    by = "of streams"
    return (
        Plot(
            "honesty-coverage",
            "How often a 95 % interval holds the truth",
            "events",
            by,
            {name: (held.n, shares) for name, shares in held.inside.items()},
            x_scale="log",
        ),
        Plot(
            "honesty-false",
            "Promotions of an equal policy",
            "events watched",
            by,
            {
                name: (events, [equal.promoted(name, by=one) for one in events])
                for name in (watch.GATE, watch.NAIVE, watch.PLUG_IN)
            },
            x_scale="log",
        ),
        Plot(
            "honesty-found",
            "Promotions of a policy that earns 10 % more",
            "events watched",
            by,
            {name: (events, [better.promoted(name, by=one) for one in events]) for name in (watch.GATE, watch.PLUG_IN)},
            x_scale="log",
        ),
    )


def against_vw(those: Worlds, rng: np.random.Generator, *, streams: int, n: int) -> tuple[float, float, float]:
    """Mean widths of 95 % confidence sequences on the same events: ours on IPS scores, ours with the model, theirs."""
    target = near_truth(those, rng, noise=0.1, sharpness=10)
    plain = sequence.empty("mean", rewards=REWARDS, reach=0.0, shape=(streams,))
    robust = sequence.empty("mean", rewards=REWARDS, shape=(streams,))
    theirs = [cs.Interval(rmin=REWARDS.low, rmax=REWARDS.high) for _ in range(streams)]
    for now in rounds(those, rng, streams=streams, n=n):
        pmf, event = now.of(target), now.event
        plain, robust = sequence.add(plain, event, pmf), sequence.add(robust, event, pmf)
        logged, wanted = at(event.logging, event.action), at(pmf, event.action)
        for i, one in enumerate(theirs):
            one.add_example(p_log=float(logged[i]), r=float(event.reward[i]), p_pred=float(wanted[i]))
    ours = [float((high - low).mean()) for low, high in (sequence.interval(s, alpha=0.05) for s in (plain, robust))]
    ends = np.array([one.get(alpha=0.05) for one in theirs], dtype=float)
    return ours[0], ours[1], float((ends[:, 1] - ends[:, 0]).mean())


def costs_us(*, events: int, k: int = 20, d: int = 34) -> tuple[float, float]:
    """Processor time of one event of one stream: ours, and the library's estimators for two policies."""
    rng = np.random.default_rng([SEED, 6])
    x = rng.standard_normal((events, k, d)) / np.sqrt(d)
    logging, other = softmax(rng.standard_normal((events, k))), softmax(rng.standard_normal((events, k)))
    actions = np.array([rng.choice(k, p=one / one.sum()) for one in logging])
    rewards = rng.random(events)

    def ours() -> None:
        predictor = model.empty(d)
        state = gate.joined(gate.opened("a", rule=gate.Rule(Range(0.0, 1.0))), "b")
        for i in range(events):
            event = Event(logging[i], actions[i], np.asarray(rewards[i]), model.predict(predictor, x[i]))
            state, _ = gate.watch(state, event, {"a": logging[i], "b": other[i]})
            predictor = model.learn(predictor, x[i, actions[i]], np.asarray(rewards[i]))

    def theirs() -> None:
        makers: tuple[Callable[[], object], ...] = (ips.Estimator, snips.Estimator, gaussian.Interval, cs.Interval)
        state = [(pmf, make()) for pmf in (logging, other) for make in makers]
        for i in range(events):
            a = actions[i]
            for pmf, one in state:
                one.add_example(p_log=logging[i, a], r=rewards[i], p_pred=pmf[i, a])

    return _spent_us(ours) / events, _spent_us(theirs) / events


def _spent_us(act: Callable[[], None]) -> float:
    began_ns = time.process_time_ns()
    act()
    return (time.process_time_ns() - began_ns) / 1000
