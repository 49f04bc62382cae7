"""When a tip goes out to a device, and why it does not: judged at the very moment of sending. Pure: time comes in.

What `step` decided was right when it did. Meanwhile the person may have withdrawn, gone to sleep, opened the page, or travelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agents import quiet_hours
from oo.v1.signal_pb2 import QuietHours
from streams.units import SECOND_MS

LOOKED_AGAIN_MS: Final = 30 * SECOND_MS
"""Somebody who looks at the page is told nothing; so much later they may not look any more."""
CAP_DAY: Final = 6
"""The most tips in 24 hours that anybody is told on their devices, where they set no cap of their own."""
RETRY_FIRST_MS: Final = 5 * SECOND_MS
RETRY_MAX_MS: Final = 900 * SECOND_MS

Why = Literal["consent", "quiet", "cap", "apart", "here", "ran-out", "answered", "unconfirmed", "no-channel", "retry"]


@dataclass(frozen=True, slots=True)
class Person:
    """How things stand with somebody."""

    purposes: frozenset[int]
    """Granted now."""
    quiet: QuietHours
    time_zone: str
    here: bool
    """Whether the page is open before them."""
    answered: bool
    """Whether they have reacted to this tip."""
    cap: int = CAP_DAY


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: look again then."""

    at_ms: int
    why: Why


@dataclass(frozen=True, slots=True)
class Never:
    """Not this tip, on this device."""

    why: Why


def judged(
    person: Person,
    *,
    purpose: int,
    runs_out_ms: int,
    now_ms: int,
    told: int = 0,
    again_ms: int = 0,
    last_ms: int | None = None,
    apart_ms: int = 0,
) -> Later | Never | None:
    """Return None where it is to go out now.

    `told`: tips of the last 24 hours, on any device, without this one; `again_ms`: not before, since a provider asked for that; `last_ms`: when the device was told something last, `apart_ms` between two.

    >>> awake = Person(frozenset({5}), QuietHours(), "UTC", here=False, answered=False)
    >>> judged(awake, purpose=5, runs_out_ms=10, now_ms=9), judged(awake, purpose=6, runs_out_ms=10, now_ms=9)
    (None, Never(why='consent'))
    """
    if person.answered:
        return Never("answered")
    if purpose not in person.purposes:
        return Never("consent")
    if now_ms >= runs_out_ms:
        return Never("ran-out")
    if told >= person.cap:
        return Never("cap")
    waits: list[tuple[int, Why]] = []
    if again_ms > now_ms:
        waits.append((again_ms, "retry"))
    if last_ms is not None and last_ms + apart_ms > now_ms:
        waits.append((last_ms + apart_ms, "apart"))
    if person.here:
        waits.append((now_ms + LOOKED_AGAIN_MS, "here"))
    if quiet_hours.is_quiet(person.quiet, now_ms, time_zone=person.time_zone):
        waits.append((quiet_hours.changes_ms(person.quiet, now_ms, time_zone=person.time_zone) or runs_out_ms, "quiet"))
    if not waits:
        return None
    at_ms, why = max(waits)
    return Never(why) if at_ms >= runs_out_ms else Later(at_ms, why)


def retry_ms(attempts: int, *, draw: float) -> int:
    """Return the pause before another attempt after so many; `draw`: 0 to 1.

    >>> [retry_ms(n, draw=1.0) // 1000 for n in (1, 2, 5, 50)]
    [5, 10, 80, 900]
    """
    longest = min(RETRY_MAX_MS, RETRY_FIRST_MS << min(attempts - 1, 16))
    return int(longest * (0.5 + draw / 2))
