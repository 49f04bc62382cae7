"""What every store promises: one suite over the one in memory and the one on disk; then what only a disk can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tables import rocks
from tables.rocks import Rocks, RocksStore
from tables.store import MemoryStore, Store, StoreFailed

ROOT = Path(__file__).resolve().parents[2]


def head(value: bytes) -> bytes:
    return value[:2]


def disks(folder: Path, identity: bytes = b"journal rows") -> Rocks:
    return Rocks(folder / "rows", identity=identity, head=head)


@pytest.fixture(params=["memory", "rocksdb", "rocksdb being filled"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore(head=head) if request.param == "memory" else disks(tmp_path).open(3)
    if request.param == "rocksdb being filled":
        made.load({})
    yield made
    made.close()


# Every store


def test_a_new_store_is_empty_and_has_no_checkpoint(store: Store) -> None:
    assert (store.get(b"ada"), store.heads([b"ada"]), list(store.scan()), store.side(b"sums")) == (
        None,
        [None],
        [],
        None,
    )
    assert store.checkpoint is None


def test_what_was_written_is_read(store: Store) -> None:
    store.write({b"ada": b"07 tasks", b"bob": b"08" + bytes(5000)}, side={b"sums": b"15"}, checkpoint=0)
    assert store.get(b"ada") == b"07 tasks"
    assert store.get(b"bob") == b"08" + bytes(5000)
    assert store.side(b"sums") == b"15"
    assert store.checkpoint == 0


def test_heads_come_in_the_order_of_their_keys(store: Store) -> None:
    store.write({b"ada": b"07 tasks", b"bob": b"08 tasks"})
    assert store.heads([b"bob", b"eve", b"ada", b"bob"]) == [b"08", None, b"07", b"08"]
    assert store.heads([]) == []


def test_a_later_write_replaces_value_head_and_side(store: Store) -> None:
    store.write({b"ada": b"07 tasks"}, side={b"sums": b"15"}, checkpoint=4)
    store.write({b"ada": b"09 tasks"}, side={b"sums": b"16"}, checkpoint=5)
    assert (store.get(b"ada"), store.heads([b"ada"]), store.side(b"sums")) == (b"09 tasks", [b"09"], b"16")
    assert store.checkpoint == 5


def test_a_write_without_side_and_checkpoint_leaves_them(store: Store) -> None:
    store.write({}, side={b"sums": b"15"}, checkpoint=4)
    store.write({b"ada": b"09 tasks"})
    assert (store.side(b"sums"), store.checkpoint) == (b"15", 4)


def test_none_deletes_the_value_and_its_head(store: Store) -> None:
    store.write({b"ada": b"07 tasks", b"bob": b"08 tasks"})
    store.write({b"ada": None, b"eve": None})
    assert (store.get(b"ada"), store.heads([b"ada"])) == (None, [None])
    assert list(store.scan()) == [(b"bob", b"08")]


def test_all_of_them_are_scanned(store: Store) -> None:
    store.write({b"u%03d" % n: b"%02d of it" % (n % 100) for n in range(500)})
    assert sorted(store.scan()) == [(b"u%03d" % n, b"%02d" % (n % 100)) for n in range(500)]
    assert sorted(store.values()) == [(b"u%03d" % n, b"%02d of it" % (n % 100)) for n in range(500)]


def test_values_stand_as_they_were_when_asked_for(store: Store) -> None:
    store.write({b"ada": b"07", b"bob": b"08"})
    values = store.values()
    store.write({b"ada": b"17", b"bob": b"18", b"eve": b"19"})
    assert sorted(values) == [(b"ada", b"07"), (b"bob", b"08")]


def test_a_scan_outlives_a_write(store: Store) -> None:
    store.write({b"ada": b"07", b"bob": b"08"})
    scan = store.scan()
    next(scan)
    store.write({b"ada": None, b"eve": b"19"})
    assert {key for key, _ in scan} <= {b"ada", b"bob", b"eve"}


def test_a_key_may_be_anything_that_kafka_takes(store: Store) -> None:
    keys = [b"\x00marks", b"", "ü😀".encode(), b"x" * 500, b"\xff\xfe"]
    store.write({key: b"07" + key for key in keys})
    assert [store.get(key) for key in keys] == [b"07" + key for key in keys]


def test_loading_is_writing(store: Store) -> None:
    store.load({b"ada": b"07", b"bob": b"08"})
    store.load({b"ada": b"09", b"bob": None})
    assert (store.get(b"ada"), store.heads([b"ada", b"bob"]), store.checkpoint) == (b"09", [b"09", None], None)
    store.write({}, checkpoint=7)
    assert (store.get(b"ada"), store.checkpoint) == (b"09", 7)


def test_what_was_loaded_is_there_before_and_after_it_is_settled(store: Store) -> None:
    store.load({b"u%03d" % n: b"%02d" % (n % 100) + bytes(n) for n in range(300)})
    store.write({b"u007": b"77 later", b"u008": None, b"new": b"01"}, checkpoint=7)
    expected = {b"u%03d" % n: b"%02d" % (n % 100) + bytes(n) for n in range(300) if n != 8}
    expected |= {b"u007": b"77 later", b"new": b"01"}
    more = True
    while more:
        assert dict(store.values()) == {key: store.get(key) for key in expected} == expected
        assert dict(store.scan()) == {key: value[:2] for key, value in expected.items()}
        assert store.heads([b"u007", b"u008", b"u009"]) == [b"77", None, b"09"]
        assert store.checkpoint == 7
        more = store.move_loaded(100)
    assert dict(store.values()) == expected
    assert store.checkpoint == 7


def test_values_stand_as_they_were_though_they_are_settled_and_changed_meanwhile(store: Store) -> None:
    loaded = {b"u%03d" % n: b"%02d" % (n % 100) for n in range(300)}
    store.load(loaded)
    walk = store.values()
    first = next(walk)
    store.write({b"u000": b"later", b"u299": None}, checkpoint=7)
    while store.move_loaded(50):
        pass
    assert dict([first, *walk]) == loaded


def test_a_store_that_was_reset_is_as_new(store: Store) -> None:
    store.write({b"ada": b"07"}, side={b"sums": b"15"}, checkpoint=4)
    store.reset()
    assert (store.get(b"ada"), list(store.scan()), store.side(b"sums"), store.checkpoint) == (None, [], None, None)
    store.write({b"ada": b"08"}, checkpoint=5)
    assert (store.get(b"ada"), store.checkpoint) == (b"08", 5)


# A disk


def filled(folder: Path, *, how: Callable[[RocksStore], None] = lambda _: None) -> None:
    store = disks(folder).open(3)
    store.write({b"ada": b"07 tasks"}, side={b"sums": b"15"}, checkpoint=4)
    how(store)
    store.close()


LOADED = {b"u%03d" % n: b"%02d tasks" % (n % 100) for n in range(300)}


def being_filled(folder: Path) -> RocksStore:
    store = disks(folder).open(3)
    store.load(LOADED)
    store.write({b"u007": b"77 later"}, side={b"sums": b"15"}, checkpoint=4)
    return store


def test_a_disk_that_is_closed_while_it_is_filled_has_all_of_it(tmp_path: Path) -> None:
    being_filled(tmp_path).close()
    again = disks(tmp_path).open(3)
    assert dict(again.values()) == LOADED | {b"u007": b"77 later"}
    assert (again.checkpoint, again.side(b"sums")) == (4, b"15")


def test_a_disk_that_is_closed_with_much_to_settle_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocks, "MOVED_AT_CLOSE_MAX", 298)
    being_filled(tmp_path).close()
    again = disks(tmp_path).open(3)
    assert (again.checkpoint, dict(again.values())) == (None, {})


def test_what_is_loaded_beyond_a_bound_is_settled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocks, "STAGED_MAX", 40)
    store = disks(tmp_path).open(3)
    for n in range(30):
        store.load({b"u%03d" % (n * 7 + k): b"%02d" % n for k in range(10)} | {b"u%03d" % (n * 7 - 7): None})
        assert store._buffer is not None and len(store._buffer) <= 40
    store.write({}, checkpoint=4)
    expected = {b"u%03d" % (n * 7 + k): b"%02d" % n for n in range(30) for k in range(7 if n < 29 else 10)}
    for n in range(29):
        del expected[b"u%03d" % (n * 7)]
    assert dict(store.values()) == expected
    assert dict(store.scan()) == expected


def test_a_disk_is_there_after_its_process(tmp_path: Path) -> None:
    filled(tmp_path)
    again = disks(tmp_path).open(3)
    assert (again.get(b"ada"), again.heads([b"ada"]), again.side(b"sums")) == (b"07 tasks", [b"07"], b"15")
    assert again.checkpoint == 4


def test_a_disk_can_be_opened_again_though_somebody_left_a_scan_of_it_halfway(tmp_path: Path) -> None:
    store = disks(tmp_path).open(3)
    store.write({b"u%d" % n: b"07 tasks" for n in range(9)}, checkpoint=4)
    scan, values = store.scan(), store.values()
    next(scan)
    next(values)
    store.close()
    assert disks(tmp_path).open(3).checkpoint == 4


def test_partitions_have_disks_of_their_own(tmp_path: Path) -> None:
    filled(tmp_path)
    assert disks(tmp_path).open(4).checkpoint is None


def test_a_disk_of_other_topics_is_thrown_away(tmp_path: Path) -> None:
    filled(tmp_path)
    other = disks(tmp_path, b"recreated rows").open(3)
    assert (other.checkpoint, other.get(b"ada")) == (None, None)


def test_a_disk_of_another_partition_is_thrown_away(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "rows" / "3").rename(tmp_path / "rows" / "5")
    assert disks(tmp_path).open(5).get(b"ada") is None


def test_a_disk_that_was_left_for_a_day_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    monkeypatch.setattr(rocks, "AGE_MAX_MS", -1)
    assert disks(tmp_path).open(3).checkpoint is None


def test_a_disk_that_was_never_complete_is_thrown_away(tmp_path: Path) -> None:
    store = disks(tmp_path).open(3)
    store.write({b"ada": b"07 tasks"})
    store.close()
    assert disks(tmp_path).open(3).get(b"ada") is None


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*", "OPTIONS-*"])
def test_a_damaged_disk_is_thrown_away_and_never_stops_a_start(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    for path in (tmp_path / "rows" / "3").glob(name):
        path.write_bytes(b"\x07 nonsense")
    store = disks(tmp_path).open(3)
    assert store.checkpoint in (None, 4)
    store.write({b"ada": b"08"}, checkpoint=5)
    assert store.get(b"ada") == b"08"


def test_damage_found_while_reading_ends_the_worker_and_the_next_start_throws_the_disk_away(tmp_path: Path) -> None:
    values = {b"u%06d" % n: os.urandom(2000) for n in range(200)}
    filled(tmp_path, how=lambda store: store.load(values))
    damaged = 0
    for path in (tmp_path / "rows" / "3").iterdir():
        if path.suffix in {".blob", ".sst"} and path.stat().st_size > 100_000:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)
            damaged += 1
    assert damaged
    store = disks(tmp_path).open(3)
    with pytest.raises(StoreFailed, match="orruption"):
        for key in values:
            store.get(key)
    store.close()
    assert disks(tmp_path).open(3).checkpoint is None


def test_a_disk_that_another_process_has_ends_the_start_and_stays(tmp_path: Path) -> None:
    store = disks(tmp_path).open(3)
    store.write({b"ada": b"07 tasks"}, checkpoint=4)
    with pytest.raises(StoreFailed, match="cannot be opened"):
        disks(tmp_path).open(3)
    assert store.get(b"ada") == b"07 tasks"


def test_disks_that_nobody_used_for_a_day_are_swept_and_others_stay(tmp_path: Path) -> None:
    filled(tmp_path)
    old = tmp_path / "rows" / "5"
    old.mkdir()
    (old / "000001.log").write_bytes(b"x")
    yesterday_s = time.time() - 25 * 3600
    os.utime(old / "000001.log", (yesterday_s, yesterday_s))
    disks(tmp_path).sweep()
    assert not old.exists()
    assert disks(tmp_path).open(3).checkpoint == 4


KILLED = """
import sys
from pathlib import Path
from tables.rocks import Rocks
store = Rocks(Path(sys.argv[1]) / "rows", identity=b"journal rows", head=lambda value: value[:2]).open(3)
n = 0
while True:
    n += 1
    store.write({b"a": b"%08d" % n, b"b": b"%08d" % n + bytes(3000)}, side={b"sums": b"%08d" % n}, checkpoint=n)
    if n == 200:
        print("go", flush=True)
