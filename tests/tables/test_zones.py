"""The person's clock: from the pinned tzdata, whatever the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tables.zones import local, part_of_day, zone


def ms(text: str) -> int:
    """Milliseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("utc", "clock", "part"),
    [
        # Berlin, 29 March 2026: 02:00 to 03:00 does not exist.
        ("2026-03-29T00:59:59", "01:59", 0),
        ("2026-03-29T01:00:00", "03:00", 0),
        ("2026-03-29T03:59:59", "05:59", 0),
        ("2026-03-29T04:00:00", "06:00", 1),
        # 25 October 2026: 02:00 to 03:00 comes twice.
        ("2026-10-25T00:30:00", "02:30", 0),
        ("2026-10-25T01:30:00", "02:30", 0),
        ("2026-10-25T04:59:59", "05:59", 0),
        ("2026-10-25T05:00:00", "06:00", 1),
    ],
)
def test_parts_of_the_day_follow_the_clock_over_summer_time(utc: str, clock: str, part: int) -> None:
    assert local(ms(utc), time_zone="Europe/Berlin").strftime("%H:%M") == clock
    assert part_of_day(ms(utc), time_zone="Europe/Berlin") == part


def test_zones_off_by_a_half_and_a_quarter_of_an_hour() -> None:
    assert part_of_day(ms("2026-06-01T00:15:00"), time_zone="Asia/Kathmandu") == 1
    assert part_of_day(ms("2026-06-01T00:14:59"), time_zone="Asia/Kathmandu") == 0
    assert local(ms("2026-06-01T00:00:00"), time_zone="Asia/Kolkata").strftime("%H:%M") == "05:30"


def test_a_part_of_the_day_that_is_skipped_where_the_date_line_moved() -> None:
    # Apia had no 30 December 2011.
    before, after = ms("2011-12-30T09:59:59"), ms("2011-12-30T10:00:00")
    assert local(before, time_zone="Pacific/Apia").date().isoformat() == "2011-12-29"
    assert local(after, time_zone="Pacific/Apia").date().isoformat() == "2011-12-31"


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "Europe/../../zones",
        "Europe//Berlin",
        "Europe/",
        "Europe",
        "..",
        ".",
        "Europe/Berlin\x00",
        "Europe/Berlin\n",
        "Europe\\Berlin",
        "leapseconds",
        "tzdata.zi",
        "__init__.py",
        "Nowhere/Land",
        "Ευρώπη/Βερολίνο",
        "x" * 5000,
    ],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        zone(name)


def test_no_zone_means_utc() -> None:
    assert zone("").utcoffset(None) == zone("UTC").utcoffset(None)


def test_the_machines_own_zone_files_are_never_read(tmp_path: Path) -> None:
    # A zone file that says Berlin is in Tokyo, where zoneinfo would look first.
    from importlib import resources

    (tmp_path / "Europe").mkdir()
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(tokyo)
    program = (
        "from zoneinfo import ZoneInfo; from tables.zones import local; import datetime\n"
        "print(datetime.datetime(2026, 6, 1, tzinfo=ZoneInfo('Europe/Berlin')).utcoffset())\n"
        "print(local(1780272000000, time_zone='Europe/Berlin').utcoffset())\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONTZPATH": str(tmp_path), "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert printed == ["9:00:00", "2:00:00"], "zoneinfo reads the planted file, our zones do not"


@pytest.mark.parametrize("name", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
@pytest.mark.parametrize("time_ms", [-(1 << 62), -62_135_596_800_000, 0, 253_402_300_799_999, 1 << 62])
def test_every_instant_has_a_local_time(time_ms: int, name: str) -> None:
    assert 0 <= part_of_day(time_ms, time_zone=name) <= 3
