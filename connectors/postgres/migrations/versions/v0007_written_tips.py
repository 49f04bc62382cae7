"""Of a tip that a language model wrote, the scores say by which prompt and model; of decisions of before, and of all else, nothing.

Adding the columns rewrites no row.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("prompt_version", "llm_model"):
        op.execute(f"ALTER TABLE recommender.tip_scores ADD COLUMN {column} text NOT NULL DEFAULT ''")
