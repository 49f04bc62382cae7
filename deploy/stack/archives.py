"""Archives of the classes of what runs on Java, once per machine: the broker then starts with half of the processor time, the registry
with two thirds. CI makes them beside its first tests, which start some twenty of each; one `oo up` would not pay for it.

It never changes an archive that is there. Usage: python -m deploy.stack.archives
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from deploy.stack.fetch import default_cache, fetch
from deploy.stack.java import archive, fresh
from deploy.stack.local import Plan, run
from deploy.stack.state import StateFolder


def main() -> None:
    """Start the servers, and end them once they serve."""
    cache = default_cache()
    fetch(cache, on_bytes=lambda _, __: None)
    made = [archive(jars) for jars in (cache.kafka, cache.registry)]
    if all(one.exists() for one in made):
        return
    with tempfile.TemporaryDirectory(prefix="oo-archives-") as name:
        plan = Plan(cache=cache, servers_only=True, archiving=True)
        run(
            StateFolder(Path(name) / "state"), plan, told=print, when_ready=lambda: os.kill(os.getpid(), signal.SIGTERM)
        )
    for one in made:
        # Root makes it, another user may have to read.
        fresh(one).chmod(0o644)
        fresh(one).rename(one)


if __name__ == "__main__":
    main()
