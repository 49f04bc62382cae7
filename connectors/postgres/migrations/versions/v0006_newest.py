"""Times of new decisions and outcomes are in their index as pages fill, not once a clean-up comes by: who asks for the newest reads those alone."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What stands already is summarised here; nobody waits for it."""
    for index in ("decisions_by_time", "outcomes_by_time"):
        op.execute(f"ALTER INDEX recommender.{index} SET (autosummarize = on)")
        op.execute(f"SELECT brin_summarize_new_values('recommender.{index}')")
