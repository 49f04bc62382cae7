"""What people have elsewhere: calendars behind an authorization server, and workers that read what was connected at the edge."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from aiohttp import web

from connectors.vault import Wrapped
from deploy.stack.running import RunningStack
from oo.v1.signal_pb2 import Signal
from tests.agents.process import AgentProcess, Topics, until
from tests.connectors.postgres_cluster import Database
from tests.connectors.sources.google_world import GoogleServer, event
from tests.connectors.sources.world import Told
from tests.serving.auth.oidc_provider import ELSEWHERE, OidcProvider, answered
from tests.serving.auth.people import SigningEdge

PATH = "/v1/connections/google_calendar"
EVERY_MS = 500


class Calendars(GoogleServer):
    """The server of the contract suite, for whose token the authorization server says is good."""

    def __init__(self, provider: OidcProvider) -> None:
        super().__init__()
        self._provider = provider
        self.expired: set[str] = set()
        """Access tokens that count no more, whatever their time."""

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.expired or not await asyncio.to_thread(self._provider.lets_in, token):
            return web.json_response({"error": {"code": 401}}, status=401)
        return await super().answer(request)

    def clear(self) -> None:
        """As nobody has ever put anything there."""
        self.calendars, self.changed = {name: {} for name in self.calendars}, {}

    def put(self, name: str, title: str) -> None:
        """An event of tomorrow."""
        begin = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        self.change(event(name, title, begin.isoformat(), (begin + timedelta(hours=1)).isoformat()))


@contextmanager
def calendars(provider: OidcProvider) -> Iterator[Calendars]:
    """One that runs, in a thread with a loop of its own."""
    service, started, loop = Calendars(provider), threading.Event(), asyncio.new_event_loop()
    ends = asyncio.Event()

    async def serve() -> None:
        async with service:
            started.set()
            await ends.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        yield service
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join()
        loop.close()


def clients(provider: OidcProvider, service: Calendars, **more: str) -> str:
    """The operator's file."""
    told = {
        **ELSEWHERE,
        "authorize_url": f"{provider.issuer}/auth",
        "token_url": f"{provider.issuer}/token",
        "api_url": service.url,
        **more,
    }
    return "[google_calendar]\n" + "".join(f'{name} = "{value}"\n' for name, value in told.items())


@dataclass(slots=True)
class There:
    """The edge at which somebody connects it, and the workers that read it."""

    edge: SigningEdge
    provider: OidcProvider
    service: Calendars
    database: Database
    servers: RunningStack
    topics: Topics
    folder: Path
    workers: list[AgentProcess] = field(default_factory=list)

    def worker(self, *, module: str = "agents", **more: str) -> AgentProcess:
        folder = self.folder / f"w{len(self.workers)}"
        folder.mkdir()
        told = {
            "OO_INTEGRATIONS_DSN": self.database.dsn("integrations"),
            "OO_VAULT_DIR": str(self.edge.vault_dir),
            "OO_OAUTH_FILE": str(self.edge.oauth_file),
            "OO_CONNECT_INSIDE": "127.0.0.0/8",
            "OO_CONNECT_LEASE_S": "2",
            **more,
        }
        self.workers.append(AgentProcess("connect", self.servers, self.topics, folder, told, module=module).start())
        return self.workers[-1]

    def end_workers(self) -> None:
        for worker in self.workers:
            if worker.running():
                worker.kill()

    @contextmanager
    def person(self, login: str) -> Iterator[httpx.Client]:
        """Somebody's browser, in which they are signed in at the edge."""
        with self.edge.browser() as browser:
            self.edge.sign_in(browser, login)
            yield browser

    def begun(self, browser: httpx.Client, address: str = f"{PATH}/authorize") -> str:
        """Where the edge sends this browser."""
        answer = browser.get(address)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def brought(self, browser: httpx.Client, login: str, address: str = f"{PATH}/authorize") -> httpx.Response:
        """What the edge says to who has said yes there."""
        return browser.get(answered(browser, self.begun(browser, address), login=login))

    def connect(self, browser: httpx.Client, login: str) -> str:
        """The connection's id; it is read every half second."""
        done = self.brought(browser, login)
        assert done.status_code == 303 and done.headers["location"].startswith("/?connection=connected&id="), done.text
        connection_id = done.headers["location"].rpartition("=")[2]
        with self.database.admin() as admin:
            admin.execute("UPDATE integrations.connections SET every_ms = %s", (EVERY_MS,))
        return connection_id

    def credentials(self, connection_id: str) -> dict[str, str]:
        """What is kept of it, opened."""
        with self.database.admin() as admin:
            row = admin.execute(
                "SELECT user_id, kek_id, wrapped_key, credentials FROM integrations.connections WHERE connection_id = %s",
                (connection_id,),
            ).fetchone()
        assert row is not None
        connecting = self.edge.parts.connecting
        assert connecting is not None
        box = connecting.vault.open(Wrapped(row[1], bytes(row[2])), user_id=row[0], connection_id=connection_id)
        found: dict[str, str] = json.loads(box.open("credentials", bytes(row[3])))
        return found

    def signals(self) -> list[Signal]:
        """All that stand in the topic."""
        found = []
        for number in range(self.topics.cluster.topics["signals"].partitions):
            found += self.topics.messages("signals", partition=number)
        return [one for one in found if isinstance(one, Signal)]

    def told(self, connection_id: str) -> Told:
        """What is known of this connection from signals alone."""
        told = Told()
        told.hear(one for one in self.signals() if one.source.endswith(f":{connection_id}"))
        return told

    def until_told(self, connection_id: str, *titles: str) -> None:
        until(lambda: self.told(connection_id).titles == sorted(titles), alive=self.workers[-1])

    def until(self, done: Callable[[], bool]) -> None:
        until(done, alive=self.workers[-1])
