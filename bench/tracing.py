"""What traces add to a signal in the core, of which 1 in 100 is sampled, beside the least that a signal costs there.

That least is the door and a decision of somebody with few tasks, without Kafka, seals and rows: the share is smaller than what is
said here. Of a whole pipeline's processor time it is below what two runs differ by.
"""

from __future__ import annotations

from statistics import median

from bench.builds import in_turns
from bench.measured import tracing
from bench.result import Bench, Result, compared
from tests.receiver import receiving

TURNS = 5


def measure(bench: Bench) -> Result:
    """Microseconds of a signal with traces, and without."""
    with receiving() as receiver:
        turns = in_turns(bench, tracing.__name__, receiver.address, turns=2 if bench.quick else TURNS, alone=True)[
            "now"
        ]
        spans = len(receiver.spans)
    signal, traces = (median(turn[name] for turn in turns) for name in ("a signal", "traces"))
    note = f"Traces add {traces:.2f} µs, in the turns {min(t['traces'] for t in turns):.2f} to {max(t['traces'] for t in turns):.2f}; {spans:,} spans came to a receiver in another process."
    return Result(
        [
            compared(
                "traces",
                "the door and a decision, 1 in 100 traced",
                signal + traces,
                "µs",
                peer=signal,
                peer_name="nothing traced",
                at_most=1.03,
                note=note,
            )
        ]
    )
