"""`oo import` and `oo watch` against the real Kafka and registry; what arrives is read by a plain client."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import protovalidate
import pytest
from command import ROOT, called
from confluent_kafka import Consumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connectors.differences import Memory, Sent
from connectors.sources.file import parse_file
from connectors.sources.registry import FILES
from connectors.watch import read_file
from deploy.demo import lay_out
from deploy.imports import MemoryFile, forget
from deploy.machine_zone import machine_zone
from deploy.stack.running import RunningStack
from oo.v1.signal_pb2 import Signal
from streams.schemas import Schemas
from streams.topics import PARTITIONS
from tests.patience import PATIENCE_S

DATA = ROOT / "tests" / "data"


class Arrived(NamedTuple):
    """One record of the signals topic."""

    signal: Signal
    headers: dict[str, str]


@pytest.fixture
def user() -> str:
    return f"u-{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def schemas(servers: RunningStack) -> Iterator[Schemas]:
    schemas = Schemas(servers.cluster)
    asyncio.run(schemas.register())
    yield schemas
    schemas.close()


def arrived(stack: RunningStack, schemas: Schemas, user: str) -> list[Arrived]:
    """All that stands in the signals topic under this user's key, read as any consumer would."""
    topic = stack.cluster.name("signals")
    consumer = Consumer(
        {"bootstrap.servers": stack.cluster.bootstrap, "group.id": f"test-{uuid4()}", "enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found, ended = [], set()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(ended) < PARTITIONS:
            assert time.monotonic() < deadline_s, "the topic has no end"
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                ended.add(message.partition())
                continue
            if message.key() == user.encode():
                headers = {name: value.decode() for name, value in message.headers() or []}
                found.append(Arrived(schemas.unframe("signals", message.value()), headers))
        return found
    finally:
        consumer.close()


def kinds(found: list[Arrived]) -> list[str]:
    return [record.signal.WhichOneof("payload") or "" for record in found]


def run_import(stack: RunningStack, user: str, *files: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    options = ("--user", user, "--time-zone", "Europe/Berlin", f"--state={stack.folder.root}")
    return called("import", *map(str, files), *options, check=check)


@contextmanager
def watching(stack: RunningStack, user: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """`oo watch` in a process of its own, ended as Ctrl-C ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "watch", str(path), "--user", user, f"--state={stack.folder.root}"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, output


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """The next line of output that holds the text; the process must not end before."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"oo watch ended without saying {text!r}")


def test_files_arrive_framed_keyed_and_with_cloudevents_headers(
    servers: RunningStack, schemas: Schemas, user: str
) -> None:
    done = run_import(servers, user, DATA / "todo.txt", DATA / "reminders.ics")
    assert "todo.txt: 14 tasks, 2 completed tasks; 2 not yet to be done (t: ahead, or h:1); 1 skipped" in done.stdout
    assert "reminders.ics: 2 tasks, 1 completed task, 1 removed task; 1 skipped" in done.stdout
    assert "line 18: due:soon is no date; write due:2026-11-30" in done.stderr
    found = arrived(servers, schemas, user)
    assert len(found) == 1 + 16 + 4
    assert found[0].signal.profile_changed.time_zone == "Europe/Berlin"
    validator = protovalidate.Validator()
    for record in found:
        assert validator.collect_violations(record.signal) == []
        assert record.signal.user_id == user
        assert record.headers["ce_id"] == record.signal.event_id
        assert record.headers["ce_specversion"] == "1.0"
        assert record.headers["ce_time"] == record.signal.event_time.ToJsonString()
    assert [record.headers["ce_source"] for record in found[:2]] == ["profile", "todo.txt"]


def test_importing_again_sends_nothing(servers: RunningStack, schemas: Schemas, user: str) -> None:
    run_import(servers, user, DATA / "todo.txt", DATA / "google.ics")
    before = arrived(servers, schemas, user)
    done = run_import(servers, user, DATA / "todo.txt", DATA / "google.ics")
    assert done.stdout.splitlines()[0].startswith("todo.txt: nothing new; 16 as before")
    assert arrived(servers, schemas, user) == before


def test_without_the_memory_everything_is_sent_again_under_the_same_ids(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("Call Mom\nPay rent due:2026-11-30\n")
    run_import(servers, user, path)
    for file in (servers.folder.root / "sources").rglob("*.json"):
        file.unlink()
    run_import(servers, user, path)
    ids = [record.headers["ce_id"] for record in arrived(servers, schemas, user)]
    assert (len(ids), len(set(ids))) == (6, 3)


def test_an_edited_file_sends_only_its_difference(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("Call Mom\nPay rent\n")
    run_import(servers, user, path)
    path.write_text("x Call Mom\nRun\n")
    assert "1 task, 1 completed task" in run_import(servers, user, path).stdout
    # What is absent stays: an import is no word about what it does not name.
    assert kinds(arrived(servers, schemas, user))[3:] == ["task_completed", "task_upserted"]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("calendar.ics", b"<html>Please sign in</html>", "it is no iCalendar file"),
        ("todo.txt", bytes(range(32)) * 100, "it is not a text file"),
        ("todo.txt", b"a" * (10 * 1024 * 1024 + 1), "it has 10.0 MB, the limit is 10 MB"),
        ("photo.jpg", b"\xff\xd8\xff", "only todo.txt (.txt) and iCalendar (.ics) files can be read"),
        ("missing.txt", None, "there is no such file"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_import_before_anything_is_sent(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path, name: str, content: bytes | None, error: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run_import(servers, user, DATA / "todo.txt", tmp_path / name, check=False)
    assert done.returncode == 1
    assert error in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert arrived(servers, schemas, user) == []


def test_a_broken_calendar_brings_what_is_whole_and_names_the_rest(
    servers: RunningStack, schemas: Schemas, user: str
) -> None:
    done = run_import(servers, user, DATA / "broken.ics")
    assert "line 11: VEVENT has a broken DTSTART; left out" in done.stderr


def test_ten_thousand_tasks_arrive(servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("\n".join(f"x Task number {number}" for number in range(10_000)))
    assert "10000 completed tasks" in run_import(servers, user, path).stdout
    found = arrived(servers, schemas, user)
    assert len({record.headers["ce_id"] for record in found}) == 10_001


def test_of_more_tasks_than_a_person_can_have_as_many_are_sent_as_arrive(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("\n".join(f"Task number {number}" for number in range(300)))
    assert "256 tasks; 44 wait for room" in run_import(servers, user, path).stdout
    assert kinds(arrived(servers, schemas, user)).count("task_upserted") == 256


def test_a_file_that_was_written_in_1970_is_sent_with_a_time_that_the_door_takes(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("(A) Buy milk\n")
    os.utime(path, (0, 0))
    run_import(servers, user, path)
    (task,) = [record.signal for record in arrived(servers, schemas, user) if record.signal.HasField("task_upserted")]
    assert abs(task.event_time.seconds - time.time()) < 24 * 3600


@pytest.mark.parametrize("options", [("--user", ""), ("--user", "a\nb"), ("--user", "ann", "--time-zone", "Mars/Base")])
def test_wrong_usage_is_status_2(options: tuple[str, ...]) -> None:
    assert called("import", str(DATA / "todo.txt"), *options, check=False).returncode == 2


def test_a_watched_file_sends_what_is_ticked_off_deleted_and_written(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("Call Mom\nPay rent\n")
    with watching(servers, user, path) as process:
        assert "2 tasks" in line_with(process, "sent")
        path.write_text("x Call Mom\nRun\n")
        assert "1 task, 1 completed task" in line_with(process, "sent")
        # What is absent is believed later.
        assert "1 removed task" in line_with(process, "sent")
    said = [kind for kind in kinds(arrived(servers, schemas, user)) if kind != "profile_changed"]
    assert said == ["task_upserted", "task_upserted", "task_completed", "task_upserted", "task_removed"]


def test_an_import_and_a_watch_of_one_file_share_what_was_sent(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    path = tmp_path / "todo.txt"
    path.write_text("Call Mom\nPay rent\n")
    run_import(servers, user, path)
    path.write_text("Pay rent\n")
    with watching(servers, user, path) as process:
        assert "1 removed task" in line_with(process, "sent")


def test_a_meeting_that_one_of_two_watched_calendars_drops_stays_until_the_other_drops_it_too(
    servers: RunningStack, schemas: Schemas, user: str, tmp_path: Path
) -> None:
    work, home = tmp_path / "work.ics", tmp_path / "home.ics"
    start = datetime.now(UTC) + timedelta(days=2)

    def write(path: Path, *uids: str) -> None:
        lines = ["BEGIN:VCALENDAR"]
        for uid in uids:
            lines += ["BEGIN:VEVENT", f"UID:{uid}", f"SUMMARY:{uid}", f"DTSTART:{start:%Y%m%dT%H%M%SZ}", "END:VEVENT"]
        path.write_text("\r\n".join([*lines, "END:VCALENDAR", ""]))

    write(work, "shared", "work")
    write(home, "shared", "home")
    with watching(servers, user, work) as at_work:
        line_with(at_work, "sent 2 events")
        with watching(servers, user, home) as at_home:
            line_with(at_home, "sent 2 events")
            write(home, "home")
            line_with(at_home, "nothing new")
            write(home, "new")
            line_with(at_home, "sent 1 event")
            line_with(at_home, "sent 1 cancelled event")
            write(work, "work")
            line_with(at_work, "sent 1 cancelled event")
    gone = [
        found.signal.calendar_event_removed.external_id
        for found in arrived(servers, schemas, user)
        if found.signal.HasField("calendar_event_removed")
    ]
    # Both may say that it has gone; the second time changes nothing.
    assert gone[0] == "home" and set(gone[1:]) == {"shared"}


# Without servers


@given(st.dates(date(2026, 1, 1), date(2040, 12, 31)))
def test_the_samples_are_alive_on_any_day(today: date) -> None:
    zone = ZoneInfo("Europe/Berlin")
    now = datetime.combine(today, datetime.min.time(), zone) + timedelta(hours=8)
    with temporary_folder() as folder:
        read = {
            path.name: parse_file(FILES, read_file(path), path=path, user_id="demo", zone=zone, now=now)
            for path in lay_out(folder, today=today)
        }
    assert [parsed.problems for parsed in read.values()] == [(), ()]
    due = [
        signal.task_upserted.due.ToDatetime(tzinfo=UTC).astimezone(zone).date()
        for signal in read["todo.txt"].signals
        if signal.task_upserted.HasField("due")
    ]
    assert sum(today <= day <= today + timedelta(days=7) for day in due) >= 5
    starts = [
        signal.calendar_event_upserted.start.ToDatetime(tzinfo=UTC).astimezone(zone).date()
        for signal in read["calendar.ics"].signals
        if signal.HasField("calendar_event_upserted")
    ]
    assert starts.count(today) == 2


def test_a_sample_that_was_edited_is_not_written_over(tmp_path: Path) -> None:
    (path, *_) = lay_out(tmp_path, today=date(2026, 11, 23))
    path.write_text("mine")
    lay_out(tmp_path, today=date(2026, 11, 24))
    assert path.read_text() == "mine"


def test_a_memory_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    file = MemoryFile.of(tmp_path / "sources", life=b"t", user_id="ann", subject="/home/ann/todo.txt")
    memory = Memory(5, {"task:1": Sent("d", 1, source="todo.txt"), "event:2": Sent("e", 0, ends_ms=9, sure=False)})
    file.save(memory)
    assert file.load() == memory
    assert file.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"event_ms": 1}', '{"event_ms": 1, "items": {"task:1": {"x": 1}}}']
)
def test_a_broken_memory_is_none(tmp_path: Path, content: str) -> None:
    file = MemoryFile(tmp_path / "memory.json")
    file.path.write_text(content)
    assert file.load() == Memory()


def test_a_memory_belongs_to_one_topic_one_person_and_one_file(tmp_path: Path) -> None:
    names = {
        MemoryFile.of(tmp_path, life=topic_id, user_id=user_id, subject=subject).path
        for topic_id in (b"1", b"2")
        for user_id in ("ann", "ben")
        for subject in ("/a", "/b")
    }
    assert len(names) == 8


def test_what_is_remembered_of_a_person_goes_with_their_next_life_and_when_they_are_forgotten(tmp_path: Path) -> None:
    topic_id = b"signals, 16 byte"

    def kept(user_id: str, life: bytes = b"") -> Path:
        file = MemoryFile.of(tmp_path, life=topic_id + life, user_id=user_id, subject="/home/ann/todo.txt")
        file.save(Memory(5, {"task:1": Sent("d", 1, source="todo.txt")}))
        file.begin_watch(tmp_path)
        return file.path

    first, others = kept("ann"), kept("ben")
    assert kept("ann") == first
    second = kept("ann", b"receipt")
    assert (first.exists(), second.exists(), others.exists()) == (False, True, True)
    forget(tmp_path, topic_id=topic_id, user_id="ann")
    assert set(tmp_path.rglob("*.*")) == set(others.parent.iterdir())


def test_what_a_build_before_remembered_in_one_folder_is_known(tmp_path: Path) -> None:
    file = MemoryFile.of(tmp_path, life=b"signals, 16 byte", user_id="ann", subject="/home/ann/todo.txt")
    memory = Memory(5, {"task:1": Sent("d", 1, source="todo.txt")})
    file.save(memory)
    file.begin_watch(tmp_path)
    file.path.rename(tmp_path / file.path.name)
    file.path.with_suffix(".watched").rename(tmp_path / f"{file.path.stem}.{'0' * 24}.watched")

    again = MemoryFile.of(tmp_path, life=b"signals, 16 byte", user_id="ann", subject="/home/ann/todo.txt")
    assert again.load() == memory
    assert again.path.with_suffix(".watched").exists()


@pytest.mark.parametrize(
    ("tz", "zone"),
    [("Europe/Berlin", "Europe/Berlin"), (":Asia/Tokyo", "Asia/Tokyo"), ("UTC", None), ("nonsense", None), ("", None)],
)
def test_a_machines_zone_is_its_owners_unless_it_is_utc(
    monkeypatch: pytest.MonkeyPatch, tz: str, zone: str | None
) -> None:
    monkeypatch.setenv("TZ", tz)
    assert machine_zone() == zone


@contextmanager
def temporary_folder() -> Iterator[Path]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        yield Path(folder)
