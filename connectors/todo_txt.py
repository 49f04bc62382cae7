"""todo.txt, the whole format: each line of a file becomes one signal about one task.

It never opens a file and never asks the clock: bytes, the zone and both times come in, signals and problems go out.
What the format leaves open is decided in docs/adr (todo-txt).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from connectors.source_file import (
    LABEL_MAX,
    LABELS_MAX,
    MINUTES_MAX,
    SECONDS_MAX,
    TITLE_MAX,
    URL_MAX,
    Parsed,
    Problem,
    cut,
    decode,
    external_id,
    one_line,
    timestamp,
)
from oo.v1.signal_pb2 import Signal, TaskCompleted, TaskUpserted

SOURCE = "todo.txt"
TASKS_MAX = 20_000
"""Lines past it are left out, and said."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PRIORITY = re.compile(r"\(([A-Z])\)")
_TAG = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(\S+)")
_ESTIMATE = re.compile(r"(?:([0-9]{1,4}(?:\.[0-9]{1,2})?)h)?(?:([0-9]{1,6})(?:m|min)?)?")
_URL = re.compile(r"https?://\S+")

_ESTIMATE_KEYS = ("est", "estimate", "min", "dur", "duration")
_KNOWN_KEYS = ("due", "t", "h", "pri", "rec", "id", "uid", *_ESTIMATE_KEYS)
"""Tags that say something about the task; any other key:value is part of its text."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, taken apart; nothing in it is interpreted yet but the dates in front."""

    completed: bool
    priority: str
    """A to Z, or empty."""
    completed_on: date | None
    created_on: date | None
    words: tuple[str, ...]
    """The description without the known tags."""
    tags: Mapping[str, str]
    """The first value of each known tag."""


def take_apart(line: str) -> Line:
    """Return a line's parts by the rules of todo.txt. Any text is a task; what only looks like a part stays text.

    >>> take_apart('x 2026-11-20 2026-11-01 Pay rent +home pri:A').completed_on
    datetime.date(2026, 11, 20)
    >>> take_apart('(B) Call Mom @phone due:2026-11-30').words
    ('Call', 'Mom', '@phone')
    >>> take_apart('(b) xylophone').words
    ('(b)', 'xylophone')
    """
    words = one_line(line).split(" ")
    priority, completed_on = "", None
    completed = words[0] == "x" and len(words) > 1
    if completed:
        words = words[1:]
        # Both orders occur in the wild: "x (A) 2026-11-20" and "x 2026-11-20 (A)".
        if match := _PRIORITY.fullmatch(words[0]):
            priority, words = match[1], words[1:]
        completed_on = _date(words[0]) if words else None
        words = words[1:] if completed_on else words
    if words and (match := _PRIORITY.fullmatch(words[0])):
        priority, words = match[1], words[1:]
    created_on = _date(words[0]) if words else None
    words = words[1:] if created_on else words

    tags: dict[str, str] = {}
    rest = []
    for word in words:
        match = _TAG.fullmatch(word)
        if match and (key := match[1].lower()) in _KNOWN_KEYS and not match[2].startswith("//"):
            tags.setdefault(key, match[2])
        elif word:
            rest.append(word)
    pri = tags.get("pri", "").upper()
    return Line(
        completed=completed,
        priority=priority or (pri if _PRIORITY.fullmatch(f"({pri})") else ""),
        completed_on=completed_on,
        created_on=created_on,
        words=tuple(rest),
        tags=tags,
    )


