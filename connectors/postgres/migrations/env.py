"""Alembic's environment: runs the migrations on the connection, and in the transaction, that `migrate` hands over.

It never connects by itself, so that no migration runs outside the advisory lock.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from connectors.postgres.migrate import VERSIONS_SCHEMA

connection = context.config.attributes["connection"]
assert isinstance(connection, Connection), "connectors.postgres.migrate hands the connection over"
context.configure(connection=connection, version_table_schema=VERSIONS_SCHEMA, transactional_ddl=True)
context.run_migrations()
