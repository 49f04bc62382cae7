"""Faults of the process that asks a language model, whose server counts what truly reaches it.

Its requests are written by hand, with what a core does at a kill: again, and behind newer ones.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

from agents.generation.prompts import latest
from deploy.keys import read_keys
from oo.v1.decision_pb2 import CandidateRequest
from oo.v1.journal_pb2 import Candidates, JournalRecord, Position
from oo.v1.model_budget_pb2 import ModelBudget
from streams.cluster import Cluster
from streams.keys import Keys
from streams.partitioner import partition_of
from streams.reader import topic_id
from streams.schemas import Schemas
from streams.sealing import Sealing
from streams.topics import PARTITIONS
from tests.agents.killed import KILLED
from tests.faults.scene import CORES, KILL, Scene
from tests.model_server import TEXT, ModelServer

KILLS = 10
ASKED_AT_ONCE = 4
PROMPT = latest("tips").version
STEPS = (
    ("BEFORE", "reserved"),
    ("AFTER", "reserved"),
    ("WHILE", "called"),
    ("AFTER", "called"),
    ("AFTER", "settled"),
    ("AFTER", "written"),
)
"""Of one request, in their order (tests/agents/killed.py)."""
PAID = STEPS[2:5]
"""Where a kill loses an answer that is paid for."""
LEFT, LOST = 6, 3
"""Of a day, at its end: calls that are left, and those of them that a kill takes."""


def kill_who_asks(scene: Scene) -> None:
    """Ten kills while people are asked for again and again; then each answer once more, the last ones first."""
    stack, worker = scene.stack, scene.stack.workers["generate"]
    with _asked(scene) as (model, pen):
        model.says = _slowly
        stack.start("generate")
        ends = len(worker.exits)
        for turn in range(KILLS):
            # Half of the kills come while it starts, or while it has nothing to do.
            pen.ask(ASKED_AT_ONCE)
            if turn % 2:
                stack.until(lambda: len(model.calls) > pen.seen, what="a call")
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
        scene.notes.append(f"{len(pen.asked)} requests, {kills} kills, {calls} calls, {sum(answers.values())} answers")
    scene.goes_on("journal")


def kill_at_each_step(scene: Scene, *, kills: int = KILLS) -> None:
    """So many kills at each step of a request, whatever waits; then the day's last calls, and kills that take some of them."""
    stack, worker = scene.stack, scene.stack.workers["generate"]
    with _asked(scene) as (model, pen):
        for step in STEPS:
            pen.ask(kills)
            _kill_at(scene, model, step, kills)
        stack.start("generate")
        stack.until(pen.drained, what="every request done with")
        calls, answers = len(model.calls), pen.answers()
        _judge(scene, pen, answers, calls=calls, kills=kills * len(PAID))
        told = f"{len(pen.asked)} requests, {kills} kills at each of {len(STEPS)} steps, {calls} calls"
        scene.notes.append(f"{told}, {sum(answers.values())} answers: {dict(pen.reasons())}")
        worker.end()
        worker.environment["OO_LLM_DAY_CALLS"] = str(pen.spoken_for() + LEFT)
        pen.ask(3 * LEFT)
        _kill_at(scene, model, ("AFTER", "reserved"), LOST)
        stack.start("generate")
        stack.until(pen.drained, what="every request done with")
        _judge(scene, pen, pen.answers(), calls=len(model.calls), kills=kills * len(PAID))
        more, reasons = len(model.calls) - calls, pen.reasons()
        if more != LEFT - LOST or not reasons["budget"]:
            scene.problems.append(f"{more} calls of {LEFT} that were left, of which kills took {LOST}: {reasons}")
        scene.notes.append(f"of the day's last {LEFT} calls kills took {LOST}, {more} went out: {dict(reasons)}")
    scene.goes_on("journal")


def answer_again(scene: Scene) -> None:
    """Cores ask by themselves; ten kills of who asks the model, and each answer again and again, the last ones first."""
    stack, worker = scene.stack, scene.stack.workers["generate"]
    cores = [stack.workers[name] for name in CORES]
    with _asked(scene) as (model, pen):
        model.says = _slowly
        try:
            for core in cores:
                core.environment["OO_LLM_FILE"] = worker.environment["OO_LLM_FILE"]
                core.end()
            stack.start(*CORES, "generate")
            ends = len(worker.exits)
            stack.until(lambda: pen.asked_by_cores() >= 10 and model.calls, what="cores ask")
            for turn in range(KILLS):
                scene.between(0.0, 1.0)
                stack.until(worker.running, what="it runs again")
                worker.send(KILL)
                stack.until(lambda turn=turn: len(worker.exits) > ends + turn, what="it ends")
                if turn % 3 == 2:
                    stack.until(worker.healthy, what="it runs again")
                    scene.between(0.5, 3.0)
                    pen.answer_again()
            stack.start("generate")
        finally:
            for core in cores:
                core.environment.pop("OO_LLM_FILE", None)
                core.end()
            stack.start(*CORES)
        # Versions that ask stand until the next one.
        stack.until(lambda: not pen.unanswered(), what="what stands is answered")
        calls, kills = len(model.calls), worker.exits[ends:].count(-KILL)
        _judge(scene, pen, pen.answers(), calls=calls, kills=kills)
        pen.answer_again()
        scene.goes_on("journal")
        scene.oracle.take()
        written = sum(bool(row.generated) for row in scene.oracle.rows.values())
        if not written:
            scene.problems.append("no tip that a model wrote stands in any row")
        scene.notes.append(
            f"{len(pen.asked)} requests of cores, {kills} kills, {calls} calls, {dict(pen.reasons())} answers with "
            f"those that were repeated; {written} people with written tips"
        )


