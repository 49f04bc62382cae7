"""Workers that died with a connection in hand, and when its source is next told of what is done.

It changes no right, but lets the edge's role, by which people mend a connection, forget the deaths.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

COLUMNS = """
-- In a row: any word of a worker that has it ends that row.
ALTER TABLE integrations.connections ADD COLUMN died integer NOT NULL DEFAULT 0, ADD COLUMN renewed_ms bigint NOT NULL DEFAULT 0;
CREATE INDEX connections_in_hand ON integrations.connections (due_ms) WHERE died > 0 OR leased_until_ms > 0;
-- 0 until it was put off.
ALTER TABLE integrations.write_backs ADD COLUMN due_ms bigint NOT NULL DEFAULT 0;
GRANT SELECT (died), UPDATE (died) ON integrations.connections TO connections;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
