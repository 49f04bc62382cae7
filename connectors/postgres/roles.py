"""Who may log in to PostgreSQL, and the one schema that each sees first.

It never grants anything between modules: what one module tells another goes through the log.
"""

from __future__ import annotations

from typing import Final

MODULES: Final = ("auth", "profile", "integrations", "recommender", "notifier")
"""Each has a schema and a login role of the same name; tables in it come from migrations."""

HISTORY: Final = "history"
"""The edge's role: it selects from the view recommender.history and from nothing else."""

CONNECTIONS: Final = "connections"
"""The edge's role for what people connect: it reads and writes some columns of the schema integrations, and deletes no connection."""

ROLES: Final = (*MODULES, HISTORY, CONNECTIONS)
"""All that may connect to this database; the schema registry has a database of its own."""

SEARCH_PATHS: Final = {**{role: role for role in MODULES}, HISTORY: "recommender", CONNECTIONS: "integrations"}
"""The one schema in which each role's unqualified names are looked up."""
