"""What an operator is told of partitions that stand or that nobody reads."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.stack.groups import Member, Offsets, View, _members
from deploy.stack.running import RunningStack
from deploy.stack.stalls import stalls
from deploy.stack.topics import admin
from streams.cluster import Cluster

HELD, ADDED = ("oo.signals", 0), ("oo.signals", 8)
STALL = {"topic": "oo.journal", "partition": 3, "offset": 7, "cause": "records 7 to 9 have been in work for 12 s"}


def view(*, end: int = 1, settled: bool = True, committed: int | None = None) -> View:
    """Two partitions of signals, one of which no worker holds."""
    done = {HELD: 5} | ({} if committed is None else {ADDED: committed})
    return View(
        offsets={HELD: Offsets(0, 5), ADDED: Offsets(0, end)},
        committed={"oo-core": done},
        members=(Member("oo-core", "core-0", "core-0", (HELD,)),),
        settled=frozenset({"oo-core"} if settled else ()),
    )


def told(seen: View, *, pages: tuple[str, ...] = (), folders: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    return stalls(seen, Cluster("nowhere"), pages=pages, folders=folders, topic_ids={"ab" * 16: "oo.signals"})


def test_a_partition_that_nobody_reads_is_named_while_records_wait_in_it() -> None:
    (one,) = told(view(end=4, committed=1))
    assert (one["topic"], one["partition"], one["offset"]) == ("oo.signals", 8, 1)
    assert one["cause"] == "no worker reads it: 3 wait"
    assert told(view(end=0)) == []


def test_a_group_whose_members_come_or_go_is_given_its_time() -> None:
    assert told(view(settled=False)) == []


def test_a_record_over_which_a_worker_ended_is_named_until_its_group_has_passed_it(tmp_path: Path) -> None:
    folder = tmp_path / "core-0"
    folder.mkdir()
    (folder / "ends.json").write_text(json.dumps([["ab" * 16, 0, 5, 2], ["cd" * 16, 0, 5, 2]]))
    (one,) = told(view(end=0), folders=(folder, tmp_path / "publish"))
    assert one == {"topic": "oo.signals", "partition": 0, "offset": 5, "cause": "core-0 ended 2 times over it"}
    (folder / "ends.json").write_text(json.dumps([["ab" * 16, 0, 4, 2]]))
    assert told(view(end=0), folders=(folder,)) == []


@pytest.fixture
def page() -> Iterator[str]:
    """A worker's /readyz that has something to say."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "stalled", "stalled": [STALL]}).encode())

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/readyz"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_worker_says_of_itself_is_told_on_and_one_that_is_silent_stops_nobody(page: str) -> None:
    assert told(view(end=0), pages=("http://127.0.0.1:9/readyz", page)) == [STALL]


def test_a_group_whose_last_member_has_gone_is_settled(servers: RunningStack) -> None:
    group = f"gone-{uuid.uuid4().hex[:8]}"
    consumer = Consumer({**servers.cluster.rdkafka(), "group.id": group})
    consumer.commit(offsets=[TopicPartition(servers.cluster.name("signals"), 0, 0)], asynchronous=False)
    consumer.close()
    client = admin(servers.cluster)
    assert _members(client, [group]) == {"members": (), "settled": {group}}
