"""The instances of one event series inside a span of time.

It never follows a rule that would take minutes to unroll: such a rule is refused before the first step. Rules run in
wall time, by dateutil; what an instance then is (its zone, its end, its name) is decided here (docs/adr/0029).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from dateutil.rrule import rrule, rrulestr
from icalendar import Component
from icalendar.prop import vDDDLists

from connectors.ical.component import Read
from connectors.ical.value import Length, first, instant, moment_id

STEPS_MAX = 100_000
"""Steps that a rule may take from its beginning to the end of the span: a daily one has 270 years for it."""
_STEPS_A_DAY = {
    "SECONDLY": 86_400,
    "MINUTELY": 1_440,
    "HOURLY": 24,
    "WEEKLY": 1 / 7,
    "MONTHLY": 1 / 28,
    "YEARLY": 1 / 365,
}
_DAY = timedelta(days=1)
_WHOLE_DAY = time(23, 59, 59)


class RepeatsTooOften(ValueError):
    """A rule that is no person's calendar."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One time that an event takes place. Days for an all-day event."""

    origin: Read
    """What of the file it comes from."""
    start: date | datetime
    end: date | datetime
    moment: str
    """Where its rule puts it, whatever it was moved to: its name within the series."""


@dataclass(frozen=True, slots=True)
class Series:
    """A component that may repeat, in the wall time of its zone."""

    origin: Read
    begins: date | datetime
    zone: tzinfo

    @classmethod
    def of(cls, origin: Read, begins: date | datetime) -> Series:
        """In the zone of its beginning. Who writes X-WR-TIMEZONE means rules in UTC to run in that."""
        if not isinstance(begins, datetime):
            return cls(origin, begins, origin.home)
        begins = instant(begins, zone=origin.zone)
        if origin.declared and begins.utcoffset() == timedelta(0) and str(begins.tzinfo) == "UTC":
            begins = begins.astimezone(origin.zone)
        assert begins.tzinfo is not None
        return cls(origin, begins, begins.tzinfo)

    def wall(self, moment: date | datetime) -> datetime:
        """Without its zone; a day in a timed series is that day's instance, a day in days its midnight."""
        if not isinstance(moment, datetime):
            at = self.begins.time() if isinstance(self.begins, datetime) else time()
            return datetime.combine(moment, at)
        if moment.tzinfo is None or not isinstance(self.begins, datetime):
            return moment.replace(tzinfo=None)
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def at(self, wall: datetime) -> date | datetime:
        """Return the moment of this series that wall time means."""
        return wall.replace(tzinfo=self.zone) if isinstance(self.begins, datetime) else wall.date()

    def point(self, moment: date | datetime) -> datetime:
        """In UTC: within one zone Python compares wall times, also where two of them are one instant."""
        return instant(moment, zone=self.zone).astimezone(UTC)

    def starts(self, since: datetime, until: datetime) -> set[datetime]:
        """Wall times inside the span at which its rules and dates put it, those taken out left out.

        Raises RepeatsTooOften, and ValueError for a rule that is none.
        """
        begin = self.wall(self.begins)
        found = {begin}
        for text in filter(None, self.origin.rules):
            rule, last = self._rule(text, begin=begin, end=until)
            if last is not None and last < begin:
                found.discard(begin)
            found.update(rule.between(since, min(until, last) if last else until, inc=True))
        found.update(self.wall(start) for start, _ in self.dates())
        # Two wall times that are one instant, of which one does not exist, are one.
        taken = {self.point(out) for out in self.taken_out()}
        unique = {self.point(self.at(wall)): wall for wall in sorted(found, reverse=True)}
        return {wall for moment, wall in unique.items() if moment not in taken and since <= wall <= until}

    def dates(self) -> Iterator[tuple[date | datetime, Length | None]]:
        """RDATE, and the length of those that are periods."""
        for value in _dates(self.origin.component, "RDATE"):
            if isinstance(value, tuple):
                start, end = value
                yield start, Length(exact=end if isinstance(end, timedelta) else end - start)
            else:
                yield value, None

    def taken_out(self) -> Iterator[date | datetime]:
        """EXDATE, as instances of this series."""
        for value in _dates(self.origin.component, "EXDATE"):
            if not isinstance(value, tuple):
                yield self.at(self.wall(value))

    def _rule(self, text: str, *, begin: datetime, end: datetime) -> tuple[rrule, datetime | None]:
        """dateutil's rule without its UNTIL, and that: inclusive, a day whole."""
        pairs = [pair.partition("=")[::2] for pair in "".join(text.split()).upper().split(";") if "=" in pair]
        parts = {key: value for key, value in pairs if key.startswith("BY") or key in _RULE_PARTS}
        if "FREQ" not in parts:
            raise ValueError("a rule without FREQ")
        until = parts.pop("UNTIL", "")
        if not parts.get("COUNT", "1").isdigit() or parts.get("COUNT") == "0":
            del parts["COUNT"]
        if not parts.get("INTERVAL", "1").isdigit() or int(parts.get("INTERVAL", "1")) < 1:
            raise ValueError("a rule with a broken INTERVAL")
        a_day = _STEPS_A_DAY.get(parts["FREQ"], 1)
        if a_day < 1 and any(key.startswith("BY") for key in parts):
            a_day = 1
        for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):
            a_day *= max(len(parts.get(part, "").split(",")), 1)
        if max((end - begin).days, 1) * a_day / int(parts.get("INTERVAL", "1")) > STEPS_MAX:
            raise RepeatsTooOften("this event repeats too often, or since too long, to be followed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rule = rrulestr(";".join(f"{key}={value}" for key, value in parts.items()), dtstart=begin)
        assert isinstance(rule, rrule)
        return rule, self._until(until) if until else None

    def _until(self, text: str) -> datetime:
        day = datetime.strptime(text[:8], "%Y%m%d")  # noqa: DTZ007 - wall time
        if len(text) < 15:
            return datetime.combine(day, _WHOLE_DAY)
        moment = datetime.strptime(text[:15], "%Y%m%dT%H%M%S")  # noqa: DTZ007 - wall time
        if not isinstance(self.begins, datetime):
            return datetime.combine(day, _WHOLE_DAY)
        return self.wall(moment.replace(tzinfo=UTC)) if text.endswith("Z") else moment


_RULE_PARTS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST")


def instances(items: Sequence[Read], *, start: datetime, end: datetime) -> Iterator[Instance]:
    """Instances of the components of one UID near the span, in no order; some may lie a day or two outside.

    Raises RepeatsTooOften, or ValueError for a series without a beginning.
    """
    masters: list[Series] = []
    overrides: list[Series] = []
    for item in items:
        begins = first(item.component, "DTSTART")
        if begins is None:
            raise ValueError("no DTSTART")
        kind = overrides if first(item.component, "RECURRENCE-ID") is not None else masters
        kind.append(Series.of(item, _day(begins) if _midnights(item) else begins))
    master = masters[0] if masters else None
    replaced: set[datetime] = set()
    changes: list[tuple[datetime, Series, Series]] = []
    for override in overrides:
        of = override if master is None else master
        recurrence = first(override.origin.component, "RECURRENCE-ID")
        assert recurrence is not None
        named = of.at(of.wall(recurrence))
        replaced.add(of.point(named))
        wall_named = of.wall(recurrence)
        # A later revision of the series that has no such instance any more took the change back with it.
        if override.origin.revision[0] < of.origin.revision[0] and not of.starts(wall_named, wall_named):
            continue
        value = override.origin.component["RECURRENCE-ID"]
        if str(value.params.get("RANGE", "")).upper() == "THISANDFUTURE":
            changes.append((of.wall(recurrence), of, override))
        yield _instance(override, override.begins, moment_id(named, zone=of.zone))
    if master is None:
        return
    changes.sort(key=lambda change: change[0])
    own = {master.point(at): length for at, length in master.dates() if length}
    lasts = max((_span(series) for series in (master, *(change[2] for change in changes))), default=_DAY)
    shifts = max((abs(change[2].wall(change[2].begins) - change[0]) for change in changes), default=timedelta())
    margin = lasts + shifts + 2 * _DAY
    since, until = start.replace(tzinfo=None) - margin, end.replace(tzinfo=None) + shifts + 2 * _DAY
    for wall in sorted(master.starts(since, until)):
        at = master.at(wall)
        if master.point(at) in replaced:
            continue
        name = moment_id(at, zone=master.zone)
        follows = [change for change in changes if change[0] <= wall]
        if follows:
            changed, _, override = follows[-1]
            yield _instance(override, override.at(wall + (override.wall(override.begins) - changed)), name)
        else:
            yield _instance(master, at, name, length=own.get(master.point(at)))


def _instance(series: Series, at: date | datetime, moment: str, *, length: Length | None = None) -> Instance:
    return Instance(series.origin, at, (length or _length(series)).after(at), moment)


def _length(series: Series) -> Length:
    """Return how long each instance takes: exactly as DTEND says, or as DURATION (RFC 5545, 3.8.5.3), never less than
    nothing."""
    component, begins = series.origin.component, series.begins
    ends = first(component, "DTEND")
    length = Length()
    if ends is None:
        length = series.origin.lasts or length
    elif not isinstance(begins, datetime):
        length = Length(days=(_day(ends) - begins).days)
    else:
        zone = series.zone if isinstance(ends, datetime) else series.origin.home
        length = Length(exact=instant(ends, zone=zone).astimezone(UTC) - begins.astimezone(UTC))
    if length.days * _DAY + length.exact < timedelta(0):
        raise ValueError("it ends before it begins")
    return length


def _span(series: Series) -> timedelta:
    length = _length(series)
    return length.days * _DAY + length.exact + _DAY


def _midnights(item: Read) -> bool:
    """Return whether two midnights are a day, by Outlook's mark."""
    times = [first(item.component, name) for name in ("DTSTART", "DTEND")]
    return item.all_day_mark and all(not isinstance(at, datetime) or at.time() == time() for at in times)


def _day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _dates(component: Component, name: str) -> Iterator[date | datetime | tuple[datetime, datetime | timedelta]]:
    values = component.get(name, [])
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, vDDDLists):
            for entry in value.dts:
                if isinstance(entry.dt, date | tuple):
                    yield entry.dt
