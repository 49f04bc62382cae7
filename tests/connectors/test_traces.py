from __future__ import annotations

import secrets
import subprocess
import sys
import time

import pytest
from command import ROOT
from receiver import receiving

from connectors.spans import Work
from connectors.traces import Traces, opened
from streams.record import Record
from streams.traceparent import Span


class Kept:
    """Where spans go in a test."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def send(self, work: Work, *, ended_ns: int) -> None:
        assert ended_ns >= work.began_ns
        self.works.append(work)

    def close(self) -> None:
        pass


def record(*headers: tuple[str, bytes | None], offset: int = 7) -> Record:
    return Record("oo.signals", 3, offset, 0, None, b"", headers)


def said(trace_id: int, *, flags: str = "01") -> tuple[str, bytes]:
    return "traceparent", f"00-{trace_id:032x}-00000000000000aa-{flags}".encode()


def a_trace() -> int:
    return secrets.randbits(128) or 1


def test_a_record_has_a_span_where_its_producer_says_so() -> None:
    traces, trace = Traces(1.0, Kept()), a_trace()
    work = traces.begun("admit", record(said(trace)))
    assert work is not None
    assert (work.parent, work.span.trace_id) == (Span(trace, 0xAA), trace)
    assert work.attributes == {
        "messaging.system": "kafka",
        "messaging.destination.name": "oo.signals",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
    }
    for other in (record(), record(said(trace, flags="00")), record(("traceparent", b"mine")), record(("a", None))):
        assert traces.begun("admit", other) is None


def test_what_is_done_again_is_the_same_span_and_no_other_is() -> None:
    traces, trace = Traces(1.0, Kept()), a_trace()

    def span_of(name: str, offset: int) -> int:
        work = traces.begun(name, record(said(trace), offset=offset))
        assert work is not None
        return work.span.span_id

    assert span_of("admit", 7) == span_of("admit", 7)
    assert len({span_of("admit", 7), span_of("admit", 8), span_of("publish", 7)}) == 3


@pytest.mark.parametrize("drawn_by_the_producer", [lambda low: low < 1 << 60, lambda low: low > 15 << 60])
def test_the_share_is_of_what_producers_sampled_however_they_drew(drawn_by_the_producer: object) -> None:
    traces = Traces(0.25, Kept())
    assert callable(drawn_by_the_producer)
    traced = [trace for trace in (a_trace() for _ in range(200_000)) if drawn_by_the_producer(trace % (1 << 64))]
    kept = sum(traces.begun("admit", record(said(trace))) is not None for trace in traced)
    assert len(traced) > 10_000
    assert 0.2 < kept / len(traced) < 0.3


def test_a_trace_that_begins_here_is_in_the_share_of_every_other_process() -> None:
    traces = Traces(0.001, Kept())
    for _ in range(1_000):
        work = traces.request(None, began_ns=time.time_ns())
        assert work.parent is None
        assert traces.kept(work.span.text.encode()) == work.span


def test_spans_reach_a_receiver_as_they_were_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        traces, trace = opened(1.0, service="core", instance="core-0"), a_trace()
        assert traces is not None
        work = traces.begun("admit", record(said(trace)))
        assert work is not None
        work.fault = "unknown-decision"
        work.links.append(Span(5, 6))
        traces.ended(work)
        traces.close()
        (found,) = receiver.spans
        assert (found.service, found.name, found.trace) == ("core", "admit", f"{trace:032x}")
        assert (found.span, found.parent) == (f"{work.span.span_id:016x}", "00000000000000aa")
        assert found.links == ((f"{5:032x}", f"{6:016x}"),)
        assert (found.fault, found.attributes) == ("unknown-decision", work.attributes)


@pytest.mark.parametrize("away", ["http://127.0.0.1:9", "http://nobody.invalid:4318"])
def test_a_receiver_that_is_away_holds_nobody_up(away: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", away)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    traces = opened(1.0, service="core")
    assert traces is not None
    slowest_s = 0.0
    for offset in range(10_000):  # several times what the queue holds
        work = traces.begun("admit", record(said(a_trace()), offset=offset))
        assert work is not None
        began_s = time.perf_counter()
        traces.ended(work)
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
    assert slowest_s < 1.0
    began_s = time.perf_counter()
    traces.close()
    assert time.perf_counter() - began_s < 5.0


_IMPORTS = """
import sys
import agents.worker, agents.admit, agents.recommend, agents.publish, serving.app
from connectors.traces import opened
assert opened(float(sys.argv[1]), service="core") is None
print(*[name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "requests"))])
"""


def test_without_a_share_nothing_of_it_is_imported() -> None:
    done = subprocess.run(
        (sys.executable, "-c", _IMPORTS, "0"), cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == []


def test_where_it_is_not_installed_the_process_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "connectors.otlp", raising=False)
    with pytest.raises(SystemExit, match=r"core: OO_TRACE_SHARE is 0.5, and spans need .*: pip install"):
        opened(0.5, service="core")
