"""The driver on a real broker: what arrives, what is committed, and what a crash leaves."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.streams.line import Line


def test_a_fetched_batch_of_a_partition_arrives_as_one_event(line: Line) -> None:
    line.send(str(number) for number in range(300))
    worker = line.start()
    worker.until_said("handling")
    assert (worker.heard[-1]["first"], worker.heard[-1]["count"]) == (0, 300)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_producer_of_any_compression_is_understood(line: Line, codec: str) -> None:
    line.send(["x" * 1_000] * 3, compression=codec)
    line.start()
    line.until_committed(3)


def test_nothing_is_committed_before_its_handler_returned(line: Line) -> None:
    line.close_gate(0)
    line.send(["held"], partition=0)
    worker = line.start()
    worker.until_said("handling", partition=0)
    line.send(["free"], partition=1)
    line.until_committed(1, partition=1)
    # Two commits of the other partition later, the held one still stands where it stood.
    line.send(["free again"], partition=1)
    line.until_committed(2, partition=1)
    assert line.committed(0) is None
    line.open_gate(0)
    line.until_committed(1, partition=0)


def test_batches_behind_one_in_flight_are_not_committed(line: Line) -> None:
    line.close_gate(0)
    line.send(["first"])
    worker = line.start()
    worker.until_said("handling", partition=0)
    line.send(["second", "third"])
    worker.until(lambda heard: any(said["what"] == "handling" and said["last"] == 2 for said in heard))
    line.send(["free"], partition=1)
    line.until_committed(1, partition=1)
    assert line.committed(0) is None
    line.open_gate(0)
    line.until_committed(3)
    assert line.copied() == ["first", "second", "third"]


def test_holes_in_the_log_neither_stop_the_commit_nor_let_it_run_ahead(line: Line) -> None:
    # offsets: 0 1 | 2 marker | 3 | 4 marker (abort) | 5 | 6 marker
    line.send(["a", "b"], transaction="commit")
    line.send(["c"], transaction="abort")
    line.send(["d"], transaction="commit")
    worker = line.start()
    line.until_committed(7)
    assert line.copied() == ["a", "b", "d"]
    line.close_gate(0)
    line.send(["e"])  # offset 7, behind a hole
    worker.until(lambda heard: any(said.get("first") == 7 for said in heard))
    line.send(["free"], partition=1)
    line.until_committed(1, partition=1)
    assert line.committed(0) == 7
    line.open_gate(0)
    line.until_committed(8)


def test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing(line: Line) -> None:
    values = [str(number) for number in range(2_000)]
    line.send(values[:1_000])
    first = line.start()
    line.until_committed(1_000)
    line.close_gate(0)
    line.send(values[1_000:])
    first.until(lambda heard: any(said.get("first", 0) >= 1_000 for said in heard))
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    line.open_gate(0)
    line.start()
    line.until_committed(2_000)
    copied = line.copied()
    assert set(copied) == set(values)
    assert list(dict.fromkeys(copied)) == values


def test_a_handler_that_raises_ends_the_process_and_commits_nothing(line: Line) -> None:
    line.send(["good", "boom", "never"])
    worker = line.start(boom="boom")
    assert worker.wait() == 1
    assert "ValueError: boom at 1" in worker.log()
    assert line.committed() is None


def test_a_kafka_client_that_fetches_no_more_ends_the_process(line: Line) -> None:
    worker = line.start(deafen="now deaf")
    line.send(["heard", "now deaf"])
    assert worker.wait() == 1
    assert "the fetch task has ended" in worker.log()


def test_a_refused_delivery_ends_the_process_and_commits_nothing(bootstrap: str, tmp_path: Path) -> None:
    line = Line(bootstrap, tmp_path, sink={"max.message.bytes": "1000"})
    try:
        line.send(["x" * 5_000])
        worker = line.start()
        assert worker.wait() == 1
        assert "DeliveryFailed" in worker.log()
        assert line.committed() is None
    finally:
        line.close()


def test_nothing_is_committed_while_what_was_produced_for_it_is_in_doubt(line: Line) -> None:
    line.sink = f"{line.sink}.missing"
    line.send(["in doubt"])
    worker = line.start(delivery_timeout_ms=3_000)  # thirty commit intervals
    worker.until_said("handled")
    assert worker.wait() == 1
    assert "DeliveryFailed" in worker.log()
    assert line.committed() is None


def test_a_revoke_commits_what_was_handled(line: Line) -> None:
    line.send(["handled"])
    first = line.start("w-0", commit_interval_s=3600.0)
    first.until_said("handled")
    second = line.start("w-1", commit_interval_s=3600.0)
    second.until(lambda _: len(second.assigned()) == 1)
    assert line.committed() == 1


def test_records_that_come_while_members_come_and_go_are_all_handled_in_order(line: Line) -> None:
    sent = 0

    def send() -> None:
        nonlocal sent
        for _ in range(10):
            for partition in range(2):
                line.send((f"{partition}-{number}" for number in range(sent, sent + 20)), partition=partition)
            sent += 20

    stays = line.start("w-0", session_timeout_s=6.0)
    stays.until(lambda _: stays.assigned() == {0, 1})
    for _ in range(2):
        comes = line.start("w-1", session_timeout_s=6.0)
        send()
        comes.until(lambda _, comes=comes: len(comes.assigned()) == 1)
        send()
        comes.signal(signal.SIGTERM)
        send()
        assert comes.wait() == 0
    for partition in range(2):
        line.until_committed(sent, partition=partition)
        in_order = list(dict.fromkeys(line.copied(partition)))
        assert in_order == [f"{partition}-{number}" for number in range(sent)]


def test_sigterm_finishes_what_runs_and_commits_it(line: Line) -> None:
    line.close_gate(0)
    line.send(["running"])
    worker = line.start(commit_interval_s=3600.0)
    worker.until_said("handling")
    worker.signal(signal.SIGTERM)
    line.open_gate(0)
    assert worker.wait() == 0
    assert worker.heard[-1]["what"] == "revoked"
    assert line.committed() == 1
    assert line.copied() == ["running"]


def test_a_worker_told_to_leave_for_good_keeps_no_place_in_its_group(line: Line) -> None:
    stays = line.start("w-0", session_timeout_s=25.0)
    stays.until(lambda _: stays.assigned() == {0, 1})
    leaves = line.start("w-1", session_timeout_s=25.0)
    leaves.until(lambda _: len(leaves.assigned()) == 1)
    line.send(["shared"], partition=min(leaves.assigned()))
    leaves.until_said("handled")
    leaves.signal(signal.SIGUSR1)
    assert leaves.wait() == 0
    assert line.members() <= {"w-0"}
    stays.until(lambda _: stays.assigned() == {0, 1})


def test_a_worker_that_is_stopped_keeps_its_place_for_its_next_start(line: Line) -> None:
    stays = line.start("w-0", session_timeout_s=25.0)
    stays.until(lambda _: stays.assigned() == {0, 1})
    stops = line.start("w-1", session_timeout_s=25.0)
    stops.until(lambda _: len(stops.assigned()) == 1)
    held = stops.assigned()
    stays.until(lambda _: stays.assigned() == {0, 1} - held)
    stops.signal(signal.SIGTERM)
    assert stops.wait() == 0
    assert line.members() == {"w-0", "w-1"}
    again = line.start("w-1", session_timeout_s=25.0)
    again.until(lambda _: again.assigned() == held)
    line.send(["still here"], partition=min(stays.assigned()))
    stays.until_said("handled")
    assert stays.assigned() == {0, 1} - held


def test_a_batch_that_waits_before_its_round_holds_up_no_other_partition(line: Line) -> None:
    line.close_gate("before-0")
    worker = line.start()
    line.send(["0-first"], partition=0)
    worker.until_said("waiting", partition=0)
    for number in range(20):
        line.send([f"0-{number}"], partition=0)
        line.send([f"1-{number}"], partition=1)
    line.until_committed(20, partition=1)
    assert line.copied(0) == []
    line.open_gate("before-0")
    line.until_committed(21, partition=0)
    assert line.copied(0) == ["0-first", *(f"0-{number}" for number in range(20))]
    assert line.copied(1) == [f"1-{number}" for number in range(20)]


def test_what_arrived_of_several_partitions_is_handled_in_one_round(bootstrap: str, tmp_path: Path) -> None:
    line = Line(bootstrap, tmp_path, partitions=8)
    try:
        line.close_gate("loading")
        worker = line.start()
        for partition in range(8):
            line.send(["a", "b"], partition=partition)
        worker.until_said("loading")
        line.open_gate("loading")
        for partition in range(8):
            line.until_committed(2, partition=partition)
        worker.until(lambda heard: sum(said.get("count", 0) for said in heard) == 16)
        assert len([said for said in worker.heard if said["what"] == "round"]) < 8
    finally:
        line.close()


def test_the_next_round_begins_before_the_one_before_has_settled(line: Line) -> None:
    line.close_gate(0)
    worker = line.start()
    line.send(["first"])
    worker.until_said("handling", partition=0)
    line.send(["second"])
    worker.until(lambda heard: any(said["what"] == "handling" and said["first"] == 1 for said in heard))
    assert line.committed() is None
    line.open_gate(0)
    line.until_committed(2)
    assert line.copied() == ["first", "second"]


def test_the_kafka_client_goes_on_when_a_round_has_run(line: Line) -> None:
    line.start(gives_way_s=3600)
    for number in range(3):
        line.send([str(number)])
        line.until_committed(number + 1)
    assert line.copied() == ["0", "1", "2"]


def test_members_share_partitions_and_a_dead_one_s_move(bootstrap: str, tmp_path: Path) -> None:
    line = Line(bootstrap, tmp_path, partitions=4)
    try:
        stays = line.start("w-0", session_timeout_s=6.0)
        stays.until(lambda _: stays.assigned() == {0, 1, 2, 3})
        leaves = line.start("w-1", session_timeout_s=6.0)
        leaves.until(lambda _: len(leaves.assigned()) == 2)
        stays.until(lambda _: len(stays.assigned()) == 2)
        assert stays.assigned() | leaves.assigned() == {0, 1, 2, 3}
        kept = stays.assigned()
        for partition in range(4):
            line.send(["shared"], partition=partition)
            line.until_committed(1, partition=partition)
        leaves.signal(signal.SIGKILL)
        stays.until(lambda _: stays.assigned() == {0, 1, 2, 3})
        for partition in range(4):
            line.send(["moved"], partition=partition)
            line.until_committed(2, partition=partition)
            assert line.copied(partition) == ["shared", "moved"]
        # What stayed here through both rebalances was loaded once.
        loaded = [number for said in stays.heard if said["what"] == "assigned" for number in said["partitions"]]
        assert all(loaded.count(number) == 1 for number in kept)
    finally:
        line.close()


def test_a_partition_that_does_not_move_while_records_wait_ends_the_process(line: Line) -> None:
    line.close_gate(0)
    line.send(["stuck"])
    worker = line.start(stalled_after_s=1.0)
    assert worker.wait() == 1
    assert "Stalled" in worker.log()
    assert line.committed() is None


def test_a_process_that_was_stopped_past_its_session_exits_and_writes_nothing(line: Line) -> None:
    line.close_gate(0)
    line.send(["zombie"])
    worker = line.start(session_timeout_s=6.0)
    worker.until_said("handling")
    worker.signal(signal.SIGSTOP)
    heir = line.start("w-1", session_timeout_s=6.0)
    heir.until(lambda _: heir.assigned() == {0, 1})  # Kafka has given the partitions away
    line.open_gate(0)
    line.until_committed(1)
    worker.signal(signal.SIGCONT)
    assert worker.wait() == 75
    assert line.copied() == ["zombie"]
