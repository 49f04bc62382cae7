"""PostgreSQL: a schema and a role for each module, what the record agent writes, and the history that the edge reads.

It never holds what a decision depends on: with PostgreSQL down, tips go on, and history catches up.
"""

from connectors.postgres.history import Cursor, Entry, History
from connectors.postgres.migrate import migrate
from connectors.postgres.roles import HISTORY, MODULES, ROLES
from connectors.postgres.sink import Refused, Sink, Unreachable, Written

__all__ = [
    "HISTORY",
    "MODULES",
    "ROLES",
    "Cursor",
    "Entry",
    "History",
    "Refused",
    "Sink",
    "Unreachable",
    "Written",
    "migrate",
]
