"""Generate on a real broker, with a real HTTP server for a model that counts: each request answered once, and paid for once."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.generation.prompts import latest
from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import CandidateRequest
from oo.v1.journal_pb2 import Candidates, JournalRecord, Position
from oo.v1.key_pb2 import WrappedKey
from oo.v1.model_budget_pb2 import ModelBudget
from streams.cipher import KEY_BYTES
from streams.keys import about, name_of
from streams.partitioner import partition_of
from streams.sealing import KEY_ID_BYTES, Sealing
from streams.topics import PARTITIONS
from tests.agents.process import AgentProcess, Topics, until
from tests.model_server import ModelServer

PROMPT = latest("tips").version
WRITES = ("tip-generator", "another")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Line:
    """Topics, a model, and processes that ask it."""

    servers: RunningStack
    topics: Topics
    model: ModelServer
    folder: Path
    started: list[AgentProcess] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def process(self, **more: str) -> AgentProcess:
        """One more, started."""
        folder = self.folder / f"{len(self.started)}"
        folder.mkdir()
        path = self.model.file(folder, *WRITES)
        one = AgentProcess("generate", self.servers, self.topics, folder, {"OO_LLM_FILE": str(path), **more})
        self.started.append(one)
        return one.start()

    def give_key(self, whose: str) -> None:
        """As a door does where somebody is new."""
        key_id, kek = secrets.token_bytes(KEY_ID_BYTES), KeyFiles(self.servers.kek_dir)
        kek_id, wrapped = kek.wrap(secrets.token_bytes(KEY_BYTES), about(whose.encode(), key_id))
        word = WrappedKey(kek_id=kek_id, wrapped=wrapped)
        self.topics.produce("keys", [word], key=name_of(whose.encode(), key_id), partition=home(whose))

    def request(
        self, whose: str, place: int, *, runs_out_ms: int | None = None, model: str = "tip-generator"
    ) -> CandidateRequest:
        """What step asks for at this place in the person's journal partition."""
        made = CandidateRequest(
            request_id=f"{whose}-{place}",
            user_id=whose,
            journal=Position(topic_id=self.topics.topic_id("journal"), partition=home(whose), offset=place),
            requested_ms=now_ms(),
            runs_out_ms=now_ms() + 120_000 if runs_out_ms is None else runs_out_ms,
            reason=CandidateRequest.THIN,
        )
        made.ask.model, made.ask.prompt_version, made.ask.tokens_max = model, PROMPT, 60
        made.ask.tips_max = 1
        made.ask.tasks.add(id="task:test/1", title=f"What {whose} has to do")
        return made

    def ask(self, *requests: CandidateRequest) -> None:
        """Put them on the topic, sealed."""
        sealing = Sealing(self.topics._schemas, self.topics.keys())
        for one in requests:
            whose = one.user_id.encode()
            value = sealing.frame("candidate-requests", one, whose=whose)
            self.topics.produce("candidate-requests", [value], key=whose, partition=home(one.user_id))

    def take_back(self, whose: str, place: int) -> None:
        """A request that asks for nothing."""
        made = self.request(whose, place)
        made.ClearField("ask")
        self.ask(made)

    def answers(self, *people: str) -> list[Candidates]:
        """All that stand in the journal."""
        found = []
        for number in sorted({home(one) for one in people}):
            for message in self.topics.messages("journal", partition=number):
                assert isinstance(message, JournalRecord) and message.writer == "generate/1"
                found.append(message.candidates)
        return found

    def until_answered(self, wanted: dict[str, str], *, by: AgentProcess) -> None:
        """Each request by its id has one answer with this reason, and no other has."""
        people = [name.rpartition("-")[0] for name in wanted]

        def told() -> Counter[tuple[str, str]]:
            return Counter((one.request_id, one.reason) for one in self.answers(*people))

        try:
            until(lambda: told() == Counter(wanted.items()), alive=by)
        except AssertionError as error:
            letters = [(one.offset, one.reason, one.detail) for one in self.topics.dead_letters()]
            raise AssertionError(f"{told()}, {len(self.model.calls)} calls, letters: {letters}, {error}") from None

    def until_committed(self, whose: str, offset: int, *, by: AgentProcess) -> None:
        until(
            lambda: self.topics.committed("generate", "candidate-requests", partition=home(whose)) == offset, alive=by
        )


def home(whose: str) -> int:
    return partition_of(whose.encode(), PARTITIONS)


@pytest.fixture
def line(servers: RunningStack, tmp_path: Path) -> Iterator[Line]:
    topics = Topics(servers)
    with ModelServer() as model:
        made = Line(servers, topics, model, tmp_path)
        try:
            yield made
        finally:
            for one in made.started:
                if one.running():
                    one.kill()
            topics.close()


def test_a_request_is_one_call_and_one_answer_that_only_its_person_s_key_opens(line: Line) -> None:
    process = line.process()
    line.give_key("ada")
    line.ask(line.request("ada", 7))
    line.until_answered({"ada-7": ""}, by=process)
    line.until_committed("ada", 1, by=process)
    assert len(line.model.calls) == 1
    (answer,) = line.answers("ada")
    assert [one.title for one in answer.tips] == ["Take ten minutes of air"]
    assert (answer.model, answer.answered_by, answer.prompt_version) == ("tip-generator", "stub-1", PROMPT)
    assert (answer.tokens_in, answer.tokens_out) == (50, 20)
    (record,) = line.topics.read("journal", partition=home("ada"))
    assert record.key == b"ada"
    assert b"ten minutes" not in (record.value or b"")
    (kept,) = [one for one in line.topics.messages("model-budget") if isinstance(one, ModelBudget)][-1:]
    assert (kept.model, kept.partition, kept.calls, kept.tokens) == ("tip-generator", home("ada"), 1, 70)
    assert process.stop() == 0
