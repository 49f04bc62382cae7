"""What a row of the table is, and what its fault is done to."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.oracle import LAGS, Oracle
from tests.faults.stack import Stack
from tests.faults.traffic import Mix, Traffic

KILL, STOP, CONT, TERM, INT = (
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCONT,
    signal.SIGTERM,
    signal.SIGINT,
)
CORES = ("core-0", "core-1")


@dataclass(slots=True)
class Scene:
    """What a fault is done to. `probe` looks for what is committed and not durable; `notes` go into the report."""

    stack: Stack
    chance: random.Random
    probe: Callable[[], None]
    oracle: Oracle
    traffic: Traffic
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What the fault itself found wrong, beside the oracle."""

    def between(self, low_s: float, high_s: float) -> None:
        self.stack.wait(self.chance.uniform(low_s, high_s))

    def goes_on(self, *topics: str) -> float:
        """Wait until all that stands in these topics now is committed by its readers; returns the seconds."""
        prefix, log = self.stack.running.cluster.prefix, self.oracle.log
        ends = {topic: log.ends(topic) for topic in topics}

        def taken() -> bool:
            for topic, behind in ends.items():
                done = log.committed(f"{prefix}{LAGS[topic]}".replace(".", "-"), topic)
                if any(done[number] < end for number, end in behind.items()):
                    return False
            return True

        return self.stack.until(taken, what=f"{topics} taken")


Do = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    id: str
    what: str
    do: Do
    mix: Mix = field(default_factory=Mix)
    rate: float = 80.0
    rebuilt: bool = False
    """Every core worker has recovered its rows since the fault."""
    supervised: bool = False
    """Done to a stack whose supervisor, not the harness, starts our processes again."""
