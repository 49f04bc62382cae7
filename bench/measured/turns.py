"""The one way in which a program that measures speaks: a line on standard input asks for a turn, a line of JSON answers.

It says {} once it is ready. Nothing else reaches standard output: what the program prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping

Numbers = Mapping[str, float]
"""What a turn found, by name."""


def answer(turn: Callable[[], Numbers]) -> None:
    """Takes turns until nobody asks any more."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        print("{}", file=answers, flush=True)
        for _ in sys.stdin:
            print(json.dumps(turn()), file=answers, flush=True)
