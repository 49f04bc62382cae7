"""Leaving over HTTP: asked once more, one request in the log; and an edge that knows of nobody who left."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote

import httpx
import pytest

from deploy.stack.running import RunningStack
from oo.v1.erased_pb2 import Erased
from oo.v1.signal_pb2 import Signal
from oo.v1.subject_request_pb2 import SubjectRequest
from streams.producer import Producer
from streams.reader import end_offsets, topic_ids
from streams.schemas import Schemas
from tests.serving.edges import LiveEdge
from tests.serving.topic import messages


def asked(stack: RunningStack, user_id: str) -> list[SubjectRequest]:
    return messages(stack, "subject-requests", SubjectRequest, user_id=user_id)


def erased(edge: LiveEdge, stack: RunningStack, user_id: str, *, began_again: bool = False) -> Erased:
    """Says what the engine says, and waits until this edge has heard it."""
    journal = stack.cluster.name("journal")
    word = Erased(user_id=user_id, receipt="receipt-of-leaving", erased_ms=5)
    word.journal.topic_id = asyncio.run(topic_ids(stack.cluster, [journal]))[journal]
    word.journal.offset = 3
    if began_again:
        word.began_again.offset = 4
    asyncio.run(say(stack, word))
    until_s = time.monotonic() + 60
    while edge.parts.departed.leavers.word_of(user_id) != word:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    return word


async def say(stack: RunningStack, word: Erased) -> None:
    """As the engine does."""
    schemas, producer = Schemas(stack.cluster), Producer(stack.cluster)
    await schemas.register()
    value = schemas.frame("erasures", word)
    await producer.produce(stack.cluster.name("erasures"), key=word.user_id.encode(), value=value)
    await producer.close()
    schemas.close()


def kind(answer: httpx.Response) -> str:
    return answer.json()["type"].removeprefix("urn:oo:problem:")


def test_who_leaves_is_asked_once_more_and_the_answer_counts_once(whole_edge: LiveEdge, servers: RunningStack) -> None:
    with whole_edge.client("leave-me") as client:
        question = client.delete("/v1/me")
        assert (question.status_code, kind(question)) == (409, "confirm-leaving")
        assert asked(servers, "leave-me") == []
        confirm = quote(question.json()["confirm"])
        answers = [client.delete(f"/v1/me?confirm={confirm}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    first, second = asked(servers, "leave-me")
    assert {first.request_id, second.request_id} == {answers[0].json()["receipt"]}
    ends = {(end.topic_id, end.partition): end.offset for end in first.erasure.ends}
    signals = servers.cluster.name("signals")
    signals_id = asyncio.run(topic_ids(servers.cluster, [signals]))[signals]
    now = asyncio.run(end_offsets(servers.cluster, signals))
    assert {number for topic, number in ends if topic == signals_id} == set(now) and len(ends) == 3 * len(now)


@pytest.mark.parametrize("spoil", ["", "x", "a.b.c", "another's", "late"])
def test_what_is_no_answer_to_the_question_is_asked_again(
    whole_edge: LiveEdge, servers: RunningStack, spoil: str
) -> None:
    user = f"leave-{len(spoil)}"
    with whole_edge.client(user) as client, whole_edge.client("leave-else") as other:
        confirm = spoil
        if spoil == "another's":
            confirm = other.delete("/v1/me").json()["confirm"]
        if spoil == "late":
            receipt, until_s, mac = client.delete("/v1/me").json()["confirm"].split(".")
            confirm = f"{receipt}.{int(until_s) + 60}.{mac}"
        answer = client.delete(f"/v1/me?confirm={quote(confirm)}")
    assert (answer.status_code, kind(answer)) == (409, "confirm-leaving")
    assert asked(servers, user) == []


def test_an_open_page_of_somebody_who_left_sends_nothing_and_the_engine_is_not_told_of_a_newcomer(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    erased(whole_edge, servers, "left-open")
    with whole_edge.client("left-open") as client:
        assert client.get("/v1/tip").status_code == 204
        signal = {"source": "mine", "activity": {"kind": "read"}}
        refused = client.post("/v1/signals", json=signal)
        assert (refused.status_code, kind(refused)) == (403, "left")
        refused = client.post("/v1/feedback", json={"decision_id": "d", "reaction": "done"})
        assert (refused.status_code, kind(refused)) == (403, "left")
    assert messages(servers, "signals", Signal, user_id="left-open") == []


def test_somebody_who_left_begins_again_by_naming_their_leaving(whole_edge: LiveEdge, servers: RunningStack) -> None:
    with whole_edge.client("left-back") as client:
        assert kind(client.post("/v1/me")) == "not-left"
        word = erased(whole_edge, servers, "left-back")
        answers = [client.post("/v1/me") for _ in range(2)]
        assert {answer.status_code for answer in answers} == {202}
        first, second = asked(servers, "left-back")
        assert first == second and first.consent_changed.granted and first.consent_changed.knows_of == word.receipt
        erased(whole_edge, servers, "left-back", began_again=True)
        assert kind(client.post("/v1/me")) == "not-left"
        assert client.post("/v1/signals", json={"source": "mine", "activity": {"kind": "read"}}).status_code == 202
