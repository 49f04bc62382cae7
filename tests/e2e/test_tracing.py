"""A signal's trace through a whole stack, as a receiver of OTLP gets it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import kill, oo
from outside import SECURE, client, core_pid, eventually, known, send, settled, settled_tip, task, verify
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


def decision_of(receiver: Receiver, tip: dict[str, str]) -> Got:
    """The span in which this tip was decided; each process sends its spans when it likes, so the tip may be there first."""
    decision = tip["decision_id"]
    return eventually(lambda: [x for x in receiver.spans if x.attributes.get("oo.decision_id") == decision])[0]


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


def test_a_tip_that_is_read_is_linked_to_its_decision_and_a_reaction_goes_on_in_the_trace_of_its_request(
    traced: RunningStack, receiver: Receiver
) -> None:
    decided, _, header = traceparent()
    send(traced, "signals", task("bob", "1", "Call the dentist"), task("bob", "2", "Water"), headers=[JSON, header])
    with client(traced, "bob") as http:
        first = settled_tip(traced, http)
        decision = decision_of(receiver, first)
        assert decision.trace == decided
        link = (decision.trace, decision.span)

        def reads() -> list[Got]:
            return [one for one in receiver.spans if one.name == "GET /v1/tip" and link in one.links]

        read = eventually(reads)[0]
        assert read.trace != decided
        assert read.parent == ""
        assert read.service == "edge"
        assert read.attributes["http.response.status_code"] == 200

        asked, span, theirs = traceparent()
        body = {"decision_id": first["decision_id"], "reaction": "done"}
        headers = {"traceparent": theirs[1].decode()}
        assert http.post("/v1/feedback", json=body, headers=headers).status_code == 202
        eventually(lambda: {"POST /v1/feedback", "admit", "recommend", "publish"} <= spans(receiver, asked).keys())
        found = spans(receiver, asked)
        assert found["POST /v1/feedback"].parent == span
        assert found["POST /v1/feedback"].links == (link,)
        assert found["admit"].parent == found["POST /v1/feedback"].span
        assert found["admit"].attributes["messaging.destination.name"] == traced.cluster.topics["reactions"].name
        assert found["recommend"].parent == found["admit"].span
        assert found["publish"].parent == found["recommend"].span


def test_a_reaction_without_a_trace_of_its_own_gets_one_that_is_linked_to_the_decision(
    traced: RunningStack, receiver: Receiver
) -> None:
    _, _, header = traceparent()
    send(traced, "signals", task("eve", "1", "Call the dentist"), task("eve", "2", "Water"), headers=[JSON, header])
    with client(traced, "eve") as http:
        first = settled_tip(traced, http)
        body = {"decision_id": first["decision_id"], "reaction": "dismiss"}
        assert http.post("/v1/feedback", json=body).status_code == 202
    decision = decision_of(receiver, first)

    def told() -> list[Got]:
        named = "POST /v1/feedback"
        return [x for x in receiver.spans if x.name == named and x.links == ((decision.trace, decision.span),)]

    (post,) = eventually(told)
    assert post.parent == ""
    eventually(lambda: {"admit", "recommend"} <= spans(receiver, post.trace).keys())
    assert spans(receiver, post.trace)["admit"].parent == post.span


def test_signals_by_http_go_on_in_their_clients_trace(traced: RunningStack, receiver: Receiver) -> None:
    trace, span, (_, said) = traceparent()
    with client(traced, "ian") as http:
        many = [task("ian", str(number), f"Task {number}") for number in range(3)]
        assert http.post("/v1/signals", json=many, headers={"traceparent": said.decode()}).status_code == 202

        def named(name: str, count: int) -> list[Got]:
            return eventually(
                lambda: [one for one in receiver.spans if one.trace == trace and one.name == name],
                lambda found: len(found) == count,
            )

        admits = named("admit", len(many))
        (post,) = named("POST /v1/signals", 1)
        assert post.parent == span
        assert {one.parent for one in admits} == {post.span}
        assert len({one.span for one in admits}) == len(many)


def test_what_is_no_traceparent_or_not_sampled_has_no_span_and_is_taken_as_ever(
    traced: RunningStack, receiver: Receiver
) -> None:
    trace, _, (_, said) = traceparent(flags="02")
    strange = [said, b"mine", b"", b"\xff" * 55, said.replace(b"00-", b"ff-", 1), said[:-2] + b"zz", said + b"-"]
    for number, value in enumerate(strange):
        send(traced, "signals", task("kim", str(number), f"Task {number}"), headers=[JSON, ("traceparent", value)])
    twice = [JSON, ("traceparent", said[:-1] + b"1"), ("traceparent", said[:-1] + b"1")]
    send(traced, "signals", task("kim", "9", "Twice"), headers=twice)
    with client(traced, "kim") as http:
        assert settled_tip(traced, http)
        for value in ("mine", said.decode()):
            assert http.get("/v1/tip", headers={"traceparent": value}).status_code == 200
    # Known tells by name what the person has: all of it came in.
    assert len(known(traced, "kim")["tasks"]) == len(strange) + 1
    assert trace not in {one.trace for one in receiver.spans}


def test_why_a_record_was_refused_is_in_its_trace(traced: RunningStack, receiver: Receiver) -> None:
    trace, _, header = traceparent()
    reaction = {"user_id": "lea", "decision_id": "nobodys", "kind": "DONE", "event_id": "r1"}
    send(traced, "reactions", reaction, headers=[JSON, header])
    found = eventually(lambda: spans(receiver, trace))
    assert list(found) == ["admit"]
    assert found["admit"].fault in {"unknown-decision", "invalid"}


def test_a_receiver_is_told_no_word_and_no_name(traced: RunningStack, receiver: Receiver) -> None:
    _, _, header = traceparent()
    told = task("kanari-person", "kanari-id", "kanari-title", notes="kanari-notes", labels=["kanari-label"])
    send(traced, "signals", told, headers=[JSON, header, ("ce_id", b"kanari-event"), ("ce_source", b"kanari-source")])
    with client(traced, "kanari-person") as http:
        first = settled_tip(traced, http)
        http.post("/v1/feedback", json={"decision_id": first["decision_id"], "reaction": "done"}).raise_for_status()
    decision_of(receiver, first)
    eventually(lambda: [one for one in receiver.spans if one.name == "POST /v1/feedback" and one.links])
    body = b"".join(receiver.bytes)
    assert first["decision_id"].encode() in body
    assert b"kanari" not in body
    assert traced.pseudonym("kanari-person").encode() not in body


@pytest.mark.long("tests/e2e/test_tracing.py::test_a_signal_is_one_trace_from_its_producer_to_the_tip_that_follows")
def test_a_core_that_is_killed_gives_the_rest_of_a_trace_and_loses_no_signal(
    traced: RunningStack, receiver: Receiver
) -> None:
    trace, span, header = traceparent()
    pid = core_pid(traced)
    for number in range(40):
        send(traced, "signals", task("may", str(number), f"Task {number}"), headers=[JSON, header])
        if number == 20:
            kill(pid)
    settled(traced)
    assert len(known(traced, "may")["tasks"]) == 40
    eventually(lambda: [one for one in receiver.spans if one.trace == trace and one.name == "recommend"])
    admits = [one for one in receiver.spans if one.trace == trace and one.name == "admit"]
    # What was admitted twice is one span, whose id comes from the record's place; some went with the process.
    assert 0 < len({one.span for one in admits}) <= 40
    assert {one.parent for one in admits} == {span}


def test_while_the_receiver_is_away_nothing_waits_for_it(traced: RunningStack, receiver: Receiver) -> None:
    receiver.leave()
    _, _, header = traceparent()
    for number in range(40):
        send(traced, "signals", task("ned", str(number), f"Task {number}"), headers=[JSON, header])
    with client(traced, "ned") as http:
        first = settled_tip(traced, http)
        http.post("/v1/feedback", json={"decision_id": first["decision_id"], "reaction": "done"}).raise_for_status()
    settled(traced)
    assert len(known(traced, "ned")["tasks"]) == 39


@pytest.mark.long("tests/e2e/test_loop.py::test_what_is_live_equals_the_fold")
def test_what_is_live_equals_the_fold_of_a_journal_with_traces(traced: RunningStack) -> None:
    assert verify(traced)["differences"] == 0
