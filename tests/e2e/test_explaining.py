"""Why a person was told what they were told, and what would have had to be different: asked of a stack, made again from its journal."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from command import called, oo
from outside import client, send, settled, settled_tip, state_of, task

from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2
from streams.frames import Frames
from streams.partitioner import partition_of
from streams.reader import read_partition
from streams.sealing import Sealing
from tables import slates

QUIET = {"start_minute": 0, "end_minute": 1440, "weekdays": 127}


def explained(stack: RunningStack, user: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(called("explain", "--user", user, "--json", *options, state_of(stack)).stdout)
    return found


def logged(stack: RunningStack, user: str, decision_id: str) -> decision_pb2.Decision:
    """The decision as it stands in oo.decisions."""
    whose = stack.pseudonym(user).encode()

    async def read() -> decision_pb2.Decision:
        number = partition_of(whose, stack.cluster.topics["decisions"].partitions)
        sealing = Sealing(Frames(), await read_keys(stack.cluster, stack.kek_dir, partition=number))
        async for records in read_partition(stack.cluster, stack.cluster.name("decisions"), number):
            for record in records:
                if record.key == whose:
                    found = sealing.unframe("decisions", record.value, whose=whose)
                    assert isinstance(found, decision_pb2.Decision)
                    if found.decision_id == decision_id:
                        return found
        raise AssertionError(decision_id)

    return asyncio.run(read())


def test_a_tip_is_explained_with_the_probabilities_that_were_logged_and_texts_are_covered(stack: RunningStack) -> None:
    user, word = f"why-{uuid.uuid4().hex[:8]}", f"w{uuid.uuid4().hex[:8]}"
    before = datetime.now(UTC).isoformat()
    send(stack, "signals", *(task(user, f"{word}{n}", f"{word} {n}", priority=n) for n in (1, 2, 4)))
    with client(stack, user) as http:
        tip = settled_tip(stack, http)
    one = explained(stack, user, "--decision", tip["decision_id"])
    of_the_log = slates.spelled_out(logged(stack, user, tip["decision_id"]))
    assert [(c["propensity"], c["score"], c["draws_won"]) for c in one["slate"]] == [
        (c.propensity, c.score, c.draws_won) for c in of_the_log
    ]
    assert one["chosen_again_the_same"] and word not in json.dumps(one)
    shown = explained(stack, user, "--decision", tip["decision_id"], "--reveal")
    assert shown["slate"][shown["chosen"] - 1]["title"] == tip["title"]
    looks = json.loads(called("audit", "--user", user, "--json", state_of(stack)).stdout)
    assert [look["command"] for look in looks] == ["oo explain --reveal"]

    other = next(c["number"] for c in one["slate"] if c["kind"] == "TASK" and c["number"] != one["chosen"])
    why = explained(stack, user, "--decision", tip["decision_id"], "--instead", str(other))["instead"]
    assert (why["number"], why["held"]) == (other, []) and why["flips"]
    told = oo("explain", "--user", user, "--instead", str(other), state_of(stack)).stdout
    assert "the same, probabilities and all" in told and f"Why not {other}: it could have been chosen" in told

    none = called("explain", "--user", user, "--at", before, state_of(stack), check=False)
    assert none.returncode == 1 and "nothing was decided" in none.stderr
    wrong = called("explain", "--user", user, "--instead", "99", state_of(stack), check=False)
    assert wrong.returncode == 1 and "was not among" in wrong.stderr


def test_who_was_told_nothing_hears_what_held_back_each_candidate_and_until_when(stack: RunningStack) -> None:
    user = f"silent-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", {"user_id": user, "source": "test", "profile_changed": {"quiet_hours": QUIET}})
    send(stack, "signals", task(user, "1", "Sleep"))
    settled(stack)
    one = explained(stack, user)
    assert one["slate"][one["chosen"] - 1]["kind"] == "NONE"
    assert "quiet-hours" in one["why_nothing"] and "never by itself" in one["why_nothing"]
    task_number = next(c["number"] for c in one["slate"] if c["kind"] == "TASK")
    why = explained(stack, user, "--instead", str(task_number))["instead"]
    assert [held["reason"] for held in why["held"]] == ["quiet-hours"]
    told = called("explain", "--user", user, "--at", "0s", state_of(stack)).stdout
    assert "this one stood" in told and "Why nothing" in told
