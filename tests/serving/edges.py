"""An edge for a test: the real app under the real HTTP server, in a thread with its own loop, on a free port."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from joserfc.jwk import ECKey

from connectors.key_files import KeyFiles
from connectors.valkey import TipStore
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, journal_pb2
from serving.__main__ import server
from serving.app import create_app
from serving.edge import Edge
from serving.issuer import LocalIssuer
from serving.settings import Settings
from tables.ids import decision_id
from tests.patience import PATIENCE_S

ISSUER, AUDIENCE = "https://oo.local", "oo"
NOTIFY_KEY = ECKey.generate_key("P-256", private=True)
"""Signs words in notifications, as `notify` would."""
NOBODY = "127.0.0.1:1"
"""No server listens there."""


def new_signing_key() -> bytes:
    """A fresh private key as PEM."""
    return ECKey.generate_key("P-256").as_pem(private=True)


class LiveEdge:
    """One edge. Without `stack` it has no Kafka, registry or PostgreSQL, and says so."""

    def __init__(
        self,
        folder: Path,
        *,
        valkey_url: str,
        stack: RunningStack | None = None,
        key: Path | None = None,
        port: int = 0,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._mac_key_file = folder / "mac"
        if not self._mac_key_file.exists():
            self._mac_key_file.write_bytes(secrets.token_bytes(32))
        self.mac_key = self._mac_key_file.read_bytes()
        # Everybody is called as the test calls them; test_pseudonyms.py has an edge with a secret.
        self._name_key_file = folder / "name"
        self._name_key_file.touch()
        self._kek_dir = folder / "kek"
        if not self._kek_dir.exists():
            KeyFiles(self._kek_dir).make()
        self._vault_dir = folder / "vault"
        if not self._vault_dir.exists():
            KeyFiles(self._vault_dir).make()
        self._key_file = key or folder / "signing.pem"
        if not self._key_file.exists():
            self._key_file.write_bytes(new_signing_key())
        notify_public_key_file = folder / "notify.public.json"
        notify_public_key_file.write_text(json.dumps(NOTIFY_KEY.as_dict(private=False)))
        self.issuer = LocalIssuer.from_file(self._key_file, issuer=ISSUER, audience=AUDIENCE)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._valkey_url = valkey_url
        self._settings = Settings.model_validate(
            {
                "edge_port": self.port,
                "kafka_bootstrap": stack.cluster.bootstrap if stack else NOBODY,
                "registry_url": stack.cluster.registry_url if stack else f"http://{NOBODY}/apis/ccompat/v7",
                "valkey_url": valkey_url,
                "history_dsn": stack.dsn("history") if stack else None,
                "connections_dsn": stack.dsn("connections") if stack else None,
                "vault_dir": self._vault_dir if stack else None,
                "notifier_dsn": stack.dsn("notifier") if stack else None,
                "notify_public_key_file": notify_public_key_file if stack else None,
                "mac_key_file": self._mac_key_file,
                "name_key_file": self._name_key_file,
                "kek_dir": self._kek_dir,
                "jwt_issuer": ISSUER,
                "jwt_audience": AUDIENCE,
                "local": True,
                "local_signing_key_file": self._key_file,
                **settings,
            }
        )
        self.app = create_app(self._settings)
        self._server = server(self.app, self._settings)
        self._thread = threading.Thread(target=self._server.run, name="edge")

    def __enter__(self) -> Self:
        self._thread.start()
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._server.started:
            assert self._thread.is_alive(), "the edge ended while it started"
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        return self

    def until_ready(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        with self.client() as client:
            while (answer := client.get("/readyz")).status_code != 200:
                assert time.monotonic() < deadline_s, answer.text
                time.sleep(0.05)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def parts(self) -> Edge:
        edge: Edge = self.app.state.edge
        return edge

    def token(self, user_id: str) -> str:
        return self.issuer.mint(user_id)

    def client(self, user_id: str | None = None, *, token: str | None = None) -> httpx.Client:
        token = self.token(user_id) if user_id is not None else token
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def decision(self, user_id: str, number: int) -> str:
        """The id of a decision of this user, as the core makes it."""
        return decision_id(user_id, record_id=number.to_bytes(16, "big"), mac_key=self.mac_key)

    def put_tip(self, user_id: str, number: int, **fields: Any) -> str:
        """Make a tip stand for this user, as agents/publish does; answers its decision id."""
        now_ms = int(time.time() * 1000)
        tip = decision_pb2.Tip(
            user_id=user_id,
            journal=journal_pb2.Position(topic_id=bytes(16), offset=number),
            **{
                "decision_id": self.decision(user_id, number),
                "kind": decision_pb2.Decision.TASK,
                "title": f"Tip {number}",
                "source": "todo.txt",
                "why": ["Due today"],
                "decided_ms": now_ms,
                "valid_until_ms": now_ms + 3_600_000,
                **fields,
            },
        )

        async def put() -> None:
            store = TipStore(self._valkey_url)
            assert (await store.publish_tips([tip])).newer == [True]
            await store.close()

        # A thread of its own: a browser's test has a loop running in this one.
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(put())
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        self.until_heard()
        return tip.decision_id

    def until_heard(self) -> None:
        """Until this edge has heard of every write that Valkey has made so far."""
        reads = self.parts.current.reads
        begun_s = reads.now_s()
        while reads.heard_s <= begun_s:
            assert reads.now_s() < begun_s + 20
            time.sleep(0.002)


class Events:
    """A stream of server-sent events, read one at a time; comments are skipped."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def next(self) -> tuple[str, str, dict[str, Any]]:
        """(event, id, data) of the next event; raises StopIteration where the stream has ended."""
        fields: dict[str, str] = {}
        while True:
            line = next(self._lines)
            if line == "" and "event" in fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
            if line == "":
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value


@contextmanager
def events(client: httpx.Client, *, last_id: str | None = None) -> Iterator[Events]:
    """Open the stream."""
    headers = {} if last_id is None else {"last-event-id": last_id}
    with client.stream("GET", "/v1/tips/stream", headers=headers) as response:
        # Kept here: a reader that is thrown away takes its connection with it.
        opened = Events(response)
        yield opened


def problem(response: httpx.Response, status: int) -> str:
    """The problem's short name, after holding the answer against RFC 9457."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == status
    kind: str = body["type"]
    return kind.removeprefix("urn:oo:problem:")
