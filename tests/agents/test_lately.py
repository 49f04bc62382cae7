"""The turn: what everybody's rewards have been of late beyond what is believed of them."""

from __future__ import annotations

import numpy as np

from agents import snapshot
from agents.drift import Drifts
from agents.lately import FOLLOWED, KEPT, Lately, has_turned


def noted(
    lately: Lately, truth: list[float], *, n: int, seed: int, drifts: Drifts | None = None, who: str = "ann"
) -> list[float]:
    """So many rewards that each feature adds so much to, with noise, of which nothing is believed; the greatest entry of the turn after each."""
    chance, turns = np.random.default_rng(seed), []
    for number in range(n):
        x = chance.integers(0, 65, len(truth))
        reward = float(x @ np.array(truth)) / 64 + float(chance.normal(0, 0.4))
        found = drifts is not None and drifts.update("mixed", 2, reward, now_ms=number)
        lately.add(who, x, reward, believed=np.zeros(len(truth)), found=found)
        turns.append(float(np.abs(lately.turn).max()))
    return turns


def test_two_drifts_are_found_and_followed_and_where_nothing_drifts_nothing_is() -> None:
    one, drifts = Lately(3), Drifts()
    assert max(noted(one, [0, 0, 0], n=1500, seed=1, drifts=drifts)) == 0
    for at, truth in enumerate(([0.8, 0, -0.3], [-0.3, 0.1, -0.6])):
        noted(one, truth, n=600, seed=2 + at, drifts=drifts)
        assert drifts.of["mixed", 2].n > at
        assert (np.sign(one.turn[[0, 2]]) == np.sign(np.array(truth)[[0, 2]])).all() and np.abs(one.turn).max() > 0.2
    # What is over is followed no more, at the latest after so many rewards.
    assert noted(one, [0, 0, 0], n=FOLLOWED + 400, seed=9, drifts=Drifts())[-1] == 0


def test_who_leaves_is_in_no_turn_any_more_and_a_snapshot_goes_on_to_the_bit() -> None:
    one, alone = Lately(2, left=FOLLOWED), Lately(2, left=FOLLOWED)
    for each in (one, alone):
        noted(each, [0.5, 0], n=80, seed=5)
    noted(one, [3, -3], n=80, seed=6, who="bob")
    one.forget("bob")
    assert not one.turn.any()
    for each in (one, alone):
        noted(each, [0.5, 0], n=8, seed=8)
    np.testing.assert_allclose(one.turn / one.weight, alone.turn / alone.weight, rtol=1e-12)
    again = snapshot.unpacked(snapshot.packed(one))
    assert noted(one, [1, 1], n=KEPT, seed=7) == noted(again, [1, 1], n=KEPT, seed=7)
    assert one.turn.any() and not has_turned(one.turn, again.turn)
