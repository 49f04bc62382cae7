"""Models: what is exported answers as what was fitted, and what may not be registered is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from simulated import simulated_set
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from agents.evaluation import counted
from agents.reward import DEFAULT
from oo.v1 import decision_pb2, outcome_pb2
from training import judged
from training.calibrated import Calibrated, calibrate
from training.export import CannotExport, Compared, answers, compared, exported
from training.models import MODELS
from training.sets import NAMES, D, split
from training.trained import TooLittle, Trained, trained


def rows(n: int, *, seed: int = 0, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """Features in units of 1/64, and rewards that hang on two of them together."""
    chance = np.random.default_rng(seed)
    x = (chance.integers(0, 65, (n, d)) / 64).astype(np.float32)
    return x, 0.6 * x[:, 0] * x[:, 1] + 0.1 * chance.normal(size=n)


@pytest.mark.parametrize("kind", MODELS)
def test_an_export_answers_as_its_model_on_every_row_and_without_each_feature(kind: str) -> None:
    x, y = rows(600)
    one = calibrate(MODELS[kind](x, y), *rows(200, seed=1))
    content = exported(one, names=NAMES)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("features", "tensor(float)", ["n", D])
    assert (given.name, given.type, given.shape) == ("reward", "tensor(float)", ["n", 1])
    held = compared(one, content, x)
    assert held.why_not == ""
    assert held.predictions == 600 * (D + 1)
    assert held.difference < 1e-5


def test_a_model_that_answers_otherwise_is_refused() -> None:
    x, y = rows(600)
    one = calibrate(MODELS["boosting"](x, y), *rows(200, seed=1))
    other = exported(replace(one, shift=one.shift + 0.01), names=NAMES)
    assert "answers otherwise" in compared(one, other, x).why_not
    # One that is right on all rows as they are, and wrong where a feature is missing.
    linear = calibrate(MODELS["linear"](x, y), x, y)
    x[:, 5] = 0.5
    hidden = replace(linear, model=Moved(linear.model))
    assert abs(answers(exported(linear, names=NAMES), x) - hidden.predict(x)).max() < 1e-5
    assert "answers otherwise" in compared(hidden, exported(linear, names=NAMES), x).why_not


class Moved:
    """Says something else where feature 5 is 0."""

    def __init__(self, model) -> None:
        self._model = model

    def predict(self, x):
        return self._model.predict(x) + 0.02 * (x[:, 5] == 0)


def test_what_no_export_carries_is_refused() -> None:
    x, y = rows(300)
    forest = Calibrated(RandomForestRegressor(n_estimators=2, random_state=0).fit(x, y), 1.0, 0.0)
    with pytest.raises(CannotExport, match="RandomForestRegressor is none of what may be exported"):
        exported(forest, names=NAMES)
    for told in ({"categorical_features": [0]}, {"loss": "poisson"}):
        x[:, 0] = np.rint(x[:, 0])
        made = HistGradientBoostingRegressor(max_iter=3, random_state=0, **told).fit(x, abs(y))
        with pytest.raises(CannotExport, match=f"{next(iter(told))}="):
            exported(Calibrated(made, 1.0, 0.0), names=NAMES)


def test_a_model_that_is_too_sure_is_set_right_by_people_that_it_has_not_seen() -> None:
    x, y = rows(2000)

    class Sure:
        def predict(self, x):
            return 3 * 0.6 * x[:, 0] * x[:, 1] + 1

    one = calibrate(Sure(), x[:1000], y[:1000])
    assert one.scale == pytest.approx(1 / 3, abs=0.05)
    assert judged.calibration(one.predict(x[1000:]), y[1000:]).why_not == ""
    assert "calibration is off" in judged.calibration(Sure().predict(x[1000:]), y[1000:]).why_not


def test_a_calibration_that_is_right_in_the_mean_and_wrong_at_its_ends_is_off() -> None:
    chance = np.random.default_rng(0)
    truth = chance.random(5000)
    y = (chance.random(5000) < truth).astype(float)
    assert judged.calibration(truth, y).why_not == ""
    turned = 0.5 + 1.6 * (truth - 0.5)
    assert abs(judged.calibration(turned, y).off.value) < 0.02
    assert "of 500 it says" in judged.calibration(turned, y).why_not


def test_too_few_later_rows_say_nothing_and_register_nothing() -> None:
    assert "100 are needed" in judged.calibration(np.zeros(99), np.zeros(99)).why_not
    assert Compared(0, 0, 0.0, 0.0).why_not


@pytest.fixture(scope="module")
def made() -> Trained:
    some = simulated_set()
    return trained("linear", some, split(some), config=DEFAULT)


def test_the_log_held_against_itself_earns_what_was_earned(made: Trained) -> None:
    some = simulated_set()
    parts = split(some)
    at = np.flatnonzero(some.decided_ms >= parts.parted_ms)
    earned = [
        counted.reward(
            decision_pb2.Decision.TipKind.ValueType(int(some.kinds[some.drawn[one]])),
            outcome_pb2.Outcome.Kind.ValueType(int(some.became[one])),
            config=DEFAULT,
        )
        for one in at.tolist()
    ]
    groups = made.earned.groups
    assert groups["all"].logged.value == pytest.approx(float(np.mean(earned)), abs=0.002)
    assert groups["all"].decisions == len(at) == groups["cold"].decisions + groups["old"].decisions
    whole = groups["all"].earned
    assert whole.low is not None and whole.high is not None
    assert whole.low < whole.value < whole.high


def test_a_model_is_judged_by_people_and_times_that_it_has_not_seen(made: Trained) -> None:
    some = simulated_set()
    parts = split(some)
    assert made.rows == {name: int(getattr(parts, name).sum()) for name in ("fit", "calibrate", "later", "new")}
    assert made.new.rows == made.rows["new"] and made.later.rows == made.rows["later"]
    # Turning every later reward round changes nothing but the judgement.
    later = some.teaches & (some.decided_ms >= parts.parted_ms)
    turned = replace(some, became=np.where(later, outcome_pb2.Outcome.DISMISS, some.became))
    again = trained("linear", turned, parts, config=DEFAULT)
    assert again.onnx == made.onnx and again.later.error != made.later.error


def test_too_little_to_learn_from_is_said() -> None:
    some = simulated_set()
    parts = split(some)
    few = parts._replace(fit=parts.fit & (np.cumsum(parts.fit) <= 20))
    with pytest.raises(TooLittle, match="20 seen tips are left"):
        trained("linear", some, few, config=DEFAULT)


def test_what_is_shown_to_predict_worse_than_one_number_is_refused_and_what_is_not_shown_to_is_not() -> None:
    chance = np.random.default_rng(3)
    y = chance.normal(0.3, 0.2, 400)
    done = y > 0.3
    wild, flat = chance.normal(0.3, 0.6, 400), np.full(400, 0.3)
    assert "one number for all predicts better" in judged.fit(wild, y, done=done, mean=0.3).why_not
    assert judged.fit(flat, y, done=done, mean=0.3).why_not == ""
    assert judged.fit(y, y, done=done, mean=0.3).why_not == ""
    assert judged.fit(y[:0], y[:0], done=done[:0], mean=0.3).why_not == ""
