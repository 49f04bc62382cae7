"""What the policy sees of a candidate: a vector of whole numbers, in units of 1/64 within [0, 64].

Whole numbers throughout: the same bits on every machine, live, in replay and in training. Scaling is fixed; nothing here
depends on what other people do. A change of names, order or meaning is a new VERSION. One that only adds features which were 0 goes to
the end and into SPACES: what was taught goes on, and what an older version decides is decided as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from agents.candidates import Calendar
from oo.v1 import features_pb2, policy_pb2, row_pb2
from oo.v1.outcome_pb2 import Outcome
from streams.units import DAY_MS
from tables import windows
from tables.compiled import Int, compiled
from tables.linear import Ints
from tables.texts import LABEL_BUCKETS, WRITER_BUCKETS, bucket
from tables.zones import local, part_of

VERSION = 4

ONE = 64


class Feature(NamedTuple):
    """One entry of every vector."""

    name: str
    meaning: str


_OWN = (
    Feature("task", "a task of theirs"),
    Feature("starter", "a starter tip"),
    Feature("generated", "a tip that a language model wrote"),
    Feature("priority", "1/4 for the lowest that a source gives, 1 for the highest, 0 for none"),
    Feature("overdue", "its due time is past"),
    Feature("due_within_day", "how near its due time is, from 0 a day before to 1 when it is due"),
    Feature("short", "how much shorter than two hours it is estimated; half an hour where nobody said"),
    Feature("fits_gap", "its estimated length fits into the free time before the next busy event"),
    Feature("novel", "how new it is, from 1 when it is told to 0 a day later"),
    *(Feature(f"label_{i}", f"has a label whose hash falls into bucket {i}") for i in range(LABEL_BUCKETS)),
    Feature("morning", "6 to 12 on their clock"),
    Feature("afternoon", "12 to 18 on their clock"),
    Feature("evening", "18 to 24 on their clock"),
)
"""Those in which people are taken to differ: the first q entries of a vector."""

_PARTS = ("morning", "afternoon", "evening")

_SHARED = (
    Feature("weekend", "Saturday or Sunday on their clock"),
    Feature("has_due", "has a due time"),
    Feature("due_within_week", "how near its due time is, from 0 a week before to 1 when it is due"),
    Feature("age", "days since it was told, n / (n + 7)"),
    Feature("busy_now", "an event of their calendar runs"),
    Feature("done_rate_28d", "of reactions to tips of its kind in 28 days, the smoothed share of done"),
    Feature("dismiss_rate_7d", "likewise of dismiss, in 7 days"),
    Feature("snooze_rate_24h", "likewise of snooze, in 24 hours"),
    Feature("done_in_this_part", "done in 28 days in this part of the day, n / (n + 5)"),
    Feature("shown", "how often it was seen, n / (n + 2)"),
    Feature("dismissed", "how often it was dismissed, n / (n + 1)"),
    Feature("prompt", "nothing since version 3; until then, that the hash of its prompt and model was odd"),
    # What people do at which time is a routine, and no sum of the two.
    *(
        Feature(f"label_{i}_{part}", f"a label of bucket {i}, in the {part}")
        for i in range(LABEL_BUCKETS)
        for part in _PARTS
    ),
    *(
        Feature(f"prompt_{i}", f"1/2 where the hash of its prompt's version falls into bucket {i}")
        for i in range(WRITER_BUCKETS)
    ),
    *(
        Feature(f"model_{i}", f"1/2 where the hash of its model's name falls into bucket {i}")
        for i in range(WRITER_BUCKETS)
    ),
)

_HEARD = (
    Feature("score", "the reward that a trained model expects of it, from 0 to 1"),
    Feature("has_score", "a trained model has said one"),
)
"""What only versions see that hear a model (agents/scores.py)."""

FEATURES = (*_OWN, *_SHARED, *_HEARD)
NAMES = tuple(feature.name for feature in FEATURES)
Q = len(_OWN)

PLACE = {name: index for index, name in enumerate(NAMES)}
"""Where each stands in a vector."""


class Space(NamedTuple):
    """What vectors of one version hold: the first d features."""

    version: int
    d: int


FIRST = Space(2, 40)
"""Of what stands before a journal's first mark, for ever: a journal of before is folded as it was."""
NOW = Space(3, len(FEATURES) - len(_HEARD))
SCORED = Space(VERSION, len(FEATURES))
"""Of versions that hear a trained model. The others do without: nobody pays for what they do not use."""
SPACES = {one.version: one for one in (FIRST, NOW, SCORED)}
"""Each begins as those before it, and what it adds was 0 in them."""
D = NOW.d
"""How many of them a decision sees that hears no model."""
UNHEARD = tuple(range(NOW.d, SCORED.d))
"""What policies that hear no model are fitted without."""
_MEANT = {FIRST: {"prompt": "the hash of its prompt and model is odd"}}
"""What is something else by now."""

