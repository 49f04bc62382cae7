"""The proxy does to bytes what a row says of it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.stack.state import LOOPBACK, free_port
from tests.faults.proxy import CLEAR, Proxy, Weather


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.got = b""
        self._server = socket.create_server((LOOPBACK, 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                there, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(there,), daemon=True).start()

    def _answer(self, there: socket.socket) -> None:
        with there:
            while True:
                try:
                    data = there.recv(4096)
                except OSError:
                    return
                if not data:
                    return
                self.got += data
                there.sendall(data)

    def until(self, length: int) -> bytes:
        until_s = time.monotonic() + 20
        while len(self.got) < length and time.monotonic() < until_s:
            time.sleep(0.01)
        return self.got

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@contextmanager
def connected(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, proxy.port), timeout=20) as client:
        yield client


def exactly(client: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        data = client.recv(length - len(found))
        if not data:
            return found
        found += data
    return found


def test_bytes_come_in_order_and_no_sooner_than_the_delay(echo: Echo) -> None:
    with Proxy(free_port(), target=echo.port) as proxy, connected(proxy) as client:
        proxy.weather = Weather(delay_s=0.1, jitter_s=0.05)
        began_s = time.monotonic()
        for number in range(5):
            client.sendall(b"%d" % number)
            time.sleep(0.02)
        assert exactly(client, 5) == b"01234"
        assert time.monotonic() - began_s > 0.2


def test_what_was_sent_into_a_hole_arrives_when_it_ends_though_its_sender_has_gone(echo: Echo) -> None:
    with Proxy(free_port(), target=echo.port) as proxy:
        proxy.weather = Weather(hole=True)
        with connected(proxy) as client:
            client.sendall(b"late")
        time.sleep(0.1)
        assert echo.got == b""
        proxy.weather = CLEAR
        assert echo.until(4) == b"late"


def test_a_reset_is_heard_by_the_client(echo: Echo) -> None:
    with Proxy(free_port(), target=echo.port) as proxy, connected(proxy) as client:
        client.sendall(b"x")
        assert exactly(client, 1) == b"x"
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_only_replies_to_produce_are_lost_and_each_with_its_connection(echo: Echo) -> None:
    """The server sends each request back: what stands where a reply has its correlation id is set by that."""
    fetch, produce = 1, 0

    def request(api: int, version: int, correlation_id: int) -> bytes:
        return struct.pack(">ihhi", 8, api, version, correlation_id)

    with Proxy(free_port(), target=echo.port, kafka=True) as proxy, connected(proxy) as client:
        proxy.weather = Weather(lost_replies=1.0)
        client.sendall(request(fetch, 7, 5))
        assert exactly(client, 12) == request(fetch, 7, 5)
        # An echo of Produce, version 9, begins with the bytes of correlation id 9: the id that it was sent under.
        client.sendall(request(produce, 9, 9))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert (proxy.lost, echo.got[12:]) == (1, request(produce, 9, 9))
