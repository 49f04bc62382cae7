"""Producers that write in transactions: what is aborted never counts, what is open counts once it is committed."""

from __future__ import annotations

from tests.streams.line import Line


def test_of_several_partitions_what_is_committed_is_taken_and_what_is_aborted_never(line: Line) -> None:
    for partition in (0, 1):
        line.send(["plain"], partition=partition)
        line.send(["aborted"] * 20, partition=partition, transaction="abort")
        line.send(["between"], partition=partition)
        line.send(["committed"] * 20, partition=partition, transaction="commit")
        line.send(["last"], partition=partition)
    line.start()
    # 1 + 20 and a marker + 1 + 20 and a marker + 1
    for partition in (0, 1):
        line.until_committed(45, partition=partition)
        assert line.copied(partition) == ["plain", "between", *["committed"] * 20, "last"]


def test_aborted_records_at_the_end_are_passed_by_a_group_that_has_handled_all(line: Line) -> None:
    worker = line.start()
    worker.until_said("assigned", partition=None)
    line.send(["aborted"] * 3, transaction="abort")
    line.until_committed(4)
    line.send(["taken"])
    line.until_committed(5)
    assert line.copied() == ["taken"]


def test_a_transaction_that_is_open_holds_back_what_is_behind_it_until_it_ends(line: Line) -> None:
    line.send(["before"])
    kept, dropped = line.begin(["kept"]), line.begin(["dropped"])
    line.send(["behind"])
    line.start()
    line.until_committed(1)
    kept.commit_transaction(30)
    # The other one is still open: its place in the log comes first.
    line.until_committed(2)
    assert line.copied() == ["before", "kept"]
    dropped.abort_transaction(30)
    line.until_committed(6)
    assert line.copied() == ["before", "kept", "behind"]
