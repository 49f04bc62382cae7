"""Connect on real servers: what people have connected is read by one worker at a time, told once and taken back, through kills."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from aiohttp import web

from agents.turn import pause_ms
from connectors.key_files import KeyFiles
from connectors.postgres.connections import Connection, Connections, LogEntry, New
from connectors.postgres.leases import DEATHS_MAX, Leased, LeaseLost, Leases
from connectors.vault import Box, Vault, Wrapped
from deploy.stack.running import RunningStack
from oo.v1.erased_pb2 import Erased
from oo.v1.outcome_pb2 import Outcome
from oo.v1.signal_pb2 import Signal
from streams.clock import clock_ms
from tests.agents.calendars import Calendars, calendar, calendars
from tests.agents.killed import KILLED
from tests.agents.process import AgentProcess, Topics, until
from tests.connectors.postgres_cluster import Cluster, Database, cluster
from tests.connectors.sources import caldav_world

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

    def connect(
        self,
        url: str,
        *,
        user_id: str = "ada",
        source: str = "webcal",
        service: str = "webcal",
        settings: Mapping[str, str] | None = None,
        **secret: str,
    ) -> str:
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
            settings=box.seal("settings", json.dumps({"user_id": user_id, "settings": {**(settings or {})}}).encode()),
            credentials=box.seal("credentials", json.dumps({"url": url, **secret}).encode()),
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

    def tasks(self) -> set[str]:
        """Titles of the tasks that were told."""
        return {one.task_upserted.title for one in self.signals() if one.HasField("task_upserted")}

    def want(self, connection_id: str) -> bool:
        """The person asks for it now."""
        return self.asked(lambda edge: edge.sync(connection_id, user_id="ada"))

    def written(self, connection_id: str) -> list[tuple[str, str]]:
        """What came of tasks that were done, as the log says it, the oldest first."""
        told = [(one.result, one.decision_id) for one in self.log(connection_id) if one.what == "write-back"]
        return told[::-1]

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


@pytest.fixture(scope="module")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[caldav_world.Server]:
    with caldav_world.radicale(tmp_path_factory.mktemp("radicale")) as server:
        yield server


@dataclass(slots=True)
class Tasks:
    """Ada's, at a Radicale behind a server that passes all on, or fails."""

    server: caldav_world.Server
    passing: caldav_world.Passes
    person: str
    http: httpx.Client

    def put(self, name: str, title: str) -> None:
        path, text = f"/{self.person}/tasks/{name}.ics", caldav_world.todo(name, title)
        headers = {"content-type": "text/calendar; charset=utf-8"}
        self.http.put(path, content=text, headers=headers).raise_for_status()

    def text(self, name: str) -> str:
        return self.http.get(f"/{self.person}/tasks/{name}.ics").raise_for_status().text

    def connect(self, line: Line) -> str:
        settings = {"url": self.passing.url, "username": self.person}
        return line.connect("", source="caldav", service="caldav", settings=settings, password="secret")


