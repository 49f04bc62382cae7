"""oo logs over a folder of log files as the supervisor writes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.commands import logs
from deploy.stack import processes
from deploy.stack.processes import Log
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state" / "logs"
    folder.mkdir(parents=True)
    (folder / "core-0.log.1").write_text("2026-11-28 10:00:00,001 INFO a first\n")
    (folder / "core-0.log").write_text("2026-11-28 10:00:03,000 ERROR a third\nTraceback\n")
    (folder / "postgres.log").write_text("2026-11-28 10:00:02.500 UTC [7] LOG:  second\n")
    (folder / "valkey.log").write_text("7:M 28 Nov 2026 10:00:03.500 * fourth\n")
    return tmp_path / "state"


def oo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "deploy.cli", "logs", *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "TZ": "UTC"},
    )


def test_lines_of_all_parts_come_in_the_order_of_time_and_a_traceback_stays_with_its_line(state: Path) -> None:
    said = [line.split()[-1] for line in oo(f"--state={state}").stdout.splitlines()]
    assert said == ["first", "second", "third", "Traceback", "fourth"]


def test_a_part_and_a_time_narrow_them_and_json_is_one_object_a_line(state: Path) -> None:
    done = oo(f"--state={state}", "--part=core-0", "--since=2026-11-28T10:00:01+00:00", "--json")
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["part"], one["at"], one["line"]) for one in shown] == [
        ("core-0", "2026-11-28T10:00:03.000+00:00", "2026-11-28 10:00:03,000 ERROR a third"),
        ("core-0", "2026-11-28T10:00:03.000+00:00", "Traceback"),
    ]


def test_an_unknown_part_and_a_folder_without_logs_are_errors_that_say_what_there_is(
    state: Path, tmp_path: Path
) -> None:
    assert "there are core-0, postgres, valkey" in (wrong := oo(f"--state={state}", "--part=cor")).stderr
    assert "oo up" in (none := oo(f"--state={tmp_path / 'none'}")).stderr
    assert (wrong.returncode, none.returncode) == (1, 1)


def test_what_is_written_while_it_follows_is_shown_once_also_where_a_new_file_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES_MAX", 40)
    path = tmp_path / "core-0.log"
    log = Log(path)
    ends, shown = {"core-0": logs._end(path)}, []
    for number in range(20):
        log.write(b"2026-11-28 10:00:00,000 n%d\n" % number)
        shown += [line.text.split()[-1] for line in logs._grown("core-0", path, ends)]
    log.close()
    assert shown == [f"n{number}" for number in range(20)]


def test_half_a_line_is_shown_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "core-0.log"
    path.write_bytes(b"")
    ends = {"core-0": logs._end(path)}
    with path.open("ab", buffering=0) as file:
        file.write(b"2026-11-28 10:00:00,000 half")
        assert list(logs._grown("core-0", path, ends)) == []
        file.write(b" and half\n")
    assert [line.text for line in logs._grown("core-0", path, ends)] == ["2026-11-28 10:00:00,000 half and half"]
