"""Reads the calendar files of the calendar libraries' own test suites, and compares instances with a second reader.

Run by hand; it asks package indexes by their own clients (pip, cargo, npm, go), which CI does not:

    .venv/bin/python tests/connectors/public_calendars.py [FOLDER]     # FOLDER keeps the packages; a temporary one if left out

It prints a table and exits with 1 at a crash, or where a package has other files than those it is pinned to. A difference is a
matter for a reader: both are printed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import recurring_ical_events
from icalendar import Calendar

from connectors import ical
from connectors.source_file import UnreadableFile

SUITES = {
    "pip icalendar==7.3.2": "8b82f4317a08b5ca",
    "pip recurring-ical-events==3.8.2": "e9ab63a6f50873de",
    "pip khal==0.14.1": "609040f578812026",
    "pip vobject==0.9.6.1": "9955cebe05df7439",
    "cargo calcard==0.3.14": "b2200e53ae1dd3e3",
    "cargo ical==0.11.0": "a66b7822a588e39e",
    "npm ical==0.8.0": "1aed1a0ed40ed538",
    "go github.com/arran4/golang-ical==v0.3.4": "753682822654e455",
}
"""What to ask of which client, and a hash over the contents of the calendar files in it. calcard's are numbered:
it gathered them from many libraries and applications. A content counts for the package that has it first."""
PIP = [shutil.which("pip") or ".uv/bin/pip"]
ZONE = ZoneInfo("Europe/Berlin")


def fetch(client: str, name: str, version: str, folder: Path) -> None:
    """Leave the package in the folder, as an archive or laid out."""
    run = partial(subprocess.run, cwd=folder, check=True, capture_output=True)
    if client == "pip":
        run([*PIP, "download", "--no-deps", "--no-binary", ":all:", "-d", ".", f"{name}=={version}"])
    elif client == "npm":
        run(["npm", "pack", f"{name}@{version}"])
    elif client == "go":
        run(
            ["go", "mod", "download", f"{name}@{version}"],
            env={**os.environ, "GOPATH": str(folder), "GOFLAGS": "-modcacherw"},
        )
    elif client == "cargo":
        run(["cargo", "init", "--quiet", "--name", "suite", "asking"])
        asked = partial(run, cwd=folder / "asking")
        asked(["cargo", "add", "--quiet", "--no-default-features", f"{name}@={version}"])
        asked(["cargo", "vendor", "--quiet", "--versioned-dirs", "all"])
        (folder / "asking/all" / f"{name}-{version}").rename(folder / name)
        shutil.rmtree(folder / "asking")


def suite(what: str, folder: Path) -> dict[str, bytes]:
    """The package's calendar files by name; none where it is not to be had."""
    client, _, asked = what.partition(" ")
    name, _, version = asked.partition("==")
    place = folder / f"{name.replace('/', '-')}-{version}"
    if not place.exists():
        place.mkdir(parents=True)
        try:
            fetch(client, name, version, place)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"not to be had: {what} ({str(getattr(error, 'stderr', None) or error).strip()[-200:]})")
            shutil.rmtree(place)
            return {}
    found: dict[str, bytes] = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and (".tar." in path.name or path.suffix == ".tgz"):
            with tarfile.open(path) as archive:
                members = [member for member in archive if member.isfile() and is_calendar(member.name)]
                found |= {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]
        elif path.is_file() and is_calendar(path.name):
            found[str(path.relative_to(place))] = path.read_bytes()
    return found


def is_calendar(name: str) -> bool:
    return name.lower().endswith((".ics", ".ical", ".vcs"))


def calendars(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """By package: each content once."""
    seen: set[bytes] = set()
    for what, pinned in SUITES.items():
        files = suite(what, folder)
        digests = {name: hashlib.sha256(data).digest() for name, data in files.items()}
        found = hashlib.sha256(b"".join(sorted(digests.values()))).hexdigest()[:16]
        if files and found != pinned:
            raise SystemExit(f"{what} has other files than those that were pinned: {found}")
        new = {digest: name for name, digest in digests.items() if digest not in seen}
        seen |= new.keys()
        yield what.partition(" ")[2].rpartition("/")[2], {name: files[name] for name in sorted(new.values())}


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
    total: Counter[str] = Counter()
    print(
        f"{'package':32}{'files':>6}{'read':>6}{'none':>6}{'crash':>6}{'items':>7}{'left out':>9}{'both':>6}{'same':>6}"
    )
    reasons: Counter[str] = Counter()
    for package, files in calendars(folder):
        count: Counter[str] = Counter(files=len(files))
        for name, data in files.items():
            now, begun = around(data), time.process_time()
            try:
                parsed = ical.parse(data, user_id="ann", zone=ZONE, now=now, modified=now)
            except UnreadableFile:
                count["none"] += 1
                continue
            except Exception as error:  # noqa: BLE001 - what this run looks for
                count["crash"] += 1
                print(f"CRASH {package} {name}: {error!r}")
                continue
            if time.process_time() - begun > 2:
                print(f"  slow: {name} took {time.process_time() - begun:.1f} s")
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
