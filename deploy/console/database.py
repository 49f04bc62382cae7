"""One question to PostgreSQL, which may not write and may not last."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

TIMEOUT_MS = 3_000


def rows(dsn: str, query: LiteralString, **values: object) -> list[dict[str, Any]]:
    """What it answers. Raises psycopg.Error where it does not."""
    options = f"-c default_transaction_read_only=on -c statement_timeout={TIMEOUT_MS}"
    with psycopg.connect(
        dsn, connect_timeout=3, options=options, application_name="oo console", row_factory=dict_row
    ) as connection:
        return connection.execute(query, values).fetchall()
