"""Generate on a real broker, with a real HTTP server for a model that counts: each request answered once, and paid for once."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.generation.prompts import latest
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Ask, CandidateRequest
from oo.v1.erased_pb2 import Erased
from oo.v1.journal_pb2 import Candidates, JournalRecord, Position
from oo.v1.model_budget_pb2 import ModelBudget
from oo.v1.shadow_candidates_pb2 import ShadowCandidates
from streams.keys import name_of
from streams.partitioner import partition_of
from streams.sealing import Sealing
from streams.topics import PARTITIONS
from tests.agents.process import AgentProcess, Topics, until
from tests.model_server import TEXT, ModelServer, Mood

PROMPT = latest("tips").version
SHADOW = latest("first-step")
SHADOW_WORDS = SHADOW.chat(Ask(tips_max=1)).messages[0]["content"]
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

    def process(self, *, module: str = "agents", **more: str) -> AgentProcess:
        """One more, started."""
        folder = self.folder / f"{len(self.started)}"
        folder.mkdir()
        told = {"OO_LLM_FILE": str(self.model.file(folder, *WRITES)), **more}
        one = AgentProcess("generate", self.servers, self.topics, folder, told, module=module)
        self.started.append(one)
        return one.start()

    def give_keys(self, *people: str) -> None:
        """As a door does where somebody is new."""
        for one in people:
            self.topics.give_key(one)

    def request(
        self, whose: str, place: int, *, runs_out_ms: int | None = None, model: str = "tip-generator", shadow: str = ""
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
        made.ask.tips_max, made.ask.shadow = 1, shadow
        made.ask.tasks.add(id="task:test/1", title=f"What {whose} has to do")
        return made

    def ask(self, *requests: CandidateRequest) -> None:
        """Put them on the topic, sealed."""
        sealing = Sealing(self.topics._schemas, self.topics.keys())
        for one in requests:
            whose = one.user_id.encode()
            value = sealing.frame("candidate-requests", one, whose=whose)
            self.topics.produce("candidate-requests", [value], key=whose, partition=home(one.user_id))

    def shadows(self, *people: str) -> list[tuple[str, str, list[str]]]:
        """What shadows came to, by request: why nothing, and titles."""
        sealing, found = Sealing(self.topics._schemas, self.topics.keys()), []
        for number in sorted({home(one) for one in people}):
            for record in self.topics.read("shadow-candidates", partition=number):
                said = sealing.unframe("shadow-candidates", record.value, whose=record.key or b"")
                assert isinstance(said, ShadowCandidates) and said.candidates.prompt_version == SHADOW.version
                assert not said.candidates.tips or said.candidates.tips[0].title.encode() not in (record.value or b"")
                found.append(
                    (said.candidates.request_id, said.candidates.reason, [one.title for one in said.candidates.tips])
                )
        return found

    def held_shadows(self) -> threading.Event:
        """From now on calls of the shadow's prompt wait for what this returns."""
        let_go = threading.Event()

        def says(asked: dict[str, Any]) -> str:
            if is_shadow(asked):
                let_go.wait(60.0)
            return TEXT

        self.model.says = says
        return let_go

    def asked_for(self) -> list[str]:
        """Of whom the model was told, call by call."""
        said = [call["messages"][-1]["content"] for call in self.model.calls]
        return [text.partition("What ")[2].partition(" has")[0] for text in said]

    def budget(self) -> int:
        """Calls that are spoken for, over all processes."""
        last = {}
        for record, word in zip(self.topics.read("model-budget"), self.topics.messages("model-budget"), strict=True):
            assert isinstance(word, ModelBudget)
            last[record.key] = word.calls
        return sum(last.values())

    def tokens(self) -> int:
        """That the one process has settled or spoken for."""
        (*_, last) = (one for one in self.topics.messages("model-budget") if isinstance(one, ModelBudget))
        return last.tokens

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

    def until_drained(self, *people: str, by: AgentProcess) -> None:
        """Every request in these people's partitions is done with."""
        ends = {number: self.topics.end("candidate-requests", partition=number) for number in map(home, people)}

        def at(number: int) -> int:
            return self.topics.committed("generate", "candidate-requests", partition=number)

        until(lambda: all(at(number) == end for number, end in ends.items()), alive=by)


