from __future__ import annotations

import asyncio
import ipaddress

import pytest
from aiohttp import web

from connectors.outside import InsideAddress, client_for, may_reach
from tests.connectors.sources.loopback import Loopback

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


class Sends(Loopback):
    """Sends whoever comes to another address."""

    def __init__(self, to: str) -> None:
        super().__init__()
        self.to = to

    async def answer(self, request: web.Request) -> web.Response:
        if self.to:
            return web.Response(status=302, headers={"location": self.to})
        return web.Response(text=request.headers.get("authorization", "here"))


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("::1", "::", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_an_address_inside_is_reached_by_nobody(address: str) -> None:
    assert not may_reach(ipaddress.ip_address(address))


def test_a_server_on_loopback_is_reached_only_where_that_is_allowed() -> None:
    async def run() -> None:
        async with Sends("") as server, client_for() as careful, client_for(LOOPBACK) as told:
            for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
                with pytest.raises(InsideAddress):
                    await careful.get(url)
            assert not server.asked
            assert (await told.get(server.url)).text == "here"

    asyncio.run(run())


def test_a_redirect_inside_is_refused_at_the_address_that_it_leads_to() -> None:
    async def run() -> None:
        async with Sends("http://10.255.255.1/") as door, client_for(LOOPBACK) as client:
            with pytest.raises(InsideAddress):
                await client.get(door.url)
            assert len(door.asked) == 1

    asyncio.run(run())


def test_a_token_does_not_follow_a_redirect_to_another_server() -> None:
    async def run() -> None:
        async with Sends("") as other, Sends(other.url) as door, client_for(LOOPBACK) as client:
            answer = await client.get(door.url, headers={"authorization": "Bearer secret"})
            assert answer.text == "here"

    asyncio.run(run())


class Remembers(Loopback):
    """Gives everybody a cookie, and says which one came."""

    async def answer(self, request: web.Request) -> web.Response:
        answer = web.Response(text=request.headers.get("cookie", "none"))
        answer.set_cookie("session", "anns")
        return answer


def test_a_servers_cookie_of_one_persons_goes_with_nobody_elses_request() -> None:
    async def run() -> None:
        async with Remembers() as server, client_for(LOOPBACK) as shared:
            assert [(await shared.get(server.url)).text for _ in range(2)] == ["none", "none"]

    asyncio.run(run())