@pytest.fixture
def tasks(radicale: caldav_world.Server) -> Iterator[Tasks]:
    passing, person = caldav_world.Passes(), f"p{next(radicale.people)}"
    passing.behind = radicale.url
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(passing.__aenter__(), loop).result()
    try:
        with httpx.Client(base_url=radicale.url, auth=(person, "secret"), trust_env=False, timeout=60) as http:
            http.request("MKCALENDAR", f"/{person}/tasks/").raise_for_status()
            yield Tasks(radicale, passing, person, http)
    finally:
        asyncio.run_coroutine_threadsafe(passing.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


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


KILLED_ELSEWHERE = pytest.mark.long(
    "tests/agents/test_connect.py::test_killed_at_any_step_nothing_is_lost_and_nothing_counts_twice[AFTER claimed]"
)


@pytest.mark.parametrize(
    "killed",
    [
        "AFTER claimed",
        *(pytest.param(one, marks=KILLED_ELSEWHERE) for one in ("BEFORE sent", "AFTER sent", "BEFORE released")),
    ],
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


@pytest.mark.parametrize("killed", [pytest.param("AFTER sent", marks=KILLED_ELSEWHERE), "BEFORE purged"])
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


def test_two_workers_never_read_one_connection_at_once_nor_three_of_one_person_and_share_the_work(line: Line) -> None:
    line.web.takes_s = 0.2
    people = ("ada", "ada", "ada", "ada", "ada", "ada", "bob", "cy", "di", "eve")
    for number, who in enumerate(people):
        line.connect(line.web.put(f"/{who}/{number}.ics", calendar(f"n{number}")), user_id=who)
    workers = [line.worker(), line.worker()]
    until(lambda: all(count >= 2 for count in line.web.asked.values()) and len(line.web.asked) == 10, alive=workers[0])
    assert {line.web.at_once[path] for path in line.web.asked} == {1}
    assert line.web.at_once["/ada"] == 2
    assert line.known() == {f"n{number}" for number in range(10)}
    assert len(line.counted()) == len(people)


def test_a_connection_over_which_workers_die_is_read_no_more_and_no_other_suffers(line: Line) -> None:
    deadly = line.connect(line.web.put("/a.ics", calendar("Dentist")))
    others = [line.connect(line.web.put(f"/{who}.ics", calendar(who)), user_id=who) for who in ("bob", "cy")]
    told = {"KILLED_BEFORE": "sent", "KILLED_OVER": deadly, "KILLED_TIMES": str(DEATHS_MAX)}
    first = line.worker(module="tests.agents.killed", lease_s=1, **told)
    while first.running():  # The person is impatient.
        line.asked(lambda edge: edge.sync(deadly, user_id="ada"))
        time.sleep(0.1)
    assert first.wait() == KILLED, first.log()
    second = line.worker()
    until(lambda: bool((one := line.one(deadly)) and one.state == "broken"), alive=second)
    assert [one.result for one in line.log(deadly)] == ["breaks-reader"]
    until(lambda: line.known() == {"bob", "cy"}, alive=second)
    assert [(one.state, one.trouble) for one in map(line.one, others) if one] == [("active", "")] * 2
    assert {one.result for other in others for one in line.log(other)} == {"told"}
    credentials = line.box(deadly).seal(
        "credentials", json.dumps({"url": line.web.put("/b.ics", calendar("Swim"))}).encode()
    )
    assert line.asked(lambda edge: edge.change(deadly, user_id="ada", credentials=credentials))
    until(lambda: line.known() == {"bob", "cy", "Swim"}, alive=second)


def with_leases(database: Database, test: Callable[[Leases, Connections], Awaitable[None]]) -> None:
    async def run() -> None:
        connections = Connections(database.dsn("connections"))
        await connections.open()
        try:
            async with Leases(database.dsn("integrations")) as leases:
                await test(leases, connections)
        finally:
            await connections.close()

    asyncio.run(run())


def new(connection_id: str, user_id: str) -> New:
    sealed = dict.fromkeys(("wrapped_key", "settings", "credentials", "zone"), b"sealed")
    return New(connection_id, user_id, "webcal", "webcal", "kek", **sealed, every_ms=EVERY_MS)


async def died_with(leases: Leases, *, suspected: bool = True) -> list[Leased]:
    """What a worker has in hand that is heard of no more."""
    found = await leases.claim(limit=8, lease_ms=1, suspected=suspected)
    await asyncio.sleep(0.01)
    return found


def test_a_death_counts_for_what_was_in_hand_and_any_word_of_a_worker_ends_the_row(postgres: Cluster) -> None:
    async def test(leases: Leases, connections: Connections) -> None:
        for one in ("a1", "b1", "c1"):
            assert await connections.add(new(one, one)) == "added"
        assert [one.died for one in await died_with(leases)] == [0, 0, 0]
        # A worker has one at a time over which one died: another death is that one's.
        assert [(one.connection_id, one.died) for one in await died_with(leases)] == [("a1", 1)]
        assert [one.connection_id for one in await leases.claim(limit=8, lease_ms=1, suspected=False)] == []
        # Twice: it waits, and the next has its turn.
        assert await died_with(leases) == []
        [second] = await leases.claim(limit=8, lease_ms=60_000)
        assert (second.connection_id, second.died) == ("b1", 1)
        await leases.release(second, pause_ms=0, read=True)
        found = await leases.claim(limit=8, lease_ms=60_000)
        assert {(one.connection_id, one.died) for one in found} == {("b1", 0), ("c1", 1)}
        waits = await connections.one("a1")
        assert waits is not None
        assert (waits.state, waits.trouble, waits.due_ms - waits.created_ms > 50_000) == ("active", "", True)

    with_leases(postgres.migrated(), test)


def test_nothing_counts_for_a_lease_that_ran_out_while_postgresql_was_away(postgres: Cluster) -> None:
    database = postgres.migrated()

    async def claimed(leases: Leases, connections: Connections) -> None:
        await connections.add(new("a1", "ada"))
        await died_with(leases)
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)
        assert [one.died for one in await died_with(leases)] == [0]
        assert [one.died for one in await died_with(leases)] == [1]

    with_leases(database, claimed)


def test_of_one_person_two_are_read_at_a_time_the_longest_due_first_however_many_claim_at_once(
    postgres: Cluster,
) -> None:
    async def test(leases: Leases, connections: Connections) -> None:
        for number in range(10):
            await connections.add(new(f"a{number}", "ada"))
        await connections.add(new("b0", "bob"))
        claims = await asyncio.gather(*(leases.claim(limit=2, lease_ms=60_000) for _ in range(4)))
        found = [one for claim in claims for one in claim]
        assert sorted(one.connection_id for one in found) == ["a0", "a1", "b0"]
        first = next(one for one in found if one.connection_id == "a0")
        await leases.release(first, pause_ms=0, read=True)
        assert [one.connection_id for one in await leases.claim(limit=8, lease_ms=60_000)] == ["a2"]
        # What nobody may read now takes nobody's place.
        assert await connections.change("a3", user_id="ada", paused=True)
        second = next(one for one in found if one.connection_id == "a1")
        await leases.release(second, pause_ms=60_000, read=True)
        assert [one.connection_id for one in await leases.claim(limit=8, lease_ms=60_000)] == ["a4"]

    with_leases(postgres.migrated(), test)


def test_what_comes_to_light_late_is_read_and_an_old_turn_undoes_no_mend(postgres: Cluster) -> None:
    database = postgres.migrated()

    async def test(leases: Leases, connections: Connections) -> None:
        await connections.add(new("a1", "ada"))
        [held] = await leases.claim(limit=1, lease_ms=60_000)
        await connections.post("a1", delivery=b"first")
        await connections.post("a1", delivery=b"second")
        first, second = await leases.posted(held, limit=2)
        # The second was there before: whoever posted the first had yet to commit it.
        await leases.keep(held, cursor=b"", posted=second[0])
        assert await leases.posted(held, limit=2) == [first]
        await leases.refreshed(held, before=held.credentials, credentials=b"fresh")
        assert await connections.change("a1", user_id="ada", credentials=b"signed in there again")
        with pytest.raises(LeaseLost):
            await leases.refreshed(held, before=b"fresh", credentials=b"of the old grant")
        await leases.release(held, pause_ms=60_000, trouble="token-revoked", broken=True)
        [again] = await leases.claim(limit=1, lease_ms=60_000)
        assert (again.state, again.trouble, again.credentials) == ("active", "", b"signed in there again")
        await leases.release(again, pause_ms=60_000, trouble="token-revoked", broken=True)
        one = await connections.one("a1")
        assert one is not None and (one.state, one.trouble) == ("broken", "token-revoked")

    with_leases(database, test)


def test_a_worker_that_is_asked_to_end_gives_back_what_it_reads(line: Line) -> None:
    line.web.takes_s = 10
    connection_id = line.connect(line.web.put("/a.ics", calendar("Dentist")))
    worker = line.worker()
    until(lambda: line.web.asked["/a.ics"] == 1, alive=worker)
    assert line.rows("connections WHERE leased_until_ms > 0") == 1
    assert worker.stop() == 0
    assert line.rows("connections WHERE leased_until_ms = 0 AND died = 0 AND due_ms <= integrations.now_ms()") == 1
    assert line.log(connection_id) == []


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


def done(connection_id: str, item: str) -> Outcome:
    """Ada's, of a decision of the item's name."""
    candidate, outcome_id = f"task:caldav:{connection_id}/{item}", item.encode().hex() * 16
    said = Outcome(outcome_id=outcome_id, decision_id=item, user_id="ada", kind=Outcome.DONE, candidate=candidate)
    said.event_time_ms = clock_ms()
    return said


@pytest.mark.long(
    "tests/agents/test_connect.py::test_a_task_that_was_done_is_told_to_its_source_once_and_its_log_says_what_came_of_it"
)
def test_a_task_that_was_done_is_completed_at_its_source_once_whenever_workers_are_killed(
    line: Line, tasks: Tasks
) -> None:
    def killed(worker: AgentProcess) -> bool:
        until(lambda: not worker.running() or not line.want(connection_id), alive=worker)
        return worker.wait() == -9

    tasks.put("a", "Call Mom")
    connection_id = tasks.connect(line)
    first = line.worker(module="tests.agents.killed", lease_s=1, KILLED_AFTER="to-write")
    until(lambda: line.tasks() == {"Call Mom"}, alive=first)
    line.topics.produce("outcomes", [done(connection_id, "a")])
    assert killed(first), first.log()
    assert "COMPLETED" not in tasks.text("a")
    second = line.worker(module="tests.agents.killed", lease_s=1, KILLED_BEFORE="wrote")
    assert killed(second), second.log()
    completed = tasks.text("a")
    assert "STATUS:COMPLETED" in completed
    assert line.written(connection_id) == []
    third = line.worker(module="tests.agents.killed", lease_s=1, KILLED_AFTER="wrote")
    assert killed(third), third.log()
    assert line.written(connection_id) == [("done", "a")]
    fourth = line.worker(lease_s=1)
    until(lambda: line.want(connection_id) and line.rows("connections WHERE died = 0") == 1, alive=fourth)
    assert tasks.text("a") == completed
    assert [one.method for one in tasks.passing.asked].count("PUT") == 1
    assert line.written(connection_id) == [("done", "a")]
    assert len({one.event_id for one in line.signals() if one.HasField("task_completed")}) == 1


def test_a_source_that_takes_no_word_is_read_on_and_told_again_until_it_is_no_news_any_more(
    line: Line, tasks: Tasks
) -> None:
    def again() -> None:
        """Have what was put off told now."""
        with line.database.admin() as admin:
            admin.execute("UPDATE integrations.write_backs SET due_ms = 1 WHERE result = '' AND due_ms > 0")
        line.want(connection_id)

    for name in ("a", "b"):
        tasks.put(name, name)
    connection_id = tasks.connect(line)
    worker = line.worker()
    until(lambda: line.tasks() == {"a", "b"}, alive=worker)
    tasks.passing.fails = lambda request: web.Response(status=500) if request.method == "PUT" else None
    line.topics.produce("outcomes", [done(connection_id, "a")])
    until(lambda: line.written(connection_id) == [("again", "a")], alive=worker)
    tasks.put("c", "c")
    until(lambda: line.tasks() == {"a", "b", "c"}, alive=worker)
    # It lets nobody write, and read it may.
    tasks.passing.fails = lambda request: web.Response(status=401) if request.method == "PUT" else None
    line.topics.produce("outcomes", [done(connection_id, "b")])
    again()
    until(lambda: line.written(connection_id) == [("again", "a"), ("again", "b")], alive=worker)
    tasks.put("d", "d")
    until(lambda: "d" in line.tasks(), alive=worker)
    assert (one := line.one(connection_id)) is not None
    assert (one.state, one.trouble) == ("active", "")
    with line.database.admin() as admin:
        admin.execute("UPDATE integrations.write_backs SET done_ms = done_ms - 8 * 86400000 WHERE decision_id = 'b'")
    again()
    until(lambda: ("failed", "b") in line.written(connection_id), alive=worker)
    tasks.passing.fails = lambda _: None
    again()
    until(lambda: line.written(connection_id)[-1] == ("done", "a"), alive=worker)
    assert "STATUS:COMPLETED" in tasks.text("a")
    assert "COMPLETED" not in tasks.text("b")


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
