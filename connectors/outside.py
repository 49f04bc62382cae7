"""An HTTP client for addresses that a person named: it connects to the open internet, and to no address inside unless told.

Each connection is looked at when it is made, a redirect's too, and goes to the very address that was looked at: a name
that points elsewhere a moment later changes nothing. It never reads an environment's proxy.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import Iterable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpcore
import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Client = httpx.AsyncClient
TIMEOUT_S: Final = 50.0
"""Of silence: large calendars are listed slowly by small servers."""
CONNECT_S: Final = 10.0
REDIRECTS_MAX: Final = 5
PACKED: Final = {"accept-encoding": "gzip"}
"""A request's header: how its answer may be packed, for `body_of`."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Stands for the IPv4 address in its last four bytes (RFC 6052)."""


class InsideAddress(Exception):
    """The name leads to an address that nobody outside may send us to; says no address."""


class TooLarge(Exception):
    """An answer has more bytes than may be held; says how many those are."""


class OddlyPacked(Exception):
    """An answer is packed otherwise than was asked for."""


async def body_of(response: httpx.Response, *, bytes_max: int) -> bytes:
    """Return the body of a streamed answer, unpacked and never more of it in memory. The request had PACKED. Raises TooLarge, OddlyPacked.

    httpx would unpack whatever a chunk holds, and as often as the answer says that it is packed.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise OddlyPacked("packed otherwise than was asked for")
    unpacked, body = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    async for chunk in response.aiter_raw():
        try:
            body += unpacked.decompress(chunk, bytes_max + 1 - len(body)) if encoding == "gzip" else chunk
        except zlib.error:
            raise OddlyPacked("packed otherwise than it says") from None
        if len(body) > bytes_max:
            raise TooLarge(f"more than {bytes_max} bytes")
    return bytes(body)


def client_for(inside: Sequence[Network] = (), *, timeout_s: float = TIMEOUT_S) -> httpx.AsyncClient:
    """A client that reaches public addresses, and of all others those in `inside`. A request may raise InsideAddress."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
    return httpx.AsyncClient(
        transport=_Transport(inside, limits=limits),
        timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
        follow_redirects=True,
        max_redirects=REDIRECTS_MAX,
        trust_env=False,
        headers={"user-agent": "oO"},
        cookies=no_cookies(),
    )


def no_cookies() -> CookieJar:
    """One that keeps none: a client asks for many people, and a server's cookie is of one of them."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


def may_reach(address: Address, inside: Iterable[Network] = ()) -> bool:
    """Whether a person may send us there: it is public, what it stands for too, or is allowed by name.

    >>> [may_reach(ipaddress.ip_address(one)) for one in ("93.184.216.34", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1")]
    [True, False, False, False]
    >>> may_reach(ipaddress.ip_address("127.0.0.1"), [ipaddress.ip_network("127.0.0.0/8")])
    True
    """
    meant = _meant(address)
    if any(meant in network for network in inside):
        return True
    return meant.is_global and not meant.is_multicast


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one carries, if it does: who connects to the one reaches the other."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, inside: Sequence[Network], *, limits: httpx.Limits) -> None:
        super().__init__(limits=limits, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Guarded(inside),
        )


class _Guarded(httpcore.AsyncNetworkBackend):
    def __init__(self, inside: Sequence[Network]) -> None:
        self._inside = tuple(inside)
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(may_reach(ipaddress.ip_address(one.partition("%")[0]), self._inside) for one in addresses):
            raise InsideAddress("the address is not a public one")
        failed: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise InsideAddress("a socket is not a public address")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
