"""People who left, as the recommender's tables know them: what is deleted and noted, and what is not taken after it.

Deleting and noting is one transaction, and excludes those that write decisions and outcomes: none of them can have looked for a note
that was not there yet, and commit behind it. It never deletes a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg

from oo.v1.erased_pb2 import Erased

_LOCK: Final = 0x6F4F_6C65_6674
"""Advisory lock: writers share it, whoever notes that somebody left has it alone."""

TIMES: Final = {"decisions": "decided_ms", "outcomes": "event_time_ms"}
"""By table, the column that says whether a row of another journal is of before."""

_NOTE: Final = """
INSERT INTO recommender.erased AS known (user_id, topic_id, partition, journal_offset, erased_ms, receipt)
SELECT DISTINCT ON (user_id, topic_id) *
FROM unnest(%b::text[], %b::bytea[], %b::integer[], %b::bigint[], %b::bigint[], %b::text[])
  AS said (user_id, topic_id, partition, journal_offset, erased_ms, receipt)
ORDER BY user_id, topic_id, journal_offset DESC
ON CONFLICT (user_id, topic_id) DO UPDATE
SET partition = excluded.partition, journal_offset = excluded.journal_offset, erased_ms = excluded.erased_ms,
    receipt = excluded.receipt
WHERE known.journal_offset < excluded.journal_offset
"""


def is_of_before(table: str) -> str:
    """SQL: whether `it`, a row of this table, is of a life that ended by the note `known`.

    A journal that was made anew has other offsets: what is of another one is told by its time.
    """
    return f"""it.user_id = known.user_id AND (
      (it.topic_id = known.topic_id AND it.journal_offset <= known.journal_offset)
      OR (it.topic_id <> known.topic_id AND it.{TIMES[table]} <= known.erased_ms))"""


async def share(connection: psycopg.AsyncConnection) -> None:
    """Until this transaction ends, nobody notes that somebody left."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))


async def forget(connection: psycopg.AsyncConnection, words: Sequence[Erased]) -> int:
    """Note these, and delete what is of before, in the transaction that is open; returns how many rows went."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    columns = [
        [word.user_id.replace("\x00", "\\x00") for word in words],  # as the sink writes them
        [word.journal.topic_id for word in words],
        [word.journal.partition for word in words],
        [word.journal.offset for word in words],
        [word.erased_ms for word in words],
        [word.receipt for word in words],
    ]
    await connection.execute(_NOTE.encode(), columns)
    gone = 0
    for table in TIMES:
        statement = f"DELETE FROM recommender.{table} it USING recommender.erased known WHERE {is_of_before(table)} AND known.user_id = ANY(%b)"  # noqa: S608 - our own names
        gone += (await connection.execute(statement.encode(), (columns[0],))).rowcount
    return gone
