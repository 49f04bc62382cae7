"""`make bench`: every benchmark, each beside its peer in the same run; prints, and writes docs/performance.{md,json}.

    make bench                                all of them
    make bench ARGS="freshness edge"          some
    make bench ARGS="load --long"             two minutes a rate, and one rate more
    make bench ARGS="--quick --no-write"      a tenth of the work, to see that they run
    make bench ARGS=step-cost AGAINST=COMMIT  beside the build of another commit than the usual one (bench/builds.py)

Each starts what it needs in a temporary folder and ends it. A new benchmark is one file here and one line in BENCHES.
"""

from __future__ import annotations

from bench import (
    bench_command,
    console,
    edge,
    freshness,
    hot_path,
    leaving,
    load,
    memory,
    model,
    pipeline,
    producing,
    recovery,
    refolding,
    row_bytes,
    scale_out,
    scorer,
    scores,
    size,
    step_cost,
    throughput,
    tracing,
)

BENCHES = {
    "step_cost": ("One step: what a decision costs", step_cost.measure),
    "freshness": ("Freshness: from a signal to its tip", freshness.measure),
    "hot_path": ("The hot path beside the build before", hot_path.measure),
    "load": ("Load: what every group keeps up with, and who spends the processor", load.measure),
    "throughput": ("Throughput: one fold on three engines", throughput.measure),
    "pipeline": ("The whole pipeline per core", pipeline.measure),
    "producing": ("Producing: a round of records, and what the broker pays for it", producing.measure),
    "traces": ("Traces: what they cost", tracing.measure),
    "bytes": ("Bytes: of rows and decisions", row_bytes.measure),
    "memory": ("Memory: a whole stack in use", memory.measure),
    "scale_out": ("Scale out: more workers, and workers that come and go", scale_out.measure),
    "replay": ("Replay: the journal folded again", refolding.measure),
    "leaving": ("Leaving: how soon nothing of somebody is left", leaving.measure),
    "recovery": ("Recovery: rows rebuilt from their changelog", recovery.measure),
    "console": ("The console: each question as people become many", console.measure),
    "model": ("A language model that fails: tips meanwhile", model.measure),
    "edge": ("The edge: GET /v1/tip on one core", edge.measure),
    "scorer": ("The scorer: trained models over HTTP on one core", scorer.measure),
    "scores": ("Hearing a trained model: what it costs at load, and a scorer that hangs", scores.measure),
    "size": ("Size: memory, disk and cost as people become many", size.measure),
}
HEAD = """# Performance

Written by `make bench`; every number came from one run of it, whose date and commit stand beside it. Read the ratios:
both sides ran in the same run, in turns where time matters. The times alone say as much about the machine as about the
program: {machine}.
"""


if __name__ == "__main__":
    bench_command.run(BENCHES, prog="make bench", description=__doc__, name="performance", head=HEAD)