def _kill_at(scene: Scene, model: ModelServer, step: tuple[str, str], kills: int) -> None:
    """Have it killed there, and start again, so often."""
    stack, worker, (when, what) = scene.stack, scene.stack.workers["generate"], step
    ends, plain = len(worker.exits), dict(worker.environment)
    if when == "WHILE":
        model.mood = "holds"
    worker.module = "tests.agents.killed"
    worker.environment |= {f"KILLED_{when}": what, "KILLED_TIMES": str(kills)}
    worker.start()
    worker.wanted = False
    stack.until(lambda: len(worker.exits) > ends, what=f"killed {when} {what}")
    worker.module, worker.environment = "agents", plain
    if when == "WHILE":
        model.mood = "well"
        model.let_go()
    if worker.exits.pop() != KILLED:
        raise TimeoutError(f"it was not killed {kills} times {when} {what}: {worker.log()[-1000:]}")


@contextmanager
def _asked(scene: Scene) -> Iterator[tuple[ModelServer, _Pen]]:
    """A model that generate asks once it starts, and who writes requests."""
    worker = scene.stack.workers["generate"]
    scene.stack.wait(3)
    with ModelServer() as model, tempfile.TemporaryDirectory() as folder:
        before = dict(worker.environment)
        worker.environment |= {"OO_LLM_FILE": str(model.file(Path(folder))), "OO_LLM_DEADLINE_S": "5"}
        pen = _Pen(scene)
        try:
            yield model, pen
        finally:
            worker.end()
            worker.module, worker.environment = "agents", before
            pen.close()


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
        self.repeated: Counter[str] = Counter()
        """Answers that were written again, by their request."""
        self._scene = scene
        self._cluster: Cluster = scene.stack.running.cluster
        self._journal_id = asyncio.run(topic_id(self._cluster, "journal"))
        self._schemas = Schemas(self._cluster)
        asyncio.run(self._schemas.register())
        self._producer = Producer({"bootstrap.servers": self._cluster.bootstrap, "log_level": 0})

    def ask(self, people: int) -> None:
        """For so many, anew: their row's last place."""
        oracle = self._scene.oracle
        oracle.take()
        # Whoever has a row has a key; read the other way round, somebody new would have none.
        sealing = Sealing(self._schemas, self._keys())
        known = sorted(
            whose
            for whose in map(self._scene.stack.running.pseudonym, self._scene.traffic.users)
            if whose in oracle.rows
        )
        for whose in self._scene.chance.sample(known, min(people, len(known))):
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
        once = {value: (whose, made) for whose, value, made in self._answers()}
        for value, (whose, made) in reversed(once.items()):
            self._write("journal", whose, value)
            self.repeated[made.request_id] += 1
        assert self._producer.flush(30) == 0

    def asked_by_cores(self) -> int:
        """Take up what the fold asks for; how many requests that is."""
        self._scene.oracle.take()
        for request in self._scene.oracle.requests:
            whose = request.user_id.encode()
            if request.HasField("ask"):
                self.asked[request.request_id] = whose, b""
                self.newest[whose] = request.request_id
            else:
                self.newest.pop(whose, None)
        return len(self.asked)

    def unanswered(self) -> int:
        """Of what cores ask for, and stands."""
        self.asked_by_cores()
        return len(set(self.newest.values()) - set(self.answers()))

    def answers(self) -> Counter[str]:
        """How many answers each request has, but for those that were written again."""
        found = Counter(made.request_id for _, _, made in self._answers())
        found.subtract(self.repeated)
        return found

    def reasons(self) -> Counter[str]:
        """Why answers have no tips; "" for those that have some."""
        return Counter(made.reason for _, _, made in self._answers())

    def spoken_for(self) -> int:
        """Calls of the day, over all who ever asked."""
        words = {
            line.key: self._schemas.unframe("model-budget", line.value)
            for line in self._scene.oracle.log.news("model-budget", again=True)
        }
        return sum(word.calls for word in words.values() if isinstance(word, ModelBudget))

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
            runs_out_ms=now_ms + 3_600_000,
            reason=CandidateRequest.THIN,
        )
        ask = made.ask
        ask.model, ask.prompt_version, ask.tips_max, ask.tokens_max = "tip-generator", PROMPT, 1, 100
        ask.tasks.add(id="task:test/1", title="Water the plants")
        return made

    def _answers(self) -> list[tuple[bytes, bytes, Candidates]]:
        """Person, record and answer, of each in the journal."""
        sealing, found = Sealing(self._schemas, self._keys()), []
        for line in self._scene.oracle.log.news("journal", again=True):
            if line.key in self.newest and line.value is not None:
                record = sealing.unframe("journal", line.value, whose=line.key)
                if isinstance(record, JournalRecord) and record.HasField("candidates"):
                    found.append((line.key, line.value, record.candidates))
        return found

    def _keys(self) -> Keys:
        return asyncio.run(read_keys(self._cluster, self._scene.stack.running.kek_dir))

    def _write(self, topic: str, whose: bytes, value: bytes) -> None:
        self._producer.produce(self._cluster.name(topic), value, whose, _home(whose))


def _home(whose: bytes) -> int:
    return partition_of(whose, PARTITIONS)
