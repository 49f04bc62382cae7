"""Takes what a person says of purposes and sources into the row, and with a withdrawal what rests on it.

Works on the copy of the row that `step` hands through. What rests on which purpose is tables.purposes' word; it never decides.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agents import limits
from agents.change import Change
from agents.features import PLACE
from agents.opened import Opened
from oo.v1 import decision_pb2, journal_pb2, row_pb2, signal_pb2, subject_request_pb2
from tables import backlog, consents, pending, sums
from tables.consents import Word
from tables.purposes import BY_NUMBER, CALENDAR, GENERATED, LEARNING, OF_KIND, Purpose

Marked = npt.NDArray[np.bool_]

BY_PLACE = 6
"""The step version from which on a consent counts by its place in the journal. Before, each kind of tips had a setting of its own, of
which the word of the latest event time stands (agents.profile)."""


def apply(opened: Opened, record: journal_pb2.JournalRecord, change: Change) -> None:
    """Take in what a record says of purposes and sources: the person's own word, or a producer's, who may only withdraw."""
    if record.HasField("subject_request"):
        asked = record.subject_request
        word = consents.of(asked.consent_changed, request_id=asked.request_id)
        if word.knows_of and word.knows_of == opened.row.left.receipt:
            word = word._replace(
                knows_of=""
            )  # They left, which withdrew everything: nothing was said in this life before.
        _take(opened, word, change)
        return
    said = record.signal.profile_changed
    # The same word sent again has the same key, if its producer gave it an id.
    name = f"{record.event_key:016x}" if record.event_key else record.record_id.hex()
    for setting, number in _SETTINGS.items():
        if said.HasField(setting) and not getattr(said, setting):
            _take(opened, Word(number, "", granted=False, id=name), change)


def adopt(opened: Opened, change: Change) -> None:
    """Take what a row of before has of kinds of tips for withdrawals, which no event's time can undo any more."""
    row = opened.row
    for setting, number in _SETTINGS.items():
        if row.profile.HasField(setting):
            if not getattr(row.profile, setting):
                _take(opened, Word(number, "", granted=False, id=""), change)
            row.profile.ClearField(setting)
    if not row.profile.ListFields():
        row.ClearField("profile")
    kept = [one for one in row.profile_stamps if one.setting not in _STAMPS]
    if len(kept) < len(row.profile_stamps):
        del row.profile_stamps[:]
        row.profile_stamps.extend(kept)


def other_settings(changed: signal_pb2.ProfileChanged) -> signal_pb2.ProfileChanged:
    """Return the same without what it says of kinds of tips.

    >>> other_settings(signal_pb2.ProfileChanged(task_tips=True, tips_per_day=3)).HasField("task_tips")
    False
    """
    rest = signal_pb2.ProfileChanged()
    rest.CopyFrom(changed)
    for setting in _SETTINGS:
        rest.ClearField(setting)
    return rest


def teaches_others(row: row_pb2.UserRow) -> bool:
    """Whether what the person taught may count for others."""
    return not row.consents or consents.grants(row.consents, LEARNING)


_SETTINGS: dict[Literal["task_tips", "starter_tips", "generated_tips"], subject_request_pb2.Purpose.ValueType] = {
    "task_tips": OF_KIND[decision_pb2.Decision.TASK],
    "starter_tips": OF_KIND[decision_pb2.Decision.STARTER],
    "generated_tips": OF_KIND[decision_pb2.Decision.GENERATED],
}
"""Of ProfileChanged: the purpose that each is about."""
_STAMPS = {signal_pb2.ProfileChanged.DESCRIPTOR.fields_by_name[name].number for name in _SETTINGS}


def _take(opened: Opened, word: Word, change: Change) -> None:
    row = opened.row
    stand, changed = consents.take(row.consents, word, now_ms=row.now_ms)
    del row.consents[:]
    row.consents.extend(stand)
    opened.limits = limits.of(row)
    for one in changed:
        purpose = None if one.source else BY_NUMBER[one.purpose]
        if purpose is not None and not purpose.features:
            continue  # No tip rests on it.
        change.slate = True
        if not one.granted:
            _withdraw(opened, one, purpose, change)


def _withdraw(opened: Opened, word: Word, purpose: Purpose | None, change: Change) -> None:
    """What rests on it goes: the tip that stands, what was learned by it, and what may still be learned of pending decisions."""
    held = opened.pending
    rests = _on_source(opened, word.source) if purpose is None else _on(opened, purpose)
    # Why a tip stands, and until when, may follow from any task or event, also of one that says something else.
    change.unsaid |= purpose is None or purpose.of_sources
    change.wrong |= change.unsaid or bool(rests.any() and rests[-1])
    for index in np.flatnonzero(rests).tolist():
        held.release(index)
    if purpose is not None and opened.taught.weight:
        sums.mask(opened.taught, [PLACE[name] for name in purpose.features])
        opened.learned = True
    if purpose is not None and purpose.number == GENERATED:
        del opened.row.generated[:]


def _on(opened: Opened, purpose: Purpose) -> Marked:
    """Which decisions were made of a purpose: of its kinds of tips, or with one of its features."""
    kept = opened.pending.columns
    places = [PLACE[name] for name in purpose.features]
    seen = kept[[pending.X + place for place in places if place < opened.space.d]].any(axis=0)
    found: Marked = seen | np.isin(kept[pending.KIND], purpose.kinds)
    return found


def _on_source(opened: Opened, source: str) -> Marked:
    """The same of a source: those on its tasks and about them, and on tasks that are gone, and all that looked at the calendar."""
    kept, items = opened.pending.columns, opened.backlog
    place = items.sources.index(source) if source in items.sources else -1
    others = items.tasks[backlog.KEY, items.tasks[backlog.SOURCE] != place]
    kinds, keys = kept[pending.KIND], kept[pending.TASK_KEY]
    about_one = (kinds == decision_pb2.Decision.GENERATED) & (keys != 0)
    on_tasks = ((kinds == decision_pb2.Decision.TASK) | about_one) & ~np.isin(keys, others)
    found: Marked = on_tasks | _on(opened, BY_NUMBER[CALENDAR])
    return found
