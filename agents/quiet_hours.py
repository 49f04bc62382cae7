"""Quiet hours: nothing is said while the clock on the person's wall stands between two times.

The wall alone decides, so an hour that summer time skips has no quiet part, and one that comes twice is quiet twice.
It never reads a clock.
"""

from __future__ import annotations

from datetime import datetime

from oo.v1 import row_pb2, signal_pb2
from streams.units import MINUTE_MS
from tables.bounds import NEVER_MS
from tables.zones import local

DAY_MINUTES = 24 * 60
_HOPS_MAX = 64
"""Three edges a day for eight days, and a change of the zone's offset among them: past that, nothing changes."""


def is_quiet(quiet: signal_pb2.QuietHours, now_ms: int, *, time_zone: str) -> bool:
    """Whether that instant falls into them.

    >>> quiet = signal_pb2.QuietHours(start_minute=22 * 60, end_minute=7 * 60)
    >>> is_quiet(quiet, 6 * 3600 * 1000, time_zone="UTC"), is_quiet(quiet, 6 * 3600 * 1000, time_zone="Europe/Berlin")
    (True, False)
    """
    return _covers(quiet, local(now_ms, time_zone=time_zone))


def changes_ms(quiet: signal_pb2.QuietHours, now_ms: int, *, time_zone: str) -> int:
    """When they next begin or, within them, end; 0 where they never do.

    >>> quiet = signal_pb2.QuietHours(start_minute=22 * 60, end_minute=7 * 60)
    >>> changes_ms(quiet, 0, time_zone="UTC") // 3_600_000, changes_ms(quiet, 25_200_000, time_zone="UTC") // 3_600_000
    (7, 22)
    """
    if quiet.start_minute == quiet.end_minute:
        return 0
    edges_ms = [minute * MINUTE_MS for minute in (quiet.start_minute, quiet.end_minute, DAY_MINUTES)]
    at_ms, clock = now_ms, local(now_ms, time_zone=time_zone)
    was_quiet = _covers(quiet, clock)
    for _ in range(_HOPS_MAX):
        since_midnight_ms = ((clock.hour * 60 + clock.minute) * 60 + clock.second) * 1000 + at_ms % 1000
        edge_ms = at_ms + min(edge - since_midnight_ms for edge in edges_ms if edge > since_midnight_ms)
        there = local(edge_ms, time_zone=time_zone)
        if there.utcoffset() != clock.utcoffset():
            edge_ms = _offset_changes_ms(at_ms, edge_ms, time_zone=time_zone)
            there = local(edge_ms, time_zone=time_zone)
        at_ms, clock = edge_ms, there
        if _covers(quiet, clock) != was_quiet:
            return at_ms
    return 0


def until_ms(row: row_pb2.UserRow, *, now_ms: int) -> int:
    """The end of a person's quiet hours that run now; 0 outside of them, `NEVER_MS` for quiet without an end."""
    if not row.profile.HasField("quiet_hours") or not is_quiet(
        row.profile.quiet_hours, now_ms, time_zone=row.time_zone
    ):
        return 0
    return next_change_ms(row, now_ms=now_ms)


def next_change_ms(row: row_pb2.UserRow, *, now_ms: int) -> int:
    """When a person's quiet hours next begin or end; `NEVER_MS` for never."""
    return changes_ms(row.profile.quiet_hours, now_ms, time_zone=row.time_zone) or NEVER_MS


def _covers(quiet: signal_pb2.QuietHours, clock: datetime) -> bool:
    start, end = quiet.start_minute, quiet.end_minute
    minute = clock.hour * 60 + clock.minute
    if start <= end:
        return start <= minute < end and _begins_on(quiet, clock.weekday())
    return (minute >= start and _begins_on(quiet, clock.weekday())) or (
        minute < end and _begins_on(quiet, (clock.weekday() - 1) % 7)
    )


def _begins_on(quiet: signal_pb2.QuietHours, weekday: int) -> bool:
    return not quiet.weekdays or bool(quiet.weekdays >> weekday & 1)


def _offset_changes_ms(before_ms: int, after_ms: int, *, time_zone: str) -> int:
    """The first instant of the later offset; offsets change on a whole second."""
    offset = local(before_ms, time_zone=time_zone).utcoffset()
    low_s, high_s = before_ms // 1000, -(-after_ms // 1000)
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if local(middle_s * 1000, time_zone=time_zone).utcoffset() == offset:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s * 1000
