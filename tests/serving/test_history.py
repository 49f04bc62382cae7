"""GET /v1/tips: past tips and what became of them, from a real PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from connectors.postgres.sink import Sink, Stored
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2
from tests.serving.edges import LiveEdge, problem


def past(
    stack: RunningStack,
    user_id: str,
    count: int,
    kind: decision_pb2.Decision.TipKind.ValueType = decision_pb2.Decision.TASK,
) -> None:
    """Decisions d0 (oldest) to the newest, two of them at each moment; the even ones were done."""
    positions = [journal_pb2.Position(topic_id=bytes(16), partition=0, offset=number) for number in range(count)]
    decisions = [
        decision_pb2.Decision(
            decision_id=f"{user_id}d{number:03}",
            user_id=user_id,
            record_id=bytes(16),
            journal=positions[number],
            decided_ms=1_700_000_000_000 + number // 2 * 1000,
            valid_until_ms=1_700_000_000_000 + number * 1000 + 500,
            trigger=decision_pb2.Decision.NO_TIP,
            slate=[decision_pb2.Candidate(id=f"task:test/{number}", kind=kind, propensity=1.0)],
            propensity=1.0,
            policy_version="v1",
            title=f"Tip {number}",
        )
        for number in range(count)
    ]
    outcomes = [
        outcome_pb2.Outcome(
            outcome_id=f"{user_id}o{number:03}",
            decision_id=f"{user_id}d{number:03}",
            user_id=user_id,
            kind=outcome_pb2.Outcome.DONE,
            journal=positions[number],
        )
        for number in range(0, count, 2)
    ]

    async def write() -> None:
        async with Sink(stack.recommender_dsn) as sink:
            await sink.record_decisions([Stored(one, one) for one in decisions])
            await sink.record_outcomes([Stored(one, one) for one in outcomes])

    asyncio.run(write())


def test_past_tips_come_newest_first_with_what_became_of_them(whole_edge: LiveEdge, servers: RunningStack) -> None:
    past(servers, "hs-first", 3)
    with whole_edge.client("hs-first") as client:
        body = client.get("/v1/tips").json()
    assert [(item["title"], item["outcome"]) for item in body["items"]] == [
        ("Tip 2", "done"),
        ("Tip 1", None),
        ("Tip 0", "done"),
    ]
    assert body["items"][0]["kind"] == "task"
    assert body["items"][0]["decided_at"] == "2023-11-14T22:13:21.000Z"
    assert body["next"] is None


def test_a_past_tip_that_a_model_wrote_says_so(whole_edge: LiveEdge, servers: RunningStack) -> None:
    past(servers, "hs-written", 1, decision_pb2.Decision.GENERATED)
    with whole_edge.client("hs-written") as client:
        assert [one["kind"] for one in client.get("/v1/tips").json()["items"]] == ["generated"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_hold_every_tip_once_and_end(whole_edge: LiveEdge, servers: RunningStack, limit: int) -> None:
    past(servers, "hs-pages", 7)
    titles: list[str] = []
    before: str | None = None
    with whole_edge.client("hs-pages") as client:
        while True:
            query = {"limit": str(limit)} | ({} if before is None else {"before": before})
            body = client.get("/v1/tips", params=query).json()
            titles += [item["title"] for item in body["items"]]
            before = body["next"]
            if before is None:
                break
    assert titles == [f"Tip {number}" for number in reversed(range(7))]


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_of_those_that_were_seen_every_one_stands_in_the_pages(
    whole_edge: LiveEdge, servers: RunningStack, limit: int
) -> None:
    past(servers, "hs-seen", 7)
    titles: list[str] = []
    query = {"limit": str(limit), "seen": "true"}
    with whole_edge.client("hs-seen") as client:
        while (body := client.get("/v1/tips", params=query).json())["items"]:
            titles += [item["title"] for item in body["items"]]
            if body["next"] is None:
                break
            query["before"] = body["next"]
    assert titles == ["Tip 6", "Tip 4", "Tip 2", "Tip 0"]


def test_other_peoples_past_is_not_shown(whole_edge: LiveEdge, servers: RunningStack) -> None:
    past(servers, "hs-mine", 1)
    with whole_edge.client("hs-yours") as client:
        assert client.get("/v1/tips", params={"user_id": "hs-mine"}).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"before": "!"},
        {"before": "aGVsbG8"},
        {"before": "-1.d1"},
        {"before": "1" * 19 + ".d1"},
        {"before": "1.d\ud7ff"},
        {"before": "1."},
        {"before": "a" * 129},
    ],
)
def test_a_page_that_cannot_be_is_422(edge: LiveEdge, query: dict[str, str]) -> None:
    with edge.client("hs-bad") as client:
        assert problem(client.get("/v1/tips", params=query), 422) == "invalid-request"


def test_without_postgresql_the_history_is_away_and_tips_go_on(edge: LiveEdge) -> None:
    edge.put_tip("hs-away", 1)
    with edge.client("hs-away") as client:
        assert problem(client.get("/v1/tips"), 503) == "history-unavailable"
        assert client.get("/v1/tip").status_code == 200
