"""The edge's memory: it answers without Valkey while it knows that nothing has changed, and never once it does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import httpx
import pytest
from sealed import keys_in
from valkey import Valkey

from connectors.tracked import NAME, TrackedReads
from connectors.valkey import Standing, TipStore
from serving.current import STALE_MAX_S, CurrentTips, _current
from serving.edge import Edge
from serving.memory import ENTRY_BYTES, Current, Memory
from serving.metrics import Metrics
from serving.problems import Problem
from serving.spent_decisions import SpentDecisions
from tests.connectors.test_valkey import tip
from tests.serving.edges import LiveEdge, problem
from tests.serving.valkeys import ValkeyServer

ANOTHER_PROCESS = """
import asyncio, sys
from connectors.valkey import TipStore
from oo.v1 import decision_pb2

async def main():
    store = TipStore(sys.argv[1])
    if sys.argv[2] == "publish":
        assert (await store.publish_tips([decision_pb2.Tip.FromString(bytes.fromhex(sys.argv[3]))])).newer == [True]
    else:
        await store.mark_spent(sys.argv[3], sys.argv[4])
    await store.close()

asyncio.run(main())
"""


def from_another_process(valkey: ValkeyServer, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, valkey.url, *arguments], check=True)


def sources(edge: Edge) -> tuple[float, float]:
    """How many tips came from memory, and how many from Valkey."""
    reads = edge.metrics.tip_reads
    return reads.labels("memory")._value.get(), reads.labels("valkey")._value.get()


def undated(answer: httpx.Response) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in answer.headers.raw if name != b"date"]


def test_a_tip_that_was_read_comes_from_memory_with_the_same_bytes_and_tag(edge: LiveEdge) -> None:
    edge.put_tip("mm-hit", 1)
    with edge.client("mm-hit") as client:
        first = client.get("/v1/tip")
        # A late sign of life sends a read to Valkey: what is asked here is that some read does not.
        for _ in range(1000):
            before = sources(edge.parts)
            again = client.get("/v1/tip")
            # Whichever way it took, down to the order of the headers.
            assert (again.content, undated(again)) == (first.content, undated(first))
            if sources(edge.parts)[0] > before[0]:
                break
        else:
            raise AssertionError("memory was never used")


def test_a_remembered_tip_is_for_its_own_user_and_a_verified_token(edge: LiveEdge) -> None:
    edge.put_tip("mm-whose", 1)
    with edge.client("mm-whose") as client, edge.client("mm-other") as other, edge.client() as nobody:
        for _ in range(3):
            assert client.get("/v1/tip").status_code == 200
            assert other.get("/v1/tip").status_code == 204
            assert nobody.get("/v1/tip").status_code == 401
        tag = client.get("/v1/tip").headers["etag"]
        assert client.get("/v1/tip", headers={"if-none-match": tag}).status_code == 304


def test_no_tip_is_remembered_too_and_the_first_one_is_seen(edge: LiveEdge) -> None:
    with edge.client("mm-none") as client:
        assert client.get("/v1/tip").status_code == 204
        assert "mm-none" in edge.parts.current._memory._entries
        edge.put_tip("mm-none", 1)
        assert client.get("/v1/tip").json()["title"] == "Tip 1"


def test_a_tip_published_by_another_process_is_seen(edge: LiveEdge, valkey: ValkeyServer) -> None:
    with edge.client("mm-published") as client:
        edge.put_tip("mm-published", 1)
        assert client.get("/v1/tip").json()["title"] == "Tip 1"
        now_ms = int(time.time() * 1000)
        newer = tip("mm-published", offset=2, decided_ms=now_ms, title="From elsewhere", epoch=bytes(16))
        newer.valid_until_ms = now_ms + 3_600_000
        from_another_process(valkey, "publish", newer.SerializeToString().hex())
        edge.until_heard()
        assert client.get("/v1/tip").json()["title"] == "From elsewhere"


def test_what_another_edge_took_feedback_for_is_not_served_from_memory(edge: LiveEdge, valkey: ValkeyServer) -> None:
    decision_id = edge.put_tip("mm-spent", 1)
    with edge.client("mm-spent") as client:
        assert client.get("/v1/tip").status_code == 200
        from_another_process(valkey, "spend", "mm-spent", decision_id)
        # Begun after the marker was written: once it is answered, this edge must know.
        edge.until_heard()
        assert client.get("/v1/tip").status_code == 204


def test_what_this_edge_took_feedback_for_is_not_served_from_memory(edge: LiveEdge) -> None:
    decision_id = edge.put_tip("mm-own", 1)
    with edge.client("mm-own") as client:
        assert client.get("/v1/tip").status_code == 200
        # As the feedback route does before it tells Valkey.
        edge.parts.spent._known["mm-own", decision_id] = None
        assert client.get("/v1/tip").status_code == 204


def test_a_remembered_tip_runs_out(edge: LiveEdge) -> None:
    ends_ms = int(time.time() * 1000) + 400
    edge.put_tip("mm-out", 1, valid_until_ms=ends_ms)
    with edge.client("mm-out") as client:
        client.get("/v1/tip")
        while time.time() * 1000 <= ends_ms:
            time.sleep(0.02)
        assert client.get("/v1/tip").status_code == 204


def test_an_emptied_valkey_empties_memory(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as valkey, LiveEdge(tmp_path / "edge", valkey_url=valkey.url) as edge:
        edge.put_tip("mm-flush", 1)
        with edge.client("mm-flush") as client:
            assert client.get("/v1/tip").status_code == 200
            with Valkey.from_url(valkey.url) as plain:
                plain.flushall()
            edge.until_heard()
            assert client.get("/v1/tip").status_code == 204


def test_a_killed_connection_leaves_nothing_old_behind(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as valkey, LiveEdge(tmp_path / "edge", valkey_url=valkey.url) as edge:
        decision_id = edge.put_tip("mm-kill", 1)
        with edge.client("mm-kill") as client, Valkey.from_url(valkey.url) as plain:
            assert client.get("/v1/tip").status_code == 200
            (reads,) = (one for one in plain.client_list() if one["name"] == NAME)
            # In one moment: the marker is never told to this edge.
            transaction = plain.pipeline(transaction=True)
            transaction.execute_command("CLIENT", "KILL", "ID", reads["id"])
            transaction.zadd("oo:spent:{mm-kill}", {decision_id: 0})
            transaction.execute()
            edge.until_heard()
            assert client.get("/v1/tip").status_code == 204


def test_while_valkey_hangs_memory_is_not_used(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as valkey, LiveEdge(tmp_path / "edge", valkey_url=valkey.url) as edge:
        edge.put_tip("mm-hang", 1)
        with edge.client("mm-hang") as client:
            assert client.get("/v1/tip").status_code == 200
            valkey.pause()
            time.sleep(STALE_MAX_S)
            assert problem(client.get("/v1/tip"), 503) == "tips-unavailable"
            assert "valkey" in client.get("/readyz").json()["missing"]
            valkey.resume()
            edge.until_heard()
            assert client.get("/v1/tip").status_code == 200


def test_while_nothing_comes_through_memory_is_not_used(edge: LiveEdge) -> None:
    decision_id = edge.put_tip("mm-silence", 1)
    with edge.client("mm-silence") as client:
        assert client.get("/v1/tip").status_code == 200
        reads = edge.parts.current.reads
        line = reads._line
        assert line is not None
        # What Valkey says lies in the socket, as behind a network that holds it back.
        loop, transport = line.tasks[0].get_loop(), line.connection._reader._transport
        loop.call_soon_threadsafe(transport.pause_reading)
        asyncio.run(_spend(edge, "mm-silence", decision_id))
        silent_s = reads.now_s()
        while reads.now_s() <= silent_s + STALE_MAX_S + 0.05:
            time.sleep(0.01)
        assert client.get("/v1/tip").status_code in (503, 204)
        loop.call_soon_threadsafe(transport.resume_reading)
        edge.until_heard()
        assert client.get("/v1/tip").status_code == 204


async def _spend(edge: LiveEdge, user_id: str, decision_id: str) -> None:
    store = TipStore(edge._valkey_url)
    await store.mark_spent(user_id, decision_id)
    await store.close()


def current_tips(valkey: ValkeyServer) -> CurrentTips:
    return CurrentTips(
        valkey.url,
        spent=SpentDecisions(TipStore(valkey.url)),
        changed=lambda user_id: None,
        keys=keys_in(Path(tempfile.gettempdir()) / "none"),
        metrics=Metrics(),
        now_ms=lambda: 0,
    )


def test_an_answer_that_a_write_overtook_is_not_kept(valkey: ValkeyServer) -> None:
    async def main() -> None:
        tips, store, plain = current_tips(valkey), TipStore(valkey.url), Valkey.from_url(valkey.url)
        await store.publish_tips([tip("mm-race", offset=1)])
        await tips.reads.ping()
        line = tips.reads._line
        assert line is not None
        transport = line.connection._reader._transport
        transport.pause_reading()
        calls = plain.info("commandstats")["cmdstat_evalsha"]["calls"]
        asked = asyncio.create_task(tips.of("mm-race"))
        while plain.info("commandstats")["cmdstat_evalsha"]["calls"] == calls:
            await asyncio.sleep(0.002)
        await store.publish_tips([tip("mm-race", offset=2)])
        plain.ping()  # Answered in a later turn of the server's loop: by then it has told everybody of the change.
        # The answer and the change of it arrive together, before the one who asked gets to run.
        transport.resume_reading()
        assert (await asked).event_id.endswith("-1")
        assert tips._memory.get("mm-race") is None
        assert (await tips.of("mm-race")).event_id.endswith("-2")
        plain.close()
        await tips.reads.close()
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_under_writes_no_read_is_older_than_the_bound(valkey: ValkeyServer) -> None:
    acknowledged: list[tuple[float, int]] = []
    users = [f"mm-load-{n}" for n in range(4)]

    async def write() -> None:
        store = TipStore(valkey.url)
        for offset in range(1, 400):
            await store.publish_tips([tip(user_id, offset=offset, decided_ms=1) for user_id in users])
            acknowledged.append((TrackedReads.now_s(), offset))
        await store.close()

    async def main() -> None:
        tips = current_tips(valkey)
        beating = asyncio.create_task(tips.reads.run())
        writer = threading.Thread(target=lambda: asyncio.run(write()))
        writer.start()
        # On a machine that is busy enough, memory may not come to be used before the last write.
        while writer.is_alive() or not tips._remembered._value.get():
            for user_id in users:
                asked_s = TrackedReads.now_s()
                try:
                    found = await tips.of(user_id)
                except Problem:
                    # Too slow an answer is no old one.
                    continue
                offset = 0 if found.body is None else int(found.event_id.rpartition("-")[2])
                must = max((one for at_s, one in list(acknowledged) if at_s <= asked_s - STALE_MAX_S), default=0)
                assert offset >= must
            await asyncio.sleep(0)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await tips.reads.close()

    asyncio.run(asyncio.wait_for(main(), 120))


def test_entries_take_no_more_than_is_counted() -> None:
    standing = Standing(
        tip=tip("x", offset=1, title="A title as long as most of them"), epoch="0" * 32, offset=1, spent=False
    )
    memory = Memory()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(10_000):
            # The id and the offset differ from user to user, so nothing of an entry is shared.
            one = Standing(tip=standing.tip, epoch=standing.epoch, offset=number, spent=False)
            memory.put(f"0b9c6f2e-8f0a-4f63-9a53-{number:012}", _current(one, one.tip))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(memory) == 10_000
    assert after - before <= memory._bytes
    assert memory._bytes <= 2 * (after - before)


def test_memory_is_bounded_and_the_one_who_asked_longest_ago_goes() -> None:
    memory = Memory(bytes_max=100 * (ENTRY_BYTES + 100))
    for number in range(1000):
        memory.put(str(number), Current(event_id="x", body=bytes(100)))
        memory.get("0")
    assert len(memory) == 100
    assert memory.get("0") is not None and memory.get("1") is None
    for number in range(1000):
        memory.drop(str(number))
    assert memory._bytes == 0


@pytest.mark.parametrize("body", [None, b"a", bytes(1000)])
def test_an_entry_that_is_put_again_is_counted_once(body: bytes | None) -> None:
    memory = Memory()
    for _ in range(3):
        memory.put("ada", Current(event_id="x", body=body))
    assert (len(memory), memory._bytes) == (1, ENTRY_BYTES + len(body or b""))
