"""Whoever sets a provider of OpenTelemetry for the whole process gets no span of a request: FastAPI 0.165 would send one with its path and query."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deploy.console.access import Access
from deploy.console.app import PATH, create_app
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder
from serving.keys import Keys
from serving.tokens import Verifier
from streams.cluster import Cluster
from tables.pseudonyms import Pseudonyms
from tests.serving.edges import LiveEdge
from tests.serving.valkeys import ValkeyServer

ASKED = "/v1/tip?whose=ada"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What goes out of a process with such a provider, as a start by `opentelemetry-instrument` sets one."""
    found, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(found))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield found
    provider.shutdown()


def test_fastapi_by_itself_sends_the_path_and_query_of_a_request(sent: InMemorySpanExporter) -> None:
    TestClient(FastAPI()).get(ASKED)
    (span,) = sent.get_finished_spans()
    assert span.attributes is not None
    assert f"{span.attributes['url.path']}?{span.attributes['url.query']}" == ASKED


def test_the_edge_sends_nothing(sent: InMemorySpanExporter, valkey: ValkeyServer, tmp_path: Path) -> None:
    with LiveEdge(tmp_path, valkey_url=valkey.url) as edge, edge.client("ada") as client:
        assert client.get(ASKED).status_code in (200, 204)
        assert client.get(f"{ASKED}/nowhere").status_code
    assert sent.get_finished_spans() == ()


def test_the_console_sends_nothing(sent: InMemorySpanExporter) -> None:
    async def keys() -> bytes:
        return b'{"keys": []}'

    verifier = Verifier(Keys(keys), issuer="https://issuer", audience="oo", pseudonyms=Pseudonyms(b""))
    nowhere = RunningStack(Cluster("127.0.0.1:1"), StateFolder(Path()))
    console = TestClient(
        create_app(nowhere, Access(cookie="c", verifier=verifier, code="the code")), base_url="http://127.0.0.1"
    )
    assert console.get(f"{PATH}/v1/people/ada?whose=ada").status_code == 401
    assert sent.get_finished_spans() == ()
