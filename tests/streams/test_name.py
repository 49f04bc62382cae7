"""A static name has one holder: who lost it ends, is not to be started again, writes nothing, and never takes it back."""

from __future__ import annotations

import signal
import time

from streams.watchdog import EXIT_NAME_LOST
from tests.streams.line import Line, Worker


def test_a_stopped_holder_whose_name_another_took_writes_nothing_and_ends_when_it_goes_on(line: Line) -> None:
    line.send(["before"])
    first = line.start(session_timeout_s=30.0)
    line.until_committed(1)
    first.signal(signal.SIGSTOP)
    second = line.start(session_timeout_s=30.0)
    second.until_said("assigned")
    values = [str(number) for number in range(100)]
    line.send(values)
    line.until_committed(101)
    # Who did not run for less does not ask whether it may go on (streams/watchdog.py).
    time.sleep(1.1)
    first.signal(signal.SIGCONT)
    assert first.wait() == EXIT_NAME_LOST
    _goes_on(line, second, behind=101)
    assert line.copied() == ["before", *values, "after"], (first.heard, second.heard, second.log())
    assert "name.lost" in first.log()


def test_a_running_holder_whose_name_another_took_ends_and_leaves_it_to_the_other(line: Line) -> None:
    first = line.start()
    first.until_said("assigned")
    second = line.start()
    second.until_said("assigned")
    assert first.wait() == EXIT_NAME_LOST
    _goes_on(line, second, behind=0)
    assert line.copied() == ["after"]


def _goes_on(line: Line, worker: Worker, *, behind: int) -> None:
    line.send(["after"])
    line.until_committed(behind + 1)
    assert line.members() == {"w-0"}
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
