"""What is bounded before the app has a say: the head of a request, and the time that its parts may take."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from serving import protocol
from serving.middleware import BODY_BYTES_MAX
from serving.protocol import CONNECTIONS_MAX, HEAD_BYTES_MAX, HEADERS_MAX
from tests.serving.edges import LiveEdge
from tests.serving.valkeys import ValkeyServer

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def opened(edge: LiveEdge) -> socket.socket:
    return socket.create_connection(("127.0.0.1", edge.port), timeout=20)


def until_closed(peer: socket.socket) -> bytes:
    """All that the edge says until it ends the connection."""
    said = b""
    while piece := peer.recv(65536):
        said += piece
    return said


def status_of(answer: bytes) -> int:
    """After holding it against RFC 9457 where it is an error."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    if status >= 400:
        assert b"content-type: application/problem+json" in head, head
        assert b"nosniff" in head
        assert b"default-src 'none'" in head
        assert json.loads(body)["status"] == status
    return status


def asked(edge: LiveEdge, request: bytes) -> int:
    """The status of the answer to these bytes, which must end the connection."""
    with opened(edge) as peer:
        peer.sendall(request)
        return status_of(until_closed(peer))


@pytest.fixture
def hasty(valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveEdge:
    """An edge that waits a moment only."""
    for name in ("HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "IDLE_TIMEOUT_S"):
        monkeypatch.setattr(protocol, name, 1)
    return LiveEdge(tmp_path, valkey_url=valkey.url)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /" + b"a" * HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="request line"),
        pytest.param(HEAD + b"X: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n", id="value"),
        pytest.param(HEAD + b"a" * HEAD_BYTES_MAX + b": x\r\n\r\n", id="name"),
        pytest.param(HEAD + b"X: a\r\n" * HEADERS_MAX + b"\r\n", id="count"),
        pytest.param(HEAD + (b"X: " + b"a" * 997 + b"\r\n") * 33 + b"\r\n", id="sum"),
    ],
)
def test_a_head_past_its_bounds_is_431(edge: LiveEdge, head: bytes) -> None:
    assert asked(edge, head) == 431


def test_a_head_that_never_ends_is_431_before_it_ends(edge: LiveEdge) -> None:
    with opened(edge) as peer:
        peer.sendall(HEAD + b"X: " + b"a" * 3 * HEAD_BYTES_MAX)
        assert status_of(until_closed(peer)) == 431


def test_whoever_goes_on_sending_after_a_refusal_still_hears_it(edge: LiveEdge) -> None:
    with opened(edge) as peer:
        peer.sendall(HEAD + b"X: " + b"a" * 30_000_000 + b"\r\n\r\n")
        assert status_of(until_closed(peer)) == 431


def test_a_head_within_its_bounds_is_read_however_it_is_cut(edge: LiveEdge) -> None:
    head = HEAD + b"X: a\r\n" * (HEADERS_MAX - 2) + b"Connection: close\r\n\r\n"
    with opened(edge) as peer:
        for at in range(0, len(head), 7):
            peer.sendall(head[at : at + 7])
        assert status_of(until_closed(peer)) == 200


CHUNKED = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_trailer_is_no_header(edge: LiveEdge) -> None:
    with opened(edge) as peer:
        peer.sendall(CHUNKED + b"0\r\nAuthorization: Bearer " + edge.token("pr-trailer").encode() + b"\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 401")


def test_trailers_are_bounded(edge: LiveEdge) -> None:
    with opened(edge) as peer:
        peer.sendall(CHUNKED + b"0\r\nX: " + b"a" * 3 * HEAD_BYTES_MAX)
        until_closed(peer)


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_the_parser_refuses_is_a_problem_too(edge: LiveEdge, noise: bytes) -> None:
    assert asked(edge, noise) == 400


