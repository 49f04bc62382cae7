"""A PostgreSQL 18 of a test's own, to stop and start at will: started as the local stack starts its one."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors.postgres.migrate import migrate
from connectors.postgres.roles import ROLES
from deploy.stack.postgres import Postgres
from deploy.stack.state import free_port
from tests.patience import PATIENCE_S

PASSWORDS = {role: f"{role}-secret" for role in ("postgres", *ROLES)}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the cluster."""

    port: int
    name: str

    def dsn(self, role: str, *, password: str | None = None) -> str:
        return make_conninfo(
            "",
            host="127.0.0.1",
            port=self.port,
            dbname=self.name,
            user=role,
            password=PASSWORDS[role] if password is None else password,
        )

    @property
    def admin_dsn(self) -> str:
        return self.dsn("postgres")

    def admin(self) -> psycopg.Connection:
        """A superuser's connection, each statement by itself."""
        return psycopg.connect(self.admin_dsn, autocommit=True)


class Cluster:
    """One server; every connection breaks when it stops."""

    def __init__(self, data: Path) -> None:
        self._postgres = Postgres(data, free_port(), PASSWORDS)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._postgres.port

    def start(self) -> None:
        """Start it on the same data, and return when it lets clients in."""
        command = self._postgres.prepare()
        uid, gid = command.owner or (None, None)
        with (command.cwd.parent / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                command.argv, env=command.env, cwd=command.cwd, user=uid, group=gid, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                Database(self.port, "postgres").admin().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Break every connection and end, keeping the data."""
        if self._process is not None:
            self._process.send_signal(self._postgres.prepare().stop_signal)
            self._process.wait(PATIENCE_S)
            self._process = None

    def create(self) -> Database:
        """An empty database."""
        database = Database(self.port, f"oo_{next(_numbers)}")
        with Database(self.port, "postgres").admin() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database.name)))
        return database

    def migrated(self) -> Database:
        """A database at the head revision."""
        database = self.create()
        migrate(database.admin_dsn, PASSWORDS)
        return database


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Run a server on a fresh data folder inside `directory` for as long as the block lasts."""
    server = Cluster(directory / "postgres")
    server.start()
    try:
        yield server
    finally:
        server.stop()
