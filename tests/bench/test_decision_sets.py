from __future__ import annotations

import numpy as np
import pytest

from bench.decisions.datasets import SETS, load, quantized


@pytest.mark.parametrize(
    "name,rounds,features,classes",
    [
        ("iris", 150, 4, 3),
        ("wine", 178, 13, 3),
        ("breast_cancer", 569, 30, 2),
        ("digits", 1797, 64, 10),
        ("phishing", 1250, 9, 2),
        ("segments", 2310, 18, 7),
        ("yeast", 2417, 103, 14),
        ("bananas", 5000, 2, 2),
        ("led", 2000, 7, 10),
        ("waveform", 2000, 21, 3),
    ],
)
def test_a_set_has_the_size_that_is_stated(name: str, rounds: int, features: int, classes: int) -> None:
    found = load(name)
    assert found.contexts.shape == (rounds, features)
    assert found.right.shape == (rounds, classes)


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_whole_numbers_within_64_and_has_a_right_action_in_every_round(name: str) -> None:
    found = load(name)
    assert found.contexts.dtype == np.int64
    assert np.abs(found.contexts).max() <= 64
    # A gene of yeast has one label at least, too.
    assert found.right.any(axis=1).all()
    assert found.right.any(axis=0).all()


def test_at_least_twelve_sets_and_nine_of_them_not_generated() -> None:
    assert len(SETS) >= 12
    assert sum(not source.generated for source in SETS.values()) == 9


def test_a_generated_set_is_the_same_each_time() -> None:
    first, again = SETS["random_tree"].read(), SETS["random_tree"].read()
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_a_value_far_out_is_cut_at_three_spreads() -> None:
    column = np.array([[0.0]] * 99 + [[1000.0]])
    assert quantized(column).max() == 64
