"""Connect on real servers: what people have connected is read by one worker at a time, told once and taken back, through kills."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agents.turn import pause_ms
from connectors.key_files import KeyFiles
from connectors.postgres.connections import Connection, Connections, LogEntry, New
from connectors.vault import Box, Vault, Wrapped
from deploy.stack.running import RunningStack
from oo.v1.erased_pb2 import Erased
from oo.v1.outcome_pb2 import Outcome
from oo.v1.signal_pb2 import Signal
from streams.clock import clock_ms
from tests.agents.calendars import Calendars, calendar, calendars
from tests.agents.process import AgentProcess, Topics, until
from tests.connectors.postgres_cluster import Cluster, Database, cluster

T = TypeVar("T")
EVERY_MS = 500


@dataclass(slots=True)
class Line:
    """Topics, a database, calendars to read, and workers that read them."""

    servers: RunningStack
    topics: Topics
    database: Database
    web: Calendars
    folder: Path
    workers: list[AgentProcess] = field(default_factory=list)

    @property
    def vault(self) -> Vault:
        return Vault(KeyFiles(self.folder / "vault"))

    def worker(self, *, module: str = "agents", lease_s: float = 30, **more: str) -> AgentProcess:
        folder = self.folder / f"w{len(self.workers)}"
        folder.mkdir()
        told = {
            "OO_INTEGRATIONS_DSN": self.database.dsn("integrations"),
            "OO_VAULT_DIR": str(self.folder / "vault"),
            "OO_CONNECT_INSIDE": "127.0.0.0/8",
            "OO_CONNECT_LEASE_S": str(lease_s),
            **more,
        }
        process = AgentProcess("connect", self.servers, self.topics, folder, told, module=module).start()
        self.workers.append(process)
        return process

    def asked(self, ask: Callable[[Connections], Coroutine[Any, Any, T]]) -> T:
        """What the edge's role is told."""

        async def once() -> T:
            connections = Connections(self.database.dsn("connections"))
            await connections.open()
            try:
                return await ask(connections)
            finally:
                await connections.close()

        return asyncio.run(once())

    def connect(self, url: str, *, user_id: str = "ada", source: str = "webcal", service: str = "webcal") -> str:
        """A connection of this person's, who is called behind the door as before it."""
        connection_id = secrets.token_hex(4)
        box = self.vault.make(user_id=user_id, connection_id=connection_id)
        new = New(
            connection_id,
            user_id,
            source,
            service,
            box.wrapped.kek_id,
            box.wrapped.key,
            settings=box.seal("settings", json.dumps({"user_id": user_id, "settings": {}}).encode()),
            credentials=box.seal("credentials", json.dumps({"url": url}).encode()),
            zone=box.seal("zone", b"Europe/Berlin"),
            every_ms=EVERY_MS,
        )
        assert self.asked(lambda edge: edge.add(new)) == "added"
        return connection_id

    def one(self, connection_id: str) -> Connection | None:
        return self.asked(lambda edge: edge.one(connection_id))

    def box(self, connection_id: str) -> Box:
        one = self.one(connection_id)
        assert one is not None
        return self.vault.open(
            Wrapped(one.kek_id, one.wrapped_key), user_id=one.user_id, connection_id=one.connection_id
        )

    def log(self, connection_id: str) -> list[LogEntry]:
        return self.asked(lambda edge: edge.log(connection_id))

    def signals(self) -> list[Signal]:
        """All that stand in the topic."""
        found = []
        for number in range(self.topics.cluster.topics["signals"].partitions):
            found += self.topics.messages("signals", partition=number)
        return [one for one in found if isinstance(one, Signal)]

    def known(self) -> set[str]:
        """Titles of the events that stand, as a row has them that takes each event id once and lets the later word stand."""
        titles: dict[tuple[str, str], str] = {}
        seen: set[tuple[str, str]] = set()
        for one in self.signals():
            if (one.source, one.event_id) in seen:
                continue
            seen.add((one.source, one.event_id))
            kind = one.WhichOneof("payload")
            if kind == "calendar_event_upserted":
                told = one.calendar_event_upserted
                titles[one.source, told.external_id] = told.title
            elif kind == "calendar_event_removed":
                titles.pop((one.source, one.calendar_event_removed.external_id), None)
        return set(titles.values())

    def counted(self) -> list[str]:
        """Event ids, each as often as it was told with another content than before: of a right worker each once."""
        return sorted({(one.source, one.event_id, one.SerializeToString(deterministic=True)) for one in self.signals()})

    def rows(self, table: str) -> int:
        with self.database.admin() as admin:
            row = admin.execute(f"SELECT count(*) FROM integrations.{table}".encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("connect")) as running:
        yield running


@pytest.fixture
def line(servers: RunningStack, postgres: Cluster, tmp_path: Path) -> Iterator[Line]:
    KeyFiles(tmp_path / "vault").make()
    with calendars() as web:
        line = Line(servers, Topics(servers), postgres.migrated(), web, tmp_path)
        try:
            yield line
        finally:
            for worker in line.workers:
                if worker.running():
                    worker.kill()
            line.topics.close()


