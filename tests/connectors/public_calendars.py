"""Reads the .ics files of the calendar libraries' own test suites, and compares instances with a second reader.

Run by hand; it needs the package index, CI does not run it:

    .venv/bin/python tests/connectors/public_calendars.py [FOLDER]     # FOLDER keeps the sdists; a temporary one if left out

It prints a table and exits with 1 at a crash. A difference is a matter for a reader: both are printed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import recurring_ical_events
from icalendar import Calendar

from connectors import ical
from connectors.source_file import UnreadableFile

SDISTS = (
    *("icalendar==7.3.2", "icalendar==5.0.13", "icalendar==4.0.9", "recurring-ical-events==3.8.2"),
    *(
        "recurring-ical-events==2.2.3",
        "khal==0.14.1",
        "vobject==0.9.6.1",
        "radicale==3.9.0",
        "vdirsyncer==0.20.0",
        "mergecal==0.5.0",
    ),
)
"""The latest, and older ones for files that the later ones no longer have. `ics` and `icalevents` have none, or do not build."""
PIP = [shutil.which("pip") or ".uv/bin/pip"]
ZONE = ZoneInfo("Europe/Berlin")


def download(folder: Path) -> None:
    for requirement in SDISTS:
        name, _, version = requirement.partition("==")
        if list(folder.glob(f"{name.replace('-', '_')}-{version}*")):
            continue
        command = [*PIP, "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), requirement]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            print(f"not to be had: {requirement}")


def calendars(folder: Path) -> dict[str, dict[str, bytes]]:
    """By package: each content once."""
    found: dict[str, dict[str, bytes]] = {}
    seen: set[bytes] = set()
    for path in sorted(folder.glob("*.tar.gz")):
        files = found.setdefault(path.name.removesuffix(".tar.gz"), {})
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and member.name.lower().endswith(".ics") else None
                data = file.read() if file else b""
                if file and (digest := hashlib.sha256(data).digest()) not in seen:
                    seen.add(digest)
                    files[member.name] = data
    return found


def around(data: bytes) -> datetime:
    """A day on which the file has something: two days before its first event begins."""
    try:
        begins = min(moment(event.start) for event in Calendar.from_ical(data).walk("VEVENT") if event.start)
        return max(begins, datetime(1980, 1, 1, tzinfo=UTC)) + timedelta(days=2)
    except Exception:  # noqa: BLE001 - the second reader cannot read it
        return datetime(2026, 11, 28, tzinfo=UTC)


def moment(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, datetime.min.time(), ZONE).astimezone(UTC)
    return (value if value.tzinfo else value.replace(tzinfo=ZONE)).astimezone(UTC)


def theirs(data: bytes, window: ical.Window) -> set[tuple[datetime, datetime]] | None:
    """None where the second reader cannot read the file."""
    try:
        found = recurring_ical_events.of(Calendar.from_ical(data)).between(
            window.start - timedelta(days=1), window.end + timedelta(days=1)
        )
        spans = {
            (moment(event.start), moment(event.end))
            for event in found
            if str(event.get("STATUS", "")).upper() != "CANCELLED"
        }
    except Exception:  # noqa: BLE001
        return None
    return {span for span in spans if inside(span, window)}


def inside(span: tuple[datetime, datetime], window: ical.Window) -> bool:
    start, end = span
    return start < window.end and (end > window.start or start == end >= window.start)


def main(folder: Path) -> int:
    download(folder)
    total: Counter[str] = Counter()
    print(
        f"{'package':32}{'files':>6}{'read':>6}{'none':>6}{'crash':>6}{'items':>7}{'left out':>9}{'both':>6}{'same':>6}"
    )
    reasons: Counter[str] = Counter()
    for package, files in calendars(folder).items():
        count: Counter[str] = Counter(files=len(files))
        for name, data in files.items():
            now, begun = around(data), time.monotonic()
            try:
                parsed = ical.parse(data, user_id="ann", zone=ZONE, now=now, modified=now)
            except UnreadableFile:
                count["none"] += 1
                continue
            except Exception as error:  # noqa: BLE001 - what this run looks for
                count["crash"] += 1
                print(f"CRASH {package} {name}: {error!r}")
                continue
            if time.monotonic() - begun > 2:
                print(f"  slow: {name} took {time.monotonic() - begun:.1f} s")
            count["read"] += 1
            count["items"] += len(parsed.signals) + parsed.waiting
            left_out = [problem for problem in parsed.problems if problem.skipped]
            count["left out"] += len(left_out)
            reasons.update(problem.what.partition("(")[0].strip() for problem in left_out)
            their = theirs(data, ical.Window.around(now))
            if their is None or not parsed.complete or parsed.unread:
                continue
            ours = {
                (event.start.ToDatetime(tzinfo=UTC), event.end.ToDatetime(tzinfo=UTC))
                for signal in parsed.signals
                if signal.HasField("calendar_event_upserted") and (event := signal.calendar_event_upserted)
            }
            count["both"] += 1
            if ours == their:
                count["same"] += 1
            else:
                print(f"  differs: {name.partition('/')[2]}")
                for who, spans in (("ours", ours - their), ("theirs", their - ours)):
                    for start, end in sorted(spans)[:3]:
                        print(f"    {who} {start:%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}")
        total += count
        print_row(package, count)
    print_row("all", total)
    for reason, number in reasons.most_common():
        print(f"  left out {number:4} {reason}")
    return 1 if total["crash"] else 0


def print_row(package: str, count: Counter[str]) -> None:
    columns = (
        ("files", 6),
        ("read", 6),
        ("none", 6),
        ("crash", 6),
        ("items", 7),
        ("left out", 9),
        ("both", 6),
        ("same", 6),
    )
    print(f"{package:32}" + "".join(f"{count[name]:>{width}}" for name, width in columns))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(main(Path(scratch)))