def is_shadow(asked: dict[str, Any]) -> bool:
    """Whether a call is of the shadow's prompt."""
    return bool(asked["messages"][0]["content"] == SHADOW_WORDS)


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
    line.give_keys("ada")
    line.ask(line.request("ada", 7))
    line.until_answered({"ada-7": ""}, by=process)
    line.until_drained("ada", by=process)
    assert len(line.model.calls) == 1
    (answer,) = line.answers("ada")
    assert [one.title for one in answer.tips] == ["Take ten minutes of air"]
    assert (answer.model, answer.answered_by, answer.prompt_version) == ("tip-generator", "stub-1", PROMPT)
    assert (answer.tokens_in, answer.tokens_out) == (50, 20)
    (record,) = line.topics.read("journal", partition=home("ada"))
    assert record.key == b"ada"
    assert b"ten minutes" not in (record.value or b"")
    (kept,) = [one for one in line.topics.messages("model-budget") if isinstance(one, ModelBudget)][-1:]
    assert (kept.model, kept.calls, kept.tokens) == ("tip-generator", 1, 70)
    assert process.stop() == 0


def test_nothing_is_imported_while_a_request_waits(line: Line) -> None:
    process = line.process()
    line.give_keys("ada")
    line.ask(line.request("ada", 7))
    line.until_answered({"ada-7": ""}, by=process)
    line.until_drained("ada", by=process)
    until(lambda: "candidate-requests.handled" in process.log(), alive=process)
    (imported,) = re.findall(r"candidate-requests\.handled .* imported=(\d+)", process.log())
    assert int(imported) < 5
    assert len(line.model.calls) == 1


def test_each_kind_of_failure_is_an_answer_with_its_word_and_the_model_is_asked_again_when_it_is_back(
    line: Line,
) -> None:
    process = line.process(OO_LLM_DEADLINE_S="5")
    line.give_keys("ada")
    wanted, place = {}, 0
    failures: dict[Mood, str] = {
        "hangs": "timeout",
        "busy": "rate-limited",
        "garbage": "bad-answer",
        "no-choices": "empty",
        "says-no": "refused",
    }
    for mood, reason in failures.items():
        for line.model.mood, told in ((mood, reason), ("well", "")):
            place += 1
            line.ask(line.request("ada", place))
            wanted[f"ada-{place}"] = told
            line.until_answered(wanted, by=process)
    assert len(line.model.calls) == place
    line.model.go()
    line.ask(line.request("ada", place + 1))
    line.until_answered({**wanted, f"ada-{place + 1}": "unreachable"}, by=process)
    line.until_drained("ada", by=process)
    assert line.budget() == place + 1


@pytest.mark.long(
    "tests/agents/test_generate.py::test_each_kind_of_failure_is_an_answer_with_its_word_and_the_model_is_asked_again_when_it_is_back"
)
def test_a_model_that_hangs_is_asked_three_times_in_a_row_and_then_once_in_a_while(line: Line) -> None:
    people = [f"person-{number}" for number in range(8)]
    line.give_keys(*people, "ada")
    line.model.mood = "hangs"
    process = line.process(OO_LLM_DEADLINE_S="5")
    until(lambda: "process.started" in process.log(), alive=process)
    line.ask(*(line.request(one, 1) for one in people))

    def reasons() -> Counter[str]:
        return Counter(one.reason for one in line.answers(*people))

    until(lambda: sum(reasons().values()) == 8, alive=process)
    assert reasons() == {"timeout": 3, "breaker": 5}
    assert len(line.model.calls) == 3
    line.model.mood = "well"
    time.sleep(5.5)  # agents/breaker.py
    line.ask(line.request("ada", 1))
    line.until_answered({"ada-1": ""} | {f"{one.request_id}": one.reason for one in line.answers(*people)}, by=process)
    assert len(line.model.calls) == 4


