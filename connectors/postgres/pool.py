"""Small pools of connections, all bounded alike: in how many there are, who waits for one, and how long a call takes."""

from __future__ import annotations

from psycopg_pool import AsyncConnectionPool


def pool_of(
    dsn: str,
    name: str,
    *,
    connections_max: int,
    timeout_s: float,
    connections_min: int = 1,
    waiting_max: int = 64,
    options: str = "",
    **connect: bool | int,
) -> AsyncConnectionPool:
    """A pool that is not open yet. `name`: what PostgreSQL shows of it, behind "oo"; `timeout_s`: for a connection, and for a statement; `waiting_max`: calls, 0
    for no bound; `options`: more of the server's; `connect`: more of psycopg's.
    """
    return AsyncConnectionPool(
        dsn,
        open=False,
        min_size=connections_min,
        max_size=connections_max,
        timeout=timeout_s,
        max_waiting=waiting_max,
        check=AsyncConnectionPool.check_connection,
        kwargs={
            "connect_timeout": max(2, int(timeout_s)),
            "application_name": f"oo {name}",
            "options": f"-c statement_timeout={int(timeout_s * 1000)} {options}".rstrip(),
            **connect,
        },
        name=name,
    )
