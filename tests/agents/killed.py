"""`python -m agents NAME` that is killed at one step: `KILLED_AFTER` says the first time it has done it, `KILLED_BEFORE` is about to, and
`KILLED_WHILE` has been at it for a while; with `KILLED_OVER` only where this word stands in what it does it with. With `KILLED_TIMES` it is started again so often, as forks of a process that has imported all:
then that ends with status KILLED. Never part of the product.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from typing import Any

from agents import connect, generate, score, worker
from agents.model_budget import ModelBudget
from connectors.channels.email import Email
from connectors.channels.web_push import WebPush
from connectors.inference import Inference
from connectors.models import Models
from connectors.postgres.leases import Leases
from connectors.postgres.notifier import Notifier

STEPS = {
    "reserved": (ModelBudget, "reserve"),
    "called": (Models, "ask"),
    "settled": (ModelBudget, "settle"),
    "written": (generate.Generate, "_write"),
    "expected": (Inference, "expected"),
    "scored": (score.Score, "_write"),
    "claimed": (Leases, "claim"),
    "sent": (connect.Sender, "send"),
    "kept": (Leases, "keep"),
    "released": (Leases, "release"),
    "purged": (Leases, "purge"),
    "to-write": (Leases, "try_write"),
    "wrote": (Leases, "written"),
    "taken": (Notifier, "take"),
    "spoken-for": (Notifier, "claim"),
    "pushed": (WebPush, "send"),
    "mailed": (Email, "send"),
    "marked": (Notifier, "mark_sent"),
}
KILLED = 99
AT_IT_S = 2.0


def main() -> None:
    when, what = next(
        (one, os.environ[name]) for one in ("AFTER", "BEFORE", "WHILE") if (name := f"KILLED_{one}") in os.environ
    )
    owner, name = STEPS[what]
    whole = getattr(owner, name)

    async def cut(*args: Any, **more: Any) -> Any:
        if os.environ.get("KILLED_OVER", "") not in repr(args):
            return await whole(*args, **more)
        if when == "AFTER":
            await whole(*args, **more)
        elif when == "WHILE":
            doing = asyncio.ensure_future(whole(*args, **more))
            await asyncio.sleep(AT_IT_S)
            assert not doing.done(), "it did not take that long"
        return os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, cut)
    if times := int(os.environ.get("KILLED_TIMES", "0")):
        _again_and_again(times)
    else:
        worker.main()


def _again_and_again(times: int) -> None:
    """Exits with KILLED once it was killed so often; with 1 where it ends otherwise again and again."""
    if sys.argv[1] == "generate":
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        import litellm  # noqa: F401 - what takes most of a start

    killed = tries = 0
    while killed < times:
        pid, tries = os.fork(), tries + 1
        if not pid:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            worker.main()
            return
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        killed += status == -signal.SIGKILL
        # Where a machine stands still its watchdog ends it, now and then.
        if tries > 3 * times:
            sys.exit(f"ended with {status}")
    sys.exit(KILLED)


if __name__ == "__main__":
    main()
