"""A FeatureStore that Feast keeps: offline in its repository's Parquet, online in Valkey or SQLite. Feast runs in a process and an environment of its own.

Feast answers otherwise in five ways, each met here or in the repository (docs/adr/0072).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Final, Self

from training.feast import repository
from training.people import Row, check, fresh

TIMEOUT_S: Final = 120.0
"""The first answer includes Feast's own start."""


class FeastError(Exception):
    """Feast did not answer, or answered with an error; one line."""


class Worker:
    """Feast in a process of its own. It gives what Feast gives."""

    def __init__(self, folder: Path, *, python: Path, timeout_s: float = TIMEOUT_S) -> None:
        """`python`: of an environment with what training/feast/requirements.txt names."""
        self._timeout_s = timeout_s
        self._process = subprocess.Popen(
            (python, Path(__file__).parent / "worker.py", folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, way: str, *given: object) -> Any:
        """Ask one of the ways of training/feast/worker.py. Raises FeastError; after no answer nothing more can be asked."""
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = Timer(self._timeout_s, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps([way, *given]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            command = " ".join(map(str, self._process.args))  # type: ignore[arg-type]  # a tuple, as given above
            raise FeastError(f"Feast ended, or was ended after {self._timeout_s:g} s without an answer; see: {command}")
        said = json.loads(line)
        if "error" in said:
            raise FeastError(f"Feast: {said['error']}")
        return said["is"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class FeastStore:
    """A FeatureStore over a folder that `repository.make` made. `tell` writes all its offline rows anew, so tell many at once."""

    def __init__(self, folder: Path, *, python: Path, timeout_s: float = TIMEOUT_S) -> None:
        """As Worker."""
        self.folder = folder
        self.worker = Worker(folder, python=python, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.worker.close()

    def tell(self, rows: Collection[Row], *, now_ms: int) -> None:
        """As FeatureStore; what a kill left undone is done when the same is told again."""
        check(rows, now_ms=now_ms)
        repository.write(self.folder, [*repository.read(self.folder), *rows])
        self._push(rows)

    def at(self, asked: Sequence[tuple[str, int]]) -> list[Row | None]:
        """As FeatureStore."""
        # Feast leaves out the rows of which it knows nothing and all but one of those that are alike, in an order of its own: each is asked once, by number.
        each = list(dict.fromkeys((person, at_ms) for person, at_ms in asked))
        found = {}
        for place, *numbers in self.worker.ask("history", each) if each else ():
            person, at_ms = each[place]
            found[person, at_ms] = fresh(_row(person, numbers), now_ms=at_ms)
        return [found.get((person, at_ms)) for person, at_ms in asked]

    def now(self, person: str, *, now_ms: int) -> Row | None:
        """As FeatureStore."""
        # Online, Feast looks at no ttl.
        return fresh(self._online([person])[0], now_ms=now_ms)

    def forget(self, people: Collection[str]) -> None:
        """As FeatureStore; of the online store all is taken away, and what stays is written again."""
        kept = [one for one in repository.read(self.folder) if one.person not in people]
        repository.write(self.folder, kept)
        self.worker.ask("clear")
        self._push(kept)

    def _online(self, people: Sequence[str]) -> list[Row | None]:
        return [_row(person, one) for person, one in zip(people, self.worker.ask("online", people), strict=True)]

    def _push(self, rows: Collection[Row]) -> None:
        newest = {one.person: one for one in sorted(rows, key=lambda row: row.rank)}
        if not newest:
            return
        # Online, Feast has whatever was pushed last, also where it is older.
        there = self._online(list(newest))
        later = [new for old, new in zip(there, newest.values(), strict=True) if old is None or new.rank > old.rank]
        if later:
            self.worker.ask(
                "push",
                [repository.told(one) | {"event_timestamp": one.shows_ms, "created": one.known_ms} for one in later],
            )


def _row(person: str, numbers: Sequence[int | None]) -> Row | None:
    known = [one for one in numbers if one is not None]
    return repository.row_of(person, known) if len(known) == len(numbers) else None
