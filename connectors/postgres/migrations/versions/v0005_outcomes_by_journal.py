"""Outcomes found by their place in the journal, as decisions are: a verification walks both in its order."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Record waits while it is made; no tip does."""
    op.execute("CREATE INDEX outcomes_by_journal ON recommender.outcomes (topic_id, partition, journal_offset)")
