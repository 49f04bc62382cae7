from __future__ import annotations

import numpy as np
import pytest

from bench.decisions.learners import VW_FIXED, VW_GRID, VW_SQUARES
from bench.decisions.ours import DEFAULT, OURS
from bench.decisions.supervised_table import POINTS, Curves, Scope, result
from bench.result import Row

SETS = ("iris", "wine", "moons", "led")
SCOPE = Scope(SETS, rounds_max=10, shuffles=2, shuffles_few=2, tuning_rounds_max=5)
TUNED = {"textbook": "textbook LinUCB 0.3"}
FIXED, GRID = next(iter(VW_FIXED)), next(iter(VW_GRID))


def rows_of(ours: float, better_at: dict[str, tuple[str, float]]) -> dict[str, Row]:
    """Everyone earns .5 everywhere, the default `ours`, and whoever is named at a set what stands there."""
    everyone = {*OURS, *VW_FIXED, *VW_GRID, *VW_SQUARES, *TUNED.values()}

    def earned(name: str, one: str, seed: int) -> float:
        who, value = better_at.get(one, ("", 0.0))
        return ours + 0.02 * seed if name == DEFAULT else value if name == who else 0.5

    curves: Curves = {
        (name, one): {seed: np.full(POINTS, earned(name, one, seed)) for seed in (0, 1)}
        for name in everyone
        for one in SETS
    }
    return {row.id: row for row in result(curves, SCOPE, TUNED).rows}


def test_the_default_is_held_against_the_best_fixed_one_over_all_shuffles() -> None:
    rows = rows_of(0.65, {"led": (FIXED, 0.6)})
    best = rows["supervised-default"]
    assert (best.peer_name, best.peer, best.value) == (FIXED, 0.525, 0.66)
    assert best.met is True
    assert "+0.135 ± 0.010 over shuffles" in best.what
    assert rows_of(0.6, {"led": (FIXED, 0.6)})["supervised-default"].met is False


def test_hindsight_takes_another_configuration_for_each_set_and_counts_sets_at_or_above_it() -> None:
    rows = rows_of(0.65, {"led": (GRID, 0.7), "iris": (GRID, 0.66), "moons": (GRID, 0.661)})
    assert rows["supervised-set-led"].peer_name == GRID
    assert rows["supervised-set-led"].peer == 0.7
    assert rows["supervised-set-wine"].peer == 0.5
    share = rows["supervised-hindsight-share"]
    assert (share.value, share.met) == (0.5, False)
    # Led by .04 ± .01; moons by .001 ± .01 only.
    assert share.what.endswith("below by more than two standard errors on 1")
    assert rows_of(0.65, {})["supervised-hindsight-share"].met is True


def test_every_row_has_an_id_of_its_own() -> None:
    curves_rows = rows_of(0.65, {})
    assert len(curves_rows) == 2 + (len(VW_FIXED) - 1) + len(VW_SQUARES) + len(TUNED) + (len(OURS) - 1) + len(SETS)
    assert curves_rows["supervised-default"].ratio == pytest.approx(1.32)
