"""People who sign in: their identities at providers as MACs, their sessions, the tokens of these, and the keys that sign ours.

What is of a person hangs on their row in `people`, and goes with it: who left is nobody's parent any more, so nothing late is taken either.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE auth.people (
    pseudonym text PRIMARY KEY,
    user_id   text NOT NULL,  -- sealed
    made_ms   bigint NOT NULL
);

CREATE TABLE auth.identities (
    identity  bytea PRIMARY KEY,  -- a MAC of issuer and subject
    pseudonym text NOT NULL REFERENCES auth.people ON DELETE CASCADE,
    provider  text NOT NULL,
    email     bytea,              -- a MAC of the address, where the provider says that it is theirs
    made_ms   bigint NOT NULL
);
CREATE INDEX identities_by_person ON auth.identities (pseudonym);
CREATE INDEX identities_by_email ON auth.identities (email);

CREATE TABLE auth.sessions (
    session_id text PRIMARY KEY,
    pseudonym  text NOT NULL REFERENCES auth.people ON DELETE CASCADE,
    kind       text NOT NULL,
    roles      text[] NOT NULL,
    device     text NOT NULL,     -- sealed
    made_ms    bigint NOT NULL,
    used_ms    bigint NOT NULL,
    rotated_ms bigint NOT NULL,
    idle_ms    bigint NOT NULL,
    ends_ms    bigint NOT NULL
);
CREATE INDEX sessions_by_person ON auth.sessions (pseudonym);

-- A session has one that counts, beside those that came before it.
CREATE TABLE auth.tokens (
    token         bytea PRIMARY KEY,  -- a MAC
    session_id    text NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
    made_ms       bigint NOT NULL,
    superseded_ms bigint
);
CREATE INDEX tokens_by_session ON auth.tokens (session_id);

CREATE TABLE auth.signing_keys (
    kid     text PRIMARY KEY,
    key     text NOT NULL,  -- sealed
    made_ms bigint NOT NULL
);
"""


def upgrade() -> None:
    """The role auth reads and writes them, by the default rights of its schema."""
    op.execute(TABLES)
