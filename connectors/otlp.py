"""OpenTelemetry's SDK and its exporter over HTTP, told by OpenTelemetry's own settings (OTEL_EXPORTER_OTLP_*, OTEL_BSP_*).

It sets nothing for the whole process: what else asks OpenTelemetry for a tracer here gets the one that does nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from connectors.spans import Work
from streams.traceparent import Span

logger = logging.getLogger(__name__)

CLOSE_S = 1.0
"""How long an ending process waits for its receiver."""
_KINDS = {"consumer": SpanKind.CONSUMER, "server": SpanKind.SERVER}


class _Given(IdGenerator):
    """Ids that are known before the span is made."""

    span = Span(0, 0)

    def generate_trace_id(self) -> int:
        return self.span.trace_id

    def generate_span_id(self) -> int:
        return self.span.span_id


class Otlp:
    """Sends spans; make and use it in one thread, after the last fork. Spans that wait at a kill are lost."""

    def __init__(self, service: str, instance: str) -> None:
        self._ids = _Given()
        named = {SERVICE_NAMESPACE: "oo", SERVICE_NAME: service}
        if instance:
            named[SERVICE_INSTANCE_ID] = instance
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(named),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("oo")

    def send(self, work: Work, *, ended_ns: int) -> None:
        """Never waits: it comes into a queue, or is dropped where that is full."""
        try:
            self._send(work, ended_ns)
        except Exception:
            # Nothing that a span is about may suffer from it.
            logger.exception("span.lost name=%s", work.name)

    def _send(self, work: Work, ended_ns: int) -> None:
        self._ids.span = work.span
        span = self._tracer.start_span(
            work.name,
            context=_below(work.parent),
            kind=_KINDS[work.kind],
            attributes={str(name): value for name, value in work.attributes.items()},
            links=_links(work.links),
            start_time=work.began_ns,
        )
        if work.fault:
            span.set_status(Status(StatusCode.ERROR, work.fault))
        span.end(ended_ns)

    def close(self) -> None:
        """Send what waits; a receiver that is away holds nobody up for longer than CLOSE_S."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _below(parent: Span | None) -> Context:
    return Context() if parent is None else set_span_in_context(NonRecordingSpan(_context(parent)), Context())


def _links(spans: Sequence[Span]) -> list[Link]:
    return [Link(_context(span)) for span in spans]


def _context(span: Span) -> SpanContext:
    return SpanContext(span.trace_id, span.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
