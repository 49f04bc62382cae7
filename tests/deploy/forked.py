"""What the tests of the preloaded process have forked: says what it was given, then ends with a status or waits."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from streams.backoff import PATIENT


def main() -> int:
    given = {
        "arguments": sys.argv[1:],
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "command": Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode().split("\0"),
        "threads": threading.active_count(),
        "blocked": sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "open": sorted(int(one.name) for one in Path("/proc/self/fd").iterdir() if one.exists()),
        "chance": [random.random(), PATIENT.pause_s(1)],
    }
    print(json.dumps(given))
    sys.stdout.flush()
    if sys.argv[1] == "wait":
        time.sleep(3600)
    return int(sys.argv[1])


if __name__ == "__main__":
    sys.exit(main())
