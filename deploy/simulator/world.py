"""The truth of a simulation: how likely a person does, snoozes, dismisses or ignores a thing at a moment, and its worth.

Nonlinear on purpose: thresholds, products, a routine by topic and part of the day, saturation, and four outcomes that
share one probability. Much of what enters is hidden from every feature. It never looks at a policy, and was written
before any of ours was run on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.simulator.people import TOPICS, Manner, Person, Tastes
from deploy.simulator.scenario import Scenario

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DONE, SNOOZE, DISMISS, IGNORE = range(4)
OUTCOMES = 4


@dataclass(frozen=True, slots=True)
class Things:
    """What could be done, as it really is; all (..., K), within [0, 1] but for `topic`, `whim` and `pull`."""

    topic: Ints
    importance: Floats
    urgency: Floats
    effort: Floats
    dread: Floats
    """Hidden: why it has been put off."""
    whim: Floats
    """Hidden: all else about it, of mean 0 and variance 1."""
    pull: Floats | float = 0.0
    """Of a tip that a language model wrote, what is thought of who wrote it and how; 0 for all else."""


@dataclass(frozen=True, slots=True)
class Moments:
    """When; all (...)."""

    hour: Floats
    """On the person's clock, within [0, 24)."""
    busy: Floats
    """Within [0, 1]; features show it with noise."""
    tips_lately: Floats
    """Tips in the last hours."""
    mood: Floats
    """Hidden; about 0."""
    weekend: Bools
    """Saturday or Sunday on the person's clock."""


_DREADED = np.array([0.5, 0.1, 0.0, 0.2, 0.3, 0.6, 0.1, 0.0])
"""How much of a topic is put off, by topic."""
_AFTERNOON = 2
_WEEKENDS = np.isin(TOPICS, ("calls", "home", "friends"))
"""Topics of the weekend, where a scenario has it apart; the product's label buckets happen to tell them from all others."""


def things(chance: np.random.Generator, shape: tuple[int, ...]) -> Things:
    """Draws things that could be done."""
    topic = chance.integers(len(_DREADED), size=shape)
    effort = chance.beta(1.5, 2.0, shape)
    dread = np.clip(0.6 * chance.beta(1.0, 2.0, shape) + 0.3 * effort + 0.5 * _DREADED[topic], 0.0, 1.0)
    return Things(
        topic=topic,
        importance=chance.beta(2.0, 2.0, shape),
        urgency=chance.beta(1.2, 2.0, shape),
        effort=effort,
        dread=dread,
        whim=chance.normal(0.0, 1.0, shape),
    )


def liking(tastes: Tastes, person: Person, them: Things, at: Moments, *, scenario: Scenario) -> Floats:
    """How much the person is drawn to each thing at that moment; (..., K), about 0."""
    part = (at.hour // 6).astype(np.int64)[..., None]
    energy = (0.5 + 0.5 * np.cos((at.hour - person.peak_hour) * (2 * np.pi / 24)))[..., None]
    pulled = 1.0 / (1.0 + np.exp(-10.0 * (them.urgency - tastes.threshold)))
    linear = (
        tastes.topic[them.topic]
        + 0.8 * tastes.importance * (them.importance - 0.5)
        + 0.8 * tastes.urgency * (them.urgency - 0.4)
        - 0.8 * tastes.effort * (them.effort - 0.4)
    )
    bent = (
        tastes.routine[them.topic, part]
        + 1.2 * tastes.urgency * (pulled - 0.4)
        + 1.5 * tastes.importance * (them.importance * them.urgency - 0.2)
        - 1.2 * tastes.effort * (them.effort * (0.5 + at.busy[..., None]) - 0.3)
    )
    unseen = (
        -1.2 * tastes.dread * (them.dread**2 - 0.2)
        + 0.35 * them.whim
        + at.mood[..., None]
        + 0.8 * (energy - 0.5) * (1.0 + them.effort)
    )
    weary = scenario.fatigue * person.impatience * np.log1p(at.tips_lately)[..., None]
    apart = scenario.afternoons_apart * np.where(part == _AFTERNOON, -1.0, 1.0) * (2.0 * them.importance - 1.0)
    apart = apart + scenario.weekends_apart * np.where(_WEEKENDS[them.topic] == at.weekend[..., None], 1.0, -1.0)
    found: Floats = 0.1 + linear + apart + scenario.nonlinearity * bent + scenario.hidden * unseen - weary + them.pull
    return found


def chances(tastes: Tastes, person: Person, them: Things, at: Moments, *, scenario: Scenario) -> Floats:
    """Probability of done, snooze, dismiss and ignore for each thing, if it is what the person is shown; (..., K, 4)."""
    drawn = liking(tastes, person, them, at, scenario=scenario)
    busy = at.busy[..., None]
    weary = scenario.fatigue * person.impatience * np.log1p(at.tips_lately)[..., None]
    dislike = np.log1p(np.exp(-2.0 * drawn)) / 2.0
    logits = np.stack(
        [
            2.2 * np.tanh(drawn / 1.5) - 0.5 * busy,
            -0.6 + 0.8 * busy + 0.5 * them.effort,
            -0.7 - 1.2 * np.tanh(drawn) + scenario.busy_annoyance * busy + weary - scenario.silent_dislike * dislike,
            -1.6 + 0.4 * busy + 0.5 * scenario.silent_dislike * dislike,
        ],
        axis=-1,
    )
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def clicked(manner: Manner, shares: Floats) -> Floats:
    """The outcome as it is told by a person of that manner: an adversarial clicker's says nothing of what they think.

    >>> clicked("contrary", np.array([0.7, 0.1, 0.2, 0.0])).tolist()
    [0.2, 0.1, 0.7, 0.0]
    """
    if manner == "honest":
        return shares
    told = np.zeros_like(shares)
    if manner == "contrary":
        told[...] = shares[..., [DISMISS, SNOOZE, DONE, IGNORE]]
    else:
        told[..., DONE if manner == "done" else DISMISS] = 1.0
    return told


def worths(scenario: Scenario) -> Floats:
    """What done, snooze, dismiss and ignore are worth; (4,)."""
    return np.array([scenario.worth_done, scenario.worth_snooze, scenario.worth_dismiss, 0.0])


def values(shares: Floats, *, scenario: Scenario) -> Floats:
    """Expected worth of showing each thing, the interruption taken off; shares: (..., 4)."""
    found: Floats = (shares * worths(scenario)).sum(axis=-1) - scenario.interruption_cost
    return found


def losses(scenario: Scenario) -> Floats:
    """Probability that a reaction never arrives, by what it was; (4,). Who ignores a tip sends none."""
    done = 1.0 - (1.0 - scenario.lost) * (1.0 - scenario.lost_done)
    return np.array([done, scenario.lost, scenario.lost, 1.0])
