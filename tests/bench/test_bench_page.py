from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.page import Page, put, write
from bench.result import Plot, Result, compared

PAGE = Page("decisions", "# Decisions\n\nOn {machine}.\n", {"sets": "Public sets", "speed": "Speed"})


def found(value: float) -> Result:
    row = compared("a", "a race", value, "/s", peer=2.0, peer_name="them", at_least=3.0, note="Said once.")
    return Result([row], [Plot("sets-curve", "A curve", "x", "y", {"ours": ([1.0, 2.0], [1.0, 2.0])})])


def test_rows_go_to_the_pages_own_files_and_keep_what_was_not_run(tmp_path: Path) -> None:
    write({"speed": found(9.0)}, PAGE, docs=tmp_path)
    write({"sets": found(4.0)}, PAGE, docs=tmp_path)
    write({"sets": found(6.0)}, PAGE, docs=tmp_path)
    rows = json.loads((tmp_path / "decisions.json").read_text())
    assert [(row["bench"], row["value"], row["ratio"], row["met"]) for row in rows] == [
        ("sets", 6.0, 3.0, True),
        ("speed", 9.0, 4.5, True),
    ]
    assert {"id", "what", "value", "unit", "peer", "ratio", "goal", "met", "date", "commit", "seed"} <= rows[0].keys()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["decisions.json", "decisions.md", "plots"]


def test_the_page_shows_each_benchmark_in_its_order_with_its_plots_and_each_note_once(tmp_path: Path) -> None:
    write({"speed": found(9.0), "sets": found(4.0)}, PAGE, docs=tmp_path)
    text = (tmp_path / "decisions.md").read_text()
    assert text.startswith("# Decisions\n\nOn ")
    assert text.index("## Public sets") < text.index("plots/sets-curve.svg") < text.index("## Speed")
    assert "| a race | 4 /s | 2 /s (them) | 2 | >= 3 | **no** |" in text
    assert text.count("Said once.") == 2


def test_a_table_beside_goes_between_its_marks_on_a_page_that_is_somebody_elses(tmp_path: Path) -> None:
    page = tmp_path / "guide.md"
    page.write_text("Words before.\n\n<!-- speed: written by `make bench` -->\n<!-- end of speed -->\n\nWords after.\n")
    write({"speed": Result([], beside={"guide": ["| a | b |"]})}, PAGE, docs=tmp_path)
    write({"speed": Result([], beside={"guide": ["| c | d |"]})}, PAGE, docs=tmp_path)
    text = page.read_text()
    assert text.startswith("Words before.\n\n<!-- speed") and text.endswith("<!-- end of speed -->\n\nWords after.\n")
    assert "\n\n| c | d |\n\n<!--" in text and "| a | b |" not in text
    with pytest.raises(ValueError, match="lacks"):
        put(page, "sets", [])
    assert page.read_text() == text