def test_of_a_queue_only_the_newest_of_each_is_asked_for_and_nobody_who_took_it_back_left_or_has_no_key(
    line: Line,
) -> None:
    people = ("ada", "ben", "cleo", "dora", "emil")
    line.give_keys(*people)
    for place in range(1, 11):
        line.ask(*(line.request(one, place) for one in people))
    line.ask(line.request("ada", 4))  # step said it before it was killed, and says it again
    line.take_back("ben", 11)
    word = Erased(user_id="cleo", receipt="receipt-of-leaving")
    word.journal.topic_id, word.journal.offset = line.topics.topic_id("journal"), 12
    line.topics.produce("erasures", [word], key=b"cleo", partition=home("cleo"))
    line.ask(line.request("dora", 11, runs_out_ms=now_ms() - 1))
    another = line.request("emil", 99)
    another.journal.topic_id = b"another journal."
    line.ask(another)
    line.topics.produce("candidate-requests", [b"garbage"], key=b"emil", partition=home("emil"))
    line.ask(line.request("ada", 12, model="nobody"), line.request("emil", 12))
    forgotten = line.request("frida", 1)
    line.give_keys("frida")
    line.ask(forgotten)
    (key,) = line.topics.keys().held(b"frida")
    line.topics.bury("keys", key=name_of(b"frida", key.id), partition=home("frida"))

    process = line.process()
    line.until_drained(*people, "frida", by=process)
    line.until_answered({"ada-12": "no-model", "dora-11": "run-out", "emil-12": ""}, by=process)
    assert line.asked_for() == ["emil"]
    assert line.budget() == 1
    assert [one.reason for one in line.topics.dead_letters()] == ["no-frame"]
    assert process.running()
    assert "request.no_key" in process.log()


def test_what_is_taken_back_while_it_waits_is_not_asked_for_and_what_is_while_it_is_asked_for_is_not_written(
    line: Line,
) -> None:
    line.give_keys("ada", "ben", "cleo")
    line.model.mood = "holds"
    process = line.process()
    line.ask(line.request("ada", 1), line.request("ben", 1))
    until(lambda: len(line.model.calls) == 1, alive=process)
    (first,) = line.asked_for()
    waits = {"ada": "ben", "ben": "ada"}[first]
    line.take_back(waits, 2)
    line.ask(line.request(first, 2), line.request("cleo", 1))
    line.model.mood = "well"
    line.model.let_go()
    line.until_answered({f"{first}-2": "", "cleo-1": ""}, by=process)
    assert sorted(line.asked_for()) == sorted([first, first, "cleo"])


PAID = ("called",)
"""Of three requests the answer of the one that was paid for first is lost."""
STEPS = ("reserved", "called", "settled", "written")


@pytest.mark.parametrize(
    ("steps", "paid", "spoken_for"),
    [
        pytest.param(PAID, 4, 4, id="called"),
        # Of four kills two lost an answer that was paid for.
        pytest.param(
            STEPS,
            5,
            6,
            id="each",
            marks=pytest.mark.long(
                "tests/agents/test_generate.py::test_killed_at_each_step_it_repeats_only_the_call_whose_answer_was_lost[called]"
            ),
        ),
    ],
)
def test_killed_at_each_step_it_repeats_only_the_call_whose_answer_was_lost(
    line: Line, steps: tuple[str, ...], paid: int, spoken_for: int
) -> None:
    people = ("ada", "ben", "cleo")
    line.give_keys(*people)
    # An answer stands behind its request's place in the journal, which is empty here.
    line.ask(*(line.request(one, 0) for one in people))
    for step in steps:
        line.process(module="tests.agents.killed", KILLED_AFTER=step).wait()
    process = line.process()
    line.until_answered({f"{one}-0": "" for one in people}, by=process)
    line.until_drained(*people, by=process)
    assert len(line.model.calls) == paid
    assert line.budget() == spoken_for


def test_a_process_that_was_stopped_writes_nothing_when_it_wakes_and_who_took_over_answers_once(line: Line) -> None:
    line.give_keys("ada")
    line.model.mood = "holds"
    first = line.process()
    line.ask(line.request("ada", 1))
    until(lambda: len(line.model.calls) == 1, alive=first)
    first.suspend()
    second = line.process()
    line.model.mood = "well"
    line.until_answered({"ada-1": ""}, by=second)
    line.model.let_go()
    first.resume()
    assert first.wait() != 0
    line.until_drained("ada", by=second)
    assert [one.request_id for one in line.answers("ada")] == ["ada-1"]
    assert len(line.model.calls) == 2


@pytest.mark.long(
    "tests/agents/test_model_budget.py::test_of_three_who_ask_at_once_no_call_goes_past_the_budget_and_none_is_counted_twice"
)
def test_the_day_has_so_many_calls_over_restarts_and_a_kill_costs_one_at_most(line: Line) -> None:
    people = [f"person-{number}" for number in range(5)]
    line.give_keys(*people)
    line.ask(line.request(people[0], 1))
    line.process(module="tests.agents.killed", KILLED_AFTER="reserved", OO_LLM_DAY_CALLS="3").wait()
    process = line.process(OO_LLM_DAY_CALLS="3")
    line.until_answered({f"{people[0]}-1": ""}, by=process)
    assert process.stop() == 0
    process = line.process(OO_LLM_DAY_CALLS="3")
    line.ask(*(line.request(one, 1) for one in people[1:]))
    until(lambda: len(line.answers(*people)) == 5, alive=process)
    assert Counter(one.reason for one in line.answers(*people)) == {"": 2, "budget": 3}
    assert len(line.model.calls) == 2
    assert line.budget() == 3


