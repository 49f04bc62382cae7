"""Score on a real broker, with a real HTTP server of the Open Inference Protocol that counts: slates come, scores stand in the journal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.features import NOW, SCORED
from agents.score import waiting
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.evaluation_pb2 import Promotion
from oo.v1.journal_pb2 import JournalRecord, Position, Scores
from streams.partitioner import partition_of
from streams.sealing import Sealing
from streams.topics import PARTITIONS
from tables import slates
from tables.scored import key_of
from tests.agents.build import MONDAY_MS, Person, scores, task
from tests.agents.process import AgentProcess, Topics, until
from tests.agents.test_scores import version

MODEL = "tips@3"


@dataclass(slots=True)
class Server:
    """Says of each row a quarter of how many features it has, and keeps what it was asked."""

    port: int
    asked: list[tuple[str, list[list[float]]]] = field(default_factory=list)
    status: int = 200


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            (features,) = told["inputs"]
            rows = np.array(features["data"]).reshape(features["shape"])
            server.asked.append((self.path, rows.tolist()))
            said: dict[str, Any] = {"error": "not now"}
            if server.status == 200:
                data = (np.count_nonzero(rows, axis=1) / 16).tolist()
                said = {"outputs": [{"name": "reward", "shape": [len(rows), 1], "datatype": "FP32", "data": data}]}
            body = json.dumps(said).encode()
            self.send_response(server.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(http.server_port)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def decided(whose: str, *names: str, topic_id: bytes = b"J" * 16, offset: int = 7) -> Decision:
    """The last decision about these tasks, as `step` made it."""
    person = Person(user=whose, policy=version(""))
    for name in names:
        person.take(task(name, user=whose))
    (*_, last) = person.packed
    last.journal.CopyFrom(Position(topic_id=topic_id, partition=home(whose), offset=offset))
    return last


def home(whose: str) -> int:
    return partition_of(whose.encode(), PARTITIONS)


@dataclass(slots=True)
class Line:
    servers: RunningStack
    topics: Topics
    model: Server
    folder: Path
    started: list[AgentProcess] = field(default_factory=list)

    def process(self) -> AgentProcess:
        folder = self.folder / str(len(self.started))
        folder.mkdir()
        told = {"OO_SCORER_URL": f"http://127.0.0.1:{self.model.port}"}
        one = AgentProcess("score", self.servers, self.topics, folder, told).start()
        self.started.append(one)
        until(lambda: "decisions.loaded" in one.log(), alive=one)
        return one

    def decide(self, whose: str, *names: str, offset: int = 7) -> Decision:
        made = decided(whose, *names, topic_id=self.topics.topic_id("journal"), offset=offset)
        value = Sealing(self.topics._schemas, self.topics.keys()).frame("decisions", made, whose=whose.encode())
        self.topics.produce("decisions", [value], key=whose.encode(), partition=home(whose))
        return made

    def said(self, *people: str) -> list[Scores]:
        found = []
        for number in sorted(set(map(home, people))):
            for record in self.topics.messages("journal", partition=number):
                assert isinstance(record, JournalRecord) and record.writer == "score/1"
                found.append(record.scores)
        return found


@pytest.fixture
def line(servers: RunningStack, tmp_path: Path) -> Iterator[Line]:
    topics = Topics(servers)
    with serving() as model:
        made = Line(servers, topics, model, tmp_path)
        try:
            yield made
        finally:
            for one in made.started:
                if one.running():
                    one.kill()
            topics.close()


def test_the_newest_slate_of_a_person_is_scored_once_by_the_model_in_force_and_sealed(line: Line) -> None:
    process = line.process()
    line.topics.give_key("ada")
    line.decide("ada", "before-there-is-a-model", offset=3)
    line.topics.produce("promotions", [Promotion(model=MODEL, cause=Promotion.BY_HAND)])
    until(lambda: f"champion.hears model={MODEL}" in process.log(), alive=process)
    line.decide("ada", "a", offset=6)
    made = line.decide("ada", "a", "b", offset=7)
    until(lambda: len(line.said("ada")) == 1, alive=process)
    (said,) = line.said("ada")
    there = [one for one in slates.spelled_out(made) if not one.ineligible and one.kind != Decision.NONE]
    want = {key_of(one.id): 64 * sum(value != 0 for value in one.x) // 16 for one in there}
    assert (said.decision.offset, said.model, dict(zip(said.keys, said.expected, strict=True))) == (7, MODEL, want)
    ((path, rows),) = line.model.asked
    assert path == "/v2/models/tips/versions/3/infer"
    assert rows == [[value / 64 for value in one.x[: NOW.d]] for one in there]
    (record,) = line.topics.read("journal", partition=home("ada"))
    assert record.key == b"ada" and MODEL.encode() not in (record.value or b"")
    # The same candidates are not scored again, nor is what a person may not be asked about yet.
    line.decide("ada", "a", "b", offset=8)
    until(lambda: line.topics.committed("score", "decisions", partition=home("ada")) == 4, alive=process)
    time.sleep(2.5)
    assert len(line.model.asked) == 1
    assert process.stop() == 0


def test_what_was_lost_with_a_kill_or_a_server_is_not_missed_and_the_next_slate_is_scored(line: Line) -> None:
    line.topics.produce("promotions", [Promotion(model=MODEL, cause=Promotion.BY_HAND)])
    people = ("ada", "bob", "cyd")
    for one in people:
        line.topics.give_key(one)
    killed = line.process()
    line.decide("ada", "a", offset=7)
    killed.kill()
    process = line.process()
    line.model.status = 503
    line.decide("bob", "a", offset=8)
    until(lambda: "score.failed model=tips@3 reason=overloaded slates=1" in process.log(), alive=process)
    line.model.status = 200
    line.decide("cyd", "a", offset=9)
    line.decide("bob", "a", "b", offset=10)
    until(lambda: {one.decision.offset for one in line.said(*people)} >= {9, 10}, alive=process)
    assert len(line.said(*people)) == len({one.decision.offset for one in line.said(*people)})


def test_a_slate_that_heard_is_read_without_what_it_heard() -> None:
    ada = Person(policy=version())
    ada.take(task("a"))
    ada.take(scores(1, {"task:todo.txt/a": 40}))
    ada.take(task("b"))
    heard = waiting(ada.packed[-1], due_ms=0)
    assert heard is not None and ada.packed[-1].scored_by == MODEL and SCORED.d > NOW.d
    bare = waiting(decided("ada", "a", "b"), due_ms=0)
    assert bare is not None and heard.keys == bare.keys and (heard.x == bare.x).all() and heard.what == bare.what


def test_where_nothing_may_be_chosen_there_is_nothing_to_score() -> None:
    nobody = Decision(feature_version=NOW.version, decided_ms=MONDAY_MS)
    nobody.journal.topic_id = b"J" * 16
    nobody.slate.add(id="none", kind=Decision.NONE)
    nobody.slate.add(id="task:t/a", kind=Decision.TASK, ineligible=["done"], x=[0] * NOW.d)
    assert waiting(nobody, due_ms=0) is None
    nobody.feature_version = 1
    with pytest.raises(ValueError, match="features"):
        waiting(nobody, due_ms=0)
