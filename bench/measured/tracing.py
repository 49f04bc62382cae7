"""What traces add to a signal of which 1 in 100 is sampled, and the least that a signal costs without Kafka: microseconds of this
process's processor time, all its threads."""

from __future__ import annotations

import os
import secrets
import sys
import time

from agents.step import step
from bench.lives import LIVES
from bench.measured import turns
from bench.measured.step_cost import around, entries, least_us
from connectors.traces import opened
from streams.record import Record
from streams.traceparent import HEADER, Span
from tests.agents.build import PRIOR

SIGNALS = 20_000
SAMPLED_EVERY = 100
SENT_S = 2.0
"""In which all spans have gone out."""


def main(receiver: str) -> None:
    os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver, "OTEL_BSP_SCHEDULE_DELAY": "500"}
    traces = opened(1.0, service="core", instance="core-0")
    assert traces is not None
    row, given = entries(LIVES["light"])
    records = [_record(number) for number in range(SIGNALS)]

    def traced_us() -> float:
        began_ns = time.process_time_ns()
        for record in records:
            at_door = traces.begun("admit", record)
            if at_door is not None:
                said, offset = at_door.span.text.encode(), record.offset
                folded = traces.begun_in("recommend", said, topic="oo.journal", partition=0, offset=offset)
                assert folded is not None
                traces.ended(folded)
                traces.ended(at_door)
        time.sleep(SENT_S)
        return (time.process_time_ns() - began_ns) / SIGNALS / 1000

    traced_us()  # The first spans set up the exporter.
    turns.answer(
        lambda: {
            "a signal": around({})["the door"] + least_us(step, row, given["a decision"], PRIOR),
            "traces": traced_us(),
        }
    )


def _record(number: int) -> Record:
    said = Span(secrets.randbits(128) or 1, secrets.randbits(64) or 1).text.encode()
    if number % SAMPLED_EVERY:
        said = said[:-1] + b"0"
    return Record("oo.signals", number % 8, number, 0, None, b"", (("content-type", b"a"), (HEADER, said)))


if __name__ == "__main__":
    main(sys.argv[1])
