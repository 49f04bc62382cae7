"""What hangs is ended so that its supervisor starts it again, and what is told to stop leaves nothing half done.

A handler that never returns: test_a_partition_that_does_not_move_while_records_wait_ends_the_process. A process that was
stopped: test_a_process_that_was_stopped_past_its_session_exits_and_writes_nothing.
"""

from __future__ import annotations

import signal
import threading

from streams.watchdog import EXIT_STALE
from tests.streams.line import Line


def test_a_handler_that_blocks_the_event_loop_ends_the_process(line: Line) -> None:
    line.send(["block"])
    worker = line.start(block="block", session_timeout_s=3.0)
    assert worker.wait() == EXIT_STALE
    assert "watchdog.expired" in worker.log()
    assert line.committed() is None


def test_sigterm_under_load_drains_and_commits_so_that_the_next_start_repeats_nothing(line: Line) -> None:
    told = threading.Event()
    sent = 0

    def load() -> None:
        nonlocal sent
        while not told.is_set():
            line.send(str(number) for number in range(sent, sent + 200))
            sent += 200

    loading = threading.Thread(target=load)
    worker = line.start(commit_interval_s=3600.0)  # only what the stop commits is committed
    loading.start()
    try:
        worker.until(lambda heard: sum(said["what"] == "handled" for said in heard) >= 20)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0  # 1 where it did not drain within its 10 s
    finally:
        told.set()
        loading.join()
    handled = max(said["last"] for said in worker.heard if said["what"] == "handled")
    assert line.committed() == handled + 1
    line.start()
    line.until_committed(sent)
    assert line.copied() == [str(number) for number in range(sent)]
