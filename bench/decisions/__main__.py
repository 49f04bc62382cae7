"""`make bench-decisions`: oO's policies beside the field's best; prints, and writes docs/decisions.{md,json}.

    make bench-decisions                                all of it
    make bench-decisions ARGS="supervised speed"        some
    make bench-decisions ARGS="--quick --no-write"      a tenth of the work, to see that they run

It starts no servers. A new benchmark is one file here and one line in BENCHES.
"""

from __future__ import annotations

from bench import bench_command
from bench.decisions import (
    found_out,
    honesty,
    intervals,
    models,
    open_bandit,
    prompts,
    silence,
    speed,
    supervised,
    tips,
    turns,
)

BENCHES = {
    "supervised": ("Public sets: supervised sets as bandits", supervised.measure),
    "tips": ("Simulated tips: eight scenarios, peers tuned in each", tips.measure),
    "turns": ("Simulated tips: when the world turns", turns.measure),
    "silence": ("Simulated tips: what silence should teach", silence.measure),
    "prompts": ("Simulated tips that language models write: who writes, and which is chosen", prompts.measure),
    "models": ("Simulated tips: whether hearing a trained model pays", models.measure),
    "found_out": ("Simulated tips: whether the gate finds out that hearing a trained model pays", found_out.measure),
    "open_bandit": ("Real logs: the Open Bandit Dataset", open_bandit.measure),
    "honesty": ("Honesty: estimates and the gate, where the truth is known", honesty.measure),
    "intervals": (
        "Intervals: a few hundred decisions of the default policy, whose weights are heavy",
        intervals.measure,
    ),
    "speed": ("Speed: features, decide, learn", speed.measure),
}
HEAD = """# Decisions

Written by `make bench-decisions`; every number came from one run of it, whose date and commit stand beside it. oO's
policies and their peers see the same numbers in the same order; the seeds are fixed, so that a second run finds the same
but for the times, which are those of {machine}.
"""


if __name__ == "__main__":
    bench_command.run(BENCHES, prog="make bench-decisions", description=__doc__, name="decisions", head=HEAD)
