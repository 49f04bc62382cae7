"""Who left, and where in the journal: nothing of theirs at or below it is taken any more.

It never gives the role `history` more than its one view.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
-- The greatest of each person and journal stands.
CREATE TABLE recommender.erased (
    user_id        text NOT NULL,
    topic_id       bytea NOT NULL,
    partition      integer NOT NULL,
    journal_offset bigint NOT NULL,
    erased_ms      bigint NOT NULL,
    receipt        text NOT NULL,
    PRIMARY KEY (user_id, topic_id)
);
"""


def upgrade() -> None:
    """The role recommender reads and writes it, by the default rights of its schema."""
    op.execute(TABLES)