def parse(data: bytes, *, name: str, user_id: str, zone: ZoneInfo, now: datetime, modified: datetime) -> Parsed:
    """Return every task of a todo.txt as a signal, in the file's order, and what could not be taken as it stands.

    `name` is the file's stable name, part of its tasks' ids; `now` decides which start dates (t:) lie ahead;
    `modified` is the event time of all of them. Raises UnreadableFile.

    >>> when = datetime(2026, 11, 23, 9, tzinfo=ZoneInfo('UTC'))
    >>> parsed = parse(b'(A) Call Mom', name='todo.txt', user_id='ann', zone=ZoneInfo('UTC'), now=when, modified=when)
    >>> parsed.signals[0].task_upserted.title
    'Call Mom'
    """
    text, encoding_problem = decode(data)
    problems = [encoding_problem] if encoding_problem else []
    # Not splitlines: a task may hold a form feed or a Unicode line separator.
    lines = [
        (number, line)
        for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1)
        if one_line(line)
    ]
    if len(lines) > TASKS_MAX:
        what = f"a file may hold {TASKS_MAX:,} tasks; {len(lines) - TASKS_MAX:,} left out"
        problems.append(Problem(lines[TASKS_MAX][0], what, skipped=True, hides=True))
    taken = [(number, take_apart(line)) for number, line in lines[:TASKS_MAX]]
    ids = _identities(taken, name=name, problems=problems)

    signals, waiting, texts = [], 0, {}
    today = now.astimezone(zone).date()
    for (number, line), task_id in zip(taken, ids, strict=True):
        if not line.words:
            problems.append(Problem(number, "a task without a text; left out", skipped=True))
            continue
        signal = Signal(user_id=user_id, source=SOURCE, event_time=_event_time(modified))
        if line.completed:
            signal.task_completed.CopyFrom(TaskCompleted(external_id=task_id))
        elif _waits(line, today=today):
            waiting += 1
            continue
        else:
            signal.task_upserted.CopyFrom(_task(number, line, task_id=task_id, zone=zone, problems=problems))
        signals.append(signal)
        texts[task_id] = _written(line.words)
    return Parsed(
        signals=tuple(signals),
        texts=texts,
        problems=tuple(sorted(problems, key=lambda problem: problem.line)),
        waiting=waiting,
    )


def completions(data: bytes, *, zone: ZoneInfo) -> dict[str, int]:
    """Return what an archive (done.txt) says was completed: by text, the end of the last day on which it was, in ms.

    Lines without a day are passed over: nobody knows whether they are of today or of a year ago.

    >>> list(completions(b"x 2026-11-20 Pay rent +home", zone=ZoneInfo("UTC")))
    ['pay rent']
    """
    found: dict[str, int] = {}
    for text in decode(data)[0].splitlines():
        line = take_apart(text)
        if line.completed and line.completed_on is not None and line.words:
            ended = datetime.combine(line.completed_on, time(23, 59, 59), tzinfo=zone)
            written = _written(line.words)
            found[written] = max(found.get(written, 0), int(ended.timestamp() * 1000))
    return found


def _written(words: tuple[str, ...]) -> str:
    """Return the text without labels and without any key:value: what a person wrote, whatever tools keep beside it."""
    bare = [word for word in words if word[0] not in "@+" and (not _TAG.fullmatch(word) or _URL.match(word))]
    return unicodedata.normalize("NFC", " ".join(bare)).casefold()


def _identities(taken: list[tuple[int, Line]], *, name: str, problems: list[Problem]) -> list[str]:
    """Return an id for each line that its priority, dates, tags and a tick do not change.

    Lines with the same text are numbered, the ticked ones first: a repeating task that is ticked off and written
    anew below (or above) keeps its number, and the new line gets the next.
    """
    bare: list[str] = []
    tagged_at: dict[str, int] = {}
    for number, line in taken:
        tag = line.tags.get("id") or line.tags.get("uid")
        if tag and line.words:
            if tag in tagged_at:
                what = f"the id {cut(tag, 40)!r} stands on line {tagged_at[tag]} too; numbered"
                problems.append(Problem(number, what))
            tagged_at.setdefault(tag, number)
        text = unicodedata.normalize("NFC", " ".join(line.words)).casefold()
        bare.append(tag or hashlib.sha256(text.encode()).hexdigest()[:16])
    seen: Counter[str] = Counter()
    used: set[str] = set()
    ids = [""] * len(taken)
    for index in sorted(range(len(taken)), key=lambda index: not taken[index][1].completed):
        # Again where a person's own id looks like one of these numbers.
        while not ids[index] or ids[index] in used:
            seen[bare[index]] += 1
            nth = seen[bare[index]]
            ids[index] = external_id(f"{name}#{bare[index]}" + (f"#{nth}" if nth > 1 else ""))
        used.add(ids[index])
    return ids


