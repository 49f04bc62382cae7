"""A shelf on a real disk: what is committed stands, what is not is gone, and what does not fit is set aside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tables.shelf import Drawer, Shelf, ShelfFailed

ROOT = Path(__file__).resolve().parents[2]


def opened(path: Path, *, identity: bytes = b"one", most: int = 2) -> tuple[Shelf, Drawer[list[int]]]:
    shelf = Shelf(path / "shelf.sqlite", identity=identity)
    return shelf, shelf.drawer("lists", most=most, pack=bytes, unpack=list)


def held(path: Path) -> list[list[int] | None]:
    shelf, lists = opened(path)
    found = [lists.get(f"k{n}") for n in range(6)]
    shelf.close()
    return found


def test_values_beyond_those_in_memory_come_back_as_they_were(tmp_path: Path) -> None:
    shelf, lists = opened(tmp_path)
    for n in range(6):
        lists[f"k{n}"] = [n, n]
    assert [lists.get(f"k{n}") for n in range(6)] == [[n, n] for n in range(6)]
    assert len(lists._near) == 2
    assert lists.pop("k0") == [0, 0]
    assert lists.get("k0") is lists.pop("nobody") is None
    shelf.close()


def test_one_that_was_changed_in_place_and_put_back_keeps_the_change(tmp_path: Path) -> None:
    shelf, lists = opened(tmp_path)
    lists["k0"] = [1]
    shelf.commit(b"")
    one = lists.get("k0")
    assert one is not None
    one.append(2)
    lists["k0"] = one
    for n in range(1, 6):
        lists[f"k{n}"] = [n]
    assert lists.get("k0") == [1, 2]
    shelf.close()


def test_the_next_process_finds_what_was_committed_last_and_nothing_of_later(tmp_path: Path) -> None:
    shelf, lists = opened(tmp_path)
    assert shelf.state is None
    for n in range(6):
        lists[f"k{n}"] = [n]
    shelf.commit(b"first")
    for n in range(6):
        lists[f"k{n}"] = [9]
    lists.pop("k1")
    shelf.close()
    again, _ = opened(tmp_path)
    assert again.state == b"first"
    again.close()
    assert held(tmp_path) == [[n] for n in range(6)]


KILLED = """
import os, signal, sys
from pathlib import Path
from tables.shelf import Shelf
shelf = Shelf(Path(sys.argv[1]) / "shelf.sqlite", identity=b"one")
lists = shelf.drawer("lists", most=2, pack=bytes, unpack=list)
for n in range(6):
    lists[f"k{n}"] = [n] * 100_000
shelf.commit(b"state")
for n in range(6):
    lists[f"k{n}"] = [9] * 10_000_000  # more than fits the cache: some of it is in the file by now
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_what_was_committed_last(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert (tmp_path / "shelf.sqlite-wal").stat().st_size > 1_000_000
    assert held(tmp_path) == [[n] * 100_000 for n in range(6)]


def test_what_is_of_something_else_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shelf, lists = opened(tmp_path)
    lists["k0"] = [1]
    shelf.commit(b"state")
    shelf.close()
    other, lists = opened(tmp_path, identity=b"two")
    assert (other.state, lists.get("k0")) == (None, None)
    assert "snapshot.set_aside" in caplog.text
    assert "of other topics, settings or versions" in caplog.text
    assert (tmp_path / "shelf.sqlite.set-aside").exists()
    lists["k0"] = [2]
    other.commit(b"other")
    assert (other.state, lists.get("k0")) == (b"other", [2])
    other.close()


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "shelf.sqlite").write_bytes(b"not a database at all" * 500)
    shelf, _ = opened(tmp_path)
    assert shelf.state is None
    assert "why=file is not a database" in caplog.text
    shelf.close()


def test_a_value_that_is_not_what_was_written_ends_the_process_and_the_next_sets_the_file_aside(tmp_path: Path) -> None:
    shelf, lists = opened(tmp_path)
    lists["k0"] = [1, 2, 3] * 10
    shelf.commit(b"state")
    shelf.close()
    file = tmp_path / "shelf.sqlite"
    content = file.read_bytes()
    assert content.count(bytes([1, 2, 3] * 10)) == 1
    file.write_bytes(content.replace(bytes([1, 2, 3] * 10), bytes([1, 2, 4] * 10)))
    shelf, lists = opened(tmp_path)
    with pytest.raises(ShelfFailed, match="not what was written"):
        lists.get("k0")
    shelf.close()
    shelf, lists = opened(tmp_path)
    assert (shelf.state, lists.get("k0")) == (None, None)
    shelf.close()


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    shelf, lists = opened(tmp_path)
    with pytest.raises(ShelfFailed, match="locked"):
        opened(tmp_path)
    lists["k0"] = [1]
    shelf.commit(b"state")
    shelf.close()
    assert held(tmp_path)[0] == [1]
