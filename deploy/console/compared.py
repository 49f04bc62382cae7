"""Compares the prompts of a stack as it is now: decisions from PostgreSQL, opened with people's keys. It only reads."""

from __future__ import annotations

from functools import cache

from agents.reward import DEFAULT
from deploy.console.database import rows
from deploy.keys import HeldKeys
from deploy.prompted import WRITTEN, Compared, compared
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from streams.clock import clock_ms
from streams.partitioner import partition_of
from streams.sealing import KeyMissing, opened
from streams.topics import PARTITIONS


def compared_in(stack: RunningStack, held: HeldKeys, *, since_ms: int, so_far: bool = False) -> Compared:
    """Return how often tips of each prompt and model are done, of what was decided from then on. Blocks; raises psycopg.Error."""
    keys_of = cache(held.of)

    def read(user_id: str, message: bytes) -> Decision | None:
        whose = user_id.encode()
        try:
            return opened(Decision.FromString(message), whose=whose, keys=keys_of(partition_of(whose, PARTITIONS)))
        except KeyMissing:
            return None

    found = rows(stack.recommender_dsn, WRITTEN, since=since_ms)
    return compared(found, opened=read, now_ms=clock_ms(), window_ms=DEFAULT.reaction_window_ms, so_far=so_far)
