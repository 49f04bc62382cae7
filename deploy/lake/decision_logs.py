"""What decision logs of other systems say: each policy's estimate by agents/evaluation, over files of any length in constant memory.

What is not joined lies in SQLite on a disk of this machine meanwhile, and goes with the process. It writes nothing to a stack.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np

from agents.evaluation import estimates, single
from agents.evaluation.estimates import Estimate, Estimates
from connectors import dsjson
from connectors.dsjson import Decision, Labelled, Observation, SeveralSlots, Unusable

Take = Literal["earliest", "latest", "sum"]
POLICIES: Final = ("logged", "first action", "at random")
"""What is estimated: what decided; who always takes action 1, the baseline of Personalizer; and who draws evenly."""
SHOWN_MAX: Final = 10
Z_ALERT: Final = 4.0
"""So many standard errors off 1 the mean weight of drawing evenly is no chance: a propensity is of another action than the one that was taken."""


@dataclass(slots=True)
class Found:
    """All that files said."""

    lines: int = 0
    estimates: Estimates = field(default_factory=lambda: estimates.empty(shape=(len(POLICIES),)))
    """(P,), in the order of POLICIES."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was passed over, and what was odd, by word."""
    bad: list[str] = field(default_factory=list)
    """The first lines that could not be used: file, number and why."""
    bad_many: int = 0

    @property
    def events(self) -> int:
        """Decisions that were counted."""
        return self.estimates.n

    @property
    def weight_z(self) -> float:
        """How many standard errors the mean weight of drawing evenly is off 1."""
        return float(estimates.weight_z(self.estimates)[POLICIES.index("at random")])

    def told(self) -> dict[str, Any]:
        """For programs."""
        found = {name: {kind: _of(one, at) for kind, one in self._kinds()} for at, name in enumerate(POLICIES)}
        weights = estimates.mean_weight(self.estimates).tolist()
        for name, weight in zip(POLICIES, weights, strict=True):
            found[name]["mean_weight"] = weight
        return {
            "lines": self.lines,
            "events": self.events,
            "bad": self.bad_many,
            "bad_lines": self.bad,
            "counts": dict(self.counts),
            "policies": found,
            "weight_z": self.weight_z,
        }

    def _kinds(self) -> tuple[tuple[str, Estimate], ...]:
        return ("ips", estimates.ips(self.estimates)), ("snips", estimates.snips(self.estimates))


def _of(one: Estimate, at: int) -> Any:
    bounds = (float(one.value[at]), float(one.low[at]), float(one.high[at]))
    assert self_contained(bounds), "an interval that does not hold its own estimate"
    return dict(zip(("value", "low", "high"), (value if np.isfinite(value) else None for value in bounds), strict=True))


def self_contained(bounds: tuple[float, float, float]) -> bool:
    """Whether an interval (value, low, high) holds its own value.

    >>> self_contained((0.5, 0.4, 0.6)), self_contained((0.5, 0.6, 0.7))
    (True, False)
    """
    value, low, high = bounds
    return low <= value <= high


