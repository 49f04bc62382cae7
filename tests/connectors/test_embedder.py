"""The embedder as it comes in its jar: how near titles are, and that it says the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.generation.likeness import near_duplicate
from connectors.embedder import EmbedderUnusable, MiniLm
from deploy.stack import fetch

PAIRS = Path(__file__).parents[1] / "data" / "likeness.tsv"


@pytest.fixture(scope="session")
def embedder() -> MiniLm:
    return MiniLm.of(fetch.fetch_embedder(fetch.default_cache(), on_bytes=lambda *_: None))


def test_it_says_whole_numbers_the_same_each_time_in_any_company(embedder: MiniLm) -> None:
    others = ["Ring the dentist for an appointment", "Paint the kitchen", ""]
    found = embedder.permilles("Call the dentist", others)
    assert found == embedder.permilles("Call the dentist", others)
    alone = [embedder.permilles("Call the dentist", [one])[0] for one in others]
    assert found == alone
    assert found[0] > 600 > found[1]
    assert embedder.nearest("Call the dentist", others) == (found[0], 0)
    assert embedder.nearest("Call the dentist", []) == (0, -1)


def test_equal_titles_are_as_near_as_can_be(embedder: MiniLm) -> None:
    assert embedder.permilles("Zahnarzt anrufen", ["Zahnarzt anrufen"]) == [1000]


def test_numbers_and_names_first_is_right_more_often_than_likeness_alone(embedder: MiniLm) -> None:
    alone, first = [0, 0], [0, 0]
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        _, title, *others = line.split("\t")
        for same, other, permille in zip((1, 0), others, embedder.permilles(title, others), strict=True):
            alone[same] += permille >= 750
            first[same] += near_duplicate(title, other, permille=permille)
    assert first[1] / sum(first) > alone[1] / sum(alone) + 0.1


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "embedder.jar"
    file.write_bytes(b"no jar")
    with pytest.raises(EmbedderUnusable, match=r"embedder\.jar"):
        MiniLm.of(file)
