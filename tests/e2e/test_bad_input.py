"""What comes in wrong is refused with its reason, and the next good event goes through at once."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command import called, oo
from confluent_kafka import KafkaException
from outside import client, eventually, known, letters, send, settled, state_of, task, tip

from deploy.stack.running import RunningStack

JSON = [("content-type", b"application/json")]


def bad(user: str) -> dict[str, tuple[str, Any, list[tuple[str, bytes]]]]:
    """What is wrong -> the reason it is refused for, the value, its headers."""
    ahead = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    return {
        "garbage bytes": ("no-frame", b"\xff\xfe not a frame", []),
        "an unknown schema id": ("unknown-schema", b"\x00\x00\x0f\x42\x40\x00abc", []),
        "a truncated frame": ("truncated", b"\x00\x00\x00", []),
        "broken JSON": ("bad-json", b'{"user_id": ', JSON),
        "an unknown field": ("bad-json", {**task(user, "1", "x"), "colour": "red"}, JSON),
        "a missing user id": ("invalid", {**task("", "1", "x")}, JSON),
        "a time a year ahead": ("time-ahead", {**task(user, "1", "x"), "event_time": ahead}, JSON),
        "a title of 100 kB": ("invalid", task(user, "1", "x" * 100_000), JSON),
        "a title with control characters": ("invalid", task(user, "1", "x\x07y"), JSON),
        "no payload": ("invalid", {"user_id": user, "source": "test"}, JSON),
        "an unknown time zone": (
            "unknown-time-zone",
            {"user_id": user, "profile_changed": {"time_zone": "Mars/Olympus"}},
            JSON,
        ),
    }


@pytest.fixture(scope="module")
def refused(stack: RunningStack) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """What was sent wrong -> the next good event's user and the letters that it became: sent at once, waited for once."""
    sent = {}
    for what in bad(""):
        user = f"bad-{uuid.uuid4().hex[:8]}"
        _, value, headers = bad(user)[what]
        (place,) = send(stack, "signals", value, headers=headers)
        send(stack, "signals", task(user, "good", "A good one"), partition=place[0])
        sent[what] = user, place

    def found() -> dict[str, tuple[str, list[dict[str, Any]]]]:
        all_letters = [one for one in letters(stack) if one["topic"].endswith("signals")]
        return {
            what: (user, [one for one in all_letters if (one["partition"], one["offset"]) == place])
            for what, (user, place) in sent.items()
        }

    # A schema id that nobody knows is asked for again and again, and what stands behind it waits.
    return eventually(found, lambda now: all(mine for _, mine in now.values()))


@pytest.mark.parametrize("what", sorted(bad("")))
def test_is_refused_with_its_reason_and_the_next_good_event_goes_through(
    stack: RunningStack, refused: dict[str, tuple[str, list[dict[str, Any]]]], what: str
) -> None:
    user, mine = refused[what]
    assert [one["reason"] for one in mine] == [bad(user)[what][0]]
    shown = json.loads(called("dead-letters", "show", mine[0]["id"], state_of(stack)).stdout)
    assert shown["original"] and shown["detail"]
    with client(stack, user) as http:
        assert (eventually(lambda: tip(http)) or {})["title"] == "A good one"


def test_emoji_and_right_to_left_text_come_through_unchanged(stack: RunningStack) -> None:
    user, title = f"emoji-{uuid.uuid4().hex[:8]}", "לקנות חלב 🥛👩‍👧 ئەمڕۆ"
    send(stack, "signals", task(user, "1", title))
    with client(stack, user) as http:
        assert (eventually(lambda: tip(http)) or {})["title"] == title


def test_five_megabytes_in_one_message_are_refused_by_the_broker(stack: RunningStack) -> None:
    with pytest.raises((KafkaException, AssertionError), match=r"(?i)too large|size"):
        send(stack, "signals", b"x" * 5_000_000)


@pytest.mark.long(
    "tests/e2e/test_sources.py::test_of_three_hundred_lines_what_did_not_fit_comes_in_once_a_hundred_are_ticked_off"
)
@pytest.mark.crowd
def test_ten_thousand_tasks_keep_the_best_and_lose_none(stack: RunningStack) -> None:
    def full() -> int:
        return sum(one["reason"] == "backlog-full" for one in letters(stack))

    user, before = f"many-{uuid.uuid4().hex[:8]}", full()
    send(stack, "signals", *(task(user, str(n), f"Task {n}", priority=1 + n % 4) for n in range(10_000)))
    with client(stack, user) as http:
        assert eventually(lambda: tip(http)) is not None
    settled(stack)
    row = known(stack, user)
    assert len(row["tasks"]) == 256
    assert {one["priority"] for one in row["tasks"]} == {1}
    assert full() - before == 10_000 - 256


def test_a_reaction_to_somebody_elses_decision_is_refused(stack: RunningStack) -> None:
    ada, eve = f"ada-{uuid.uuid4().hex[:8]}", f"eve-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(ada, "1", "Call the dentist"))
    with client(stack, ada) as http:
        decision_id = (eventually(lambda: tip(http)) or {})["decision_id"]
    with client(stack, eve) as http:
        answer = http.post("/v1/feedback", json={"decision_id": decision_id, "reaction": "done"})
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("application/problem+json")
    before = len([one for one in letters(stack) if one["reason"] == "unknown-decision"])
    send(stack, "reactions", {"user_id": eve, "decision_id": decision_id, "kind": "DONE"})
    eventually(lambda: len([one for one in letters(stack) if one["reason"] == "unknown-decision"]) == before + 1)


def test_a_letter_that_was_mended_on_our_side_can_be_sent_again(stack: RunningStack) -> None:
    user = f"again-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", *(task(user, str(n), f"Task {n}", priority=1) for n in range(257)))
    settled(stack)
    mine = [one for one in letters(stack) if one["reason"] == "backlog-full"]
    before = row(stack, user)
    assert len(before["tasks"]) == 256
    # Room for one more: what had to leave comes back, and nobody is made of the name that they have behind the door.
    gone = before["tasks"][0]["external_id"]
    send(stack, "signals", {"user_id": user, "source": "test", "task_removed": {"external_id": gone}})
    settled(stack)
    oo("dead-letters", "redrive", "--as=redriver", mine[-1]["id"], state_of(stack))
    settled(stack)
    assert {one["external_id"] for one in row(stack, user)["tasks"]} == {f"{n}" for n in range(257)} - {gone}
    nobody = called("state", "--user", stack.pseudonym(user), state_of(stack), check=False)
    assert (nobody.returncode, "nothing is known" in nobody.stderr) == (1, True)


def row(stack: RunningStack, user: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(called("state", "--user", user, "--json", "--reveal", state_of(stack)).stdout)
    return found
