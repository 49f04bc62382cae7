"""What no estimator can use is refused; what everybody gets out of an event."""

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation.event import Event, at, check, weights
from tests.agents.evaluation.planted import UNIT

HALF = np.array([0.5, 0.5])


def event(logging=HALF, *, action=0, reward=1.0, q_hat=(0.0, 0.0)) -> Event:
    return Event(np.array(logging), np.array(action), np.array(reward), np.array(q_hat))


@pytest.mark.parametrize(
    ("broken", "pmf", "says"),
    [
        (event([0.5, 0.4]), HALF, "logged probabilities"),
        (event([1.5, -0.5]), HALF, "logged probabilities"),
        (event([0.0, 1.0]), np.array([0.0, 1.0]), "an action was logged with probability 0"),
        (event([1.0, 0.0]), HALF, "what the logging policy could not"),
        (event(), np.array([0.5, 0.6]), "target's probabilities"),
        (event(reward=1.5), HALF, "outside"),
        (event(reward=float("nan")), HALF, "not finite"),
        (event(q_hat=(float("inf"), 0.0)), HALF, "not finite"),
    ],
)
def test_an_event_that_nobody_can_use_is_refused(broken, pmf, says):
    with pytest.raises(ValueError, match=says):
        check(broken, pmf, rewards=UNIT)


def test_a_usable_event_passes():
    check(event(), np.array([0.1, 0.9]), rewards=UNIT)


def test_many_streams_side_by_side_give_what_each_gives_alone():
    rng = np.random.default_rng(1)
    logging, pmf = (rng.dirichlet(np.ones(4), size=3) for _ in range(2))
    action = np.array([3, 0, 2])
    together = Event(logging, action, np.zeros(3), np.zeros((3, 4)))
    for i in range(3):
        alone = Event(logging[i], action[i], np.array(0.0), np.zeros(4))
        assert (weights(together, pmf)[i] == weights(alone, pmf[i])).all()
        assert at(logging, action)[i] == at(logging[i], action[i])
