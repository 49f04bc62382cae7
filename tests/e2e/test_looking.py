"""What operators' commands show of a person's words, and that somebody looked."""

from __future__ import annotations

import base64
import io
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

from command import called
from outside import eventually, letters, send, settled, state_of

from deploy.stack.running import RunningStack


def looks(stack: RunningStack, user: str) -> list[dict[str, Any]]:
    """What is noted of who looked at this person's words."""
    found: list[dict[str, Any]] = json.loads(called("audit", "--user", user, "--json", state_of(stack)).stdout)
    return found


def seen_of(stack: RunningStack, number: int, offset: int) -> str:
    """What an operator is shown of the letter of this signal."""
    letter_id = f"{stack.cluster.name('signals')}/{number}/{offset}"
    eventually(lambda: [one for one in letters(stack) if one["id"] == letter_id])
    return called("dead-letters", "show", letter_id, state_of(stack)).stdout


def test_an_operator_sees_words_only_where_they_ask_and_it_is_noted_and_the_person_can_read_it(
    stack: RunningStack, tmp_path: Path
) -> None:
    user, word = f"seen-{uuid.uuid4().hex[:8]}", f"w{uuid.uuid4().hex[:8]}"
    told = {"external_id": f"{word}-id", "title": f"Ask {word}", "notes": word, "labels": [word], "priority": 2}
    event = {
        "external_id": word,
        "title": word,
        "start_time": "2030-01-01T10:00:00Z",
        "end_time": "2030-01-01T11:00:00Z",
    }
    send(stack, "signals", {"user_id": user, "source": "test", "task_upserted": told})
    send(stack, "signals", {"user_id": user, "source": "test", "calendar_event_upserted": event})
    settled(stack)

    for form in ([], ["--json"]):
        covered = called("state", "--user", user, *form, state_of(stack)).stdout
        assert (word in covered, "•••" in covered, stack.pseudonym(user) in covered) == (False, True, True)
    assert looks(stack, user) == []

    assert word in called("state", "--user", user, "--reveal", state_of(stack)).stdout
    [(number, offset)] = send(stack, "signals", {"user_id": user, "source": "test", "task_upserted": {"titel": word}})
    seen_of(stack, number, offset)
    file = tmp_path / "all.zip"
    called("export", str(file), "--user", user, state_of(stack))
    noted = looks(stack, user)
    assert [one["command"] for one in noted] == ["oo state --reveal", "oo dead-letters show", "oo export"]
    assert all(one["account"] and one["noted_ms"] > 0 for one in noted)

    # A letter that the door's key opens is noted for whom it names; one of a record without a value has its key.
    stranger = f"new-{uuid.uuid4().hex[:8]}"
    [(number, offset)] = send(stack, "signals", {"user_id": stranger, "source": "test", "task_upserted": {"titel": 1}})
    seen_of(stack, number, offset)
    empty = f"key-{uuid.uuid4().hex[:8]}"
    [(number, offset)] = send(stack, "signals", b"", key=empty)
    assert base64.b64encode(empty.encode()).decode() in seen_of(stack, number, offset)
    for one in (stranger, empty):
        assert [look["command"] for look in looks(stack, one)] == ["oo dead-letters show"]

    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as found:
        shown = json.loads(found.read("looked_at.json"))
    assert [one["command"] for one in shown] == ["oo state --reveal", "oo dead-letters show", "oo export"]
