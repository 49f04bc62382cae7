"""Faults of the process that asks a language model, whose server counts what truly reaches it.

Its requests are written by hand, with what a core does at a kill: again, and behind newer ones.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

from confluent_kafka import Producer

from agents.generation.prompts import latest
from deploy.keys import read_keys
from oo.v1.decision_pb2 import CandidateRequest
from oo.v1.journal_pb2 import JournalRecord, Position
from streams.cluster import Cluster
from streams.keys import Keys
from streams.partitioner import partition_of
from streams.reader import topic_id
from streams.schemas import Schemas
from streams.sealing import Sealing
from streams.topics import PARTITIONS
from tests.faults.scene import KILL, Scene
from tests.model_server import TEXT, ModelServer

KILLS = 10
ASKED_AT_ONCE = 4
PROMPT = latest("tips").version


def kill_who_asks(scene: Scene) -> None:
    """Ten kills while people are asked for again and again; then each answer once more, the last ones first."""
    stack, worker = scene.stack, scene.stack.workers["generate"]
    stack.wait(3)
    with ModelServer() as model, tempfile.TemporaryDirectory() as folder:
        model.says = _slowly
        worker.environment |= {"OO_LLM_FILE": str(model.file(Path(folder))), "OO_LLM_DEADLINE_S": "5"}
        pen = _Pen(scene)
        try:
            stack.start("generate")
            ends = len(worker.exits)
            for turn in range(KILLS):
                # Half of the kills come while it starts, or while it has nothing to do.
                pen.ask(ASKED_AT_ONCE)
                if turn % 2:
                    stack.until(lambda: len(model.calls) > pen.seen, what="a call", patience_s=60)
                scene.between(0.0, 1.0)
                pen.seen = len(model.calls)
                stack.until(worker.running, what="it runs again")
                worker.send(KILL)
                if turn % 3 == 2:
                    pen.ask_again()
            stack.start("generate")
            stack.until(pen.drained, what="every request done with")
            calls, answers = len(model.calls), pen.answers()
            kills = worker.exits[ends:].count(-KILL)
            _judge(scene, pen, answers, calls=calls, kills=kills)
            pen.answer_again()
            scene.notes.append(
                f"{len(pen.asked)} requests, {kills} kills, {calls} calls, {sum(answers.values())} answers"
            )
        finally:
            worker.end()
            pen.close()
    scene.goes_on("journal")


def _slowly(_: object) -> str:
    time.sleep(0.3)
    return TEXT


def _judge(scene: Scene, pen: _Pen, answers: Counter[str], *, calls: int, kills: int) -> None:
    unanswered = [name for name in pen.newest.values() if not answers[name]]
    doubled = [name for name, times in answers.items() if times > 1]
    if unanswered:
        scene.problems.append(f"{len(unanswered)} requests that stand have no answer")
    if doubled:
        scene.problems.append(f"{len(doubled)} requests have more than one answer")
    if strange := set(answers) - set(pen.asked):
        scene.problems.append(f"{len(strange)} answers to what nobody asked")
    if calls > len(pen.asked) + kills:
        scene.problems.append(f"{calls} calls for {len(pen.asked)} requests and {kills} kills")


class _Pen:
    """Writes requests as a core does, and reads what came of them."""

    def __init__(self, scene: Scene) -> None:
        self.asked: dict[str, tuple[bytes, bytes]] = {}
        """By id: the person and the request as it was written."""
        self.newest: dict[bytes, str] = {}
        self.seen = 0
        """Calls at the last kill."""
        self._scene = scene
        self._cluster: Cluster = scene.stack.running.cluster
        self._journal_id = asyncio.run(topic_id(self._cluster, "journal"))
        self._schemas = Schemas(self._cluster)
        asyncio.run(self._schemas.register())
        self._producer = Producer({"bootstrap.servers": self._cluster.bootstrap, "log_level": 0})

    def ask(self, people: int) -> None:
        """For so many, anew: their row's last place."""
        sealing, oracle = Sealing(self._schemas, self._keys()), self._scene.oracle
        oracle.take()
        known = sorted(
            whose
            for whose in map(self._scene.stack.running.pseudonym, self._scene.traffic.users)
            if whose in oracle.rows
        )
        for whose in self._scene.chance.sample(known, people):
            made = self._request(whose, oracle.rows[whose].journal_offset)
            if made.request_id in self.asked:
                continue  # their row has not moved
            value = sealing.frame("candidate-requests", made, whose=whose.encode())
            self.asked[made.request_id] = whose.encode(), value
            self.newest[whose.encode()] = made.request_id
            self._write("candidate-requests", whose.encode(), value)
        assert self._producer.flush(30) == 0

    def ask_again(self) -> None:
        """What was asked before, in any order."""
        said = list(self.asked.values())
        self._scene.chance.shuffle(said)
        for whose, value in said[: 2 * ASKED_AT_ONCE]:
            self._write("candidate-requests", whose, value)
        assert self._producer.flush(30) == 0

    def answer_again(self) -> None:
        """Each answer a second time, the last ones first."""
        for whose, value, _ in reversed(self._answers()):
            self._write("journal", whose, value)
        assert self._producer.flush(30) == 0

    def answers(self) -> Counter[str]:
        """How many answers each request has."""
        return Counter(name for _, _, name in self._answers())

    def drained(self) -> bool:
        """Whether all that stands is committed."""
        log, group = self._scene.oracle.log, self._cluster.group("generate")
        ends, done = log.ends("candidate-requests"), log.committed(group, "candidate-requests")
        return all(done.get(number, 0) >= end for number, end in ends.items() if end)

    def close(self) -> None:
        self._schemas.close()

    def _request(self, whose: str, place: int) -> CandidateRequest:
        now_ms = time.time_ns() // 1_000_000
        made = CandidateRequest(
            request_id=f"{whose}-{place}",
            user_id=whose,
            journal=Position(topic_id=self._journal_id, partition=_home(whose.encode()), offset=place),
            requested_ms=now_ms,
            runs_out_ms=now_ms + 600_000,
            reason=CandidateRequest.THIN,
        )
        ask = made.ask
        ask.model, ask.prompt_version, ask.tips_max, ask.tokens_max = "tip-generator", PROMPT, 1, 100
        ask.tasks.add(id="task:test/1", title="Water the plants")
        return made

    def _answers(self) -> list[tuple[bytes, bytes, str]]:
        """Person, record and request of each answer in the journal."""
        sealing, found = Sealing(self._schemas, self._keys()), []
        for line in self._scene.oracle.log.news("journal", again=True):
            if line.key in self.newest and line.value is not None:
                record = sealing.unframe("journal", line.value, whose=line.key)
                if isinstance(record, JournalRecord) and record.HasField("candidates"):
                    found.append((line.key, line.value, record.candidates.request_id))
        return found

    def _keys(self) -> Keys:
        return asyncio.run(read_keys(self._cluster, self._scene.stack.running.kek_dir))

    def _write(self, topic: str, whose: bytes, value: bytes) -> None:
        self._producer.produce(self._cluster.name(topic), value, whose, _home(whose))


def _home(whose: bytes) -> int:
    return partition_of(whose, PARTITIONS)
