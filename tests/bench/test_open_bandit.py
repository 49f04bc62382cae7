from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from agents.bandit.learner import Floats, Ints
from bench.decisions import logs
from bench.decisions.logs import Log, read
from bench.decisions.open_bandit import known_truths, learned, shares
from bench.decisions.ours import Uniform


def log(*, best: float, logged: Floats, seed: int, n: int = 4_000) -> Log:
    """Three items, of which the last is clicked at rate `best`, the others at .1."""
    chance = np.random.default_rng(seed)
    action = chance.choice(3, n, p=logged)
    rate = np.where(action == 2, best, 0.1)
    return Log(
        items=3,
        action=action,
        position=chance.integers(0, 3, n),
        reward=(chance.random(n) < rate).astype(np.float64),
        propensity=logged[action],
        user=["one"] * n,
        affinity=np.zeros((n, 3), dtype=np.bool_),
        item_features=np.array([[64, 0, -64], [64, 0, 0], [64, 0, 64]]),
    )


class Last(Uniform):
    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        assert x[:, 2].tolist() == [-64, 0, 64]
        return np.array([0.0, 0.1, 0.9])


def test_who_prefers_the_best_item_beats_the_log_and_who_shows_all_alike_does_not() -> None:
    uniform = np.full(3, 1 / 3)
    made = log(best=0.4, logged=uniform, seed=0)
    gain = learned(made, lambda setting: Last(), rows_max=4_000)
    assert gain.mean - 1.96 * gain.se > 0
    assert gain.value == pytest.approx(0.9 * 0.4 + 0.1 * 0.1, abs=0.06)
    same = learned(made, lambda setting: Uniform(), rows_max=4_000)
    assert abs(same.mean) < 0.02


def test_a_policys_truth_is_that_of_its_own_log() -> None:
    both = {
        "random": log(best=0.4, logged=np.full(3, 1 / 3), seed=1),
        "bts": log(best=0.4, logged=np.array([0.2, 0.2, 0.6]), seed=2),
    }
    rows = list(known_truths("made", both))
    assert [row.peer for row in rows] == pytest.approx([200.0, 280.0], abs=30)
    assert [row.value for row in rows] == pytest.approx([200.0, 280.0], abs=40)


def test_shares_add_up_to_one_at_each_place() -> None:
    found = shares(log(best=0.4, logged=np.array([0.2, 0.2, 0.6]), seed=3))
    assert found.sum(axis=0) == pytest.approx([1.0, 1.0, 1.0])
    assert found[2] == pytest.approx([0.6, 0.6, 0.6], abs=0.05)


def test_a_log_is_read_in_the_order_of_time_with_places_from_nought(tmp_path: Path) -> None:
    head = ["", "timestamp", "item_id", "position", "click", "propensity_score"]
    head += [f"user_feature_{at}" for at in range(4)] + [f"user-item_affinity_{at}" for at in range(2)]
    rows = [
        ["0", "2019-11-24 00:02", "1", "3", "1", "0.25", *"abcd", "0.0", "2.0"],
        ["1", "2019-11-24 00:01", "0", "1", "0", "0.75", *"abcd", "0.0", "0.0"],
    ]
    about = ["item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3", "1,2.0,p,q,r", "0,1.0,p,s,t"]
    with zipfile.ZipFile(tmp_path / "wheel", "w") as archive:
        archive.writestr("obp/dataset/obd/bts/men/men.csv", "\n".join(",".join(row) for row in [head, *rows]))
        archive.writestr("obp/dataset/obd/bts/men/item_context.csv", "\n".join(about))
    found = read(tmp_path / "wheel", campaign="men", policy="bts")
    assert found.action.tolist() == [0, 1]
    assert found.position.tolist() == [0, 2]
    assert found.reward.tolist() == [0.0, 1.0]
    assert found.propensity.tolist() == [0.75, 0.25]
    # A constant, the affinity, the measure, then p, r, t.
    assert found.slate(1).tolist() == [[64, 0, -21, 64, 0, 64], [64, 64, 21, 64, 64, 0]]


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "oo-bench-decisions").mkdir()
    (tmp_path / "oo-bench-decisions" / logs.WHEEL).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="delete it"):
        logs.wheel()
