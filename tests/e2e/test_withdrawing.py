"""Consents on the whole stack: withdrawn over HTTP, gone from the next decision; granted again only by who knows of the withdrawal."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

from command import called
from outside import client, eventually, send, settled, settled_tip, state_of, task, tip

from agents.features import PLACE
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2
from streams.sealing import opened
from tables import slates
from tables.purposes import BY_NAME
from tests.serving.topic import messages

MASKED = [PLACE[name] for name in BY_NAME["calendar"].features]


def last_slate(stack: RunningStack, user: str) -> list[decision_pb2.Candidate]:
    """Every candidate of the last decision, as it stands in Kafka."""
    settled(stack)
    found = messages(stack, "decisions", decision_pb2.Decision, user_id=stack.pseudonym(user))
    keys = asyncio.run(read_keys(stack.cluster, stack.kek_dir))
    return list(slates.spelled_out(opened(found[-1], whose=stack.pseudonym(user).encode(), keys=keys)))


def uses_the_calendar(slate: list[decision_pb2.Candidate]) -> bool:
    return any(one.x[at] for one in slate for at in MASKED) or any(one.id == "starter:gap" for one in slate)


def test_a_withdrawn_calendar_is_gone_from_the_next_decision_and_only_who_knows_of_that_brings_it_back(
    stack: RunningStack,
) -> None:
    user = f"consent-{uuid.uuid4().hex[:8]}"
    start_s = int(time.time()) + 100 * 60
    clock = "%Y-%m-%dT%H:%M:%SZ"
    event = {
        "external_id": "e",
        "title": "Dentist",
        "start": time.strftime(clock, time.gmtime(start_s)),
        "end": time.strftime(clock, time.gmtime(start_s + 3600)),
    }
    send(stack, "signals", {"user_id": user, "source": "ical", "calendar_event_upserted": event})
    send(stack, "signals", task(user, "1", "Call the dentist", priority=1, estimated_minutes=20))
    with client(stack, user) as http:

        def granted() -> bool:
            found: bool = http.get("/v1/me").json()["purposes"]["calendar"]["granted"]
            return found

        settled_tip(stack, http)
        assert uses_the_calendar(last_slate(stack, user))
        before = http.get("/v1/me")
        assert granted()

        answer = http.patch("/v1/me", json={"purposes": {"calendar": {"granted": False}}})
        assert answer.status_code == 202, answer.text
        eventually(granted, lambda one: not one)
        assert not uses_the_calendar(last_slate(stack, user))
        shown = eventually(lambda: tip(http))
        assert shown is not None
        assert not [line for line in shown["why"] if "Dentist" in line]

        # One that was asked for before, and comes now.
        late = {"purpose": "PURPOSE_CALENDAR", "granted": True}
        send(stack, "subject-requests", {"request_id": uuid.uuid4().hex, "user_id": user, "consent_changed": late})
        # A producer's word gives nothing again either.
        send(
            stack,
            "signals",
            {"user_id": user, "source": "x", "profile_changed": {"task_tips": True, "tips_per_day": 400}},
        )
        settled(stack)
        assert not granted()
        grant = {"purposes": {"calendar": {"granted": True}}}
        stale = http.patch("/v1/me", json=grant, headers={"if-match": before.headers["etag"]})
        assert (stale.status_code, http.patch("/v1/me", json=grant).status_code) == (412, 428)
        assert not uses_the_calendar(last_slate(stack, user))

        now = http.get("/v1/me").headers["etag"]
        assert http.patch("/v1/me", json=grant, headers={"if-match": now}).status_code == 202
        eventually(granted)
        assert uses_the_calendar(last_slate(stack, user))

        told = json.loads(
            called("profile", "--user", user, "--consent", "calendar=off", "--json", state_of(stack)).stdout
        )
        assert told["consents"]["calendar"] is False
        eventually(granted, lambda one: not one)
