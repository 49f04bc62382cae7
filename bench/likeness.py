"""How often near-duplicates are told from near-misses, at each cosine: likeness alone, and equal numbers and names first.

`python -m bench.likeness` prints the table of docs/generated-tips.md and draws its plot. The pairs are our own (tests/data/likeness.tsv):
a title, one that asks for the same, one that does not and shares its words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agents.generation.likeness import SAME_PERMILLE, may_be_same
from bench.page import DOCS, ROOT, draw
from bench.result import Plot
from connectors.embedder import MiniLm
from deploy.stack import fetch

PAIRS = ROOT / "tests" / "data" / "likeness.tsv"
THRESHOLDS = range(400, 1000, 25)
SHOWN = (500, 600, 700, SAME_PERMILLE, 800, 850)


class Pair(NamedTuple):
    """Two titles, and what stands in the file about them."""

    language: str
    same: bool
    titles: tuple[str, str]
    permille: int


def pairs(embedder: MiniLm, path: Path = PAIRS) -> list[Pair]:
    """Return all of the file's, two of each line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        language, title, *others = line.split("\t")
        permilles = embedder.permilles(title, others)
        found += [
            Pair(language, same, (title, other), permille)
            for same, other, permille in zip((True, False), others, permilles, strict=True)
        ]
    return found


def precision_recall(of: list[Pair], counts: Callable[[Pair], bool]) -> tuple[float, float]:
    """Return the share of what counts as the same that is, and of what is the same that counts; 1 and 0 where nothing counts."""
    hits = sum(one.same for one in of if counts(one))
    counted = sum(map(counts, of))
    return (hits / counted if counted else 1.0), hits / sum(one.same for one in of)


def main() -> None:
    """Print the table and draw the plot."""
    embedder = MiniLm.of(fetch.fetch_embedder(fetch.default_cache(), on_bytes=lambda *_: None))
    every = pairs(embedder)
    ways: dict[str, Callable[[Pair], bool]] = {
        "cosine alone": lambda _: True,
        "numbers and names first": lambda one: may_be_same(*one.titles),
    }
    print("| pairs | way | " + " | ".join(f"{n / 1000:.2f}" for n in SHOWN) + " |")
    print("|---|---|" + "---|" * len(SHOWN))
    curves = {}
    for language in ("all", "en", "de", "es"):
        of = [one for one in every if language in ("all", one.language)]
        for name, may in ways.items():
            found = {
                at: precision_recall(of, lambda one, at=at, may=may: one.permille >= at and may(one))  # type: ignore[misc]
                for at in sorted({*THRESHOLDS, *SHOWN})
            }
            print(
                f"| {language} ({len(of)}) | {name} | "
                + " | ".join(f"{found[n][0]:.2f} / {found[n][1]:.2f}" for n in SHOWN)
                + " |"
            )
            if language == "all":
                curves[f"{name}: precision"] = ([n / 1000 for n in THRESHOLDS], [found[n][0] for n in THRESHOLDS])
                curves[f"{name}: recall"] = ([n / 1000 for n in THRESHOLDS], [found[n][1] for n in THRESHOLDS])
    draw(
        Plot("likeness", "Near-duplicates and near-misses", "cosine from which on it is the same", "share", curves),
        DOCS / "plots",
    )


if __name__ == "__main__":
    main()
