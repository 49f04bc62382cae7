"""The worker, but that some records end it, as a fault in native code would: a hook that exists nowhere in the product.

    python -m tests.faults.poisoned core

A task whose title begins with END_THE_FOLD ends the process inside `step`, one that begins with END_THE_DOOR while it is
checked. All else is the worker itself.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from agents import fold, worker
from agents.admission import Door

END_THE_FOLD, END_THE_DOOR = "end the fold", "end the door"


def main() -> None:
    step, admit = fold.step, Door.admit

    def poisoned_step(row: Any, entry: Any, version: Any) -> Any:
        if entry.record.signal.task_upserted.title.startswith(END_THE_FOLD):
            os.kill(os.getpid(), signal.SIGSEGV)
        return step(row, entry, version)

    def poisoned_admit(self: Door, message: Any, record: Any, **rest: Any) -> Any:
        if getattr(message, "task_upserted", None) and message.task_upserted.title.startswith(END_THE_DOOR):
            os._exit(9)
        return admit(self, message, record, **rest)

    fold.step = poisoned_step
    Door.admit = poisoned_admit  # type: ignore[method-assign]
    worker.main()


if __name__ == "__main__":
    main()