class Reading:
    """Reads files one after the other, then what has to be joined."""

    def __init__(
        self,
        *,
        take: Take,
        default_reward: float,
        heard: Callable[[Decision, float], None] = lambda _decision, _reward: None,
        progress: Callable[[int], None] = lambda _lines: None,
    ) -> None:
        """`take`: which reward counts where several were observed; `default_reward` where none was. `heard` is told of each decision that counts."""
        self.found = Found()
        self._take, self._default, self._heard, self._progress = take, default_reward, heard, progress
        self._store: _Apart | None = None

    def read(self, *files: Path) -> Found:
        """Take all of it in. Raises SeveralSlots with the file and line, and OSError."""
        with TemporaryDirectory(prefix="oo-dsjson-") as folder:
            self._store = _Apart(Path(folder) / "apart.sqlite")
            for path in files:
                self._file(path)
            for decision, reward in self._store.joined(self._take, self._default, self.found.counts):
                self._count(decision, reward)
            self._store.close()
        return self.found

    def _file(self, path: Path) -> None:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                self._progress(1)
                if not line.strip():
                    continue
                self.found.lines += 1
                try:
                    self._take_in(dsjson.read(line))
                except Unusable as why:
                    self.found.bad_many += 1
                    if len(self.found.bad) < SHOWN_MAX:
                        self.found.bad.append(f"{path}:{number}: {why}")
                except SeveralSlots:
                    raise SeveralSlots(
                        f"{path}:{number}: a log of several slots or of continuous actions (CCB, slates, CATS). oO chooses one of a slate, and reads logs "
                        "of one slot alone: export those, or evaluate this one with vw-estimators"
                    ) from None

    def _take_in(self, said: dsjson.Said) -> None:
        assert self._store is not None
        match said:
            case Labelled(decision, reward, counts, is_late):
                self.found.counts["label behind the context"] += is_late
                if counts:
                    self._count(decision, reward)
                else:
                    self.found.counts["never activated"] += 1
            case Decision():
                if not said.event_id:
                    raise Unusable("a decision without a label has no EventId: nothing can be joined to it")
                self._store.add(said)
            case Observation(is_dangling=True):
                self.found.counts["dangling reward"] += 1
            case _:
                if not said.event_id:
                    raise Unusable("an observation without an EventId")
                self._store.observe(said)

    def _count(self, decision: Decision, reward: float) -> None:
        found, k = self.found, len(decision.probabilities)
        found.counts["probabilities of the others not logged"] += not decision.rest_is_known
        logging = np.array(decision.probabilities)
        pmfs = np.zeros((len(POLICIES), k))
        pmfs[0], pmfs[1, 0], pmfs[2] = logging, 1.0, 1 / k
        # One that stands for those that were dropped.
        counts = 1 / (1 - decision.dropped)
        terms = single.terms(logging, np.zeros(k), pmfs, decision.action, reward, counts)
        found.estimates = estimates.plus(found.estimates, terms.T)
        self._heard(decision, reward)


class _Apart:
    """Decisions and observations that are not joined."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;
            CREATE TABLE decisions (number INTEGER PRIMARY KEY, event_id TEXT UNIQUE, said TEXT);
            CREATE TABLE observed (number INTEGER PRIMARY KEY, event_id TEXT, at_ms INTEGER, reward REAL, activation INTEGER);
            BEGIN;
        """)
        self._twice = 0

    def add(self, one: Decision) -> None:
        said = (one.action, one.probabilities, one.rest_is_known, one.dropped, one.is_deferred, one.features)
        done = self._db.execute(
            "INSERT OR IGNORE INTO decisions (event_id, said) VALUES (?, ?)", (one.event_id, json.dumps(said))
        )
        self._twice += not done.rowcount

    def observe(self, one: Observation) -> None:
        told = (one.event_id, one.at_ms, one.reward, one.is_activation)
        self._db.execute("INSERT INTO observed (event_id, at_ms, reward, activation) VALUES (?, ?, ?, ?)", told)

    def joined(self, take: Take, default: float, counts: Counter[str]) -> Iterator[tuple[Decision, float]]:
        """Each decision in the order of the files with its reward, those aside that were deferred and never activated."""
        counts["decision twice"] += self._twice
        self._db.execute("CREATE INDEX by_event ON observed (event_id, at_ms, number)")
        query = "SELECT count(*) FROM observed WHERE reward IS NOT NULL AND event_id NOT IN (SELECT event_id FROM decisions)"
        counts["dangling reward"] += self._db.execute(query).fetchone()[0]
        for event_id, text in self._db.execute("SELECT event_id, said FROM decisions ORDER BY number"):
            action, probabilities, known, dropped, deferred, features = json.loads(text)
            rewards, activated = list[float](), False
            query = "SELECT reward, activation FROM observed WHERE event_id = ? ORDER BY at_ms, number"
            for reward, activation in self._db.execute(query, (event_id,)):
                activated |= bool(activation)
                rewards += [] if reward is None else [reward]
            if deferred and not activated:
                counts["never activated"] += 1
                continue
            counts["without a reward"] += not rewards
            value = (
                default if not rewards else sum(rewards) if take == "sum" else rewards[0 if take == "earliest" else -1]
            )
            yield Decision(event_id, action, tuple(probabilities), known, dropped, deferred, features), value

    def close(self) -> None:
        self._db.close()
