"""When a model is due to be made again, and which versions have outstayed their time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectors.model_registry import Version
from deploy.models.due import Due
from streams.units import SECOND_MS


def why_now(versions: Sequence[Version], *, now_ms: int, every_s: int, drift_ms: int, to_go: Iterable[Due]) -> str:
    """Say why a model should be made now, of one name's versions; empty where it should not.

    `drift_ms`: when rewards last drifted from what the policy that decides expects; 0 for never.

    >>> why_now([], now_ms=0, every_s=60, drift_ms=0, to_go=[])
    'there is no version yet'
    """
    newest = max((one for one in versions if one.about), key=lambda one: one.version, default=None)
    if newest is None:
        return "there is no version yet"
    made_ms = int(newest.about.get("created_ms", 0))
    if any(one.version.spelled == newest.spelled for one in to_go):
        return f"somebody left since {newest.spelled} was made"
    if drift_ms > made_ms:
        return f"rewards have drifted since {newest.spelled} was made"
    if now_ms - made_ms >= every_s * SECOND_MS:
        return f"{newest.spelled} is {(now_ms - made_ms) // SECOND_MS} s old"
    return ""


def outstayed(to_go: Iterable[Due], *, now_ms: int) -> list[Version]:
    """Versions that may hold somebody who left longer ago than a model may keep them."""
    return [one.version for one in to_go if one.by_ms <= now_ms]
