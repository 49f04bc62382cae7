"""Which ends of a process count against a record: those over it alone, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.in_hand import InHand
from streams.record import Record

TOPIC = b"t" * 16
THIS, OTHER = Record("oo.signals", 3, 17, 0, b"ada", b""), Record("oo.signals", 3, 18, 0, b"ada", b"")

WORK = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from agents.in_hand import InHand
from tests.agents.test_in_hand import OTHER, THIS, TOPIC
hand = InHand(Path({folder!r}), ends_max=3)
"""


def end_in(folder: Path, lines: str) -> None:
    """A process that does this and is gone, without a word."""
    source = WORK.format(path=sys.path, folder=str(folder)) + lines + "\nos._exit(7)\n"
    assert subprocess.run([sys.executable, "-c", source], env={**os.environ}, check=False).returncode == 7


def ends(folder: Path, *, ends_max: int = 3) -> int:
    return InHand(folder, ends_max=ends_max).ends(TOPIC, THIS)


def test_the_third_end_over_one_record_sets_it_aside(tmp_path: Path) -> None:
    counts = []
    for _ in range(3):
        end_in(tmp_path, "hand.holding(TOPIC, THIS)")
        counts.append(ends(tmp_path))
    assert counts == [0, 0, 3]
    assert InHand(tmp_path, ends_max=3).ends(TOPIC, OTHER) == 0
    assert InHand(tmp_path, ends_max=3).ends(b"u" * 16, THIS) == 0


def test_two_records_that_end_processes_in_turn_are_each_counted(tmp_path: Path) -> None:
    for record in ("THIS", "OTHER") * 3:
        end_in(tmp_path, f"hand.holding(TOPIC, {record})")
    hand = InHand(tmp_path, ends_max=3)
    assert (hand.ends(TOPIC, THIS), hand.ends(TOPIC, OTHER)) == (3, 3)


def test_a_record_that_was_handled_in_between_begins_at_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        end_in(tmp_path, "hand.holding(TOPIC, THIS)")
    end_in(tmp_path, "with hand.holding(TOPIC, THIS): pass")
    end_in(tmp_path, "hand.holding(TOPIC, THIS)")
    assert ends(tmp_path) == 0
    assert [count for _, count in InHand(tmp_path, ends_max=3).suspects()] == [1]


def test_an_end_while_something_is_waited_for_counts_for_nothing(tmp_path: Path) -> None:
    for _ in range(4):
        end_in(tmp_path, "hand.holding(TOPIC, THIS); hand.lay_down()")
    assert InHand(tmp_path, ends_max=3).suspects() == []


def test_an_error_that_no_handler_took_is_an_end_over_its_record(tmp_path: Path) -> None:
    with pytest.raises(MemoryError), InHand(tmp_path, ends_max=3).holding(TOPIC, THIS):
        raise MemoryError
    assert [count for _, count in InHand(tmp_path, ends_max=3).suspects()] == [1]


def test_nothing_is_set_aside_where_that_is_not_wanted(tmp_path: Path) -> None:
    for _ in range(4):
        end_in(tmp_path, "hand.holding(TOPIC, THIS)")
    assert ends(tmp_path, ends_max=0) == 0


def test_a_torn_count_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "ends.json").write_text('[["00')
    (tmp_path / "in-hand").write_bytes(b"\x01")
    assert InHand(tmp_path, ends_max=1).suspects() == []
