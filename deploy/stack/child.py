"""Becomes another program that ends when its supervisor does.

It never returns and imports nothing outside the standard library: it runs under `python -I -S`, before the program.
Usage: child.py SIGNAL PARENT_PID UID:GID|- PROGRAM ARGUMENT...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drops to UID:GID, asks the kernel for SIGNAL at the parent's death, and executes PROGRAM."""
    death_signal, parent_pid, owner = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    # A session of its own: Ctrl-C in the terminal reaches the supervisor only, which stops the parts in order.
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    if owner != "-":
        uid, gid = (int(part) for part in owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        # The kernel forgets the death signal when the user changes: it is asked for after this.
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent_pid:
            sys.exit("the supervisor was gone before this part started")
    os.execve(sys.argv[4], sys.argv[4:], os.environ)


if __name__ == "__main__":
    main()
