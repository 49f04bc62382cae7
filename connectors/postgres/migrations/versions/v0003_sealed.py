"""Decisions and outcomes are kept sealed: what people wrote leaves the columns beside them.

It reads no message: those of before stay as they were written, in the open.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = """
DROP VIEW recommender.history;
ALTER TABLE recommender.decisions DROP COLUMN title;
ALTER TABLE recommender.tip_scores DROP COLUMN candidate;

-- The latest outcome in the journal's order; being seen gives way to any reaction.
CREATE VIEW recommender.history AS
SELECT d.user_id, d.decision_id, d.decided_ms, d.valid_until_ms, d.kind, d.message,
       o.kind AS outcome, o.event_time_ms AS outcome_ms
FROM recommender.decisions d
LEFT JOIN LATERAL (
    SELECT x.kind, x.event_time_ms
    FROM recommender.outcomes x
    WHERE x.decision_id = d.decision_id AND x.user_id = d.user_id
    ORDER BY (x.kind = 'SEEN'), x.journal_offset DESC
    LIMIT 1
) o ON true
WHERE d.kind <> 'NONE';
GRANT SELECT ON recommender.history TO history;
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
