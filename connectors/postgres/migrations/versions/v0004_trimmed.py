"""How far history was trimmed by its age, and what finds the oldest rows without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = """
-- One row: what is older than this may be gone.
CREATE TABLE recommender.trimmed (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    below_ms bigint NOT NULL
);
-- Rows come in the order of their times, so a range of pages tells.
CREATE INDEX decisions_by_time ON recommender.decisions USING brin (decided_ms);
CREATE INDEX outcomes_by_time ON recommender.outcomes USING brin (event_time_ms);
"""


def upgrade() -> None:
    """The role recommender reads and writes it, by the default rights of its schema."""
    op.execute(STATEMENTS)
