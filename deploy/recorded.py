"""What PostgreSQL has of a partition's decisions and outcomes, to be held against a fold. It only reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from google.protobuf.message import DecodeError
from psycopg import sql

from connectors.leaving import leavers_of
from connectors.postgres import age
from connectors.postgres.leavers import TIMES
from deploy.differing import Kept, opened_digest
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.cluster import Cluster
from streams.sealing import Keys
from tables.leavers import Leavers

_KINDS: Mapping[str, type[Decision | Outcome]] = {"decision": Decision, "outcome": Outcome}
_SELECTED = {
    name: sql.SQL(
        "SELECT {one}, user_id, journal_offset, {time}, message FROM {table} "
        "WHERE topic_id = %s AND partition = %s AND journal_offset >= %s AND journal_offset < %s"
    ).format(
        one=sql.Identifier(f"{name}_id"),
        time=sql.Identifier(TIMES[f"{name}s"]),
        table=sql.Identifier("recommender", f"{name}s"),
    )
    for name in _KINDS
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One partition's. Each question is by itself: one that lasted as long as a fold would keep PostgreSQL from cleaning up."""

    connection: psycopg.AsyncConnection
    cluster: Cluster
    topic_id: bytes
    number: int
    keys: Keys

    async def between(self, name: str, low: int, high: int) -> list[Kept]:
        """Decisions, or outcomes, of records in [low, high)."""
        place = [self.topic_id, self.number, low, high]
        return [
            Kept(one, user_id, offset, time_ms, self._digest(name, message, user_id))
            for one, user_id, offset, time_ms, message in await (
                await self.connection.execute(_SELECTED[name], place)
            ).fetchall()
        ]

    async def excuses(self) -> tuple[Leavers, int]:
        """Who has left by now, and before which time nothing need be there any more."""
        return await leavers_of(self.cluster), await age.trimmed_below(self.connection)

    def _digest(self, name: str, message: bytes, user_id: str) -> bytes:
        try:
            return opened_digest(_KINDS[name].FromString(message), whose=user_id, keys=self.keys)
        except DecodeError:
            return b""


@asynccontextmanager
async def recorded(stack: RunningStack, topic_id: bytes, number: int, keys: Keys) -> AsyncIterator[Recorded]:
    """What PostgreSQL has of a partition of this journal. `keys`: of its people, read before."""
    async with await psycopg.AsyncConnection.connect(stack.recommender_dsn, autocommit=True) as connection:
        yield Recorded(connection, stack.cluster, topic_id, number, keys)
