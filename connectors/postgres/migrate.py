"""Brings a PostgreSQL database to the current schemas, tables and roles, in one transaction.

It never drops anything, and never sends a password in the clear: the server gets its SCRAM verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from connectors.postgres.roles import ROLES, SEARCH_PATHS

VERSIONS_SCHEMA: Final = "migrations"
"""Holds alembic's version table; no login role of ours may look inside."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6F4F_6D69_6772
"""Advisory lock: of two starts at once, one waits for the other."""


def migrate(
    admin_dsn: str,
    passwords: Mapping[str, str],
    *,
    connect_timeout_s: int = 10,
    lock_timeout_s: int = 120,
) -> str:
    """Create or upgrade everything, set the roles' passwords, and return the revision reached.

    Safe to run again and from several starts at once: all of it happens, or nothing.
    `admin_dsn` names the database (URL or libpq keywords) as a role that may create roles and schemas.
    Names in `passwords` that are no roles of ours are left alone. Raises ValueError where it lacks a role, psycopg.Error or sqlalchemy.exc.SQLAlchemyError from the server.
    """
    missing = [role for role in ROLES if not passwords.get(role)]
    if missing:
        raise ValueError(f"no password for the PostgreSQL roles {', '.join(missing)}: give one for each")

    def connect() -> psycopg.Connection:
        return psycopg.connect(admin_dsn, connect_timeout=connect_timeout_s, application_name="oo migrate")

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    with engine.begin() as connection:
        # SQLAlchemy and psycopg share one transaction: roles, grants and tables stand or fall together.
        raw = cast("psycopg.Connection", connection.connection.driver_connection)
        raw.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(lock_timeout_s * 1000)))
        raw.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        raw.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(VERSIONS_SCHEMA)))
        _close_public(raw)
        for role in ROLES:
            _ensure_role(raw, role, password=passwords[role])
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        context = MigrationContext.configure(connection, opts={"version_table_schema": VERSIONS_SCHEMA})
        revision = context.get_current_revision()
    assert revision is not None, "an upgrade to head ends at a revision"
    return revision


def _close_public(connection: psycopg.Connection) -> None:
    """Take from PUBLIC what PostgreSQL gives to every role by itself: this database, and the schema public."""
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")


def _ensure_role(connection: psycopg.Connection, role: str, *, password: str) -> None:
    """Make the role exist with exactly these powers; its grants are the migrations' affair."""
    name = sql.Identifier(role)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(name))
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(
        sql.SQL(
            "ALTER ROLE {} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS PASSWORD {}"
        ).format(name, sql.Literal(verifier))
    )
    database = sql.Identifier(connection.info.dbname)
    connection.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(
            name, database, sql.Identifier(SEARCH_PATHS[role])
        )
    )
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name))
