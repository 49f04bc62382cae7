"""What a command that only reads must not import: each of these costs it a part of a second, or is for writing alone."""

from __future__ import annotations

import subprocess
import sys

from command import ROOT

HEAVY = frozenset(
    {
        "agents.policies",
        "agents.step",
        "aiokafka",
        "alembic",
        "confluent_kafka.schema_registry",
        "fastapi",
        "faust",
        "jgo",
        "mode",
        "numba",
        "numpy",
        "psycopg",
        "pydantic_settings",
        "river",
        "rocksdict",
        "scipy",
        "sqlalchemy",
        "uvicorn",
        "uvloop",
    }
)

READING = (
    ("status",),
    ("doctor",),
    ("topics",),
    ("logs",),
    ("tip", "--user", "demo"),
    ("state", "--user", "demo"),
    ("profile", "--user", "demo"),
    ("audit",),
    ("policies",),
    ("prompts", "list"),
    ("dead-letters", "list"),
)

_RUN = """
import sys
from deploy import cli
try:
    cli.main()
finally:
    print("IMPORTED", *sorted(sys.modules), file=sys.stderr)
"""


def imported_heavily(*arguments: str) -> frozenset[str]:
    """Run a command in an interpreter of its own; say which of HEAVY it had imported when it ended."""
    done = subprocess.run(
        (sys.executable, "-c", _RUN, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    said = done.stderr.rpartition("IMPORTED ")[2].split()
    assert "deploy.cli" in said, done.stderr
    return HEAVY & set(said)
