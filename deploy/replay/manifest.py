"""What a run of `oo replay` is: frozen before its first record, and the folder that all of it lies in.

It never changes once it is written; a run that is taken up again reads it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
FOLDER = "replays"
HELD_S = 2.0
"""How long to wait for a run that somebody holds: who asks for its state has it for a moment."""


class RunError(Exception):
    """A run cannot be what was asked; one line that says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a run depends on, but the journal itself and its snapshots."""

    name: str
    journal_id: str
    """Of the topic, in hex."""
    start: dict[int, int]
    """By partition the first offset that is written."""
    end: dict[int, int]
    """By partition the offset that is not reached."""
    begin: dict[int, str]
    """By partition the file of the row snapshot that the fold begins with; those that are not here begin with the journal."""
    step_version: int
    build: str
    policy: str = ""
    """NAME or NAME@VERSION of an evaluation; empty for the one that was active."""
    settings: dict[str, int] = field(default_factory=dict)
    """Of an evaluation's configuration, where they are others than those of then."""
    users: tuple[str, ...] = ()
    """Pseudonyms; empty for everybody."""
    rate: float = 0.0
    """Records a second of each process; 0: as fast as it goes."""
    lag_max: int = 0
    """It waits while a live group is more than so many records behind; 0: it never does."""
    topics: bool = False
    """What was decided, and what came of it, goes to topics of the run's own too."""
    part_records: int = 50_000
    created_ms: int = 0

    @property
    def asks(self) -> str:
        """Whom an evaluation asks beside the log; empty for a verification."""
        return ", ".join(filter(None, (self.policy, *(f"{name}={value}" for name, value in self.settings.items()))))

    @property
    def records(self) -> int:
        """How many it is about."""
        return sum(end - self.start[number] for number, end in self.end.items())

    def snapshots(self) -> dict[int, tuple[int, Path]]:
        """By partition the row snapshot that the fold begins with: the last offset that is in it, and its file."""
        split = {number: told.partition(":") for number, told in self.begin.items()}
        return {number: (int(offset), Path(path)) for number, (offset, _, path) in split.items()}

    def to_fold(self, *, folded: Mapping[int, int] = MappingProxyType({})) -> dict[int, int]:
        """By partition how many records are to be read: those that lead up to the start too. `folded`: what is below that is done."""
        begins = {number: offset + 1 for number, (offset, _) in self.snapshots().items()}
        return {
            number: max(end - max(begins.get(number, 0), folded.get(number, 0)), 0) for number, end in self.end.items()
        }

    def to_json(self) -> str:
        """As it stands in its file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def of_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote.

        >>> one = Manifest("r", "00", {0: 1}, {0: 9}, {}, step_version=6, build="1", users=("a",))
        >>> Manifest.of_json(one.to_json()) == one
        True
        """
        said = json.loads(text)
        for name in ("start", "end", "begin"):
            said[name] = {int(number): one for number, one in said[name].items()}
        return cls(**{**said, "users": tuple(said["users"])})


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, STATE/replays/NAME. Raises RunError for a name that cannot be one."""

    root: Path
    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise RunError(f"{self.name!r} cannot name a run: small letters, digits and hyphens, 64 at most")

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def paused_file(self) -> Path:
        """It is there while the run is to wait."""
        return self.folder / "paused"

    @property
    def yielding_file(self) -> Path:
        """It is there while the run waits for the live workers."""
        return self.folder / "yielding"

    @property
    def unpublished_file(self) -> Path:
        """It is there while topics of the run lack what was folded."""
        return self.folder / "unpublished"

    def create(self, manifest: Manifest) -> None:
        """Make the folder and write the manifest. Raises RunError where there is such a run."""
        self.root.mkdir(mode=0o700, exist_ok=True)
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            raise RunError(
                f"there is a run {self.name}: 'oo replay resume {self.name}' takes it up again, 'oo replay rm {self.name}' removes it"
            ) from None
        if manifest.topics:
            self.unpublished_file.touch()
        unfinished = self.folder / "manifest.part"
        unfinished.write_text(manifest.to_json())
        unfinished.rename(self.folder / "manifest.json")

    def manifest(self) -> Manifest:
        """Read it. Raises RunError where there is no such run."""
        try:
            return Manifest.of_json((self.folder / "manifest.json").read_text())
        except FileNotFoundError:
            raise RunError(f"there is no run {self.name}: 'oo replay list' shows those that are") from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it: one process works at a run. Raises RunError where another does."""
        until_s = time.monotonic() + HELD_S
        with self._lock() as file:
            while not _taken(file, fcntl.LOCK_EX):
                if time.monotonic() >= until_s:
                    raise RunError(f"{self.name} runs already: 'oo replay pause {self.name}' makes it wait")
                time.sleep(0.02)
            yield

    @contextmanager
    def _lock(self) -> Iterator[int]:
        file = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            yield file
        finally:
            os.close(file)

    def state(self) -> str:
        """In one word: done, paused, running, yielding (to the live workers) or unfinished."""
        if self.is_folded() and not self.unpublished_file.exists():
            return "done"
        if self.paused_file.exists():
            return "paused"
        with self._lock() as file:
            # Shared: who else asks at this moment is no process at it.
            if _taken(file, fcntl.LOCK_SH):
                return "unfinished"
        return "yielding" if self.yielding_file.exists() else "running"

    def folded(self) -> dict[int, int]:
        """By partition the offset below which it is done, a part at a time; of what was never begun, none."""
        found = dict[int, int]()
        for path in self.folder.glob("partition-*/*.rows"):
            number = int(path.parent.name.removeprefix("partition-"))
            found[number] = max(found.get(number, 0), int(path.stem))
        return found

    def reached_file(self, number: int) -> Path:
        """Of a partition, how far it is read, as the process at it last said."""
        return self.folder / f"reached-{number}"

    def reached(self) -> dict[int, int]:
        """By partition the offset below which it is read: within a second while a process is at it, else as `folded`."""
        found = self.folded()
        if self.state() == "unfinished":  # What was read of a part that is not whole is read again.
            return found
        for path in self.folder.glob("reached-*"):
            number = int(path.name.removeprefix("reached-"))
            with suppress(ValueError, FileNotFoundError):  # At this moment it is being written.
                found[number] = max(found.get(number, 0), int(path.read_text()))
        return found

    def done(self) -> float:
        """The share of all that it folds which is read."""
        manifest = self.manifest()
        whole, left = (sum(manifest.to_fold(folded=one).values()) for one in ({}, self.reached()))
        return 1.0 if self.is_folded() or not whole else 1 - left / whole

    def is_folded(self) -> bool:
        """Whether nothing of its range is left to fold."""
        return (self.folder / "done.json").exists()

    def check_done(self) -> None:
        """Raise RunError for one that is not at its end."""
        if (state := self.state()) != "done":
            raise RunError(f"{self.name} is {state}: 'oo replay resume {self.name}' brings it to its end")

    def remove(self, *, first: Callable[[], None] = lambda: None) -> None:
        """Take all of it away, behind what `first` does. Raises RunError while it runs, and where there is none."""
        self.manifest()
        with self.held():
            first()
            shutil.rmtree(self.folder)


def _taken(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def runs(root: Path) -> list[Run]:
    """Those in a folder, by name."""
    found = sorted(one.parent.name for one in root.glob("*/manifest.json"))
    return [Run(root, name) for name in found if NAME.fullmatch(name)]
