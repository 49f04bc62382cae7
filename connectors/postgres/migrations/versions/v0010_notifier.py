"""Where people are told of tips, what stands to be told, and what became of it: pseudonyms, numbers and kinds, and sealed messages.

It gives nobody but the role notifier anything.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = """
-- Its id is made under a secret from person, channel and address: the same address again is the same device.
CREATE TABLE notifier.devices (
    device_id    text PRIMARY KEY,
    user_id      text NOT NULL,
    channel      text NOT NULL,
    made_ms      bigint NOT NULL,
    confirmed_ms bigint,
    message      bytea NOT NULL
);
CREATE INDEX devices_by_user ON notifier.devices (user_id);

-- Of each person the newest word of oo.deliveries; due_ms is null where nothing is left to be done about it.
CREATE TABLE notifier.standing (
    user_id        text PRIMARY KEY,
    topic_id       bytea NOT NULL,
    partition      integer NOT NULL,
    journal_offset bigint NOT NULL,
    due_ms         bigint,
    message        bytea NOT NULL
);
CREATE INDEX standing_by_due ON notifier.standing (partition, due_ms) WHERE due_ms IS NOT NULL;

-- A tip and a device meet once: whoever sends has put the line in before.
CREATE TABLE notifier.deliveries (
    delivery_id text PRIMARY KEY,
    user_id     text NOT NULL,
    decision_id text NOT NULL,
    device_id   text NOT NULL,
    channel     text NOT NULL,
    topic_id    bytea NOT NULL,
    journal_offset bigint NOT NULL,
    state       text NOT NULL,
    reason      text NOT NULL,
    attempts    integer NOT NULL,
    claim       text NOT NULL,
    begun_ms    bigint NOT NULL,
    again_ms    bigint,
    ended_ms    bigint,
    reaction    text NOT NULL DEFAULT '',
    UNIQUE (user_id, decision_id, device_id)
);
CREATE INDEX deliveries_by_user ON notifier.deliveries (user_id, begun_ms DESC, delivery_id DESC);
CREATE INDEX deliveries_by_age ON notifier.deliveries (begun_ms);

-- The greatest of each person and journal stands.
CREATE TABLE notifier.erased (
    user_id        text NOT NULL,
    topic_id       bytea NOT NULL,
    journal_offset bigint NOT NULL,
    erased_ms      bigint NOT NULL,
    -- When they began again; null where they have not.
    again_ms       bigint,
    PRIMARY KEY (user_id, topic_id)
);
"""


def upgrade() -> None:
    op.execute(TABLES)