"""


def test_a_write_is_whole_or_not_there_when_its_process_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen((sys.executable, "-c", KILLED, str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store = disks(tmp_path).open(3)
    count = store.checkpoint
    assert count is not None and count >= 200
    number = b"%08d" % count
    assert (store.get(b"a"), store.side(b"sums")) == (number, number)
    assert store.get(b"b") == number + bytes(3000)


KILLED_HALFWAY = """
import os, signal, sys
from pathlib import Path
from tables.rocks import Rocks
store = Rocks(Path(sys.argv[1]) / "rows", identity=b"journal rows", head=lambda value: value[:2]).open(3)
store.load({b"u%03d" % n: b"07" + bytes(3000) for n in range(300)})
store.write({b"ada": b"08"}, side={b"sums": b"15"}, checkpoint=4)
assert store.move_loaded(100)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_disk_whose_process_is_killed_while_it_is_filled_is_rebuilt(tmp_path: Path) -> None:
    subprocess.run((sys.executable, "-c", KILLED_HALFWAY, str(tmp_path)), cwd=ROOT, check=False)
    assert {path.name for path in (tmp_path / "rows").iterdir()} == {"3"}
    store = disks(tmp_path).open(3)
    assert (store.checkpoint, store.get(b"ada"), store.side(b"sums"), list(store.scan())) == (None, None, None, [])