WEEK_MS = 7 * DAY_MS
DEFAULT_MINUTES = 30
"""How long a task is taken to last when nobody said."""


def feature_set(space: Space = NOW) -> features_pb2.FeatureSet:
    """The names, ranges and order of every vector, as versions carry them.

    >>> feature_set().features[0].name, len(feature_set().features) == D
    ('task', True)
    """
    meant = _MEANT.get(space, {})
    return features_pb2.FeatureSet(
        version=space.version,
        features=[
            features_pb2.Feature(
                name=one.name, low=0, high=ONE, own=index < Q, meaning=meant.get(one.name, one.meaning)
            )
            for index, one in enumerate(FEATURES[: space.d])
        ],
    )


def space_of(config: policy_pb2.DecisionConfig) -> Space:
    """Return what a new version of this configuration sees: scores only where it names a model.

    >>> space_of(policy_pb2.DecisionConfig()) is NOW
    True
    """
    return SCORED if config.HasField("scoring") else NOW


def names_of(version: int) -> Sequence[str]:
    """What the entries of a vector of that version are called; none for one that is none of SPACES.

    >>> names_of(2)[-1], names_of(1)
    ('label_3_evening', ())
    """
    return NAMES[: SPACES[version].d] if version in SPACES else ()


class Moment(NamedTuple):
    """When a decision is made, and in what."""

    now_ms: int
    clock: datetime
    """Now, on the person's clock."""
    part: int
    calendar: Calendar
    free_ms: int
    space: Space


def moment(row: row_pb2.UserRow, *, calendar: Calendar, now_ms: int, space: Space) -> Moment:
    """Looks at the clock once for a whole slate."""
    clock = local(now_ms, time_zone=row.time_zone)
    return Moment(now_ms, clock, part_of(clock), calendar, calendar.free_ms(now_ms), space)


def writer(prompt_version: str, model: str, *, space: Space) -> tuple[int, int]:
    """The places of the two features that say who wrote a candidate; -1 for none.

    >>> [NAMES[place] for place in writer("tips@1", "small", space=NOW)], writer("", "", space=NOW)
    (['prompt_2', 'model_3'], (-1, -1))
    """
    if space == FIRST:
        return PLACE["prompt"] if (prompt_version or model) and bucket(f"{prompt_version}/{model}", 2) else -1, -1
    return (
        PLACE["prompt_0"] + bucket(prompt_version, WRITER_BUCKETS) if prompt_version else -1,
        PLACE["model_0"] + bucket(model, WRITER_BUCKETS) if model else -1,
    )


_DONE, _DISMISS, _SNOOZE = int(Outcome.DONE), int(Outcome.DISMISS), int(Outcome.SNOOZE)
_TASK, _STARTER, _GENERATED = PLACE["task"], PLACE["starter"], PLACE["generated"]
_KIND_PLACES = (0, 0, _TASK, _STARTER, _GENERATED)
"""By Decision.TipKind."""
_BUSY, _MORNING, _WEEKEND, _OFTEN = PLACE["busy_now"], PLACE["morning"], PLACE["weekend"], PLACE["done_in_this_part"]
_DONE_RATE, _DISMISS_RATE, _SNOOZE_RATE = PLACE["done_rate_28d"], PLACE["dismiss_rate_7d"], PLACE["snooze_rate_24h"]


@compiled("i8(i8[:, ::1], i8, i8, b1, b1, i8[:, ::1])")
def fill_base(kept: Ints, now_ms: Int, part: Int, weekend: Int, busy: Int, base: Ints) -> Int:
    """Fills by tip kind what all candidates of a kind share, (5, d), and returns the feature `done_in_this_part`. kept: a row's windows."""
    counts = np.zeros((3, windows.EXPLICIT_CELLS), dtype=np.int64)
    day, week, month = counts[0], counts[1], counts[2]
    windows.count_cells(kept, now_ms, DAY_MS, 3600, day)
    windows.count_cells(kept, now_ms, WEEK_MS, 21600, week)
    windows.count_cells(kept, now_ms, 4 * WEEK_MS, 21600, month)
    done_here = windows.in_part(month, _DONE, part)
    often = ONE * done_here // (done_here + 5)
    for kind in range(2, 5):
        row = base[kind]
        row[_KIND_PLACES[kind]] = ONE
        row[_BUSY] = ONE if busy else 0
        if part:
            row[_MORNING + part - 1] = ONE
        row[_WEEKEND] = ONE if weekend else 0
        row[_OFTEN] = often
        row[_DONE_RATE] = windows.share_64(month, _DONE, kind)
        row[_DISMISS_RATE] = windows.share_64(week, _DISMISS, kind)
        row[_SNOOZE_RATE] = windows.share_64(day, _SNOOZE, kind)
    return often
