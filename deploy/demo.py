"""The demo user's tasks and events: the bundled samples, moved to today, in the state folder, where they can be edited and watched.

The samples are valid files written for one day, SAMPLE_DAY; every date in them moves by the days between it and today.
It never overwrites a file that is already there.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"
SAMPLE_DAY = date(2026, 1, 5)
_DATE = re.compile(r"\b(20[0-9]{2})(-?)([01][0-9])\2([0-3][0-9])(?=\b|T[0-9]{6})")


def lay_out(folder: Path, *, today: date) -> list[Path]:
    """Writes the samples for `today` into the folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in sorted(path for path in SAMPLES.iterdir() if path.suffix in (".ics", ".txt")):
        path = folder / sample.name
        if not path.exists():
            path.write_bytes(moved(sample.read_bytes().decode(), days=(today - SAMPLE_DAY).days).encode())
        paths.append(path)
    return paths


def moved(text: str, *, days: int) -> str:
    """The text with every date moved, in both of the forms that the samples use.

    >>> moved('due:2026-01-31 DTSTART:20260131T093000', days=1)
    'due:2026-02-01 DTSTART:20260201T093000'
    """

    def move(match: re.Match[str]) -> str:
        year, dash, month, day = match.groups()
        there = date(int(year), int(month), int(day)) + timedelta(days=days)
        return there.strftime(f"%Y{dash}%m{dash}%d")

    return _DATE.sub(move, text)
