"""The session that a browser's subscription ends with."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE notifier.devices ADD COLUMN session_id text")
    op.execute("CREATE INDEX devices_by_session ON notifier.devices (session_id) WHERE session_id IS NOT NULL")
