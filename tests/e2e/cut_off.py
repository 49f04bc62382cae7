"""`oo`, whose moves to pseudonyms end where the old topics are gone and the new ones are not there, and then go on.

Usage: python cut_off.py USER ARGUMENT...; USER has a task sent in between, of which no door has heard yet.
"""

from __future__ import annotations

import sys
from typing import Any

from outside import send, task

from deploy import moving
from deploy.cli import main
from deploy.moving import Move


class CutOff(Exception):
    """As if the process had ended."""


def ends(*_: Any) -> None:
    raise CutOff


async def run(self: Move) -> int:
    make, moving.ensure_topics = moving.ensure_topics, ends
    try:
        await whole(self)
    except CutOff:
        pass
    else:
        sys.exit("it did not come to where topics are made")
    moving.ensure_topics = make
    send(self.stack, "signals", task(user, "1", "Water the plants"))
    return await whole(Move(self.stack, told=self.told))


if __name__ == "__main__":
    user = sys.argv.pop(1)
    whole, Move.run = Move.run, run  # type: ignore[method-assign]
    main()
