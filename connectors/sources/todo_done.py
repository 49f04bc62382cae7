"""A VTODO's text with the task completed: every other line stays as it is, byte for byte.

It never parses the calendar anew: what a library does not know of would be lost to its owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

_REPLACED = ("STATUS", "PERCENT-COMPLETE", "COMPLETED", "LAST-MODIFIED", "DTSTAMP")


class Repeats(Exception):
    """The task comes again: to complete it would end all that is to come."""


class AlreadyDone(Exception):
    """It is completed there."""


def uid_of(text: str) -> str:
    r"""Return the UID of a calendar's first event or task; empty where it has none.

    >>> uid_of("BEGIN:VTODO\r\nUID:a-long\r\n -one\r\nEND:VTODO\r\n")
    'a-long-one'
    """
    for line in _logical(text):
        name, _, value = _unfolded(line).partition(":")
        if name.partition(";")[0].upper() == "UID":
            return value.strip()
    return ""


def completed(text: str, *, now: datetime) -> str:
    r"""Return the text with its task completed at `now`; raises Repeats, AlreadyDone, and ValueError where there is no task.

    >>> from datetime import UTC
    >>> done = completed("BEGIN:VTODO\r\nUID:1\r\nSTATUS:NEEDS-ACTION\r\nEND:VTODO\r\n", now=datetime(2026, 11, 29, tzinfo=UTC))
    >>> done.split()[2:5]
    ['STATUS:COMPLETED', 'PERCENT-COMPLETE:100', 'COMPLETED:20261129T000000Z']
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    end = "\r\n" if "\r\n" in text else "\n"
    result: list[str] = []
    inside: list[str] = []
    found = False
    for line in _logical(text):
        head, _, value = _unfolded(line).partition(":")
        name = head.partition(";")[0].strip().upper()
        if name == "BEGIN":
            inside.append(value.strip().upper())
        if inside[-1:] == ["VTODO"]:
            if name in ("RRULE", "RDATE", "RECURRENCE-ID"):
                raise Repeats
            if name == "COMPLETED" or (name == "STATUS" and value.strip().upper() == "COMPLETED"):
                raise AlreadyDone
            if name in _REPLACED:
                continue
            if name == "END":
                found = True
                said = {"STATUS": "COMPLETED", "PERCENT-COMPLETE": "100"}
                said |= dict.fromkeys(("COMPLETED", "LAST-MODIFIED", "DTSTAMP"), stamp)
                result += [f"{key}:{word}{end}" for key, word in said.items()]
        if name == "END" and inside:
            inside.pop()
        result.append(line)
    if not found:
        raise ValueError("no task")
    return "".join(result)


def _logical(text: str) -> Iterator[str]:
    """Yield lines with their folds and line ends as they stand."""
    yield from re.findall(r"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", text)[:-1]


def _unfolded(line: str) -> str:
    return re.sub(r"\r?\n[ \t]", "", line).rstrip("\r\n")
