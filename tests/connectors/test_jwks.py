"""An issuer's keys over HTTP, from a server that answers as issuers do and as they should not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connectors.jwks import BYTES_MAX, KeysNotServed, jwks_at


class Issuer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = {
            "/keys": (200, b'{"keys": []}'),
            "/large": (200, b"x" * (BYTES_MAX + 1)),
            "/moved": (302, b""),
        }.get(self.path, (503, b""))
        self.send_response(status)
        self.send_header("location", "/keys")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_document_comes_as_it_was_served(issuer):
    assert asyncio.run(jwks_at(f"{issuer}/keys")()) == b'{"keys": []}'


@pytest.mark.parametrize("path", ["/large", "/moved", "/away"])
def test_what_is_no_plain_answer_of_a_fitting_size_is_refused(issuer, path):
    with pytest.raises(KeysNotServed):
        asyncio.run(jwks_at(issuer + path)())


def test_an_issuer_that_is_not_there_is_refused():
    with pytest.raises(KeysNotServed, match="ConnectError"):
        asyncio.run(jwks_at("http://127.0.0.1:1/keys")())
