"""Runs a stack as `oo up` does, with a second listener of the broker for clients behind a proxy.

    python -m tests.faults.launch STATE LISTENER_PORT PROXY_PORT

In the foreground, until SIGTERM: the servers only, the harness brings its own workers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.stack.fetch import default_cache, fetch
from deploy.stack.kafka import Proxied
from deploy.stack.local import Plan, run
from deploy.stack.state import StateFolder


def main() -> None:
    state, listener, proxy = sys.argv[1:]
    cache = default_cache()
    fetch(cache, on_bytes=lambda _, __: None)
    plan = Plan(cache=cache, servers_only=True, proxied=Proxied(int(listener), int(proxy)))
    run(StateFolder(Path(state)), plan, told=print, when_ready=lambda: print("ready"))


if __name__ == "__main__":
    main()
