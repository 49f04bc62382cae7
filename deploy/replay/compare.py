"""Holds what a run made again against what was logged, one record at a time in the order of the journal; and what another policy says against it.

It reads the run, PostgreSQL and the rows' changelog, and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from connectors.postgres import age
from connectors.postgres.leavers import TIMES
from deploy.differing import opened_digest
from deploy.keys import read_keys
from deploy.replay.manifest import Manifest, Run, RunError
from deploy.replay.sink import read
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.keys import Keys
from tables.leavers import Leavers

KINDS: dict[str, type[Decision | Outcome]] = {"decisions": Decision, "outcomes": Outcome}
EXAMPLES_MAX = 10


@dataclass(slots=True)
class Compared:
    """How much was the same, and the first difference in words, where the comparison ended."""

    decisions: int = 0
    outcomes: int = 0
    difference: str = ""
    passed_over: int = 0
    """Of people who left since, or older than what PostgreSQL keeps."""


@dataclass(frozen=True, slots=True)
class Logged:
    """PostgreSQL's, for a run."""

    connection: psycopg.AsyncConnection[Any]
    keys: Keys
    leavers: Leavers
    from_ms: int

    async def read(
        self, manifest: Manifest, number: int, kind: str
    ) -> AsyncGenerator[tuple[int, str, str, int, bytes], None]:
        """Journal offset, id, whose, when and message, in the order of the journal."""
        name = sql.Identifier(f"{kind[:-1]}_id")
        query = sql.SQL(
            "SELECT journal_offset, {name}, user_id, {when}, message FROM {table} WHERE topic_id = %s AND partition = %s"
            " AND journal_offset >= %s AND journal_offset < %s {whose} ORDER BY journal_offset, {name}"
        ).format(
            name=name,
            when=sql.Identifier(TIMES[kind]),
            table=sql.Identifier("recommender", kind),
            whose=sql.SQL("AND user_id = ANY(%s)" if manifest.users else ""),
        )
        values: list[Any] = [
            bytes.fromhex(manifest.journal_id),
            number,
            manifest.start[number],
            manifest.end[number],
        ]
        if manifest.users:
            values.append(list(manifest.users))
        async with self.connection.transaction(), self.connection.cursor(name=f"replay_{kind}") as cursor:
            await cursor.execute(query, values)
            async for offset, key, user, when_ms, message in cursor:
                yield offset, key, user, when_ms, message


async def compare(stack: RunningStack, run: Run, leavers: Leavers) -> Compared:
    """Compare all of a run that is done, up to the first difference. Raises RunError for one that is not done."""
    manifest, found = run.manifest(), Compared()
    if run.state() != "done":
        raise RunError(f"{run.name} is {run.state()}: 'oo replay resume {run.name}' brings it to its end")
    keys = await read_keys(stack.cluster, stack.kek_dir)
    async with await psycopg.AsyncConnection.connect(stack.recommender_dsn) as connection:
        await connection.set_read_only(True)
        logged = Logged(connection, keys, leavers, await age.trimmed_below(connection))
        for number in sorted(manifest.end):
            for kind in KINDS:
                await _compare(logged, run, manifest, number, kind, found)
                if found.difference:
                    return found
    return found


