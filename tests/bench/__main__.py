"""`make bench`: every benchmark, each beside its peer in the same run; prints, and writes docs/performance.{md,json}.

    make bench                                all of them
    make bench ARGS="freshness edge"          some
    make bench ARGS="--quick --no-write"      a tenth of the work, to see that they run

Each starts what it needs in a temporary folder and ends it. A new benchmark is one file here and one line in BENCHES.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import edge, freshness, page, pipeline, recovery, refolding, scale_out, size, throughput
from tests.bench.result import Bench, Result

BENCHES = {
    "freshness": ("Freshness: from a signal to its tip", freshness.measure),
    "throughput": ("Throughput: one fold on three engines", throughput.measure),
    "pipeline": ("The whole pipeline per core", pipeline.measure),
    "scale_out": ("Scale out: more workers, and workers that come and go", scale_out.measure),
    "replay": ("Replay: the journal folded again", refolding.measure),
    "recovery": ("Recovery: rows rebuilt from their changelog", recovery.measure),
    "edge": ("The edge: GET /v1/tip on one core", edge.measure),
    "size": ("Size: memory, disk and cost as people become many", size.measure),
}
TITLES = {name: title for name, (title, _) in BENCHES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all where none is named")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; writes nothing")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"no benchmark {unknown[0]}: there are {', '.join(BENCHES)}")
    console = Console(highlight=False)
    for name in options.names or BENCHES:
        title, measure = BENCHES[name]
        began_s = time.monotonic()
        console.rule(title)
        with tempfile.TemporaryDirectory(prefix="oo-bench-") as folder:
            result = measure(Bench(Path(folder), quick=options.quick, say=console.print))
        show(result, console)
        console.print(f"{name} took {time.monotonic() - began_s:.0f} s")
        if not (options.no_write or options.quick):
            # Each as it ends: a later one that fails takes nothing away.
            page.write({name: result}, TITLES)


def show(result: Result, console: Console) -> None:
    table = Table("what", "oO", "peer", "ratio", "goal", "met")
    for row in result.rows:
        met = "" if row.met is None else ("yes" if row.met else "no")
        value, peer = f"{row.value:g} {row.unit}", f"{row.peer:g} {row.unit} ({row.peer_name})"
        table.add_row(row.what, value, peer, f"{row.ratio:g}", row.goal, met)
    console.print(table)


if __name__ == "__main__":
    main()
