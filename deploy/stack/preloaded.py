"""A process that has imported all that ours need, and becomes one of them at the supervisor's word: a fork, not a new Python.

It has one thread, no loop, no client, no connection but the one to its supervisor, and no chance that two of its children
would share. It never starts anything by itself, and what it forked is not its own: the supervisor is its parent, so that
ending this process ends none of them.
Usage: python -m deploy.stack.preloaded SOCKET [MODULE...], those imported too.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import inspect
import json
import os
import runpy
import socket
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

MODULES = (
    "agents.worker",
    "agents.admit",
    "agents.champion",
    "agents.cuts",
    "agents.disks",
    "agents.learn",
    "agents.publish",
    "agents.record",
    "agents.recommend",
    "agents.recovery",
    "agents.shadow",
    "agents.snapshot",
    "agents.versions",
    "connectors.postgres.sink",
    "connectors.tip_progress",
    "connectors.valkey",
    "protovalidate",
    "serving.__main__",
    "tables.rocks",
    # What libraries look up by name, or put off until they are used.
    "encodings.idna",
    "faust.app.router",
    "faust.assignor.partition_assignor",
    "faust.fixups.django",
    "faust.stores.base",
    "faust.tables.objects",
    "faust.tables.sets",
    "faust.transport.utils",
    "faust.web.cache.backends",
    "faust.web.drivers",
    "faust.worker",
    "httpcore2",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
"""What processes import, also what they import only when they are built."""
PEOPLE = (
    "agents.connect",
    "agents.notify",
    "connectors.channels.email",
    "connectors.channels.web_push",
    "connectors.channels.webhook",
    "connectors.postgres.leases",
    "connectors.postgres.notifier",
    "connectors.sources.registry",
)
"""And those of `oo up --people`."""
READY = b"ready"
GO = b"go"
ORDER_BYTES_MAX = 1 << 20
PR_SET_PDEATHSIG = 1
_TASKS = Path("/proc/self/task")


def main() -> None:
    """Import, say so, and fork until the supervisor is gone."""
    line = socket.socket(fileno=int(sys.argv[1]))
    for name in (*MODULES, *sys.argv[2:]):
        import_module(name)
    # Faust asks for it at each agent's declaration: the first answer looks at the file of every module, and is kept.
    inspect.getmodule(inspect.currentframe())
    gc.collect()
    # Children share these pages as long as nobody writes into them, and a collection would.
    gc.freeze()
    line.send(READY)
    while True:
        data, given, _, _ = socket.recv_fds(line, ORDER_BYTES_MAX, 2)
        if not data:
            return
        if (threads := len(list(_TASKS.iterdir()))) == 1:
            _fork(json.loads(data), line, *given)
        else:
            # A lock that another thread holds would be held in the child for ever.
            print(f"fork.refused threads={threads}", file=sys.stderr, flush=True)
        for number in given:
            os.close(number)


def _fork(order: dict[str, Any], line: socket.socket, birth: int, output: int) -> None:
    """Forks by a process between that ends at once: so the child is the supervisor's, which takes in orphans meanwhile."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    between = os.getpid()
    if os.fork():
        os._exit(0)
    try:
        line.close()
        _wait_for_go(order, between, birth)
        _put_on(order, output)
    except BaseException:  # noqa: BLE001 - nothing may unwind into the loop of the process that forked
        traceback.print_exc()
        os._exit(1)
    _run(order["module"])


def _wait_for_go(order: dict[str, Any], between: int, birth: int) -> None:
    """Becomes the supervisor's child that dies with it, tells it the pid, and waits to be wanted still."""
    os.setsid()
    while os.getppid() == between:
        time.sleep(0.0005)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, order["death_signal"], 0, 0, 0)
    with socket.socket(fileno=birth) as supervisor:
        # Asked after the signal was asked for: who ended in between is seen here.
        if os.getppid() != order["supervisor"]:
            os._exit(1)
        supervisor.send(str(os.getpid()).encode())
        if supervisor.recv(len(GO)) != GO:
            os._exit(1)


def _put_on(order: dict[str, Any], output: int) -> None:
    """What a new program would have been given: output, environment, folder, name."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(number, standard)
    for number in (nothing, output):
        os.close(number)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    _name(order["argv"])


def _name(argv: list[str]) -> None:
    """Has `ps` show these arguments, as far as those of the process that forked left room."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    shown = b"\0".join(argument.encode() for argument in argv)[: end - start - 1]
    if start:
        ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def _run(module: list[str]) -> NoReturn:
    """`python -m MODULE ARGUMENT...`, to its end."""
    status: Any = 1
    try:
        sys.argv = list(module)
        runpy.run_module(module[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as asked:
        status = 0 if asked.code is None else asked.code
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:  # noqa: BLE001 - as a program that ends by it
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
