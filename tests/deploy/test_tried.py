"""What models wrote of late is counted by prompt, served and in the shadow, and a judge is asked of no more than may be told it."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from google.protobuf.message import Message

from agents.evaluation.agreement import agreement
from connectors.models import Models
from deploy.judging import Scores, Verdict, in_turn, judged, may_be_told, rows
from deploy.prompted import Compared
from deploy.prompts_page import page
from deploy.stack.running import RunningStack
from deploy.stack.topics import ensure_topics
from deploy.tried import Tip, Version, Wrote, wrote
from oo.v1.decision_pb2 import Ask, AskedTask, CandidateRequest
from oo.v1.journal_pb2 import Candidates, Dropped, GeneratedTip, JournalRecord, Position
from oo.v1.row_pb2 import UserRow
from oo.v1.shadow_candidates_pb2 import ShadowCandidates
from streams.frames import Frames
from streams.reader import topic_id
from streams.sealing import NO_KEYS
from tables.purposes import CALENDAR, LEARNING
from tests.model_server import ModelServer

SERVED, SHADOW = Version("tips@1", "tip-generator"), Version("new@2", "tip-generator", in_shadow=True)


def tip(n: int, *, whose: str = "ada") -> Tip:
    ask = Ask(tasks=[AskedTask(id="task:a/1", title="Tax return")])
    return Tip(f"r{n}-0", whose, 1_000, ask, f"Find the letter number {n}", "")


def of(*tips: Tip) -> Wrote:
    made = Wrote(answers=len(tips), tips=len(tips))
    made.sample = [(-n, one) for n, one in enumerate(tips)]
    return made


def test_each_prompt_is_judged_in_its_turn() -> None:
    found = in_turn({SERVED: of(tip(1), tip(2), tip(3)), SHADOW: of(tip(4))})
    assert [one.external_id for _, one in found] == ["r1-0", "r4-0", "r2-0", "r3-0"]


@pytest.mark.long(
    "tests/deploy/test_tried.py::test_each_prompt_is_judged_in_its_turn",
    "tests/deploy/test_tried.py::test_of_who_withdrew_or_left_or_said_anything_since_a_judge_is_told_nothing",
)
def test_a_judge_is_asked_so_often_of_whom_it_may_be_told_and_agrees_with_what_people_did(tmp_path: Path) -> None:
    people = {"ada": UserRow(user_id="ada"), "ben": UserRow(user_id="ben")}
    people["ben"].consents.add(purpose=CALENDAR, granted=True, since_ms=2_000)
    wrote = {
        SERVED: of(tip(1), tip(2), tip(3, whose="ben"), tip(4, whose="nobody"), *map(tip, range(5, 30))),
        SHADOW: of(*map(tip, range(30, 60))),
    }

    async def row_of(whose: str) -> UserRow | None:
        return people.get(whose)

    def says(asked: dict[str, Any]) -> str:
        title = json.loads(asked["messages"][1]["content"])["tip"]["title"]
        useful = 5 if int(title.split()[-1]) % 2 else 1
        return json.dumps({"useful": useful, "specific": 3, "safe": 5})

    async def ask() -> Verdict:
        models = Models.of(model.file(tmp_path, "judge"))
        done = {f"r{n}-0": n % 2 == 1 for n in range(25)}
        return await judged(models, wrote, most=50, row_of=row_of, done=done)

    with ModelServer() as model:
        model.says = says
        verdict = asyncio.run(ask())
        assert len(model.calls) == verdict.calls == 50
        told = [json.loads(one["messages"][1]["content"])["tip"]["title"] for one in model.calls]
        assert not {"Find the letter number 3", "Find the letter number 4"} & {*told}
    assert (verdict.passed_over, verdict.failures, verdict.tokens) == (2, {}, 50 * 70)
    served, shadow = verdict.scores[SERVED], verdict.scores[SHADOW]
    assert (len(served.said) + len(shadow.said), shadow.reacted) == (50, [])
    assert served.agreement().share == 1.0
    assert served.agreement().tells
    assert served.agreement().low > 0.6


def test_a_judge_that_is_gone_is_asked_three_times(tmp_path: Path) -> None:
    async def ask() -> Verdict:
        models = Models.of(model.file(tmp_path, "judge"))
        return await judged(models, {SERVED: of(*map(tip, range(9)))}, most=9, row_of=known, done={})

    async def known(whose: str) -> UserRow:
        return UserRow(user_id=whose)

    with ModelServer() as model:
        model.mood = "busy"
        verdict = asyncio.run(ask())
    assert (verdict.calls, verdict.failures, verdict.scores) == (3, {"rate-limited": 3}, {})


def test_of_who_withdrew_or_left_or_said_anything_since_a_judge_is_told_nothing() -> None:
    row = UserRow(user_id="ada")
    assert may_be_told(row, since_ms=5)
    assert not may_be_told(None, since_ms=5)
    row.consents.add(purpose=LEARNING, granted=False, since_ms=1)
    assert not may_be_told(row, since_ms=5)
    row.consents[0].granted, row.consents[0].since_ms = True, 5
    assert not may_be_told(row, since_ms=5)
    assert may_be_told(row, since_ms=6)
    row.consents.add(source="todo.txt", granted=False, since_ms=1)
    assert not may_be_told(row, since_ms=6)
    left = UserRow(user_id="ada")
    left.left.SetInParent()
    assert not may_be_told(left, since_ms=5)


@pytest.mark.parametrize(("up", "down", "share"), [([5, 4], [1, 2], 1.0), ([1, 5], [1, 5], 0.5), ([1], [2, 3], 0.0)])
def test_agreement_is_how_often_what_was_done_scores_higher(up: list[int], down: list[int], share: float) -> None:
    found = agreement([*((one, True) for one in up), *((one, False) for one in down)])
    assert found.share == share
    assert 0 <= found.low <= share <= found.high <= 1
    assert not found.tells


def test_bounds_of_an_agreement_hold_as_often_as_they_say() -> None:
    import numpy as np

    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        ups, downs = rng.normal(1.0, 1.0, 20), rng.normal(0.0, 1.0, 30)
        found = agreement([*((float(one), True) for one in ups), *((float(one), False) for one in downs)])
        held += found.low <= 0.7602 <= found.high  # Phi(1 / sqrt 2)
    assert held >= 300 * 0.92


def test_what_was_written_is_counted_by_prompt_and_not_of_who_asked_in_another_journal(servers: RunningStack) -> None:
    cluster = replace(servers.cluster, prefix=f"tried-{uuid.uuid4().hex[:6]}.")
    ensure_topics(cluster)
    journal_id = asyncio.run(topic_id(cluster, "journal"))
    producer = Producer(cluster.rdkafka())

    def put(topic: str, *messages: Message) -> None:
        for message in messages:
            producer.produce(cluster.name(topic), Frames().frame(topic, message), b"ada", 0)

    def request(n: int, **more: Any) -> CandidateRequest:
        made = CandidateRequest(request_id=f"r{n}", requested_ms=n * 1000, **more)
        made.journal.CopyFrom(Position(topic_id=journal_id, offset=0) if not more else more["journal"])
        made.ask.tasks.add(id="task:a/1", title="Tax return")
        return made

    def answer(n: int, prompt: str, *titles: str, **more: Any) -> Candidates:
        tips = [GeneratedTip(external_id=f"r{n}-{at}", title=one) for at, one in enumerate(titles)]
        return Candidates(request_id=f"r{n}", prompt_version=prompt, model="tip-generator", tips=tips, **more)

    elsewhere = request(9, journal=Position(topic_id=b"another journal."))
    put("candidate-requests", request(1), request(2), request(3), elsewhere)
    put(
        "journal",
        *(
            JournalRecord(candidates=one)
            for one in (
                answer(
                    1,
                    "tips@1",
                    "Find the letter",
                    "Look up the number",
                    tokens_in=50,
                    tokens_out=20,
                    pairs=1,
                    alike=400,
                ),
                answer(1, "tips@1", "Again"),
                answer(2, "tips@1", reason="held-back", dropped=[Dropped(guard="echo", count=3)]),
                answer(3, "tips@1", reason="timeout"),
                answer(9, "tips@1", "Another"),
            )
        ),
    )
    shadow = answer(1, "new@2", "Open the folder", tokens_in=40)
    put("shadow-candidates", ShadowCandidates(journal=request(1).journal, candidates=shadow))
    assert producer.flush(30) == 0
    found = asyncio.run(wrote(cluster, NO_KEYS))
    served, beside = found[SERVED], found[SHADOW]
    assert (served.answers, served.failed, served.tips, served.held, served.tokens) == (2, 1, 2, 3, 70)
    assert (served.likeness(), beside.likeness(), beside.tips, beside.tokens) == (400, None, 1, 40)
    assert {one.title for _, one in beside.sample} == {"Open the folder"}
    told = rows(found, Verdict())
    assert [row[:3] for row in told] == [("new@2", "tip-generator", "shadow"), ("tips@1", "tip-generator", "served")]


def test_the_page_shows_the_shadow_and_what_the_judge_says() -> None:
    wrote = {SERVED: of(tip(1)), SHADOW: of(tip(2))}
    assert "judged" not in page(Compared(), wrote, Verdict())
    scores = Scores(said=[judge_said(4), judge_said(2)])
    told = page(Compared(), wrote, Verdict(scores={SHADOW: scores}, calls=2))
    assert 'alt="The judge&#x27;s mean scores: new@2 by tip-generator (shadow) 3.7"' in told
    assert "new@2 by tip-generator (shadow)" in told
    assert "http" not in told.replace("http://www.w3.org", "")


def judge_said(useful: int) -> Any:
    from agents.generation.judge import Judged

    return Judged(useful, 3, 5)