async def _compare(logged: Logged, run: Run, manifest: Manifest, number: int, kind: str, found: Compared) -> None:
    name = kind[:-1]
    id_name = f"{name}_id"
    mine = iter(_in_order(run, number, kind, id_name))
    one = next(mine, None)

    def excused(user: str, offset: int, when_ms: int | None) -> bool:
        left = logged.leavers.passes(user.encode(), offset) or (when_ms is not None and when_ms < logged.from_ms)
        found.passed_over += left
        return left

    # Closed by us: a cursor that is left to be found by the collector would end its transaction while another is at work.
    async with aclosing(logged.read(manifest, number, kind)) as standing:
        async for offset, key, user, when_ms, message in standing:
            while one is not None and (one["offset"], one[id_name]) < (offset, key):
                if not excused(one["user"], one["offset"], one.get("decided_ms")):
                    found.difference = f"{name} {one[id_name]} of partition {number}, offset {one['offset']}: in the run, missing in PostgreSQL"
                    return
                one = next(mine, None)
            if one is None or (one["offset"], one[id_name]) != (offset, key):
                if excused(user, offset, when_ms):
                    continue
                found.difference = (
                    f"{name} {key} of partition {number}, offset {offset}: in PostgreSQL, missing in the run"
                )
                return
            if opened_digest(KINDS[kind].FromString(message), whose=user, keys=logged.keys) != one["digest"]:
                if not excused(user, offset, None):
                    found.difference = f"{name} {key} of partition {number}, offset {offset}: not the same in PostgreSQL and in the run"
                    return
            elif kind == "decisions":
                found.decisions += 1
            else:
                found.outcomes += 1
            one = next(mine, None)
    while one is not None:
        if not excused(one["user"], one["offset"], one.get("decided_ms")):
            found.difference = f"{name} {one[id_name]} of partition {number}, offset {one['offset']}: in the run, missing in PostgreSQL"
            return
        one = next(mine, None)


def _in_order(run: Run, number: int, kind: str, id_name: str) -> Any:
    """As PostgreSQL gives them: those of one record by id."""
    some: list[dict[str, Any]] = []
    for one in read(run, number, kind):
        if some and some[0]["offset"] != one["offset"]:
            yield from sorted(some, key=lambda each: each[id_name])
            some = []
        some.append(one)
    yield from sorted(some, key=lambda each: each[id_name])


@dataclass(slots=True)
class Otherwise:
    """Where the other policy of an evaluation would have chosen otherwise, on the logged slates."""

    decisions: int = 0
    otherwise: int = 0
    distance: float = 0.0
    """The mean total variation between the two policies' probabilities."""
    by_kind: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of the logged tip: decisions, and how many of them otherwise."""
    people: list[tuple[str, int, int]] = field(default_factory=list)
    """Pseudonym, otherwise, decisions: those of whom most would have been otherwise."""
    examples: list[tuple[float, str, str]] = field(default_factory=list)
    """Distance, decision id and pseudonym: the farthest apart."""


def otherwise(run: Run) -> Otherwise:
    """Count it. Raises RunError for a run that is no evaluation, or not done."""
    manifest, found = run.manifest(), Otherwise()
    if not manifest.policy:
        raise RunError(f"{run.name} is a verification: only a run with --policy has another policy to hold against")
    if run.state() != "done":
        raise RunError(f"{run.name} is {run.state()}: 'oo replay resume {run.name}' brings it to its end")
    total, people, theirs = 0.0, Counter[str](), Counter[str]()
    for number in sorted(manifest.end):
        for one in read(run, number, "decisions"):
            pairs = zip(one["propensities"], one["other_propensities"], strict=True)
            apart, differs = sum(abs(mine - other) for mine, other in pairs) / 2, one["chosen"] != one["other_chosen"]
            found.decisions, found.otherwise, total = found.decisions + 1, found.otherwise + differs, total + apart
            many, some = found.by_kind.get(one["kind"], (0, 0))
            found.by_kind[one["kind"]] = many + 1, some + differs
            people[one["user"]] += 1
            theirs[one["user"]] += differs
            if differs:
                found.examples.append((apart, one["decision_id"], one["user"]))
                if len(found.examples) > 2 * EXAMPLES_MAX:
                    found.examples = sorted(found.examples, reverse=True)[:EXAMPLES_MAX]
    found.distance = total / found.decisions if found.decisions else 0.0
    found.examples = sorted(found.examples, reverse=True)[:EXAMPLES_MAX]
    found.people = [(user, many, people[user]) for user, many in theirs.most_common(EXAMPLES_MAX) if many]
    return found
