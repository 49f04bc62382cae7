"""Memory of a whole stack, all its parts, while a thousand simulated people use it; beside the build before, one after the other."""

from __future__ import annotations

from bench.builds import in_turns
from bench.result import Bench, Result, compared

PEOPLE = 1_000
MB = 1e6
MINUTES_MIN = 60.0
"""For the goals on the slope: it is that of the last half hour."""
FLAT_MB = 10.0
"""An hour: what a slope may be and still be called flat."""


def measure(bench: Bench) -> Result:
    """Megabytes in the second half of a run, and how many more they become in an hour."""
    minutes = bench.minutes / 10 if bench.quick else bench.minutes
    bench.say(f"{PEOPLE:,} people use one build after the other, {minutes:g} minutes each")
    found = in_turns(bench, "bench.measured.memory", f"{PEOPLE}", f"{minutes}", turns=1)
    (before,), (now,) = found["before"], found["now"]
    parts = sorted((name for name in now if name.startswith("part ")), key=lambda name: -now[name])
    note = "By part, MB: " + ", ".join(
        f"{name.removeprefix('part ')} {now[name] / MB:.0f}"
        + (f" ({before[name] / MB:.0f})" if name in before else "")
        + f" {now.get(name.replace('part', 'slope'), 0) / MB:+.0f} an hour"
        for name in parts
    )
    bench.say(note)
    return Result(
        [
            compared(
                "memory",
                f"memory of a stack that {PEOPLE:,} simulated people use, PSS of all parts, second half of {now['minutes']:.0f} minutes",
                now["all"] / MB,
                "MB",
                peer=before["all"] / MB,
                peer_name=bench.against,
                at_most=1.0,
                note=f"{note}; in brackets {bench.against}.",
            ),
            compared(
                "memory-slope",
                "how much more it becomes in an hour, by that half's slope",
                now["slope"] / MB,
                "MB",
                peer=FLAT_MB,
                peer_name=f"flat; {bench.against} {before['slope'] / MB:+.0f} MB",
                at_most=1.0 if minutes >= MINUTES_MIN else None,
                note=""
                if minutes >= MINUTES_MIN
                else f"A slope over half of {minutes:g} minutes says little: the heaps of two JVMs "
                "and what Python keeps come to rest later.",
            ),
        ]
    )
