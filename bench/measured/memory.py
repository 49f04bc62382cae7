"""Memory of a whole stack that simulated people use: PSS of every part, in bytes, looked at all the time.

PSS counts a page that several processes share once in all. The simulator is not of the stack and not counted.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import linear_regression

import psutil

from bench.measured import turns
from bench.measured.older import result

EVERY_S = 10.0
ROOT = Path(result.__file__).resolve().parents[1 if result.__name__.startswith("bench.") else 2]


def main(users: int, minutes: float) -> None:
    def turn() -> turns.Numbers:
        with (
            tempfile.TemporaryDirectory(prefix="oo-bench-") as folder,
            result.Bench(Path(folder)).stack() as stack,
            (Path(folder) / "simulator").open("wb") as log,
        ):
            state = str(stack.folder.root)
            simulate = ("simulate", f"--users={users}", f"--minutes={minutes}", f"--state={state}")
            with subprocess.Popen(
                (sys.executable, "-m", "deploy.cli", *simulate), cwd=ROOT, stdout=log, stderr=log
            ) as people:
                looks = []
                began_s = time.monotonic()
                while people.poll() is None:
                    looks.append((time.monotonic() - began_s, _parts(state, but=people.pid)))
                    time.sleep(EVERY_S)
                if people.returncode:
                    raise SystemExit(f"oo simulate: {(Path(folder) / 'simulator').read_text()[-2000:]}")
        return _found(looks)

    turns.answer(turn)


def _found(looks: list[tuple[float, Counter[str]]]) -> dict[str, float]:
    """Of the second half: the mean by part and in all, and how much it grows in an hour, in all and by part."""
    late = looks[len(looks) // 2 :]
    parts = {part for _, look in late for part in look}
    found = {f"part {part}": sum(look[part] for _, look in late) / len(late) for part in parts}
    found |= {"all": sum(found.values()), "minutes": looks[-1][0] / 60, "looks": len(late)}
    times_s = [at_s for at_s, _ in late]
    if len(late) > 1:
        found |= {
            f"slope {part}": linear_regression(times_s, [look[part] for _, look in late]).slope * 3600 for part in parts
        }
        found["slope"] = linear_regression(times_s, [look.total() for _, look in late]).slope * 3600
    return found


def _parts(state: str, *, but: int) -> Counter[str]:
    """Bytes by part of all processes that this state folder's stack runs."""
    found: Counter[str] = Counter()
    for process in _processes(state, but=but):
        try:
            words, pss = process.cmdline(), _pss(process.pid)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
        found[_part(words)] += pss
    return found


def _processes(state: str, *, but: int) -> Iterator[psutil.Process]:
    known = set()
    for process in psutil.process_iter(["cmdline", "pid"]):
        # The supervisor names the folder; whatever it has started stands below it.
        if any(state in word for word in process.info["cmdline"] or ()) and process.pid != but:
            for one in (process, *process.children(recursive=True)):
                if one.pid not in known and one.pid != but:
                    known.add(one.pid)
                    yield one


def _part(words: list[str]) -> str:
    """What a process is, from its command line."""
    line = " ".join(words)
    for pattern, part in PARTS:
        if found := re.search(pattern, line):
            return part or found[1]
    return "other"


PARTS = (
    (r"kafka\.Kafka", "Kafka"),
    (r"apicurio|registry", "the registry"),
    (r"postgres", "PostgreSQL"),
    (r"valkey", "Valkey"),
    (r"-m agents (\w+)", ""),
    (r"-m serving|granian|uvicorn", "edge"),
    (r"deploy\.", "the supervisor"),
)
"""The first that is found in the command line; an empty name is what the pattern found."""


def _pss(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
