"""A receiver of OTLP over HTTP: what a process sends to it, decoded with OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Got(NamedTuple):
    """One span, ids in hexadecimal; `parent` is empty for the first of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any]
    fault: str
    took_ns: int


class Receiver:
    """What has come so far, and the bytes that it came in."""

    def __init__(self, address: str, leave: Callable[[], None]) -> None:
        self.address = address
        self.leave = leave
        """Has it answer nobody from here on."""
        self.spans: list[Got] = []
        self.bytes: list[bytes] = []

    def take(self, body: bytes) -> None:
        self.bytes.append(body)
        for one in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {a.key: a.value.string_value for a in one.resource.attributes}
            for span in (span for scope in one.scope_spans for span in scope.spans):
                said = {a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value") for a in span.attributes}
                links = tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links)
                ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                took_ns = span.end_time_unix_nano - span.start_time_unix_nano
                got = Got(about["service.name"], span.name, *ids, links, said, span.status.message, took_ns)
                self.spans.append(got)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """On a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:

        def leave() -> None:
            server.shutdown()
            server.server_close()

        receiver = Receiver(f"http://127.0.0.1:{server.server_port}", leave)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()
