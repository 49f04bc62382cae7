"""docs/guard-rails.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from agents.eligibility import REASONS
from agents.reward import DEFAULT

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guard-rails.md").read_text(encoding="utf-8")


def test_the_page_names_every_reason_with_its_sentence_in_the_order_of_a_mask() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", PAGE, flags=re.MULTILINE) == list(REASONS.items())


def test_the_page_gives_the_default_of_every_rail() -> None:
    said = {name: int(number) for name, number in re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, flags=re.MULTILINE)}
    rails = [field.name for field in DEFAULT.DESCRIPTOR.fields if 30 <= field.number < 50]
    assert said == {name: getattr(DEFAULT, name) for name in rails}
