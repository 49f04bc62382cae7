"""What took a refresh token's place: one whose successor nobody has used may be exchanged once more."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE auth.tokens ADD COLUMN successor bytea")
