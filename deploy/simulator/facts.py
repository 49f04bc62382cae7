"""What a source tells of a thing: a label that may be wrong, a rough priority, a due time, an estimate. Often nothing.

It never tells what is hidden: dread, whim, mood, and how the truth bends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.simulator.people import TOPICS
from deploy.simulator.world import Things

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NONE = -1


@dataclass(frozen=True, slots=True)
class Facts:
    """All (..., K)."""

    label: Ints
    """A topic, at times a wrong one; NONE for none."""
    priority: Ints
    """1 highest to 4; 0 for none given."""
    has_due: npt.NDArray[np.bool_]
    left_hours: Floats
    """Until it is due, negative for overdue; means nothing without `has_due`."""
    minutes: Ints
    """Estimated; 0 where nobody said."""
    age_days: Floats


def facts(chance: np.random.Generator, them: Things, *, label_noise: float) -> Facts:
    """What is told of them."""
    shape = them.topic.shape
    noise = chance.random(shape)
    label = np.where(noise < 0.6 * label_noise, chance.integers(len(TOPICS), size=shape), them.topic)
    label = np.where((noise >= 0.6 * label_noise) & (noise < label_noise), NONE, label)
    rough = 1.0 - them.importance + chance.normal(0.0, 0.15, shape)
    priority = np.where(chance.random(shape) < 0.3, 0, np.clip(np.floor(1 + 4 * rough), 1, 4)).astype(np.int64)
    left_hours = 168.0 * (1.0 - them.urgency) ** 3 * chance.lognormal(0.0, 0.3, shape) - 1.0
    minutes = np.clip(np.rint(150.0 * them.effort * chance.lognormal(0.0, 0.4, shape) / 5) * 5, 5, 480)
    return Facts(
        label=label,
        priority=priority,
        has_due=chance.random(shape) < 0.3 + 0.5 * them.urgency,
        left_hours=left_hours,
        minutes=np.where(chance.random(shape) < 0.5, minutes, 0).astype(np.int64),
        age_days=chance.exponential(5.0, shape),
    )
