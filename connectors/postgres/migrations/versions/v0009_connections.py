"""What people have connected: by pseudonym, with everything of theirs sealed (connectors/vault.py).

It gives the edge's role no sight of a cursor, and no right to delete a connection: who reads it does that, once its items
are taken back.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = """
-- Every time here is of this one clock.
CREATE FUNCTION integrations.now_ms() RETURNS bigint LANGUAGE sql VOLATILE
  AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE integrations.connections (
    connection_id   text PRIMARY KEY,
    user_id         text NOT NULL,
    source          text NOT NULL,
    -- Whose limits it shares: the source, and under a MAC where it is.
    service         text NOT NULL,
    kek_id          text NOT NULL,
    wrapped_key     bytea NOT NULL,
    settings        bytea NOT NULL,
    credentials     bytea NOT NULL,
    zone            bytea NOT NULL,
    cursor          bytea,
    state           text NOT NULL CHECK (state IN ('active', 'paused', 'broken', 'leaving')),
    trouble         text NOT NULL DEFAULT '',
    created_ms      bigint NOT NULL,
    every_ms        bigint NOT NULL,
    due_ms          bigint NOT NULL,
    -- Grows whenever somebody wants it soon: whoever reads it meanwhile leaves it due.
    asked           bigint NOT NULL DEFAULT 0,
    read_ms         bigint,
    failures        integer NOT NULL DEFAULT 0,
    lease           bigint NOT NULL DEFAULT 0,
    leased_until_ms bigint NOT NULL DEFAULT 0
);
CREATE INDEX connections_by_user ON integrations.connections (user_id);
CREATE INDEX connections_due ON integrations.connections (due_ms) WHERE state IN ('active', 'leaving');

CREATE TABLE integrations.log (
    entry_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id text NOT NULL REFERENCES integrations.connections ON DELETE CASCADE,
    at_ms         bigint NOT NULL,
    what          text NOT NULL,
    result        text NOT NULL,
    number        integer NOT NULL,
    decision_id   text NOT NULL
);
CREATE INDEX log_by_connection ON integrations.log (connection_id, entry_id DESC);

CREATE TABLE integrations.write_backs (
    outcome_id    text PRIMARY KEY,
    connection_id text NOT NULL REFERENCES integrations.connections ON DELETE CASCADE,
    decision_id   text NOT NULL,
    item          bytea NOT NULL,
    done_ms       bigint NOT NULL,
    attempts      integer NOT NULL DEFAULT 0,
    result        text NOT NULL DEFAULT ''
);
CREATE INDEX write_backs_open ON integrations.write_backs (connection_id) WHERE result = '';

-- What was posted to us of a connection, until it is read.
CREATE TABLE integrations.posted (
    posted_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id text NOT NULL REFERENCES integrations.connections ON DELETE CASCADE,
    delivery      bytea NOT NULL,
    posted_ms     bigint NOT NULL
);
CREATE INDEX posted_by_connection ON integrations.posted (connection_id, posted_id);

-- Sources whose consent somebody withdrew, by the last word of theirs.
CREATE TABLE integrations.withheld (
    user_id        text PRIMARY KEY,
    topic_id       bytea NOT NULL,
    journal_offset bigint NOT NULL,
    told_ms        bigint NOT NULL,
    sources        text[] NOT NULL
);

CREATE TABLE integrations.erased (
    user_id        text NOT NULL,
    topic_id       bytea NOT NULL,
    journal_offset bigint NOT NULL,
    began_again    boolean NOT NULL,
    PRIMARY KEY (user_id, topic_id)
);
-- Who left and has not begun again: nothing of theirs is taken.
CREATE FUNCTION integrations.is_gone(who text) RETURNS boolean LANGUAGE sql STABLE
  AS $$ SELECT EXISTS (SELECT FROM integrations.erased WHERE user_id = who AND NOT began_again) $$;

-- Sign-ins at a source that are under way.
CREATE TABLE integrations.authorizations (
    state_mac  text PRIMARY KEY,
    user_id    text NOT NULL,
    source     text NOT NULL,
    kek_id     text NOT NULL,
    wrapped_key bytea NOT NULL,
    sealed     bytea NOT NULL,
    expires_ms bigint NOT NULL
);
CREATE INDEX authorizations_by_user ON integrations.authorizations (user_id);

GRANT USAGE ON SCHEMA integrations TO connections;
GRANT EXECUTE ON FUNCTION integrations.now_ms, integrations.is_gone TO connections;
GRANT SELECT (connection_id, user_id, source, service, kek_id, wrapped_key, settings, credentials, zone, state, trouble, created_ms,
              every_ms, due_ms, asked, read_ms, failures),
      INSERT (connection_id, user_id, source, service, kek_id, wrapped_key, settings, credentials, zone, state, created_ms, every_ms,
              due_ms),
      UPDATE (service, settings, credentials, state, trouble, due_ms, asked, failures)
      ON integrations.connections TO connections;
GRANT SELECT (connection_id), INSERT (connection_id, delivery, posted_ms) ON integrations.posted TO connections;
GRANT SELECT ON integrations.log, integrations.withheld, integrations.erased TO connections;
GRANT SELECT, INSERT, DELETE ON integrations.authorizations TO connections;
"""


def upgrade() -> None:
    """The role integrations reads and writes all of it, by the default rights of its schema."""
    op.execute(TABLES)
