"""How much of an answer is ever in memory, however it is packed."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping

import pytest
from aiohttp import web

from connectors.oauth import OAuthClient, OAuthClients
from connectors.outside import client_for
from connectors.sources.asking import BYTES_MAX, Answer, ask
from connectors.sources.source import Access, Failed, FaultKind, OAuth
from connectors.sources.webdav import multistatus
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import HOME, LOOPBACK, NOW


class Says(Loopback):
    """The same to everybody."""

    def __init__(self, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.fails = lambda _: web.Response(body=body, status=status, headers=headers)


def asked(body: bytes, encoding: str) -> Answer:
    async def once() -> Answer:
        async with Says(body, headers={"content-encoding": encoding}) as server, client_for(LOOPBACK) as client:
            return await ask(Access("c1", "ann", HOME, NOW, client, {}, {}), "GET", server.url)

    return asyncio.run(once())


def test_an_answer_may_be_packed_once() -> None:
    assert asked(gzip.compress(b"abc"), "gzip").body == b"abc"


@pytest.mark.parametrize(
    ("body", "encoding", "kind", "detail"),
    [
        (gzip.compress(gzip.compress(b"abc")), "gzip, gzip", FaultKind.ODD_ANSWER, "encoding"),
        (b"abc", "gzip", FaultKind.ODD_ANSWER, "encoding"),
        (gzip.compress(bytes(BYTES_MAX + 1)), "gzip", FaultKind.TOO_MUCH, "answer"),
    ],
    ids=["twice", "not at all", "too much"],
)
def test_what_is_packed_otherwise_or_unpacks_to_too_much_is_not_held(
    body: bytes, encoding: str, kind: FaultKind, detail: str
) -> None:
    with pytest.raises(Failed) as failed:
        asked(body, encoding)
    assert (failed.value.fault.kind, failed.value.fault.detail) == (kind, detail)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_none_of_webdavs_however_it_is_written(encoding: str) -> None:
    body = '<!DOCTYPE a><a:multistatus xmlns:a="DAV:"/>'.encode(encoding)
    with pytest.raises(Failed) as failed:
        multistatus(body)
    assert (failed.value.fault.kind, failed.value.fault.detail) == (FaultKind.ODD_ANSWER, "doctype")


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_grant", FaultKind.TOKEN_REVOKED),
        (200, "bad_refresh_token", FaultKind.TOKEN_REVOKED),
        (400, "deleted_client", FaultKind.ODD_ANSWER),
        (200, "slow_down", FaultKind.ODD_ANSWER),
        (503, "invalid_grant", FaultKind.UNREACHABLE),
    ],
)
def test_a_refusal_breaks_a_connection_only_where_its_person_can_mend_it(
    status: int, error: str, kind: FaultKind
) -> None:
    async def refresh() -> FaultKind:
        said = json.dumps({"error": error}).encode()
        async with Says(said, status=status) as server, client_for(LOOPBACK) as client:
            oauth = OAuth(f"{server.url}/authorize", f"{server.url}/token", ())
            clients = OAuthClients({"google_calendar": OAuthClient("c", "s", oauth)}, client, lambda: 0)
            try:
                await clients.refresh("google_calendar", {"refresh_token": "x"})
            except Failed as failed:
                return failed.fault.kind
            raise AssertionError("it was refreshed")

    assert asyncio.run(refresh()) is kind
