"""Somebody who signed in and sent nothing, on the whole stack: a tip to begin with, what it teaches, and what replaces it."""

from __future__ import annotations

import uuid
from contextlib import ExitStack

import httpx
from outside import client, eventually, settled, tip

from deploy.stack.running import RunningStack
from oo.v1 import outcome_pb2
from tests.serving.topic import messages


def newcomer(stack: RunningStack, open_: ExitStack) -> tuple[str, httpx.Client, httpx.Response]:
    """Somebody new, and the answer to the first thing that they ever asked. Of 400, one is to have no tip."""
    for _ in range(3):
        user = f"new-{uuid.uuid4().hex[:8]}"
        http = open_.enter_context(client(stack, user))
        # A busy machine may take longer than a read waits.
        eventually(lambda http=http: http.get("/v1/tip"), lambda answer: "retry-after" not in answer.headers)
        answer = http.get("/v1/tip")
        if answer.status_code == 200:
            return user, http, answer
    raise AssertionError("three newcomers, and no tip for any")


def test_somebody_who_sent_nothing_gets_a_tip_to_begin_with_and_their_reaction_to_it_teaches(
    stack: RunningStack,
) -> None:
    with ExitStack() as open_:
        user, http, answer = newcomer(stack, open_)
        first = answer.json()
        assert first["kind"] == "starter"
        assert first["why"]
        reaction = {"decision_id": first["decision_id"], "reaction": "done"}
        assert http.post("/v1/feedback", json=reaction).status_code == 202
        whose = stack.pseudonym(user)
        outcomes = eventually(lambda: messages(stack, "outcomes", outcome_pb2.Outcome, user_id=whose))
    assert [(one.kind, one.decision_id, one.learned) for one in outcomes] == [
        (outcome_pb2.Outcome.DONE, first["decision_id"], True)
    ]


def test_the_first_task_of_their_own_replaces_the_tip_to_begin_with_that_somebody_has_seen(stack: RunningStack) -> None:
    with ExitStack() as open_:
        _, http, answer = newcomer(stack, open_)
        seen = {"decision_id": answer.json()["decision_id"], "reaction": "seen"}
        assert http.post("/v1/feedback", json=seen).status_code == 202
        settled(stack)
        task = {"source": "test", "task_upserted": {"external_id": "1", "title": "Call the dentist", "priority": 1}}
        assert http.post("/v1/signals", json=task).status_code == 202
        eventually(lambda: (tip(http) or {}).get("title"), lambda title: title == "Call the dentist")
