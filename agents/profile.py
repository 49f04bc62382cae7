"""The person's own settings: taken from ProfileChanged into the row, each by its own last word, and read from there.

Works on the copy of the row that `step` hands through. It never decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from oo.v1 import decision_pb2, journal_pb2, row_pb2, settings_pb2, signal_pb2

if TYPE_CHECKING:
    from tables.backlog import Stamp

_CONSENTS: dict[int, Literal["task_tips", "starter_tips", "generated_tips"]] = {
    decision_pb2.Decision.TASK: "task_tips",
    decision_pb2.Decision.STARTER: "starter_tips",
    decision_pb2.Decision.GENERATED: "generated_tips",
}


def apply(row: row_pb2.UserRow, changed: signal_pb2.ProfileChanged, *, stamp: Stamp) -> bool:
    """Takes in every setting that is named and not older than what stands; says whether anything is different now."""
    different = False
    if changed.time_zone and stamp.time_ms >= row.time_zone_updated_ms:
        different = row.time_zone != changed.time_zone
        row.time_zone = changed.time_zone
        row.time_zone_updated_ms = stamp.time_ms
    # One that claims to be of tomorrow is of now: else a withdrawal made meanwhile would count for less than it.
    time_ms = min(stamp.time_ms, row.now_ms)
    settings = {field.name: value for field, value in row.profile.ListFields()}
    for field, value in changed.ListFields():
        if field.name == "time_zone":
            continue
        known = next((one for one in row.profile_stamps if one.setting == field.number), None)
        if known is None:
            known = row.profile_stamps.add(setting=field.number)
        elif (time_ms, stamp.offset) < (known.updated_ms, known.updated_offset):
            continue
        known.updated_ms, known.updated_offset = time_ms, stamp.offset
        different |= settings.get(field.name) != value
        settings[field.name] = value
    if settings:
        row.profile.CopyFrom(signal_pb2.ProfileChanged(**settings))
    return different


def to_tell(
    before: row_pb2.UserRow | None, row: row_pb2.UserRow, *, journal: journal_pb2.Position
) -> settings_pb2.Settings | None:
    """What the person is to be shown of their settings, where it is another thing than before; notes in the row that it was told."""
    if not row.settings_told and not (row.consents or row.time_zone_updated_ms or row.HasField("profile")):
        return None
    if row.settings_told and before is not None and _stands(before) == _stands(row):
        return None
    row.settings_told = True
    time_zone, profile, consents = _stands(row)
    return settings_pb2.Settings(
        user_id=row.user_id,
        journal=journal,
        time_zone=time_zone,
        profile=profile,
        consents=consents,
        told_ms=row.now_ms,
    )


def _stands(row: row_pb2.UserRow) -> tuple[str, signal_pb2.ProfileChanged | None, Sequence[settings_pb2.Consent]]:
    return (
        row.time_zone if row.time_zone_updated_ms else "",
        row.profile if row.HasField("profile") else None,
        row.consents,
    )


def consents(row: row_pb2.UserRow, kind: int) -> bool:
    """Whether tips of that kind may be made for this person: nobody has withdrawn what was never said.

    >>> row = row_pb2.UserRow(profile=signal_pb2.ProfileChanged(generated_tips=False))
    >>> consents(row, decision_pb2.Decision.GENERATED), consents(row, decision_pb2.Decision.TASK)
    (False, True)
    """
    name = _CONSENTS[kind]
    return not row.profile.HasField(name) or bool(getattr(row.profile, name))
