"""A signal's trace through a whole stack, as a receiver of OTLP gets it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import oo
from outside import SECURE, client, eventually, send, settled_tip, task
from receiver import Got, Receiver, receiving

from deploy.stack.running import RunningStack, open_stack

JSON = ("content-type", b"application/json")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def traced(receiver: Receiver) -> Iterator[RunningStack]:
    """A stack of its own that traces all that is sampled."""
    told = {
        "OO_TRACE_SHARE": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="oo-traced-") as folder:
        for name, value in told.items():
            patch.setenv(name, value)
        state = Path(folder) / "state"
        oo("up", "--detach", "--no-demo", *SECURE, f"--state={state}")
        try:
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")


def traceparent(*, flags: str = "01") -> tuple[str, str, tuple[str, bytes]]:
    """A producer's trace and span, and the header that says so."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, ("traceparent", f"00-{trace}-{span}-{flags}".encode())


def spans(receiver: Receiver, trace: str) -> dict[str, Got]:
    return {one.name: one for one in receiver.spans if one.trace == trace}


def test_a_signal_is_one_trace_from_its_producer_to_the_tip_that_follows(
    traced: RunningStack, receiver: Receiver
) -> None:
    # OpenTelemetry's SDK for Python writes these flags: a bit beside the sampled one.
    trace, span, header = traceparent(flags="03")
    send(traced, "signals", task("ada", "1", "Call the dentist"), headers=[JSON, header])
    eventually(lambda: {"admit", "recommend", "publish"} <= spans(receiver, trace).keys())
    found = spans(receiver, trace)
    assert found["admit"].parent == span
    assert found["recommend"].parent == found["admit"].span
    assert found["publish"].parent == found["recommend"].span
    assert [found[name].service for name in ("admit", "recommend", "publish")] == ["core", "core", "publish"]
    assert found["admit"].attributes["messaging.destination.name"] == traced.cluster.topics["signals"].name
    with client(traced, "ada") as http:
        assert found["recommend"].attributes["oo.decision_id"] == settled_tip(traced, http)["decision_id"]
