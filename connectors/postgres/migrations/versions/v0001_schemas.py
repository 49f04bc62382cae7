"""A schema for each module, and the recommender's decisions, tip scores, outcomes and history.

It never gives a role anything in another's schema, but the role `history` its one view.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MODULES = ("auth", "profile", "integrations", "recommender", "notifier")

TABLES = """
CREATE TABLE recommender.decisions (
    decision_id    text PRIMARY KEY,
    user_id        text NOT NULL,
    decided_ms     bigint NOT NULL,
    valid_until_ms bigint NOT NULL,
    journal_offset bigint NOT NULL,
    topic_id       bytea NOT NULL,
    partition      integer NOT NULL,
    trigger        text NOT NULL,
    kind           text NOT NULL,
    title          text NOT NULL,
    policy_version text NOT NULL,
    propensity     double precision NOT NULL,
    supersedes     text NOT NULL,
    message        bytea NOT NULL
);
CREATE INDEX decisions_by_user ON recommender.decisions (user_id, decided_ms DESC, decision_id DESC);
CREATE INDEX decisions_by_journal ON recommender.decisions (topic_id, partition, journal_offset);

CREATE TABLE recommender.tip_scores (
    decision_id text NOT NULL REFERENCES recommender.decisions ON DELETE CASCADE,
    position    integer NOT NULL,
    candidate   text NOT NULL,
    kind        text NOT NULL,
    eligible    boolean NOT NULL,
    propensity  double precision NOT NULL,
    score       double precision NOT NULL,
    PRIMARY KEY (decision_id, position)
);

-- No foreign key: outcomes come over a topic of their own and may arrive before their decision.
CREATE TABLE recommender.outcomes (
    outcome_id     text PRIMARY KEY,
    decision_id    text NOT NULL,
    user_id        text NOT NULL,
    kind           text NOT NULL,
    corrects       text NOT NULL,
    event_time_ms  bigint NOT NULL,
    journal_offset bigint NOT NULL,
    topic_id       bytea NOT NULL,
    partition      integer NOT NULL,
    learned        boolean NOT NULL,
    reward         double precision NOT NULL,
    message        bytea NOT NULL
);
CREATE INDEX outcomes_by_decision ON recommender.outcomes (decision_id, journal_offset DESC);
CREATE INDEX outcomes_by_user ON recommender.outcomes (user_id);

-- The latest outcome in the journal's order; being seen gives way to any reaction.
CREATE VIEW recommender.history AS
SELECT d.user_id, d.decision_id, d.decided_ms, d.valid_until_ms, d.kind, d.title, d.message,
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
"""


def upgrade() -> None:
    """Schemas belong to the migrating role; a module reads and writes rows in its own, and makes no tables."""
    # PostgreSQL lets everyone run a new function; take that back everywhere, as it cannot be taken back by schema.
    op.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    for module in MODULES:
        op.execute(f"CREATE SCHEMA {module}")
        op.execute(f"GRANT USAGE ON SCHEMA {module} TO {module}")
        op.execute(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {module} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {module}"
        )
        op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {module} GRANT USAGE ON SEQUENCES TO {module}")
        op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {module} GRANT EXECUTE ON FUNCTIONS TO {module}")
    op.execute(TABLES)
    op.execute("GRANT USAGE ON SCHEMA recommender TO history")
    op.execute("GRANT SELECT ON recommender.history TO history")
