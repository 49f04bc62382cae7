"""docs/features.md says what agents/features.py says."""

from __future__ import annotations

from pathlib import Path

from agents.features import FEATURES, VERSION, Q

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_page_of_features_is_the_table_of_features() -> None:
    text = PAGE.read_text()
    table = text[text.index("|---|") : text.index("<!-- end of table -->")].splitlines()[1:]
    assert table == [
        f"| `{one.name}` | {'yes' if place < Q else ''} | {one.meaning} |" for place, one in enumerate(FEATURES)
    ]
    assert f"A vector of {len(FEATURES)} whole numbers" in text
    assert f"Version {VERSION};" in text
