"""A watched file, edited as editors do it: in place, by renaming over it, half a file at a time, by deleting it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from connectors import ical, todo_txt
from connectors.differences import Memory
from connectors.source_file import Parsed
from connectors.watch import NotDelivered, Pace, Report, Snapshot, Watch
from oo.v1.signal_pb2 import Signal
from tests.patience import PATIENCE_S

PACE = Pace(settle_s=0.05, empty_s=0.4, absent_s=0, emptied_s=0, poll_s=0.2, reread_s=3600)


def read(snapshot: Snapshot, now: datetime) -> Parsed:
    zone = ZoneInfo("UTC")
    if snapshot.data.startswith(b"BEGIN:VCALENDAR"):
        return ical.parse(snapshot.data, user_id="ann", zone=zone, now=now, modified=now)
    return todo_txt.parse(snapshot.data, name="todo.txt", user_id="ann", zone=zone, now=now, modified=now)


@dataclass
class Receiver:
    """What arrived, what was remembered, and whether deliveries work."""

    signals: list[Signal] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    broken: bool = False

    async def send(self, signals: Sequence[Signal]) -> None:
        if self.broken:
            raise NotDelivered("Kafka did not take the signals")
        self.signals.extend(signals)

    def remember(self, memory: Memory) -> None:
        self.memory = memory

    @property
    def said(self) -> list[tuple[str, str]]:
        """Kind and title (or nothing), in the order of arrival."""
        kinds = [signal.WhichOneof("payload") or "" for signal in self.signals]
        return [
            (kind, getattr(getattr(signal, kind), "title", ""))
            for kind, signal in zip(kinds, self.signals, strict=True)
        ]


def watcher(path: Path, receiver: Receiver, *, pace: Pace = PACE, now: Callable[[], datetime] | None = None) -> Watch:
    return Watch(
        path=path,
        user_id="ann",
        memory=receiver.memory,
        parse=read,
        send=receiver.send,
        remember=receiver.remember,
        now=now or (lambda: datetime.now(UTC)),
        pace=pace,
    )


@asynccontextmanager
async def following(watch: Watch) -> AsyncIterator[asyncio.Queue[Report]]:
    """The watch running beside the test, its reports in a queue."""
    reports: asyncio.Queue[Report] = asyncio.Queue()
    stop = asyncio.Event()

    async def run() -> None:
        async for report in watch.follow(stop):
            reports.put_nowait(report)

    task = asyncio.create_task(run())
    try:
        yield reports
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


async def the_next(reports: asyncio.Queue[Report]) -> Report:
    return await asyncio.wait_for(reports.get(), PATIENCE_S)


async def arrived(receiver: Receiver, number: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(PATIENCE_S):
        while len(receiver.signals) < number:
            await asyncio.sleep(0.01)
    return receiver.said


def replace(path: Path, text: str) -> None:
    """As vim, and most others, save."""
    unfinished = path.with_name(f".{path.name}.swp")
    unfinished.write_text(text)
    unfinished.replace(path)


def test_a_line_ticked_off_in_place_is_a_completed_task(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom\nPay rent\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
            path.write_text("x 2026-11-23 Call Mom\nPay rent\n")
            await the_next(reports)
        assert receiver.said[2:] == [("task_completed", "")]
        assert receiver.signals[2].task_completed.external_id == receiver.signals[0].task_upserted.external_id

    asyncio.run(scene())


def test_an_editor_that_renames_over_the_file_is_followed_again_and_again(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
            for number in range(3):
                replace(path, f"Call Mom\nTask {number}\n")
                await arrived(receiver, 2 + 2 * number)
        assert receiver.said == [
            ("task_upserted", "Call Mom"),
            ("task_upserted", "Task 0"),
            ("task_upserted", "Task 1"),
            ("task_removed", ""),
            ("task_upserted", "Task 2"),
            ("task_removed", ""),
        ]

    asyncio.run(scene())


def test_a_file_that_is_emptied_before_it_is_written_loses_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom\nPay rent\n")
        async with following(watcher(path, receiver, pace=Pace(settle_s=0.05, empty_s=5.0, poll_s=0.2))) as reports:
            await the_next(reports)
            path.write_text("")
            # Longer than it takes to settle, shorter than it takes to be meant.
            await asyncio.sleep(0.5)
            path.write_text("Call Mom\nPay rent\nRun\n")
            await arrived(receiver, 3)
        assert receiver.said[2:] == [("task_upserted", "Run")]

    asyncio.run(scene())


def test_a_file_that_stays_empty_has_no_tasks(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
            path.write_text("")
            await arrived(receiver, 2)
        assert receiver.said[1:] == [("task_removed", "")]

    asyncio.run(scene())


def test_a_calendar_that_is_half_written_loses_nothing(tmp_path: Path) -> None:
    tomorrow = datetime.now(UTC).strftime("%Y%m%d")
    talks = [
        f"BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTART:{tomorrow}T235900Z\r\nDURATION:PT1H\r\nSUMMARY:Talk {uid}\r\nEND:VEVENT\r\n"
        for uid in range(3)
    ]
    whole = "BEGIN:VCALENDAR\r\n" + "".join(talks) + "END:VCALENDAR\r\n"

    async def scene() -> None:
        path, receiver = tmp_path / "calendar.ics", Receiver()
        path.write_text(whole)
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
            path.write_text(whole[: len(whole) // 2])
            halved = await the_next(reports)
            assert halved.parsed is not None
            assert not halved.parsed.complete
            path.write_text(whole.replace(talks[1], ""))
            await arrived(receiver, 4)
        assert [kind for kind, _ in receiver.said[3:]] == ["calendar_event_removed"]

    asyncio.run(scene())


def test_a_file_that_is_deleted_is_waited_for_and_takes_nothing_away(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
            path.unlink()
            assert "is not there; waiting for it" in (await the_next(reports)).trouble
            path.write_text("Call Mom\nPay rent\n")
            await arrived(receiver, 2)
        assert receiver.said == [("task_upserted", "Call Mom"), ("task_upserted", "Pay rent")]

    asyncio.run(scene())


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        async with following(watcher(path, receiver)) as reports:
            assert "is not there" in (await the_next(reports)).trouble
            replace(path, "Call Mom\n")
            await arrived(receiver, 1)

    asyncio.run(scene())


def test_a_file_that_cannot_be_read_is_said_once_and_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_bytes(bytes(range(32)) * 100)
        async with following(watcher(path, receiver)) as reports:
            assert "it is not a text file" in (await the_next(reports)).trouble
            path.write_text("Call Mom\n")
            report = await the_next(reports)
        assert report.trouble == ""
        assert receiver.said == [("task_upserted", "Call Mom")]

    asyncio.run(scene())


def test_what_could_not_be_delivered_is_sent_once_it_can_be(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver(broken=True)
        path.write_text("Call Mom\n")
        async with following(watcher(path, receiver)) as reports:
            assert "trying again" in (await the_next(reports)).trouble
            receiver.broken = False
            await arrived(receiver, 1)
        assert receiver.said == [("task_upserted", "Call Mom")]

    asyncio.run(scene())


def test_edits_made_while_nobody_watched_are_caught_at_the_next_start(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom\nPay rent\nRun\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
        path.write_text("x Call Mom\nRun\nWalk\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
        assert receiver.said[3:] == [("task_completed", ""), ("task_upserted", "Walk"), ("task_removed", "")]

    asyncio.run(scene())


def test_a_task_comes_in_on_its_start_date_without_an_edit(tmp_path: Path) -> None:
    days = [datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 24, 12, tzinfo=UTC)]

    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Renew passport t:2026-11-24\n")
        watch = watcher(
            path,
            receiver,
            pace=Pace(settle_s=0.05, empty_s=0.4, poll_s=0.1, reread_s=0.1),
            now=lambda: days[0] if len(days) > 1 else days[-1],
        )
        async with following(watch) as reports:
            await the_next(reports)
            assert receiver.said == []
            days.pop(0)
            await arrived(receiver, 1)

    asyncio.run(scene())


def test_quick_saves_end_with_what_the_file_says(tmp_path: Path) -> None:
    async def scene() -> None:
        path, receiver = tmp_path / "todo.txt", Receiver()
        path.write_text("Call Mom id:1\n")
        async with following(watcher(path, receiver)) as reports:
            await the_next(reports)
            for number in range(40):
                (replace if number % 2 else Path.write_text)(path, f"Call Mom {number} id:1\n")
                await asyncio.sleep(0.01)
            async with asyncio.timeout(PATIENCE_S):
                while receiver.said[-1] != ("task_upserted", "Call Mom 39"):
                    await asyncio.sleep(0.01)
        assert {kind for kind, _ in receiver.said} == {"task_upserted"}

    asyncio.run(scene())
