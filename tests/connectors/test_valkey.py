"""The tip store against a real Valkey: newer wins whatever the order, and a spent decision says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from valkey import Valkey
from valkey.exceptions import ResponseError

from connectors.tip_progress import Mark, Moves
from connectors.valkey import SPENT_MAX, TipStore, Written, channel, spent_key, tip_key
from oo.v1 import decision_pb2, journal_pb2
from tests.serving.valkeys import ValkeyServer

EPOCH = bytes(range(16))
LATER_EPOCH = bytes(reversed(range(16)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


def tip(user_id: str, *, offset: int, decided_ms: int = 0, epoch: bytes = EPOCH, title: str = "t") -> decision_pb2.Tip:
    return decision_pb2.Tip(
        user_id=user_id,
        journal=journal_pb2.Position(topic_id=epoch, partition=1, offset=offset),
        decision_id=f"d{offset}",
        kind=decision_pb2.Decision.TASK,
        title=title,
        decided_ms=decided_ms,
        valid_until_ms=decided_ms + 1000,
    )


def run(server: ValkeyServer, work: Callable[[TipStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = TipStore(server.url)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


def test_marks_move_with_the_tips_that_they_are_of_and_stay_where_one_of_these_is_not_written(
    server: ValkeyServer,
) -> None:
    async def work(store: TipStore) -> None:
        with Valkey.from_url(server.url) as plain:
            plain.hset("marks", "2", "elsewhere")
            moves = Moves("marks", {0: ("", Mark(EPOCH, 5)), 2: ("", Mark(EPOCH, 6))})
            assert await store.publish_tips([tip("marked", offset=1)], moves=moves) == Written([True], {0})
            assert plain.hgetall("marks") == {b"0": Mark(EPOCH, 5).text.encode(), b"2": b"elsewhere"}
            assert (await standing_offset(store, "marked")) == 1

            plain.set(tip_key("broken"), "no hash")
            later = Moves("marks", {0: (Mark(EPOCH, 5).text, Mark(EPOCH, 9))})
            with pytest.raises(ResponseError):
                await store.publish_tips(
                    [*(tip(f"full-{n}", offset=1) for n in range(70)), tip("broken", offset=1)], moves=later
                )
            assert plain.hget("marks", "0") == Mark(EPOCH, 5).text.encode()
            plain.delete(tip_key("broken"))
            again = await store.publish_tips([tip("full-69", offset=1), tip("broken", offset=1)], moves=later)
            assert again == Written([False, True], {0})
            assert await store.publish_settings([], moves=Moves("marks", {1: ("", Mark(EPOCH, 1))})) == Written([], {1})

    run(server, work)


def test_a_tip_is_read_as_it_was_written(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        written = tip("round", offset=7, title="Ruf Mama an ☎ שלום")
        assert (await store.publish_tips([written])).newer == [True]
        standing = await store.read("round")
        assert standing is not None
        assert standing.tip == written
        assert (standing.epoch, standing.offset, standing.spent) == (EPOCH.hex(), 7, False)

    run(server, work)


def test_nothing_stands_before_the_first_tip(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        assert await store.read("nobody") is None

    run(server, work)


def test_an_older_tip_never_replaces_a_newer_one(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        assert (await store.publish_tips([tip("older", offset=10)])).newer == [True]
        # Ninth by number, yet greater as text.
        assert (await store.publish_tips([tip("older", offset=9)])).newer == [False]
        assert (await standing_offset(store, "older")) == 10

    run(server, work)


def test_the_same_tip_again_is_not_written(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        assert (await store.publish_tips([tip("again", offset=3), tip("again", offset=3)])).newer == [True, False]

    run(server, work)


def test_a_batch_in_any_order_leaves_the_newest(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        offsets = [4, 900, 17, 899, 901, 2]
        written = (await store.publish_tips([tip("batch", offset=offset) for offset in offsets])).newer
        assert written == [True, True, False, False, True, False]
        assert (await standing_offset(store, "batch")) == 901

    run(server, work)


def test_a_batch_longer_than_one_call_is_written_whole(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        assert (await store.publish_tips([tip(f"many-{n}", offset=1) for n in range(600)])).newer == [True] * 600
        assert (await standing_offset(store, "many-599")) == 1

    run(server, work)


def test_a_new_epoch_replaces_at_a_lower_offset_when_it_was_decided_later(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        await store.publish_tips([tip("epoch", offset=500, decided_ms=1_000)])
        assert (await store.publish_tips([tip("epoch", offset=2, decided_ms=2_000, epoch=LATER_EPOCH)])).newer == [True]
        assert (await standing_offset(store, "epoch")) == 2

    run(server, work)


def test_the_old_epoch_does_not_come_back_with_its_greater_offset(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        await store.publish_tips([tip("zombie", offset=2, decided_ms=2_000, epoch=LATER_EPOCH)])
        assert (await store.publish_tips([tip("zombie", offset=501, decided_ms=1_500)])).newer == [False]
        assert (await standing_offset(store, "zombie")) == 2

    run(server, work)


def test_a_spent_decision_is_read_as_spent_and_the_next_one_is_not(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        await store.publish_tips([tip("spent", offset=1)])
        await store.mark_spent("spent", "d1")
        standing = await store.read("spent")
        assert standing is not None and standing.spent
        await store.publish_tips([tip("spent", offset=2)])
        standing = await store.read("spent")
        assert standing is not None and not standing.spent

    run(server, work)


def test_late_feedback_to_an_older_decision_does_not_bring_a_spent_one_back(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        await store.publish_tips([tip("late", offset=2)])
        await store.mark_spent("late", "d2")
        await store.mark_spent("late", "d1")
        standing = await store.read("late")
        assert standing is not None and standing.spent

    run(server, work)


def test_spent_markers_are_bounded_and_run_out(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        for n in range(SPENT_MAX + 10):
            await store.mark_spent("bound", f"d{n}")
        with Valkey.from_url(server.url) as plain:
            assert plain.zcard(spent_key("bound")) == SPENT_MAX
            assert 0 < plain.ttl(spent_key("bound")) <= 24 * 3600

    run(server, work)


def test_an_idempotency_key_stands_for_one_request(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        assert await store.claim("idem", key="k", fingerprint="a")
        assert await store.claim("idem", key="k", fingerprint="a")
        assert not await store.claim("idem", key="k", fingerprint="b")
        assert await store.claim("other", key="k", fingerprint="b")

    run(server, work)


def test_a_valkey_that_forgot_its_scripts_is_taught_again(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        with Valkey.from_url(server.url) as plain:
            plain.script_flush()
            assert (await store.publish_tips([tip("flush", offset=1), tip("flush-2", offset=1)])).newer == [True, True]
            plain.script_flush()
            assert (await standing_offset(store, "flush")) == 1

    run(server, work)


def test_names_of_keys_are_the_documented_ones(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        await store.publish_tips([tip("alice", offset=5, decided_ms=9)])
        with Valkey.from_url(server.url) as plain:
            stored = plain.hgetall(tip_key("alice"))
        assert tip_key("alice") == "oo:tip:{alice}"
        assert stored[b"epoch"] == EPOCH.hex().encode()
        assert (stored[b"offset"], stored[b"decision_id"], stored[b"valid_until_ms"]) == (b"5", b"d5", b"1009")
        assert decision_pb2.Tip.FromString(stored[b"tip"]).decision_id == "d5"

    run(server, work)


def test_writes_and_spent_markers_are_announced(server: ValkeyServer) -> None:
    async def work(store: TipStore) -> None:
        with Valkey.from_url(server.url) as plain, plain.pubsub(ignore_subscribe_messages=True) as announced:
            announced.subscribe(channel("push"))
            announced.get_message(timeout=10)
            await store.publish_tips([tip("push", offset=1), tip("not-subscribed", offset=1)])
            await store.mark_spent("push", "d1")
            said = [announced.get_message(timeout=10) for _ in range(2)]
        assert [one["data"] for one in said if one] == [
            tip("push", offset=1).SerializeToString(deterministic=True),
            b"",
        ]

    run(server, work)


async def standing_offset(store: TipStore, user_id: str) -> int:
    standing = await store.read(user_id)
    assert standing is not None
    return standing.offset
