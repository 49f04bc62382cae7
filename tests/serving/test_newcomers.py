"""Somebody of whom nothing is known asks for a tip: the engine hears of them once, and what it says is the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, signal_pb2
from serving import newcomers
from tests.serving.edges import LiveEdge, events
from tests.serving.topic import messages


def told(stack: RunningStack, user_id: str) -> list[signal_pb2.Signal]:
    return messages(stack, "signals", signal_pb2.Signal, user_id=user_id)


@contextmanager
def engine(edge: LiveEdge, stack: RunningStack, user_id: str) -> Iterator[None]:
    """Decides for this user as soon as it is told of them."""

    def decide() -> None:
        until_s = time.monotonic() + 60
        while not told(stack, user_id):
            assert time.monotonic() < until_s
            time.sleep(0.02)
        edge.put_tip(user_id, 1, kind=decision_pb2.Decision.STARTER, title="Begin")

    thread = threading.Thread(target=decide)
    thread.start()
    yield
    thread.join()


def test_the_engine_hears_of_somebody_new_once_however_often_they_ask(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    with whole_edge.client("nc-often") as client, ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda _: client.get("/v1/tip"), range(8)))
    assert {answer.status_code for answer in answers} == {204}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    (signal,) = told(servers, "nc-often")
    assert (signal.source, signal.event_id, signal.activity.kind) == ("edge", "first-tip", "asked-for-a-tip")


def test_the_read_of_somebody_new_is_answered_with_what_the_engine_says(
    whole_edge: LiveEdge, servers: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "WAIT_S", 60)
    with engine(whole_edge, servers, "nc-read"), whole_edge.client("nc-read") as client:
        client.timeout = 60
        answer = client.get("/v1/tip")
    assert (answer.status_code, answer.json()["title"]) == (200, "Begin")


def test_the_stream_of_somebody_new_begins_with_what_the_engine_says(
    whole_edge: LiveEdge, servers: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "WAIT_S", 60)
    with engine(whole_edge, servers, "nc-stream"), whole_edge.client("nc-stream") as client:
        client.timeout = 60
        with events(client) as stream:
            assert stream.next()[2]["title"] == "Begin"


def test_the_engine_is_not_told_of_who_has_a_tip_or_is_to_have_none(edge: LiveEdge) -> None:
    edge.put_tip("nc-tip", 1)
    edge.put_tip("nc-silent", 1, decision_id="", kind=decision_pb2.Decision.NONE)
    for user, status in (("nc-tip", 200), ("nc-silent", 204)):
        with edge.client(user) as client:
            answer = client.get("/v1/tip")
        assert answer.status_code == status
        assert "retry-after" not in answer.headers
        assert user not in edge.parts.newcomers._told_s


def test_without_kafka_somebody_new_is_told_of_again_soon(edge: LiveEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    with edge.client("nc-kafka") as client:
        assert client.get("/v1/tip").status_code == 204
        first_s = edge.parts.newcomers._told_s["nc-kafka"]
        assert client.get("/v1/tip").status_code == 204
        assert edge.parts.newcomers._told_s["nc-kafka"] == first_s
        monkeypatch.setattr(newcomers, "AGAIN_AFTER_FAILURE_S", 0)
        edge.parts.newcomers._told_s["nc-kafka"] = first_s - newcomers.AGAIN_S
        assert client.get("/v1/tip").status_code == 204
        assert edge.parts.newcomers._told_s["nc-kafka"] != first_s - newcomers.AGAIN_S


def test_more_newcomers_in_a_second_than_the_engine_is_told_of_are_answered_all_the_same(
    whole_edge: LiveEdge, servers: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "PER_S_MAX", 0)
    with whole_edge.client("nc-flood") as client:
        assert client.get("/v1/tip").status_code == 204
    assert told(servers, "nc-flood") == []
