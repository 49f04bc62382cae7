"""Moments that have passed, as an operator says them on the command line. It never looks at the clock itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

SINCE_HELP = "90m, 2h, 3d (ago), today, yesterday, 18:00, 'yesterday 18:00', or a time like 2026-12-01T09:00"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_ms(text: str, *, now: datetime) -> int:
    """A moment in the words of SINCE_HELP; raises typer.BadParameter. `now` carries the time zone in which it is said.

    >>> monday = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    >>> [f"{datetime.fromtimestamp(moment_ms(one, now=monday) / 1000, UTC):%a %H:%M}" for one in ("90m", "today", "18:00", "yesterday 9:30")]
    ['Mon 13:30', 'Mon 00:00', 'Sun 18:00', 'Sun 09:30']
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    said = re.fullmatch(r"(?:(today|yesterday)(?: |$))?(?:([0-9]{1,2}):([0-9]{2}))?", text)
    try:
        if span := re.fullmatch(r"([0-9]{1,5})([smhd])", text):
            moment = now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        elif text and said is not None:
            day, hour, minute = said.groups()
            moment = midnight.replace(hour=int(hour or 0), minute=int(minute or 0))
            if day == "yesterday" or (day is None and moment > now):
                moment -= timedelta(days=1)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=now.tzinfo)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time; write {SINCE_HELP}") from None


def here_ms(text: str | None) -> int | None:
    """The same in this machine's time zone and now; None where nothing was said. For an option's callback."""
    return None if text is None else moment_ms(text, now=datetime.now(UTC).astimezone())
