"""The page of cases counts to 26, and each names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_case_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "cases.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| .+ \| \d+ \| ", line)]
    assert sum(int(line.split(" | ")[1]) for line in rows) == 26
    for line in rows:
        named = re.findall(r"`(tests/[^`]+)::(test_[^`]+)`", line)
        assert named, line
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), (path, test)