@pytest.mark.parametrize("name", [b"Authorization", b"Host", b"Content-Type", b"Idempotency-Key"])
def test_a_header_that_would_leave_open_which_counts_is_refused_when_it_comes_twice(
    edge: LiveEdge, name: bytes
) -> None:
    value = b"localhost" if name == b"Host" else b"Bearer " + edge.token("pr-two").encode()
    twice = b"".join(name + b": " + value + b"\r\n" for _ in range(2))
    head = b"GET /v1/tip HTTP/1.1\r\n" + (b"" if name == b"Host" else b"Host: localhost\r\n")
    assert asked(edge, head + twice + b"Connection: close\r\n\r\n") == 400


@pytest.mark.parametrize(
    "rest", [b"", b"zz\r\n", b"2;" + b"x" * 2 * HEAD_BYTES_MAX], ids=["ends", "garbage", "extension"]
)
def test_a_body_that_is_broken_off_is_no_fault_of_ours(
    edge: LiveEdge, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    head = f"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {edge.token('pr-broken')}\r\n"
    answered = edge.parts.metrics.requests.labels("/v1/signals", "POST", 400)._value
    before = answered.get()
    with opened(edge) as peer:
        peer.sendall(head.encode() + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        peer.sendall(rest)
        peer.shutdown(socket.SHUT_WR)
        until_closed(peer)
    until_s = time.monotonic() + 20
    while answered.get() == before:
        assert time.monotonic() < until_s, caplog.text
        time.sleep(0.01)
    assert "edge.fault" not in caplog.text


def test_a_chunked_body_past_the_limit_is_413(edge: LiveEdge) -> None:
    for path in (b"/v1/signals", b"/v1/feedback"):
        token = edge.token("pr-chunked").encode()
        with opened(edge) as peer:
            peer.sendall(
                b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Type: application/json\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
            )
            chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            for _ in range(BODY_BYTES_MAX // 0x10000 + 10):
                peer.sendall(chunk)
            peer.sendall(b"0\r\n\r\n")
            assert status_of(until_closed(peer)) == 413


def test_who_is_slow_with_headers_or_a_body_is_told_so_and_who_says_nothing_is_let_go(hasty: LiveEdge) -> None:
    post = b"POST /v1/signals HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    with hasty as edge, opened(edge) as silent, opened(edge) as head, opened(edge) as body, opened(edge) as idle:
        head.sendall(HEAD + b"X: a")
        body.sendall(post + b"Authorization: Bearer " + edge.token("pr-slow").encode() + b"\r\n\r\n[")
        idle.sendall(HEAD + b"\r\n")
        assert until_closed(silent) == b""
        assert status_of(until_closed(head)) == 408
        assert status_of(until_closed(body)) == 408
        assert status_of(until_closed(idle)) == 200


def test_line_breaks_between_requests_do_not_keep_a_connection(hasty: LiveEdge) -> None:
    with hasty as edge, opened(edge) as peer:
        peer.sendall(HEAD + b"\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 200")
        peer.sendall(b"\r\n\r\n")
        until_closed(peer)


def test_an_open_stream_outlives_every_one_of_these_times(hasty: LiveEdge) -> None:
    with hasty as edge, opened(edge) as stream, opened(edge) as silent:
        stream.sendall(
            b"GET /v1/tips/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            + edge.token("pr-stream").encode()
            + b"\r\n\r\n"
        )
        assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        # Opened after the stream, and let go by the same clock.
        assert until_closed(silent) == b""
        tip = edge.put_tip("pr-stream", 1).encode()
        said = b""
        while tip not in said:
            said += (piece := stream.recv(65536))
            assert piece


def test_past_the_most_connections_the_answer_is_a_problem(edge: LiveEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONNECTIONS_MAX == 4_000
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 0)
    assert asked(edge, HEAD + b"\r\n") == 503


@pytest.mark.parametrize("path", ["/v1/tip", "/v1/tips/stream", "/healthz", "/openapi.json", "/"])
def test_head_says_what_get_would_and_sends_no_body(edge: LiveEdge, path: str) -> None:
    edge.put_tip(f"pr-head{path}", 1)
    with edge.client(f"pr-head{path}") as client:
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        if path != "/v1/tips/stream":
            got = client.get(path)
            assert answer.headers["content-length"] == str(len(got.content))
            assert answer.headers["content-type"] == got.headers["content-type"]
