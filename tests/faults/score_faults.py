"""Faults of the process that has a trained model say what it expects, and of the scorer that it asks: both real, over a core that hears.

What is said is written again, the last first, as a zombie or a second scorer would. The oracle folds all of it by itself.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import Producer

from agents.features import NOW
from deploy.keys import read_keys
from oo.v1.evaluation_pb2 import Promotion
from oo.v1.journal_pb2 import JournalRecord, Scores
from streams.partitioner import partition_of
from streams.schemas import Schemas
from streams.sealing import KeyMissing, NotOpened, Sealing
from streams.topics import PARTITIONS
from tests.agents.killed import KILLED
from tests.faults.scene import KILL, Scene
from tests.serving.scorers import Scorer, onnx_file, register

KILLS = 10
STEPS = (("BEFORE", "expected"), ("AFTER", "expected"), ("BEFORE", "scored"), ("AFTER", "scored"))
"""Of one slate, in their order (tests/agents/killed.py)."""


def kill_who_scores(scene: Scene) -> None:
    """So many kills at each step of a slate; the scorer killed among them; the model swapped and rolled back; each record of scores again and again."""
    stack, worker = scene.stack, scene.stack.workers["score"]
    with _heard(scene) as (scorer, pen):
        stack.start("score")
        stack.until(lambda: pen.said()["tips@1"] > 0, what="scores of the first model")
        worker.end()
        for number, step in enumerate(STEPS):
            _kill_at(scene, step)
            print(f"           killed {KILLS} times {' '.join(step)}", flush=True)
            if number == 1:
                pen.promote(Promotion(model="tips@2"))
            if number == 2:
                scorer.end(KILL)
                scene.between(0.5, 2.0)
                scorer.start()
                scorer.until("/v2/health/ready")
            pen.say_again()
        stack.start("score")
        stack.until(lambda: pen.said()["tips@2"] > 0, what="scores of the second model")
        pen.promote(Promotion(model="tips@1"))
        before = pen.said()["tips@1"]
        stack.until(lambda: pen.said()["tips@1"] > before, what="scores after the roll-back")
        pen.say_again()
        scene.goes_on("journal")
        heard = pen.heard()
        said, once = pen.said(), pen.doubled()
        if once:
            scene.problems.append(f"{once} slates were scored twice by a model, beside those that were written again")
        if not {"tips@1", "tips@2"} <= set(heard):
            scene.problems.append(f"not both models were heard: {dict(heard)}")
        scene.notes.append(
            f"{KILLS} kills at each of {len(STEPS)} steps; records of scores {dict(said)}, {pen.repeated} of them again; decisions that had scores {dict(heard)}"
        )


def _kill_at(scene: Scene, step: tuple[str, str]) -> None:
    """Have it killed there, and start again, so often."""
    stack, worker, (when, what) = scene.stack, scene.stack.workers["score"], step
    ends, plain = len(worker.exits), dict(worker.environment)
    worker.module = "tests.agents.killed"
    worker.environment |= {f"KILLED_{when}": what, "KILLED_TIMES": str(KILLS)}
    worker.start()
    worker.wanted = False
    stack.until(lambda: len(worker.exits) > ends, what=f"killed {when} {what}")
    worker.module, worker.environment = "agents", plain
    if worker.exits.pop() != KILLED:
        raise TimeoutError(f"it was not killed {KILLS} times {when} {what}: {worker.log()[-1000:]}")


@contextmanager
def _heard(scene: Scene) -> Iterator[tuple[Scorer, _Pen]]:
    """A scorer with two models, of which decisions hear the first, by a policy that is fitted with it."""
    worker, before = scene.stack.workers["score"], dict(scene.stack.workers["score"].environment)
    with tempfile.TemporaryDirectory() as folder:
        scorer, pen = Scorer(Path(folder)), _Pen(scene)
        for seed in (1, 2):
            register(scorer.registry, onnx_file(seed=seed, d=NOW.d), features=[f"f{n}" for n in range(NOW.d)])
        scorer.start()
        try:
            scorer.until("/v2/health/ready")
            worker.environment["OO_SCORER_URL"] = f"http://127.0.0.1:{scorer.port}"
            pen.promote(Promotion(model="tips@1"), Promotion(policy="mixed_hearing"))
            yield scorer, pen
        finally:
            worker.end()
            worker.module, worker.environment = "agents", before
            pen.promote(Promotion(model=""), Promotion(policy="mixed"))
            pen.close()
            scorer.end()


class _Pen:
    """Promotes, writes scores again, and counts what stands."""

    def __init__(self, scene: Scene) -> None:
        self.repeated = 0
        self._scene = scene
        self._cluster = scene.stack.running.cluster
        self._schemas = Schemas(self._cluster)
        asyncio.run(self._schemas.register())
        self._producer = Producer({"bootstrap.servers": self._cluster.bootstrap, "log_level": 0})

    def promote(self, *words: Promotion) -> None:
        """By hand."""
        for word in words:
            word.cause = Promotion.BY_HAND
            self._write("promotions", word.policy.encode(), self._schemas.frame("promotions", word), 0)
        assert self._producer.flush(30) == 0

    def say_again(self) -> None:
        """Each record of scores a second time, the last ones first."""
        once = {value: whose for whose, value, _ in self._scores()}
        for value, whose in reversed(once.items()):
            self._write("journal", whose, value, partition_of(whose, PARTITIONS))
            self.repeated += 1
        assert self._producer.flush(30) == 0

    def said(self) -> Counter[str]:
        """Records by model, but for those that were written again."""
        return Counter(scores.model for scores in {value: scores for _, value, scores in self._scores()}.values())

    def doubled(self) -> int:
        """How many slates were scored more than once by a model."""
        once = {value: (whose, scores) for whose, value, scores in self._scores()}.values()
        places = Counter((whose, scores.decision.offset, scores.model) for whose, scores in once)
        return sum(times > 1 for times in places.values())

    def heard(self) -> Counter[str]:
        """Decisions that had scores for their slate, by model."""
        self._scene.oracle.take()
        return self._scene.oracle.scored

    def close(self) -> None:
        self._schemas.close()

    def _write(self, short: str, key: bytes, value: bytes, partition: int) -> None:
        self._producer.produce(self._cluster.name(short), key=key, value=value, partition=partition)

    def _scores(self) -> list[tuple[bytes, bytes, Scores]]:
        """Person, record and what it says, of each in the journal."""
        keys = asyncio.run(read_keys(self._cluster, self._scene.stack.running.kek_dir))
        sealing, found = Sealing(self._schemas, keys), []
        known = {self._scene.stack.running.pseudonym(user).encode() for user in self._scene.traffic.users}
        for line in self._scene.oracle.log.news("journal", again=True):
            if line.key in known and line.value is not None:
                with suppress(NotOpened, KeyMissing):  # Of who left, or wrote junk.
                    record = sealing.unframe("journal", line.value, whose=line.key)
                    if isinstance(record, JournalRecord) and record.HasField("scores"):
                        found.append((line.key, line.value, record.scores))
        return found