def test_a_calendar_is_told_at_once_followed_as_it_changes_and_taken_back_when_it_is_disconnected(line: Line) -> None:
    worker = line.worker()
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist", "Choir")))
    until(lambda: line.known() == {"Dentist", "Choir"}, alive=worker)
    assert {one.source for one in line.signals()} == {f"webcal:{connection_id}"}
    assert {one.user_id for one in line.signals()} == {"ada"}
    line.web.put("/a.ics", calendar("Choir", "Swim"))
    until(lambda: line.known() == {"Choir", "Swim"}, alive=worker)
    until(lambda: [one.number for one in line.log(connection_id)] == [2, 2], alive=worker)
    assert line.asked(lambda edge: edge.leave(connection_id, user_id="ada"))
    until(lambda: line.one(connection_id) is None, alive=worker)
    assert line.known() == set()
    assert (line.rows("log"), line.rows("connections")) == (0, 0)
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "killed",
    ["AFTER claimed", "BEFORE sent", "AFTER sent", "BEFORE released"],
)
def test_killed_at_any_step_nothing_is_lost_and_nothing_counts_twice(line: Line, killed: str) -> None:
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist", "Choir")))
    when, step = killed.split()
    first = line.worker(module="tests.agents.killed", lease_s=1, **{f"KILLED_{when}": step})
    assert first.wait() == -9, first.log()
    second = line.worker(lease_s=1)
    until(lambda: bool((one := line.one(connection_id)) and one.read_ms), alive=second)
    assert line.known() == {"Dentist", "Choir"}
    assert len(line.counted()) == len({(source, event) for source, event, _ in line.counted()}) == 2


@pytest.mark.parametrize("killed", ["AFTER sent", "BEFORE purged"])
def test_killed_while_it_is_disconnected_all_of_it_is_taken_back(line: Line, killed: str) -> None:
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist", "Choir")))
    worker = line.worker()
    until(lambda: bool((one := line.one(connection_id)) and one.read_ms), alive=worker)
    worker.stop()
    line.asked(lambda edge: edge.leave(connection_id, user_id="ada"))
    when, step = killed.split()
    first = line.worker(module="tests.agents.killed", lease_s=1, **{f"KILLED_{when}": step})
    assert first.wait() == -9, first.log()
    second = line.worker(lease_s=1)
    until(lambda: line.one(connection_id) is None, alive=second)
    assert line.known() == set()
    assert len(line.counted()) == 4


def test_a_calendar_that_was_half_told_when_it_is_disconnected_is_taken_back_too(line: Line) -> None:
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist", "Choir")))
    first = line.worker(module="tests.agents.killed", lease_s=1, KILLED_AFTER="sent")
    assert first.wait() == -9, first.log()
    assert line.known() == {"Dentist", "Choir"}
    line.asked(lambda edge: edge.leave(connection_id, user_id="ada"))
    second = line.worker(lease_s=1)
    until(lambda: line.one(connection_id) is None, alive=second)
    assert line.known() == set()


def test_two_workers_never_read_one_connection_at_once_and_share_the_work(line: Line) -> None:
    line.web.takes_s = 0.3
    ids = [line.connect(line.web.put(f"/{number}.ics", calendar(f"n{number}"))) for number in range(12)]
    workers = [line.worker(), line.worker()]
    until(lambda: all(count >= 3 for count in line.web.asked.values()) and len(line.web.asked) == 12, alive=workers[0])
    assert set(line.web.at_once.values()) == {1}
    assert line.known() == {f"n{number}" for number in range(12)}
    assert len(line.counted()) == len(ids)


def test_a_worker_that_was_stopped_loses_its_lease_and_what_it_tells_late_counts_once(line: Line) -> None:
    line.web.takes_s = 1.0
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist", "Choir")))
    first = line.worker(lease_s=2)
    until(lambda: line.web.asked["/a.ics"] == 1, alive=first)
    first.suspend()
    second = line.worker(lease_s=2)
    until(lambda: bool((one := line.one(connection_id)) and one.read_ms), alive=second)
    first.resume()
    line.web.put("/a.ics", calendar("Swim"))
    until(lambda: line.known() == {"Swim"}, alive=second)
    assert len(line.counted()) == 5


def test_a_host_that_asks_for_patience_gets_it_for_all_its_connections_and_others_go_on(line: Line) -> None:
    line.web.refuse["/full.ics"] = (429, {"retry-after": "3600"})
    full = line.connect(line.web.put("/full.ics", calendar("Full")), service="webcal:one")
    worker = line.worker()
    until(lambda: bool((one := line.one(full)) and one.trouble == "rate-limited"), alive=worker)
    same = line.connect(line.web.put("/same.ics", calendar("Same")), service="webcal:one", user_id="bob")
    line.connect(line.web.put("/other.ics", calendar("Other")), service="webcal:two")
    until(lambda: line.web.asked["/other.ics"] >= 3, alive=worker)
    assert line.web.asked["/full.ics"] == 1
    assert line.web.asked["/same.ics"] == 0
    assert (one := line.one(same)) is not None and one.read_ms is None
    assert (one := line.one(full)) is not None and one.due_ms - one.created_ms > 3_000_000
    # Whoever asks for it by hand is told the same: it is the service that has the say.
    assert line.asked(lambda edge: edge.sync(full, user_id="ada"))


