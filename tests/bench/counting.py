"""A program of the kind that bench.builds runs: says how many turns it has taken, and ends in the one that it is told."""

from __future__ import annotations

import sys

from bench.measured import turns

taken = 0


def turn() -> turns.Numbers:
    global taken
    taken += 1
    print("this is no answer")
    if taken == int(sys.argv[1]):
        raise SystemExit("that is enough")
    return {"turn": taken}


if __name__ == "__main__":
    turns.answer(turn)
