"""GET /v1/tips/stream: what comes, when, and what never does."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from sealed import give

from connectors.valkey import TipStore
from streams.keys import Keys
from tests.patience import PATIENCE_S
from tests.serving.edges import LiveEdge, events, problem
from tests.serving.valkeys import ValkeyServer


def test_the_standing_tip_comes_first_and_new_ones_as_they_are_written(edge: LiveEdge) -> None:
    edge.put_tip("st-new", 1)
    with edge.client("st-new") as client, events(client) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        kind, _, body = stream.next()
        assert (kind, body["title"]) == ("tip", "Tip 1")
        assert body == client.get("/v1/tip").json()
        edge.put_tip("st-new", 2)
        kind, _, body = stream.next()
        assert (kind, body["title"]) == ("tip", "Tip 2")


def test_without_a_tip_the_stream_says_so_and_then_brings_the_first(edge: LiveEdge) -> None:
    with edge.client("st-first") as client, events(client) as stream:
        assert stream.next() == ("none", "none", {})
        edge.put_tip("st-first", 1)
        assert stream.next()[2]["title"] == "Tip 1"


def test_a_tip_that_goes_away_is_told(edge: LiveEdge, valkey: ValkeyServer) -> None:
    decision_id = edge.put_tip("st-away", 1)
    with edge.client("st-away") as client, events(client) as stream:
        stream.next()
        spend(valkey, "st-away", decision_id)
        assert stream.next()[0] == "none"


def test_a_tip_that_runs_out_is_told(edge: LiveEdge) -> None:
    edge.put_tip("st-out", 1, valid_until_ms=int(time.time() * 1000) + 700)
    with edge.client("st-out") as client, events(client) as stream:
        assert stream.next()[0] == "tip"
        assert stream.next()[0] == "none"


def test_a_spent_tip_is_never_sent(edge: LiveEdge, valkey: ValkeyServer) -> None:
    decision_id = edge.put_tip("st-spent", 1)
    spend(valkey, "st-spent", decision_id)
    with edge.client("st-spent") as client, events(client) as stream:
        assert stream.next()[0] == "none"
        edge.put_tip("st-spent", 2)
        assert stream.next()[2]["title"] == "Tip 2"


def test_words_of_keys_are_heard_at_once_while_a_stream_is_open_of_somebody_without_one(edge: LiveEdge) -> None:
    people = edge.parts.people
    until_nobody_waits(people)
    with edge.client("st-key") as client, events(client) as stream:
        stream.next()
        assert people._awaited == 1
        give(people, b"st-key")
        for number in (1, 2):
            edge.put_tip("st-key", number)
            assert stream.next()[2]["title"] == f"Tip {number}"
        # Since the first of them.
        assert people._awaited == 0
    with edge.client("st-no-key") as client, events(client) as stream:
        stream.next()
        assert people._awaited == 1
    until_nobody_waits(people)


def test_other_peoples_tips_do_not_come(edge: LiveEdge) -> None:
    with edge.client("st-me") as client, events(client) as stream:
        stream.next()
        edge.put_tip("st-you", 1)
        edge.put_tip("st-me", 1, title="Mine")
        assert stream.next()[2]["title"] == "Mine"


def test_resuming_at_the_standing_tip_does_not_send_it_again(edge: LiveEdge) -> None:
    edge.put_tip("st-resume", 1)
    with edge.client("st-resume") as client:
        with events(client) as stream:
            _, last_id, _ = stream.next()
        with events(client, last_id=last_id) as stream:
            edge.put_tip("st-resume", 2)
            assert stream.next()[2]["title"] == "Tip 2"


def test_resuming_brings_what_was_missed(edge: LiveEdge, valkey: ValkeyServer) -> None:
    edge.put_tip("st-missed", 1)
    with edge.client("st-missed") as client:
        with events(client) as stream:
            _, last_id, _ = stream.next()
        decision_id = edge.put_tip("st-missed", 2)
        with events(client, last_id=last_id) as stream:
            assert stream.next()[2]["title"] == "Tip 2"
        spend(valkey, "st-missed", decision_id)
        with events(client, last_id=last_id) as stream:
            assert stream.next()[0] == "none"


def test_a_made_up_last_id_brings_the_standing_tip(edge: LiveEdge) -> None:
    edge.put_tip("st-made-up", 1)
    with edge.client("st-made-up") as client, events(client, last_id="zz-9999999") as stream:
        assert stream.next()[2]["title"] == "Tip 1"


def test_streams_per_user_are_bounded_and_a_closed_one_makes_room(valkey: ValkeyServer, tmp_path: Path) -> None:
    with LiveEdge(tmp_path, valkey_url=valkey.url, streams_per_user_max=2, streams_max=3) as edge, ExitStack() as open_:
        ada, bob = open_.enter_context(edge.client("ada-st")), open_.enter_context(edge.client("bob-st"))
        first = open_.enter_context(ExitStack())
        first.enter_context(events(ada)).next()
        open_.enter_context(events(ada)).next()
        refused = ada.get("/v1/tips/stream")
        assert problem(refused, 429) == "too-many-streams"
        open_.enter_context(events(bob)).next()
        # Bob has one left of his own, but there is none for anybody.
        assert problem(bob.get("/v1/tips/stream"), 429) == "too-many-streams"
        first.close()
        deadline_s = time.monotonic() + 10
        while edge.parts.subscriptions.count > 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        open_.enter_context(events(bob)).next()


def test_streams_go_on_after_valkey_was_away(tmp_path: Path) -> None:
    with (
        ValkeyServer(tmp_path) as valkey,
        LiveEdge(tmp_path / "edge", valkey_url=valkey.url) as edge,
        edge.client("st-restart") as client,
        events(client) as stream,
    ):
        assert stream.next()[0] == "none"
        valkey.stop()
        assert problem(client.get("/v1/tips/stream"), 503) == "tips-unavailable"
        valkey.start()
        edge.put_tip("st-restart", 1)
        assert stream.next()[2]["title"] == "Tip 1"
        edge.put_tip("st-restart", 2)
        assert stream.next()[2]["title"] == "Tip 2"


def test_a_stream_ends_with_its_token(edge: LiveEdge) -> None:
    # Leeway lets it begin; the stream itself ends at the stated time.
    token = edge.issuer.mint("st-token", now_s=time.time(), lifetime_s=1)
    with edge.client(token=token) as client, events(client) as stream:
        assert stream.next()[0] == "none"
        with pytest.raises(StopIteration):
            stream.next()


def test_a_stopping_edge_ends_its_streams(valkey: ValkeyServer, tmp_path: Path) -> None:
    with LiveEdge(tmp_path, valkey_url=valkey.url) as edge, edge.client("st-stop") as client, events(client) as stream:
        stream.next()
        edge.stop()
        with pytest.raises(StopIteration):
            stream.next()


def test_quiet_streams_show_signs_of_life(valkey: ValkeyServer, tmp_path: Path) -> None:
    with (
        LiveEdge(tmp_path, valkey_url=valkey.url, heartbeat_s=0.05) as edge,
        edge.client("st-beat") as client,
        client.stream("GET", "/v1/tips/stream") as response,
    ):
        lines = response.iter_lines()
        assert any(line == ": still here" for line in (next(lines) for _ in range(20)))


def until_nobody_waits(keys: Keys) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while keys._awaited:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def spend(valkey: ValkeyServer, user_id: str, decision_id: str) -> None:
    """As another edge does when it accepts feedback."""

    async def mark() -> None:
        store = TipStore(valkey.url)
        await store.mark_spent(user_id, decision_id)
        await store.close()

    asyncio.run(mark())
