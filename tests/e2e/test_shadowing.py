"""Shadows beside the served policy on a whole stack, and a policy promoted by hand and rolled back."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from contextlib import suppress
from typing import Any

import psycopg
from command import called, oo
from outside import client, eventually, send, settled_tip, state_of, task, tip

from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import evaluation_pb2
from streams.frames import Frames
from streams.keys import opened_by
from streams.messages import read
from streams.reader import end_offsets, read_partition
from streams.sealing import KeyMissing


def policies(stack: RunningStack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(called("policies", "--json", state_of(stack)).stdout)
    return found


def counted(stack: RunningStack) -> dict[str, int]:
    """Decisions with a reward, by policy."""
    whole = [one for one in policies(stack)["estimates"] if one["kind"] == "TIP_KIND_UNSPECIFIED"]
    return {one["policy"]: int(one["n"]) for one in whole}


async def shadows_of(stack: RunningStack, decision_id: str) -> list[evaluation_pb2.Said]:
    schemas, topic, found = Frames(), stack.cluster.name("shadows"), []
    keys = await read_keys(stack.cluster, stack.kek_dir)
    for number in await end_offsets(stack.cluster, topic):
        async for records in read_partition(stack.cluster, topic, number):
            for record in records:
                one = read(schemas, "shadows", record)  # other tests put junk there
                if isinstance(one, evaluation_pb2.ShadowDecision):
                    with suppress(KeyMissing):  # of somebody who left
                        inside = await opened_by(keys, one, whose=record.key or b"")
                        found += inside.said if inside.decision_id == decision_id else ()
    return found


def served_by(stack: RunningStack, user: str) -> str:
    """The policy of the user's newest decision."""
    with psycopg.connect(stack.recommender_dsn) as connection:
        query = "SELECT policy_version FROM decisions WHERE user_id = %s ORDER BY decided_ms DESC LIMIT 1"
        (version,) = connection.execute(query, (stack.pseudonym(user),)).fetchone() or ("",)
        return str(version).split("-")[0]


def test_shadows_decide_on_every_live_slate_and_what_they_would_earn_is_counted(stack: RunningStack) -> None:
    before, user = counted(stack), f"shadowed-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", *(task(user, str(n), f"Task {n}") for n in range(3)))
    with client(stack, user) as http:
        shown = settled_tip(stack, http)
        done = {"decision_id": shown["decision_id"], "reaction": "done"}
        assert http.post("/v1/feedback", json=done).status_code == 202
    # They are in no hurry, and other tests have made many decisions.
    found = eventually(lambda: asyncio.run(shadows_of(stack, shown["decision_id"])))
    assert [one.policy for one in found] == ["mixed", "lin_ts", "linucb"]
    assert all(abs(sum(one.propensities) - 1) < 1e-9 for one in found)
    after = eventually(lambda: counted(stack), lambda n: n.get("lin_ts", 0) > before.get("lin_ts", 0))
    assert after["mixed"] == after["lin_ts"] == after["linucb"]


def test_a_policy_promoted_by_hand_decides_and_can_be_rolled_back(stack: RunningStack) -> None:
    user = f"promoted-{uuid.uuid4().hex[:8]}"
    assert policies(stack)["champion"] == "mixed"
    try:
        oo("policies", "promote", "lin_ts", "--why=a test", "--as=promoter", state_of(stack))
        eventually(lambda: policies(stack)["version"], lambda version: version.startswith("lin_ts-"))
        send(stack, "signals", task(user, "1", "Call the dentist"))
        with client(stack, user) as http:
            eventually(lambda: tip(http))
        eventually(lambda: served_by(stack, user), lambda name: name == "lin_ts")
    finally:
        called("policies", "promote", "mixed", "--why=the test is over", "--as=promoter", state_of(stack))
    eventually(lambda: policies(stack)["version"], lambda version: version.startswith("mixed-"))
    assert [(one["policy"], one["cause"]) for one in policies(stack)["promotions"][-2:]] == [
        ("lin_ts", "BY_HAND"),
        ("mixed", "BY_HAND"),
    ]
    said = oo("policies", state_of(stack)).stdout
    assert re.search(r"mixed promoted by hand by \S+ after lin_ts: the test is over", said), said


def test_what_cannot_be_served_cannot_be_promoted(stack: RunningStack) -> None:
    refused = called("policies", "promote", "mixed_rff", "--why=no", "--as=promoter", state_of(stack), check=False)
    assert refused.returncode == 1
    assert "cannot be served" in refused.stderr
