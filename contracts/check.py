"""Checks the contracts in proto/: buf's lint, and that nothing breaks what was released.

What was released stands in proto/baseline.binpb; --release makes it what stands in proto/ now. It never edits a .proto.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).resolve().parent.parent / "proto"
BASELINE = "baseline.binpb"
BUF = Path(sys.executable).parent / "buf"


def buf(*args: str, proto: Path) -> tuple[bool, str]:
    """Whether buf was content, run in `proto`, and what it said."""
    done = subprocess.run([BUF, *args], cwd=proto, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def faults(proto: Path) -> list[str]:
    """What is wrong with the contracts below `proto`, one entry a check; empty for nothing."""
    found = []
    for what, args in (
        ("lint", ("lint",)),
        ("format", ("format", "--diff", "--exit-code", "--exclude-path", "buf")),
        ("breaking change", ("breaking", "--against", BASELINE)),
    ):
        content, said = buf(*args, proto=proto)
        if not content:
            found.append(f"proto/: {what}:\n{said}")
    return found


def release(proto: Path) -> None:
    """Makes the contracts as they stand the ones that later changes must not break."""
    content, said = buf("build", "--exclude-source-info", "-o", BASELINE, proto=proto)
    if not content:
        raise RuntimeError(f"buf could not build proto/: {said}")


def main() -> int:
    """Exit status 1 at a fault, which it prints."""
    if "--release" in sys.argv[1:]:
        release(PROTO)
        return 0
    found = faults(PROTO)
    for fault in found:
        print(fault)
    if found:
        print("Run 'make proto' for the format. A break needs a new package (oo.v2): see CONTRIBUTING.md.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