def test_a_shadow_is_asked_behind_the_answer_and_what_it_writes_never_comes_into_the_journal(line: Line) -> None:
    line.give_keys("ada", "ben")
    process = line.process()
    line.ask(line.request("ada", 1, shadow=SHADOW.version), line.request("ben", 1))
    line.until_answered({"ada-1": "", "ben-1": ""}, by=process)
    until(lambda: len(line.shadows("ada", "ben")) == 1, alive=process)
    assert line.shadows("ada") == [("ada-1", "", ["Take ten minutes of air"])]
    assert [is_shadow(one) for one in line.model.calls] == [False, False, True]
    assert line.budget() == 3
    assert {one.prompt_version for one in line.answers("ada", "ben")} == {PROMPT}
    assert process.stop() == 0


def test_nobody_s_answer_waits_for_a_shadow_and_what_is_served_ends_its_call(line: Line) -> None:
    line.give_keys("ada", "ben")
    let_go, process = line.held_shadows(), line.process()
    line.ask(line.request("ada", 1, shadow=SHADOW.version))
    line.until_answered({"ada-1": ""}, by=process)
    line.until_drained("ada", by=process)
    until(lambda: len(line.model.calls) == 2, alive=process)
    line.ask(line.request("ben", 1))
    line.until_answered({"ada-1": "", "ben-1": ""}, by=process)
    assert not let_go.is_set()
    until(lambda: line.shadows("ada") == [("ada-1", "gave-way", [])], alive=process)
    let_go.set()
    assert line.budget() == len(line.model.calls) == 3


@pytest.mark.long(
    "tests/agents/test_generate.py::test_a_shadow_is_asked_behind_the_answer_and_what_it_writes_never_comes_into_the_journal"
)
def test_of_who_withdrew_or_left_no_shadow_is_written_and_none_is_asked_again_after_a_kill(line: Line) -> None:
    people = ("ada", "ben", "cleo", "dora")
    line.give_keys(*people)
    let_go, process = line.held_shadows(), line.process()

    def ask(whose: str, *, calls: int) -> None:
        line.ask(line.request(whose, 0, shadow=SHADOW.version))
        until(lambda: len(line.model.calls) == calls, alive=process)

    ask("ada", calls=2)
    word = Erased(user_id="ada", receipt="receipt-of-leaving")
    word.journal.topic_id, word.journal.offset = line.topics.topic_id("journal"), 12
    line.topics.produce("erasures", [word], key=b"ada", partition=home("ada"))
    let_go.set()
    until(lambda: line.tokens() == 2 * 70, alive=process)
    let_go = line.held_shadows()
    ask("ben", calls=4)
    line.take_back("ben", 1)
    let_go.set()
    let_go = line.held_shadows()
    ask("cleo", calls=6)
    process.kill()
    let_go.set()
    process = line.process()
    ask("dora", calls=8)
    until(lambda: len(line.shadows(*people)) == 1, alive=process)
    assert line.shadows(*people) == [("dora-0", "", ["Take ten minutes of air"])]
    assert Counter(map(is_shadow, line.model.calls)) == {False: 4, True: 4}


def test_shadows_have_half_of_a_day_s_calls_and_none_where_the_model_was_not_heard(line: Line) -> None:
    people = [f"person-{number}" for number in range(4)]
    line.give_keys(*people)
    process, wanted = line.process(OO_LLM_DAY_CALLS="6"), {}
    for number, whose in enumerate(people):
        line.model.mood = "busy" if number == 1 else "well"
        line.ask(line.request(whose, 1, shadow=SHADOW.version))
        wanted[f"{whose}-1"] = "rate-limited" if number == 1 else ""
        line.until_answered(wanted, by=process)
        until(lambda done=number: len(line.shadows(*people)) == max(1, done), alive=process)
    assert Counter(reason for _, reason, _ in line.shadows(*people)) == {"": 1, "budget": 2}
    assert line.budget() == len(line.model.calls) == 5
