"""Another build of oO beside this one: a worktree of a commit with an environment of its own, and measuring in both in turns.

What measures (bench.measured) is this tree's; what it measures is the product of the tree whose Python runs it. A build is
made once, in the cache folder, by its own `make setup`; it is never changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.result import Bench
from deploy.stack.fetch import default_cache

ROOT = Path(__file__).resolve().parents[1]
AGAINST = "2321a36"
"""The build before decisions were made from columns."""
QUIT_S = 60.0
"""For a program to end what it has started."""

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Build:
    """A tree with its environment."""

    name: str
    root: Path

    @property
    def python(self) -> Path:
        """The interpreter that has its packages."""
        return self.root / ".venv" / "bin" / "python"


HERE = Build("now", ROOT)


def build(commit: str, *, say: Callable[[str], None]) -> Build:
    """The build of a commit, made if it is not there; its set-up speaks for itself. Ends the program where it cannot be made."""
    found = _git(ROOT, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if found.returncode:
        raise SystemExit(
            f"no commit {commit} here to measure against: fetch it (git fetch --unshallow), or AGAINST=COMMIT"
        )
    full = found.stdout.strip()
    folder = default_cache().root / "builds" / full
    if not (folder / ".git").is_file() or _git(folder, "reset", "--hard", "--quiet", full).returncode:
        say(f"a worktree of {commit}, made once: {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = _git(ROOT, "worktree", "add", "--force", "--detach", "--quiet", str(folder), full)
        if made.returncode:
            raise SystemExit(f"no worktree of {commit}: {made.stderr.strip()}")
    uv = ROOT / ".uv" / "bin" / "uv"
    own_uv = (f"UV={uv}",) if uv.exists() else ()
    if subprocess.run(("make", "--silent", *own_uv, "setup"), cwd=folder, env=environment(), check=False).returncode:
        raise SystemExit(f"commit {commit} could not be set up in {folder}")
    return Build(commit, folder)


def in_turns(bench: Bench, program: str, *arguments: str, turns: int, alone: bool = False) -> dict[str, list[Numbers]]:
    """What a program of bench.measured found in each turn, by "before" and "now": old, new, old, new.

    Both run all the time and wait while the other has its turn. `alone`: this build only.
    """
    sides = {"now": HERE} if alone else {"before": build(bench.against, say=bench.say), "now": HERE}
    found: dict[str, list[Numbers]] = {side: [] for side in sides}
    with ExitStack() as running:
        programs = {
            side: running.enter_context(_running(one, program, arguments, bench.scratch)) for side, one in sides.items()
        }
        for one in programs.values():
            one.heard()
        for _ in bench.track(range(turns), program, turns):
            for side, one in programs.items():
                print(file=one.asking, flush=True)
                found[side].append(one.heard())
    return found


@dataclass(frozen=True, slots=True)
class _Running:
    """A program that measures, on its way; the first that is heard of it is that it is ready."""

    name: str
    process: subprocess.Popen[str]
    asking: IO[str]
    answers: IO[str]
    log: Path

    def heard(self) -> Numbers:
        said = self.answers.readline()
        if not said:
            self.process.wait(QUIT_S)  # Its last words come after it has stopped answering.
            raise SystemExit(f"{self.name} ended early:\n{self.log.read_text()[-2000:]}")
        numbers: Numbers = json.loads(said)
        return numbers


@contextmanager
def _running(build: Build, program: str, arguments: Sequence[str], scratch: Path) -> Iterator[_Running]:
    folder = Path(tempfile.mkdtemp(prefix=f"{program}-", dir=scratch))
    (folder / "bench").symlink_to(ROOT / "bench")
    log = folder / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            (build.python, "-P", "-m", program, *arguments),
            cwd=build.root,
            env={**environment(), "PYTHONPATH": os.pathsep.join((str(folder), str(build.root)))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _Running(f"{program} in the build {build.name}", process, process.stdin, process.stdout, log)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(QUIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def environment() -> dict[str, str]:
    """This process's, without what ties it to this tree's environment or to the make that runs it."""
    ours = str(ROOT / ".venv")
    kept = {name: value for name, value in os.environ.items() if name not in _TIES}
    paths = os.environ.get("PATH", "").split(os.pathsep)
    return {**kept, "PATH": os.pathsep.join(path for path in paths if not path.startswith(ours))}


_TIES = (
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "MAKEFLAGS",
    "MAKEOVERRIDES",
    "MFLAGS",
    "MAKELEVEL",
    "AGAINST",
    "ARGS",
)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("git", "-C", str(folder), *arguments), capture_output=True, text=True, check=False)