def _waits(line: Line, *, today: date) -> bool:
    start = _date(line.tags.get("t", ""))
    return line.tags.get("h") == "1" or (start is not None and start > today)


def _task(number: int, line: Line, *, task_id: str, zone: ZoneInfo, problems: list[Problem]) -> TaskUpserted:
    title = _title(line.words)
    if len(title) > TITLE_MAX:
        problems.append(Problem(number, f"the text has {len(title):,} characters; cut at {TITLE_MAX}"))
    if "t" in line.tags and _date(line.tags["t"]) is None:
        problems.append(Problem(number, f"t:{cut(line.tags['t'], 40)} is no date; write t:2026-11-30"))
    task = TaskUpserted(
        external_id=task_id,
        title=cut(title, TITLE_MAX),
        priority=min(ord(line.priority) - ord("A") + 1, 4) if line.priority else 0,
        labels=_labels(number, line.words, problems=problems),
    )
    if "due" in line.tags:
        due = _due(line.tags["due"], zone=zone)
        if due is None:
            problems.append(Problem(number, f"due:{cut(line.tags['due'], 40)} is no date; write due:2026-11-30"))
        else:
            task.due.CopyFrom(due)
    for key in _ESTIMATE_KEYS:
        if key not in line.tags:
            continue
        minutes = _minutes(line.tags[key])
        if minutes is None:
            problems.append(Problem(number, f"{key}:{cut(line.tags[key], 40)} is no length; write {key}:30m or 1h30m"))
            continue
        if minutes > MINUTES_MAX:
            problems.append(Problem(number, f"{key}:{line.tags[key]} is over a week; taken as a week"))
        task.estimated_minutes = min(minutes, MINUTES_MAX)
        break
    url = next((word for word in line.words if _URL.fullmatch(word)), "")
    if len(url) <= URL_MAX:
        task.url = url
    return task


def _title(words: tuple[str, ...]) -> str:
    """Return the text without the contexts and projects around it; one inside a sentence is a word of it."""
    first, last = 0, len(words)
    while last > first and _label(words[last - 1]):
        last -= 1
    while first < last and _label(words[first]):
        first += 1
    return " ".join(words[first:last] or words)


def _labels(number: int, words: tuple[str, ...], *, problems: list[Problem]) -> list[str]:
    labels = list(dict.fromkeys(label for word in words if (label := _label(word))))
    if len(labels) > LABELS_MAX:
        problems.append(Problem(number, f"{len(labels)} contexts and projects; the first {LABELS_MAX} taken"))
    if any(len(label) > LABEL_MAX for label in labels):
        problems.append(Problem(number, f"a context or project of over {LABEL_MAX} characters; cut"))
    return list(dict.fromkeys(cut(label, LABEL_MAX) for label in labels))[:LABELS_MAX]


def _label(word: str) -> str:
    return word[1:].rstrip(".,;:!?") if word[0] in "@+" else ""


def _date(text: str) -> date | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _due(text: str, *, zone: ZoneInfo) -> Timestamp | None:
    """Return a day's last second in the person's zone, or the minute where the tag names one (2026-11-30T17:00)."""
    try:
        if _DATE.fullmatch(text):
            moment = datetime.combine(date.fromisoformat(text), time(23, 59, 59), tzinfo=zone)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return None
    # What a Timestamp can hold; a due date before 1970 is a slip of the pen.
    return timestamp(seconds * 1000) if 0 <= seconds <= SECONDS_MAX else None


def _minutes(text: str) -> int | None:
    """30m, 30, 1h, 1.5h, 1h30m; anything else is None."""
    match = _ESTIMATE.fullmatch(text.lower())
    if not text or not match:
        return None
    return round(float(match[1] or 0) * 60) + int(match[2] or 0)


def _event_time(moment: datetime) -> Timestamp:
    return timestamp(int(moment.timestamp() * 1000))
