"""When the owner of an address was asked whether it is theirs: once."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE notifier.devices ADD COLUMN asked_ms bigint")
    op.execute(
        "CREATE INDEX devices_to_ask ON notifier.devices (made_ms) WHERE confirmed_ms IS NULL AND asked_ms IS NULL"
    )
