"""The turn: what everybody's rewards have been of late beyond what is believed of them."""

from __future__ import annotations

import numpy as np

from agents import snapshot
from agents.lately import KEPT, NEWS, Lately, has_turned


def noted(lately: Lately, truth: list[float], *, n: int, seed: int, who: str = "ann") -> list[float]:
    """So many rewards that each feature adds so much to, with noise, of which nothing is believed; the greatest entry of the turn after each."""
    chance, turns = np.random.default_rng(seed), []
    for _ in range(n):
        x = chance.integers(0, 65, len(truth))
        reward = float(x @ np.array(truth)) / 64 + float(chance.normal(0, 0.4))
        lately.add(who, x, reward, believed=np.zeros(len(truth)))
        turns.append(float(np.abs(lately.turn).max()))
    return turns


def test_two_drifts_are_followed_and_where_nothing_drifts_or_is_over_nothing_is() -> None:
    one = Lately(3)
    assert max(noted(one, [0, 0, 0], n=1500, seed=1)) < NEWS
    for seed, truth in ((2, [0.8, 0, -0.3]), (3, [-0.3, 0.1, -0.6])):
        noted(one, truth, n=600, seed=seed)
        assert (np.sign(one.turn[[0, 2]]) == np.sign(np.array(truth)[[0, 2]])).all() and np.abs(one.turn).max() > 0.2
    assert noted(one, [0, 0, 0], n=2000, seed=4)[-1] < NEWS


def test_what_the_policy_has_learned_itself_is_no_turn() -> None:
    one = Lately(1)
    noted(one, [0.8], n=400, seed=5)
    assert one.turn[0] > 0.4
    for _ in range(8):
        one.add("ann", np.array([64]), 0.8, believed=np.array([0.8]))
    assert abs(one.turn[0]) < 0.05


def test_who_leaves_is_in_no_turn_any_more_and_a_snapshot_goes_on_to_the_bit() -> None:
    one, alone = Lately(2), Lately(2)
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
