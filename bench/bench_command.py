"""The command line of a family of benchmarks: runs those that are named, prints, and writes their page.

It measures nothing itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import page
from bench.builds import AGAINST
from bench.result import Bench, Result

Benches = Mapping[str, tuple[str, Callable[[Bench], Result]]]
"""By name: the title, and what measures it."""


def run(benches: Benches, *, prog: str, description: str | None, name: str, head: str) -> None:
    """What the command line asks for; `name` and `head` are the page's. Exits with 2 if it asks for what is not there."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all where none is named")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; writes nothing")
    parser.add_argument("--long", action="store_true", help="more of it, where a benchmark has more to show")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PEER", help="these peers alone (tips, turns); writes nothing"
    )
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--against", metavar="COMMIT", default=AGAINST, help=f"the build to measure beside: {AGAINST}")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to watch what is watched over time")
    options = parser.parse_args()
    options.names = [one.replace("-", "_") if one not in benches else one for one in options.names]
    if unknown := [one for one in options.names if one not in benches]:
        parser.error(f"no benchmark {unknown[0]}: there are {', '.join(benches)}")
    console = Console(highlight=False)
    failed = []
    written = page.Page(name, head, {one: title for one, (title, _) in benches.items()})
    for one in options.names or benches:
        title, measure = benches[one]
        began_s = time.monotonic()
        console.rule(title)
        with tempfile.TemporaryDirectory(prefix="oo-bench-") as folder:
            bench = Bench(
                Path(folder),
                against=options.against,
                quick=options.quick,
                minutes=options.minutes,
                long=options.long,
                only=options.only,
                say=console.print,
                track=lambda steps, what, total: track(steps, what, total, console=console, transient=True),
            )
            result = measure(bench)
        show(result, console)
        console.print(f"{one} took {time.monotonic() - began_s:.0f} s")
        if not (options.no_write or options.quick or options.only):
            # Each as it ends: a later one that fails takes nothing away.
            page.write({one: result}, written)
        if result.failed:
            failed.append(f"{one}: {result.failed}")
    if failed:
        raise SystemExit("\n".join(failed))


def show(result: Result, console: Console) -> None:
    table = Table("what", "oO", "peer", "ratio", "goal", "met")
    for row in result.rows:
        met = "" if row.met is None else ("yes" if row.met else "no")
        value, peer = f"{row.value:g} {row.unit}", f"{row.peer:g} {row.unit} ({row.peer_name})"
        table.add_row(row.what, value, peer, f"{row.ratio:g}", row.goal, met)
    console.print(table)
