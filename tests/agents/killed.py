"""`python -m agents NAME` that is killed the first time it has done one thing: `KILLED_AFTER` says which. Never part of the product."""

from __future__ import annotations

import os
import signal
from typing import Any

from agents import generate, worker
from agents.model_budget import ModelBudget
from connectors.models import Models

STEPS = {
    "reserved": (ModelBudget, "reserve"),
    "called": (Models, "ask"),
    "settled": (ModelBudget, "settle"),
    "written": (generate.Generate, "_write"),
}


def main() -> None:
    owner, name = STEPS[os.environ["KILLED_AFTER"]]
    whole = getattr(owner, name)

    async def cut(*args: Any, **more: Any) -> None:
        await whole(*args, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, cut)
    worker.main()


if __name__ == "__main__":
    main()
