"""Writes what was measured to a JSON file in docs, and shows it on the page beside it and in docs/plots.

The page is made from the JSON alone: a benchmark that was not run this time keeps its rows, with their date and commit.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.result import Plot, Result

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SEED = 0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of docs, with the JSON file that it is made from."""

    name: str
    """Of both files, without their endings."""
    head: str
    """Its title and first words; {machine} stands for the one measured on."""
    titles: Mapping[str, str]
    """Of its benchmarks by name, in the order of the page."""


def write(results: Mapping[str, Result], page: Page, *, docs: Path = DOCS) -> None:
    """Put these benchmarks' rows in the place of their older ones, and draw their plots."""
    file = docs / f"{page.name}.json"
    titles = page.titles
    known: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    kept = [row for row in known if row.get("bench") in titles and row["bench"] not in results]
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "seed": SEED,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    found = [{"bench": name, **asdict(row), **head} for name, result in results.items() for row in result.rows]
    order = list(titles)
    rows = sorted([*kept, *found], key=lambda row: order.index(row["bench"]))
    file.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    for name, result in results.items():
        for plot in result.plots:
            draw(plot, docs / "plots")
        for beside, lines in result.beside.items():
            put(docs / f"{beside}.md", name, [f"{head['date']}, commit {head['commit']}:", "", *lines])
    (docs / f"{page.name}.md").write_text(text(rows, page, plots=docs / "plots"))


def put(page: Path, name: str, lines: Sequence[str]) -> None:
    """Write these between a benchmark's marks on a page that is somebody's own. Raises ValueError where it has none."""
    first, last = f"<!-- {name}: written by `make bench` -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = (text := page.read_text()).partition(first)
    _, found, after = rest.partition(last)
    if not found:
        raise ValueError(f"{page} lacks {first.strip()} and {last.strip()}")
    page.write_text(text[: len(before)] + first + "\n" + "\n".join(lines) + "\n\n" + last + after)


def text(rows: Sequence[Mapping[str, Any]], page: Page, *, plots: Path) -> str:
    """The page in Markdown. A plot belongs to the benchmark that its name begins with."""
    lines = [page.head.format(machine=rows[-1]["machine"] if rows else "none yet")]
    for name, title in page.titles.items():
        mine = [row for row in rows if row["bench"] == name]
        if not mine:
            continue
        lines += [f"## {title}", "", f"{mine[0]['date']}, commit {mine[0]['commit']}", ""]
        lines += ["| what | oO | peer | ratio | goal | met |", "|---|---|---|---|---|---|"]
        for row in mine:
            met = "" if row["met"] is None else ("yes" if row["met"] else "**no**")
            value = f"{row['value']:g} {row['unit']}"
            peer = f"{row['peer']:g} {row['unit']} ({row['peer_name']})"
            lines.append(f"| {row['what']} | {value} | {peer} | {row['ratio']:g} | {row['goal']} | {met} |")
        lines.append("")
        for note in dict.fromkeys(row["note"] for row in mine if row["note"]):
            lines += [note, ""]
        for file in sorted(plots.glob(f"{name}*.svg")):
            lines += [f"![{title}](plots/{file.name})", ""]
    return "\n".join(lines).rstrip() + "\n"


def draw(plot: Plot, folder: Path) -> None:
    """One file; its bytes depend on the numbers alone."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "oo", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.0), layout="constrained")
    for name, (x, y) in plot.curves.items():
        axes.plot(x, y, label=name, linewidth=1.8, marker="o" if len(x) < 12 else None, markersize=4)
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y, xscale=plot.x_scale, yscale=plot.y_scale)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
