"""docs/privacy.md says of each purpose what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from oo.v1 import decision_pb2
from tables.purposes import PURPOSES, Purpose

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")


def rests(one: Purpose) -> str:
    """What rests on a purpose, as the page lists it."""
    kinds = [f"{decision_pb2.Decision.TipKind.Name(kind).lower()} tips" for kind in one.kinds]
    labels = [name for name in one.features if name.startswith("label_")]
    features = [f"`{name}`" for name in one.features if name not in labels] + (["`label_*`"] if labels else [])
    found = [*kinds]
    if features:
        found.append("features " + ", ".join(features))
    if one.starters:
        found.append("starter tips " + ", ".join(f"`{name}`" for name in one.starters))
    if one.why:
        found.append("lines " + ", ".join(f"“{line} …”" for line in one.why))
    if one.rails:
        found.append("rails " + ", ".join(f"`{name}`" for name in one.rails))
    found += [f"`oo.{name}`" for name in (*one.requests, *one.deliveries, *one.shared)]
    return "; ".join(found)


def test_the_page_has_the_table_of_purposes() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (granted|not granted) \| (.+) \| (.+) \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE
    )
    assert rows == [
        (one.name, "granted" if one.default else "not granted", one.text, one.basis, rests(one), one.again)
        for one in PURPOSES
    ]