FULL_WHILE_FILLED = """
import os, resource, sys
from pathlib import Path
from tables.rocks import Rocks
from tables.store import StoreFailed
store = Rocks(Path(sys.argv[1]) / "rows", identity=b"journal rows", head=lambda value: value[:2]).open(3)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    while True:
        store.load({os.urandom(8): bytes(20_000) for _ in range(30)})
except StoreFailed as failed:
    print(failed, flush=True)
store.close()
"""


def test_a_disk_that_is_full_while_it_is_filled_ends_the_worker(tmp_path: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-c", FULL_WHILE_FILLED, str(tmp_path)), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "the rows' disk" in done.stdout
    assert "too large" in done.stdout
    assert disks(tmp_path).open(3).checkpoint is None


FULL = """
import os, resource, sys
from pathlib import Path
from tables.rocks import Rocks
from tables.store import StoreFailed
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
store = Rocks(Path(sys.argv[1]) / "rows", identity=b"journal rows", head=lambda value: value[:8]).open(3)
n = 0
try:
    while True:
        n += 1
        store.write({b"u%d" % (n % 50): b"%08d" % n + os.urandom(20_000)}, side={b"sums": b"%08d" % n}, checkpoint=n)
except StoreFailed as failed:
    print(n, failed, flush=True)
store.close()
"""


def test_a_disk_that_takes_no_more_ends_the_worker_and_has_what_it_took(tmp_path: Path) -> None:
    # A limit of a file's size, which says no as a full disk does.
    done = subprocess.run(
        (sys.executable, "-c", FULL, str(tmp_path)), cwd=ROOT, capture_output=True, text=True, check=True
    )
    number, told = done.stdout.split(" ", 1)
    assert "the rows' disk" in told
    assert "too large" in told
    store = disks(tmp_path).open(3)
    assert store.checkpoint is not None
    assert 0 < store.checkpoint < int(number)
    sums = b"%08d" % store.checkpoint
    assert store.side(b"sums") == sums
    newest = store.get(b"u%d" % (store.checkpoint % 50))
    assert newest is not None
    assert newest[:8] == sums


# A disk that another process has


WRITES = """
import sys
from pathlib import Path
from tables.rocks import Rocks

disk = Rocks(Path(sys.argv[1]), identity=b"journal rows", head=lambda value: value[:2]).open(3)
for number in range(1, 400):
    disk.write({b"ada": b"%06d" % number + bytes(50_000), b"bob": b"07"}, checkpoint=number)
    if number == 200:
        print("half", flush=True)
        sys.stdin.readline()
print("all", flush=True)
sys.stdin.readline()
"""


def test_another_process_is_shown_a_key_with_the_checkpoint_that_belongs_to_it(tmp_path: Path) -> None:
    theirs, folder = (sys.executable, "-c", WRITES, str(tmp_path / "rows")), tmp_path / "rows" / "3"
    with subprocess.Popen(theirs, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writes:
        assert writes.stdin is not None and writes.stdout is not None
        assert writes.stdout.readline() == "half\n"
        before = {path.name: path.stat().st_ino for path in folder.iterdir()}
        seen = disks(tmp_path).look(3, b"ada")
        assert seen is not None
        assert (seen.value, seen.checkpoint) == (b"000200" + bytes(50_000), 200)
        assert disks(tmp_path).look(3, b"eve") == (None, 200)
        assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
        writes.stdin.write("\n")
        writes.stdin.flush()
        # What changes hands meanwhile is not seen; what is seen belongs together.
        for _ in range(20):
            at = disks(tmp_path).look(3, b"ada")
            assert at is None or (at.value or b"").startswith(b"%06d" % at.checkpoint)
        assert writes.stdout.readline() == "all\n"
        assert (seen := disks(tmp_path).look(3, b"ada")) is not None and seen.checkpoint == 399
        writes.stdin.write("\n")


def test_a_disk_that_a_worker_would_not_use_says_nothing_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert disks(tmp_path).look(3, b"ada") is None
    disk = disks(tmp_path).open(3)
    disk.write({b"ada": b"07"})
    assert disks(tmp_path).look(3, b"ada") is None  # Never complete.
    disk.write({}, checkpoint=5)
    assert disks(tmp_path).look(3, b"ada") == (b"07", 5)
    assert disks(tmp_path, b"other topics").look(3, b"ada") is None
    disk.close()
    monkeypatch.setattr(rocks, "AGE_MAX_MS", -1)
    assert disks(tmp_path).look(3, b"ada") is None
