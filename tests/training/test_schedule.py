"""When a model is made again, which have to go, and what the stack does of it by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.model_registry import Version
from deploy.models.due import FORGETS_MS, due, may_hold
from deploy.models.schedule import outstayed, why_now
from deploy.stack.local import training
from deploy.stack.state import StateFolder
from oo.v1 import journal_pb2
from oo.v1.erased_pb2 import Erased

JOURNAL = b"J" * 16
HOUR_S, HOUR_MS = 3600, 3_600_000


def made(version: int, *, at_ms: int = 0, read_to: int = 100, journal: bytes = JOURNAL) -> Version:
    about = {"created_ms": at_ms, "journal_id": journal.hex(), "read_to": {"0": read_to, "1": 10}}
    return Version("tips", version, about)


def left(offset: int, *, partition: int = 0, at_ms: int = 0) -> Erased:
    place = journal_pb2.Position(topic_id=JOURNAL, partition=partition, offset=offset)
    return Erased(user_id=f"u{offset}", journal=place, erased_ms=at_ms)


def why(*versions: Version, now_ms: int = 0, drift_ms: int = 0, words: tuple[Erased, ...] = ()) -> str:
    return why_now(versions, now_ms=now_ms, every_s=HOUR_S, drift_ms=drift_ms, to_go=due(versions, words))


def test_a_model_is_made_when_there_is_none_when_it_is_old_when_rewards_drift_and_when_somebody_left() -> None:
    assert why() == "there is no version yet"
    assert why(made(1), now_ms=HOUR_MS - 1) == ""
    assert why(made(1), now_ms=HOUR_MS) == "tips@1 is 3600 s old"
    assert why(made(1), made(2, at_ms=HOUR_MS), now_ms=HOUR_MS + 1) == ""
    assert why(made(1, at_ms=50), drift_ms=51) == "rewards have drifted since tips@1 was made"
    assert why(made(1, at_ms=50), drift_ms=49) == ""
    assert why(made(1), words=(left(100),)) == "somebody left since tips@1 was made"
    # One that was made without them is newer.
    assert why(made(1), made(2, read_to=101), words=(left(100),)) == ""


def test_a_model_may_hold_who_left_behind_what_it_had_read_of_that_journal_and_nobody_else() -> None:
    one = made(1)
    assert may_hold(one, left(100)) and may_hold(one, left(5_000))
    assert not may_hold(one, left(99))
    assert may_hold(one, left(10, partition=1)) and not may_hold(one, left(9, partition=1))
    assert not may_hold(one, left(500, partition=2))
    assert not may_hold(made(1, journal=b"K" * 16), left(500))
    assert not may_hold(Version("tips", 1, {}), left(500))


def test_what_may_hold_somebody_goes_thirty_days_after_the_first_of_them_left() -> None:
    (found,) = due([made(1), made(2, read_to=300)], [left(250, at_ms=70), left(200, at_ms=50), left(20, at_ms=1)])
    assert (found.version.version, found.people, found.by_ms) == (1, 2, 50 + FORGETS_MS)
    assert outstayed([found], now_ms=found.by_ms - 1) == []
    assert outstayed([found], now_ms=found.by_ms) == [found.version]


def test_a_stack_trains_by_itself_only_where_it_is_told_how_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OO_TRAIN_EVERY_S", raising=False)
    assert training(StateFolder(tmp_path)) == []
    monkeypatch.setenv("OO_TRAIN_EVERY_S", "86400")
    (chore,) = training(StateFolder(tmp_path))
    assert {"train", "--name=tips", "--from=28d", "--if-due=86400"} <= set(chore.command.argv)
    assert chore.every_s == HOUR_S
