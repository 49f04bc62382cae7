"""PostgreSQL: who may read what, and that each decision and outcome is written once. On a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.exc import ProgrammingError

from connectors.postgres import age, leavers
from connectors.postgres.history import Cursor, History
from connectors.postgres.migrate import migrate
from connectors.postgres.roles import CONNECTIONS, HISTORY, MODULES, ROLES, SEARCH_PATHS
from connectors.postgres.sink import Refused, Sink, Stored, Written, _insert_all, _rows_of_decision
from oo.v1.decision_pb2 import Decision, PackedSlate
from oo.v1.erased_pb2 import Erased
from oo.v1.outcome_pb2 import Outcome
from tables import columns, slates
from tests.connectors.postgres_cluster import PASSWORDS, PATIENCE_S, Cluster, Database

SCHEMAS = (*MODULES, "public", "migrations")
OWN = {**{role: role for role in MODULES}, HISTORY: "", CONNECTIONS: ""}
PAIRS = [(role, schema) for role in ROLES for schema in SCHEMAS if schema != OWN[role]]


@pytest.fixture(scope="module")
def shared(postgres: Cluster) -> Database:
    """One migrated database with a table called probe in every schema, as a later migration would make it."""
    database = postgres.migrated()
    _plant_probes(database)
    return database


@pytest.fixture
def database(postgres: Cluster) -> Database:
    return postgres.migrated()


def _plant_probes(database: Database) -> None:
    with database.admin() as admin:
        for schema in SCHEMAS:
            admin.execute(sql.SQL("CREATE TABLE {}.probe (value text)").format(sql.Identifier(schema)))
            admin.execute(sql.SQL("CREATE SEQUENCE {}.numbers").format(sql.Identifier(schema)))
            admin.execute(
                sql.SQL("CREATE FUNCTION {}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'").format(sql.Identifier(schema))
            )


ATTEMPTS = {
    "select": "SELECT * FROM {}.probe",
    "insert": "INSERT INTO {}.probe VALUES ('x')",
    "update": "UPDATE {}.probe SET value = 'y'",
    "delete": "DELETE FROM {}.probe",
    "truncate": "TRUNCATE {}.probe",
    "sequence": "SELECT nextval('{}.numbers')",
    "function": "SELECT {}.f()",
    "create": "CREATE TABLE {}.intruder ()",
    "drop": "DROP TABLE {}.probe",
}


def reached(database: Database, role: str, schema: str) -> set[str]:
    """What of ATTEMPTS the role can do to the schema; nothing stays of it."""
    done = set()
    with psycopg.connect(database.dsn(role)) as connection:
        for name, statement in ATTEMPTS.items():
            try:
                connection.execute(sql.SQL(statement.format('"' + schema + '"')))
            except InsufficientPrivilege:
                pass
            else:
                done.add(name)
            finally:
                connection.rollback()
    return done


@pytest.mark.parametrize(("role", "schema"), PAIRS)
def test_a_role_is_refused_by_every_schema_but_its_own(shared: Database, role: str, schema: str) -> None:
    assert reached(shared, role, schema) == set()


@pytest.mark.parametrize("role", MODULES)
def test_a_module_reads_and_writes_rows_of_its_own_schema_and_makes_no_tables(shared: Database, role: str) -> None:
    assert reached(shared, role, role) == {"select", "insert", "update", "delete", "sequence", "function"}


@pytest.mark.parametrize(
    ("grant", "found"),
    [
        ("GRANT USAGE, CREATE ON SCHEMA profile TO PUBLIC", {"create"}),
        ("GRANT USAGE ON SCHEMA profile TO auth; GRANT SELECT ON profile.probe TO PUBLIC", {"select"}),
        ("GRANT USAGE ON SCHEMA profile TO auth; GRANT EXECUTE ON FUNCTION profile.f TO auth", {"function"}),
        ("GRANT profile TO auth WITH INHERIT TRUE", {"select", "insert", "update", "delete", "sequence", "function"}),
        ("ALTER ROLE auth SUPERUSER", set(ATTEMPTS)),
    ],
)
def test_a_planted_grant_is_found(database: Database, grant: str, found: set[str]) -> None:
    _plant_probes(database)
    with database.admin() as admin:
        admin.execute(grant)
        try:
            assert reached(database, "auth", "profile") == found
        finally:
            admin.execute("REVOKE profile FROM auth; ALTER ROLE auth NOSUPERUSER")


def test_the_history_role_sees_the_view_and_none_of_its_tables(shared: Database) -> None:
    with psycopg.connect(shared.dsn(HISTORY), autocommit=True) as connection:
        assert connection.execute("SELECT * FROM history").fetchall() == []
        for table in ("decisions", "tip_scores", "outcomes"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(sql.SQL("SELECT * FROM recommender.{}").format(sql.Identifier(table)))
        rights = connection.execute(
            "SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p"
            " WHERE has_table_privilege('history', p)"
        ).fetchall()
    assert rights == [("SELECT",)]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_login_and_no_other_power(shared: Database, role: str) -> None:
    with shared.admin() as admin:
        powers = admin.execute(
            "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit"
            " FROM pg_roles WHERE rolname = %s",
            (role,),
        ).fetchone()
    assert powers == (True, False, False, False, False, False, False)


@pytest.mark.parametrize("role", ROLES)
def test_an_unqualified_name_is_looked_up_in_the_roles_own_schema_only(shared: Database, role: str) -> None:
    with psycopg.connect(shared.dsn(role)) as connection:
        path = connection.execute("SELECT current_schemas(false)").fetchone()
    assert path == ([SEARCH_PATHS[role]],)


@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_password_is_refused(shared: Database, role: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(shared.dsn(role, password="guess"))


def test_no_role_makes_temporary_tables(shared: Database) -> None:
    with psycopg.connect(shared.dsn("recommender")) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("CREATE TEMPORARY TABLE t ()")


def test_a_role_that_is_not_listed_cannot_even_connect(shared: Database) -> None:
    with shared.admin() as admin:
        admin.execute("CREATE ROLE registry LOGIN PASSWORD 'known'")
    with pytest.raises(psycopg.OperationalError, match="does not have CONNECT privilege"):
        psycopg.connect(shared.dsn("registry", password="known"))


def _structure(database: Database) -> list[tuple[Any, ...]]:
    with database.admin() as admin:
        return admin.execute(
            "SELECT n.nspname, c.relname, c.relkind, c.relacl::text FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY(%s) ORDER BY 1, 2",
            ([*SCHEMAS],),
        ).fetchall()


def test_migrating_again_changes_nothing_but_the_passwords(postgres: Cluster) -> None:
    database = postgres.migrated()
    before = _structure(database)
    other = {**PASSWORDS, "notifier": "changed"}
    try:
        assert migrate(database.admin_dsn, other) == migrate(database.admin_dsn, other)
        assert _structure(database) == before
        psycopg.connect(database.dsn("notifier", password="changed")).close()
    finally:
        migrate(database.admin_dsn, PASSWORDS)


def test_four_starts_at_once_all_reach_the_head(postgres: Cluster) -> None:
    database = postgres.create()
    reached_heads: list[str] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        try:
            reached_heads.append(migrate(database.admin_dsn, PASSWORDS))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(reached_heads)) == 1
    assert len(reached_heads) == 4


def test_a_migration_that_fails_leaves_nothing_behind(postgres: Cluster) -> None:
    database = postgres.create()
    with database.admin() as admin:
        # The last of the migration's schemas is taken.
        admin.execute("CREATE SCHEMA notifier")
    with pytest.raises(ProgrammingError, match="notifier"):
        migrate(database.admin_dsn, PASSWORDS)
    with database.admin() as admin:
        schemas = admin.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", ([*SCHEMAS],)).fetchall()
    assert sorted(name for (name,) in schemas) == ["notifier", "public"]


def test_a_missing_password_is_named_before_anything_is_done(postgres: Cluster) -> None:
    database = postgres.create()
    with pytest.raises(ValueError, match="history"):
        migrate(database.admin_dsn, {role: "x" for role in ROLES if role != HISTORY})


def test_the_server_never_sees_a_password(postgres: Cluster) -> None:
    database = postgres.migrated()
    with database.admin() as admin:
        stored = admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = ANY(%s)", ([*ROLES],)).fetchall()
    assert len(stored) == len(ROLES)
    assert all(verifier.startswith("SCRAM-SHA-256$") for (verifier,) in stored)


def test_the_migrations_are_inside_the_package() -> None:
    package = files("connectors.postgres") / "migrations"
    assert (package / "env.py").is_file()
    assert any(entry.name.startswith("v0001") for entry in (package / "versions").iterdir())


# What the sink writes


def _decision(
    number: int, *, user: str = "alice", kind: int = Decision.TASK, decided_ms: int | None = None
) -> Decision:
    decision = Decision(
        decision_id=f"d{number:04}",
        user_id=user,
        record_id=number.to_bytes(16, "big"),
        decided_ms=decided_ms if decided_ms is not None else 1_000 + number,
        valid_until_ms=5_000 + number,
        trigger=Decision.NO_TIP,
        policy_version="v1",
        propensity=0.25,
        title=f"Tip {number}",
        chosen=1,
    )
    decision.journal.topic_id = b"t" * 16
    decision.journal.partition = 3
    decision.journal.offset = number
    decision.slate.add(id="none", kind=Decision.NONE, propensity=0.75)
    decision.slate.add(id=f"task:todo.txt/{number}", kind=kind, propensity=0.25, score=0.5)
    decision.slate.add(id="task:todo.txt/x", kind=Decision.TASK, ineligible=["snoozed"])
    return decision


def _packed(decision: Decision) -> Decision:
    """The same decision as step version 5 writes it."""
    found = Decision()
    found.CopyFrom(decision)
    found.ClearField("slate")
    block = np.zeros((slates.X, len(decision.slate)), dtype=np.int64)
    for at, one in enumerate(decision.slate):
        out = sum(1 << slates.REASONS.index(reason) for reason in one.ineligible)
        score = int(one.score * slates.GRID)
        block[:, at] = (int(one.id != "none"), one.kind, out, int(one.propensity * 4), one.draws_won, score)
    ids = [one.id.removeprefix("task:todo.txt/") for one in decision.slate]
    heads = ["", "task:todo.txt/"]
    found.packed.MergeFrom(PackedSlate(heads=heads, ids=ids, columns=columns.packed(block), denominator=4))
    assert list(slates.spelled_out(found)) == list(decision.slate)
    return found


def _outcome(number: int, *, decision: int, kind: int = Outcome.DONE, user: str = "alice") -> Outcome:
    outcome = Outcome(
        outcome_id=f"o{number:04}",
        decision_id=f"d{decision:04}",
        user_id=user,
        kind=kind,
        reward=1.0,
        learned=True,
        event_time_ms=9_000 + number,
    )
    outcome.journal.topic_id = b"t" * 16
    outcome.journal.partition = 3
    outcome.journal.offset = 100 + number
    return outcome


def as_is(messages: Sequence[Any]) -> list[Any]:
    """As messages of before are recorded, which had no seal."""
    return [Stored(one, one) for one in messages]


def _rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.admin() as admin:
        return admin.execute(query.encode()).fetchall()


@pytest.mark.parametrize("packed", [False, True])
def test_a_decision_is_written_with_its_whole_slate(database: Database, *, packed: bool) -> None:
    decision = _packed(_decision(1)) if packed else _decision(1)

    async def work() -> Written:
        async with Sink(database.dsn("recommender")) as sink:
            return await sink.record_decisions(as_is([decision]))

    assert asyncio.run(work()) == Written(1)
    assert _rows(
        database,
        "SELECT decision_id, user_id, decided_ms, valid_until_ms, journal_offset, topic_id, partition, trigger, kind,"
        " policy_version, propensity, supersedes, message FROM recommender.decisions",
    ) == [
        ("d0001", "alice", 1001, 5001, 1, b"t" * 16, 3, "NO_TIP", "TASK", "v1", 0.25, "",
         decision.SerializeToString(deterministic=True)),
    ]  # fmt: skip
    assert _rows(database, "SELECT * FROM recommender.tip_scores ORDER BY position") == [
        ("d0001", 0, "NONE", True, 0.75, 0.0, "", ""),
        ("d0001", 1, "TASK", True, 0.25, 0.5, "", ""),
        ("d0001", 2, "TASK", False, 0.0, 0.0, "", ""),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_the_score_of_every_tip_that_a_model_wrote_says_by_which_prompt_and_model(
    database: Database, *, packed: bool
) -> None:
    decision = _decision(1)
    for place in (1, 2):
        decision.slate[place].kind = Decision.GENERATED
    decision.prompt_version, decision.model = "tips@0123456789ab", "tip-generator"
    unchosen = ("", "")  # Of before step version 8.
    if packed:
        decision, unchosen = _packed(decision), ("b@1", "tip-generator-2")
        by = ((1, slates.Writer(decision.prompt_version, decision.model, 9, 10)), (2, slates.Writer(*unchosen, 1, 10)))
        slates.note_writers(decision.packed, by)

    async def work() -> Written:
        async with Sink(database.dsn("recommender")) as sink:
            return await sink.record_decisions(as_is([decision]))

    assert asyncio.run(work()) == Written(1)
    query = "SELECT kind, prompt_version, llm_model FROM recommender.tip_scores ORDER BY position"
    assert _rows(database, query) == [
        ("NONE", "", ""),
        ("GENERATED", "tips@0123456789ab", "tip-generator"),
        ("GENERATED", *unchosen),
    ]


def test_an_outcome_is_written_before_its_decision_is_there(database: Database) -> None:
    async def work() -> Written:
        async with Sink(database.dsn("recommender")) as sink:
            return await sink.record_outcomes(as_is([_outcome(1, decision=1)]))

    assert asyncio.run(work()) == Written(1)
    assert _rows(
        database,
        "SELECT outcome_id, decision_id, user_id, kind, corrects, event_time_ms, journal_offset, learned, reward"
        " FROM recommender.outcomes",
    ) == [("o0001", "d0001", "alice", "DONE", "KIND_UNSPECIFIED", 9001, 101, True, 1.0)]


def test_the_same_batch_again_adds_nothing(database: Database) -> None:
    async def work() -> list[Written]:
        async with Sink(database.dsn("recommender")) as sink:
            decisions = [_decision(number) for number in range(500)]
            outcomes = [_outcome(number, decision=number) for number in range(500)]
            return [
                await sink.record_decisions(as_is(decisions)),
                await sink.record_decisions(as_is([*decisions, _decision(500)])),
                await sink.record_outcomes(as_is([*outcomes, *outcomes])),
                await sink.record_outcomes(as_is(outcomes)),
            ]

    assert asyncio.run(work()) == [Written(500), Written(1), Written(500), Written(0)]
    assert _rows(database, "SELECT count(*) FROM recommender.tip_scores") == [(1503,)]


def test_a_message_that_cannot_be_held_is_handed_back_and_its_neighbours_are_written(database: Database) -> None:
    nul = _decision(2)
    nul.policy_version = "a\0b"
    nameless = _decision(3)
    nameless.decision_id = ""
    long = _decision(4)
    long.user_id = "u" * 3000
    past = _decision(5)
    past.chosen = 9
    candidate = _decision(6)
    candidate.slate[0].id = "a\0b"
    torn = _packed(_decision(8))
    torn.packed.columns = torn.packed.columns[:-1]

    async def work() -> Written:
        async with Sink(database.dsn("recommender")) as sink:
            return await sink.record_decisions(
                as_is([_decision(1), nul, nameless, long, past, candidate, _decision(7), torn])
            )

    written = asyncio.run(work())
    assert written.rows == 4
    assert written.refused == (
        Refused(2, "decision_id is empty"),
        Refused(3, "user_id is longer than 256 bytes"),
        Refused(4, "chosen is 9, past the slate of 3"),
        Refused(7, "not a block of columns"),
    )
    # PostgreSQL's texts have no NUL: it is escaped there, and the message beside has it.
    assert _rows(database, "SELECT decision_id, policy_version FROM recommender.decisions ORDER BY 1")[1] == (
        "d0002",
        "a\\x00b",
    )
    assert _rows(database, "SELECT count(*) FROM recommender.tip_scores") == [(12,)]


def test_a_value_that_a_newer_writer_knows_is_kept_as_its_number(database: Database) -> None:
    outcome = Outcome.FromString(_outcome(1, decision=1).SerializeToString() + b"\x20\x2a")

    async def work() -> Written:
        async with Sink(database.dsn("recommender")) as sink:
            return await sink.record_outcomes(as_is([outcome]))

    assert asyncio.run(work()) == Written(1)
    assert _rows(database, "SELECT kind FROM recommender.outcomes") == [("42",)]


def test_a_broken_batch_leaves_nothing_and_the_next_call_connects_again(postgres: Cluster) -> None:
    database = postgres.migrated()

    async def work() -> Written:
        async with Sink(database.dsn("recommender")) as sink:
            await sink.record_decisions(as_is([_decision(0)]))
            with database.admin() as admin:
                # The slate's table is locked, and the sink's session dies in the middle of its transaction.
                admin.execute("BEGIN; LOCK recommender.tip_scores")
                call = asyncio.create_task(sink.record_decisions(as_is([_decision(1)])))
                while not admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
                    " AND relation = 'recommender.tip_scores'::regclass"
                ).fetchall():
                    await asyncio.sleep(0.01)
                with pytest.raises(psycopg.OperationalError):
                    await call
                admin.execute("ROLLBACK")
                assert admin.execute("SELECT count(*) FROM recommender.decisions").fetchall() == [(1,)]
            return await sink.record_decisions(as_is([_decision(1)]))

    assert asyncio.run(work()) == Written(1)


# Who left


def _left(user: str, offset: int, *, topic_id: bytes = b"t" * 16, erased_ms: int = 10_000) -> Erased:
    word = Erased(user_id=user, receipt="receipt-of-leaving", erased_ms=erased_ms)
    word.journal.topic_id, word.journal.partition, word.journal.offset = topic_id, 3, offset
    return word


def test_what_is_of_somebody_who_left_is_deleted_up_to_there_and_nothing_else_is(database: Database) -> None:
    old = _decision(4)
    old.journal.topic_id = b"o" * 16

    async def work() -> int:
        async with Sink(database.dsn("recommender")) as sink:
            await sink.record_decisions(as_is([*map(_decision, (1, 2, 3)), old, _decision(5, user="bob")]))
            await sink.record_outcomes(as_is([_outcome(1, decision=1), _outcome(2, decision=5, user="bob")]))
            return await sink.forget([_left("alice", 2), _left("alice", 1)])

    # Two decisions, one of a journal before this one; the outcome stands at 101, in the life that follows.
    assert asyncio.run(work()) == 3
    assert _rows(database, "SELECT decision_id FROM recommender.decisions ORDER BY 1") == [("d0003",), ("d0005",)]
    assert _rows(database, "SELECT DISTINCT decision_id FROM recommender.tip_scores ORDER BY 1") == [
        ("d0003",),
        ("d0005",),
    ]
    assert _rows(database, "SELECT count(*) FROM recommender.outcomes") == [(2,)]
    assert _rows(database, "SELECT user_id, journal_offset FROM recommender.erased") == [("alice", 2)]


def test_nothing_of_a_life_that_ended_is_taken_again_however_often_it_comes(database: Database) -> None:
    async def work() -> tuple[Written, Written]:
        async with Sink(database.dsn("recommender")) as sink:
            await sink.forget([_left("alice", 101)])
            await sink.forget([_left("alice", 7)])
            decisions = await sink.record_decisions(as_is([_decision(101), _decision(102), _decision(3, user="bob")]))
            return decisions, await sink.record_outcomes(as_is([_outcome(1, decision=101), _outcome(2, decision=102)]))

    assert asyncio.run(work()) == (Written(2), Written(1))
    assert _rows(database, "SELECT decision_id FROM recommender.decisions ORDER BY 1") == [("d0003",), ("d0102",)]
    assert _rows(database, "SELECT outcome_id FROM recommender.outcomes") == [("o0002",)]


def test_a_decision_that_is_being_written_while_its_person_leaves_is_not_left_behind(database: Database) -> None:
    dsn = database.dsn("recommender")

    async def work() -> None:
        async with Sink(dsn) as sink, await psycopg.AsyncConnection.connect(dsn) as writer:
            await leavers.share(writer)  # as a writer does before it looks for notes
            forgetting = asyncio.create_task(sink.forget([_left("alice", 2)]))
            await asyncio.sleep(0.3)
            assert not forgetting.done()
            await _insert_all(writer, [_rows_of_decision(one) for one in as_is([_decision(1)])])
            await writer.commit()
            assert await forgetting == 1

    asyncio.run(work())
    assert _rows(database, "SELECT count(*) FROM recommender.decisions") == [(0,)]


# What the history reads


def test_what_is_older_goes_some_at_a_time_and_how_far_is_noted_before_the_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(age, "AT_ONCE", 2)

    async def work() -> list[int]:
        async with Sink(database.dsn("recommender")) as sink:
            await sink.record_decisions(as_is([*map(_decision, range(5)), _decision(9, decided_ms=20_000)]))
            await sink.record_outcomes(as_is([_outcome(1, decision=1), _outcome(8_000, decision=9)]))
            gone = [await sink.trim(below_ms=10_000) for _ in range(4)]
            # What is older than that was noted already, and stays noted.
            await sink.trim(below_ms=5_000)
        return gone

    assert asyncio.run(work()) == [3, 2, 1, 0]
    assert _rows(database, "SELECT decision_id FROM recommender.decisions") == [("d0009",)]
    assert _rows(database, "SELECT DISTINCT decision_id FROM recommender.tip_scores") == [("d0009",)]
    assert _rows(database, "SELECT outcome_id FROM recommender.outcomes") == [("o8000",)]

    async def noted() -> int:
        async with await psycopg.AsyncConnection.connect(database.dsn("recommender")) as connection:
            return await age.trimmed_below(connection)

    assert asyncio.run(noted()) == 10_000


@pytest.fixture
def past(database: Database) -> Iterator[Database]:
    """Ten tips of alice's, two of them in the same millisecond, one silence, one tip of bob's."""
    decisions = [_decision(number) for number in range(10)]
    decisions[5].decided_ms = decisions[4].decided_ms
    silence = _decision(90, kind=Decision.NONE)
    stranger = _decision(91, user="bob")

    async def work() -> None:
        async with Sink(database.dsn("recommender")) as sink:
            await sink.record_decisions(as_is([*decisions, silence, stranger]))
            await sink.record_outcomes(
                as_is(
                    [
                        _outcome(1, decision=1, kind=Outcome.SEEN),
                        _outcome(2, decision=2, kind=Outcome.DISMISS),
                        _outcome(3, decision=2, kind=Outcome.SEEN),
                        _outcome(4, decision=3, kind=Outcome.EXPIRED),
                        _outcome(5, decision=3, kind=Outcome.DONE),
                        # Somebody else's word on alice's tip is not her outcome.
                        _outcome(6, decision=4, kind=Outcome.DISMISS, user="bob"),
                    ]
                )
            )

    asyncio.run(work())
    return database


def test_the_pages_of_a_history_hold_each_tip_once_newest_first(past: Database) -> None:
    async def work() -> list[str]:
        history = History(past.dsn(HISTORY))
        await history.open()
        seen: list[str] = []
        cursor: Cursor | None = None
        while entries := await history.page("alice", limit=3, before=cursor):
            seen += [entry.decision_id for entry in entries]
            cursor = entries[-1].cursor
        await history.close()
        return seen

    expected = ["d0009", "d0008", "d0007", "d0006", "d0005", "d0004", "d0003", "d0002", "d0001", "d0000"]
    assert asyncio.run(work()) == expected


def test_the_history_shows_the_latest_outcome_and_a_reaction_before_being_seen(past: Database) -> None:
    async def work() -> dict[str, str | None]:
        history = History(past.dsn(HISTORY))
        await history.open()
        entries = await history.page("alice", limit=50)
        await history.close()
        return {entry.decision_id: entry.outcome for entry in entries if entry.decision_id <= "d0004"}

    assert asyncio.run(work()) == {
        "d0000": None,
        "d0001": "SEEN",
        "d0002": "DISMISS",
        "d0003": "DONE",
        "d0004": None,
    }


def test_a_page_is_read_through_the_index(past: Database) -> None:
    with past.admin() as admin:
        admin.execute("SET enable_seqscan = off")
        plan = admin.execute(
            "EXPLAIN SELECT * FROM recommender.history WHERE user_id = 'alice' AND (decided_ms, decision_id) < (9, 'd')"
            " ORDER BY decided_ms DESC, decision_id DESC LIMIT 20"
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Index Scan using decisions_by_user" in text
    assert "Sort Key: d" not in text


def test_a_history_without_a_server_fails_soon_and_works_once_it_is_there(postgres: Cluster) -> None:
    database = postgres.migrated()

    async def work() -> tuple[bool, list[Any], bool]:
        postgres.stop()
        history = History(database.dsn(HISTORY), timeout_s=0.5)
        try:
            await history.open()
            down = await history.ready()
            with pytest.raises(psycopg.OperationalError):
                await history.page("alice")
        finally:
            postgres.start()
        async with asyncio.timeout(PATIENCE_S):
            while not await history.ready():
                await asyncio.sleep(0.1)
        page = await history.page("alice")
        up = await history.ready()
        await history.close()
        return down, page, up

    assert asyncio.run(work()) == (False, [], True)
