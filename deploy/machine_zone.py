"""The time zone that this machine is set to. It never asks the network, and never guesses."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from zoneinfo import ZoneInfo

UNTOLD = ("UTC", "Etc/UTC", "Universal", "Zulu", "Etc/Universal", "Etc/Zulu", "GMT", "Etc/GMT", "UCT", "Etc/UCT")
"""What a machine says that nobody told where it stands: it is no word about its owner."""


def machine_zone() -> str | None:
    """The IANA name, or None where the machine has none or only UTC."""
    for name in _names():
        if name and name not in UNTOLD and known_zone(name):
            return name
    return None


def known_zone(name: str) -> bool:
    """Whether the time zone database has it.

    >>> known_zone('Europe/Berlin'), known_zone('Europe/Nowhere'), known_zone('../etc/passwd')
    (True, False, False)
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _names() -> list[str]:
    if "TZ" in os.environ:
        return [os.environ["TZ"].lstrip(":")]
    names = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        names.append(Path("/etc/timezone").read_text().strip())
    names.append(str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2])
    return names
