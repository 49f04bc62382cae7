"""Scores of a trained model in a row: which are taken, and which of them a slate hears.

Pure. A record of scores causes nothing (docs/adr/0067): it changes what the next decision sees, and neither when that is made nor its ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents import candidates, slate
from agents.features import PLACE, SCORED
from agents.opened import Opened
from agents.slate import Slate
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, row_pb2
from tables import backlog, columns, ids, scored, slates
from tables.scored import key_of

BY_MODEL = 9
"""The step version from which on scores are taken."""
PERMILLE = 1_000
_SHARED = [PLACE[name] for name in ("morning", "afternoon", "evening", "weekend", "busy_now")]


def moment_of(x: Sequence[int]) -> int:
    """Return as bits what candidates of a slate share and a model may go by: part of the day, weekend, busy; x: the features of one of them.

    >>> x = [0] * SCORED.d
    >>> x[PLACE["afternoon"]] = x[PLACE["busy_now"]] = 64
    >>> moment_of(x)
    18
    """
    return sum((x[place] != 0) << bit for bit, place in enumerate(_SHARED))


def take(
    row: row_pb2.UserRow, said: journal_pb2.Scores, *, journal: journal_pb2.Position, scoring: policy_pb2.Scoring
) -> row_pb2.UserRow | None:
    """Return the row with these scores, or None where they change nothing: of another model than the version's, of a slate that is no newer than
    the last one scored or not made yet, of another journal, or of no candidate that the row has.
    """
    place = said.decision
    after = row.scored.offset if row.HasField("scored") else -1
    if not said.model or said.model != scoring.model or len(said.keys) != len(said.expected):
        return None
    if place.topic_id != journal.topic_id or not after < place.offset < journal.offset:
        return None
    tasks = backlog.read(row).tasks[backlog.KEY].tolist()
    there = {*tasks, *(columns.signed(key_of(one)) for one in candidates.beside(row))}
    expected = {key: one for key, one in zip(said.keys, said.expected, strict=True) if columns.signed(key) in there}
    if not expected:
        return None
    taken = row_pb2.UserRow()
    taken.CopyFrom(row)
    taken.topic_id, taken.journal_offset = journal.topic_id, journal.offset
    taken.scored.CopyFrom(scored.packed(offset=place.offset, model=said.model, expected=expected, moment=said.moment))
    return taken


def heard(opened: Opened, made: Slate, *, record_id: bytes, scoring: policy_pb2.Scoring) -> bool | None:
    """Put the row's scores into a slate, unless it is drawn to be deaf; says whether it hears them, and None where there are none for it.

    Only those of the model that the version names count, and of such a moment: what was expected in the morning says little of the evening. Whether a slate is
    deaf is drawn apart from all else of it: what hearing is worth is told by that.
    """
    row, block = opened.row, made.block
    if opened.space != SCORED or not scoring.model or row.scored.model != scoring.model:
        return None
    some = made.eligible[block[slates.KIND, made.eligible] != decision_pb2.Decision.NONE]
    if not len(some) or row.scored.moment != moment_of(block[slates.X :, some[0]].tolist()):
        return None
    keys = [columns.signed(key_of(one.id)) for one in made.others]
    keys += opened.usable.tasks[backlog.KEY, made.tasks].tolist()
    expected = scored.found(row.scored, keys)
    if not (expected >= 0).any():
        return None
    if ids.deaf_draw(row.user_id, record_id=record_id) % PERMILLE < scoring.deaf_permille:
        return False
    return True if slate.hear(made, expected) else None