def test_what_only_the_person_can_mend_is_read_no_more_until_they_did(line: Line) -> None:
    line.web.refuse["/a.ics"] = (403, {})
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist")))
    worker = line.worker()
    until(lambda: bool((one := line.one(connection_id)) and one.state == "broken"), alive=worker)
    assert [one.result for one in line.log(connection_id)] == ["token-revoked"]
    asked = line.web.asked["/a.ics"]
    assert not line.asked(lambda edge: edge.sync(connection_id, user_id="ada"))
    url = line.web.put("/b.ics", calendar("Dentist"))
    credentials = line.box(connection_id).seal("credentials", json.dumps({"url": url}).encode())
    assert line.asked(lambda edge: edge.change(connection_id, user_id="ada", credentials=credentials))
    until(lambda: line.known() == {"Dentist"}, alive=worker)
    assert line.web.asked["/a.ics"] == asked


def test_a_paused_connection_is_not_read(line: Line) -> None:
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist")))
    assert line.asked(lambda edge: edge.change(connection_id, user_id="ada", paused=True))
    line.connect(line.web.put("/b.ics", calendar("Choir")))
    worker = line.worker()
    until(lambda: line.web.asked["/b.ics"] >= 3, alive=worker)
    assert line.web.asked["/a.ics"] == 0
    assert line.asked(lambda edge: edge.change(connection_id, user_id="ada", paused=False))
    until(lambda: line.known() == {"Dentist", "Choir"}, alive=worker)


def test_nothing_of_a_person_stands_open_in_the_tables(line: Line) -> None:
    worker = line.worker()
    connection_id = line.connect(line.web.put("/private-token.ics", calendar("Dentist")), user_id="ada-lovelace")
    until(lambda: bool((one := line.one(connection_id)) and one.read_ms), alive=worker)
    with line.database.admin() as admin:
        for table in ("connections", "log", "write_backs", "posted", "withheld", "authorizations"):
            rows = admin.execute(f"SELECT * FROM integrations.{table}".encode()).fetchall()
            held = b"\n".join(
                value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
            )
            for word in (b"private-token", b"Dentist", b"example.org", b"Berlin"):
                assert word not in held, (table, word)


def test_places_on_the_wheel_differ_and_stay() -> None:
    due = [(now + pause_ms("3f2a9c", every_ms=300_000, now_ms=now)) % 300_000 for now in range(0, 10**7, 77_777)]
    assert len(set(due)) == 1
    places = {pause_ms(secrets.token_hex(4), every_ms=300_000, now_ms=0) // 30_000 for _ in range(500)}
    assert len(places) == 10


def test_a_task_that_was_done_is_told_to_its_source_once_and_its_log_says_what_came_of_it(line: Line) -> None:
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist")))
    worker = line.worker()
    until(lambda: bool((one := line.one(connection_id)) and one.read_ms), alive=worker)
    done = Outcome(outcome_id="0a" * 16, decision_id="d1", user_id="ada", kind=Outcome.DONE, event_time_ms=clock_ms())
    done.candidate = f"task:webcal:{connection_id}/some/uid"
    others = Outcome()
    others.CopyFrom(done)
    others.outcome_id, others.user_id = "0b" * 16, "bob"
    line.topics.produce("outcomes", [done, done, others])
    until(lambda: any(one.what == "write-back" for one in line.log(connection_id)), alive=worker)
    line.topics.produce("outcomes", [done])
    until(lambda: line.topics.committed("connect", "outcomes") == 4, alive=worker)
    # A calendar by address takes no words back.
    told = [(one.result, one.decision_id) for one in line.log(connection_id) if one.what == "write-back"]
    assert told == [("unable", "d1")]
    assert line.rows("write_backs") == 1


def test_who_left_has_nothing_here_and_nothing_of_theirs_is_taken_before_they_begin_again(line: Line) -> None:
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist")))
    line.connect(line.web.put("/b.ics", calendar("Choir")), user_id="bob")
    worker = line.worker()
    until(lambda: bool((one := line.one(connection_id)) and one.read_ms), alive=worker)
    word = Erased(user_id="ada", receipt="r", erased_ms=clock_ms())
    word.journal.topic_id, word.journal.offset = b"j" * 16, 7
    line.topics.produce("erasures", [word], key=b"ada")
    until(lambda: line.one(connection_id) is None, alive=worker)
    assert line.rows("connections") == 1
    with pytest.raises(AssertionError):
        line.connect(line.web.put("/c.ics", calendar("Late")))
    word.began_again.offset = 9
    line.topics.produce("erasures", [word], key=b"ada")
    until(lambda: line.rows("erased WHERE began_again") == 1, alive=worker)
    line.connect(line.web.put("/c.ics", calendar("Swim")))
    until(lambda: "Swim" in line.known(), alive=worker)
