"""A state survives as bytes: the same bytes for the same state, and what comes after is the same too."""

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation import estimates, gate, model, sequence
from agents.evaluation.codec import decode, encode
from agents.evaluation.event import Range
from agents.evaluation.gate import Gate, Rule
from tests.agents.evaluation.planted import UNIT, stream

LOGGING = np.array([0.6, 0.3, 0.1])
PMFS = {"a": LOGGING, "b": np.array([0.2, 0.3, 0.5]), "ç": np.array([0.1, 0.8, 0.1])}
EVENTS = list(stream(3, logging=LOGGING, mean=np.array([0.3, 0.5, 0.6]), n=120))


def fed(events, state: Gate) -> Gate:
    for one in events:
        state, _ = gate.watch(state, one, PMFS)
    return state


def opened() -> Gate:
    return gate.joined(gate.joined(gate.opened("a", rule=Rule(UNIT, margin=0.1)), "b"), "ç")


def test_a_gate_that_was_put_away_goes_on_to_the_same_bytes():
    straight = fed(EVENTS, opened())
    resumed = fed(EVENTS[60:], decode(encode(fed(EVENTS[:60], opened())), Gate))
    assert encode(resumed) == encode(straight)


def test_decoding_gives_back_the_same_bytes():
    raw = encode(fed(EVENTS, opened()))
    assert encode(decode(raw, Gate)) == raw


@pytest.mark.parametrize(
    "state",
    [
        model.empty(4),
        estimates.empty(shape=(2, 3)),
        sequence.empty("mean", rewards=Range(-0.3, 0.95)),
    ],
)
def test_every_state_comes_back(state):
    back = decode(encode(state), type(state))
    assert encode(back) == encode(state)
    assert type(back) is type(state)


def test_states_are_small():
    assert len(encode(fed(EVENTS, opened()))) < 4 * 1024
    assert len(encode(model.empty(34))) < 11 * 1024


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        encode(model.empty(2)),
        encode(estimates.empty())[:-8],
        encode(estimates.empty())[:-3],
        encode(estimates.empty()) + b"12345678",
        encode(estimates.empty()).replace(b"[1,", b"[9,"),
        encode(estimates.empty()).replace(b"Estimates", b"Nonsense"),
        encode(estimates.empty()).replace(b'"w2r"', b'"w3r"'),
    ],
)
def test_bytes_that_are_no_such_state_are_refused(raw):
    with pytest.raises(ValueError, match="rebuild it from the log"):
        decode(raw, estimates.Estimates)
