"""Quiet hours and consents on the whole stack: set through Kafka and on the command line, seen over HTTP."""

from __future__ import annotations

import json
import uuid

from command import called, oo
from outside import client, eventually, send, settled, settled_tip, state_of, task, tip

from deploy.stack.running import RunningStack


def someone(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_quiet_hours_told_through_kafka_take_the_tip_away_and_lifting_them_brings_it_back(stack: RunningStack) -> None:
    user = someone("quiet")

    def quiet(start: int, end: int) -> dict[str, object]:
        hours = {"start_minute": start, "end_minute": end}
        return {"user_id": user, "source": "test", "profile_changed": {"quiet_hours": hours}}

    send(stack, "signals", task(user, "1", "Call the dentist", priority=1))
    with client(stack, user) as http:
        settled_tip(stack, http)
        send(stack, "signals", quiet(0, 1440))
        eventually(lambda: http.get("/v1/tip").status_code, lambda status: status == 204)
        # What arrives meanwhile is not said either.
        send(stack, "signals", task(user, "2", "Water the plants", priority=1))
        settled(stack)
        assert http.get("/v1/tip").status_code == 204
        send(stack, "signals", quiet(0, 0))
        eventually(lambda: tip(http))


def test_a_person_sets_their_own_rails_on_the_command_line_and_sees_what_stands(stack: RunningStack) -> None:
    user, state = someone("own"), state_of(stack)
    send(stack, "signals", task(user, "1", "Call the dentist", priority=1))
    first = json.loads(
        oo(
            "profile", "--user", user, "--time-zone", "Asia/Tokyo", "--quiet", "22:00-07:00 fri,sat", "--json", state
        ).stdout
    )
    assert first["time_zone"] == "Asia/Tokyo"
    assert first["quiet_hours"] == {"start": "22:00", "end": "07:00", "days": ["fri", "sat"]}
    second = json.loads(
        called(
            "profile",
            "--user",
            user,
            "--consent",
            "tasks=off",
            "--consent",
            "starter=off",
            "--consent",
            "source:work=off",
            "--per-day",
            "5",
            "--json",
            state,
        ).stdout
    )
    assert second["quiet_hours"] == first["quiet_hours"]
    assert [name for name, given in second["consents"].items() if given] == ["calendar", "generated", "learning"]
    assert second["withdrawn_sources"] == ["work"]
    assert (second["tips_per_hour"], second["tips_per_day"]) == (None, 5)
    with client(stack, user) as http:
        eventually(lambda: http.get("/v1/tip").status_code, lambda status: status == 204)
    shown = called("profile", "--user", user, state).stdout
    assert "calendar, generated, learning; not tasks, notifications, email, starter, source:work" in shown
    assert "22:00 to 07:00, beginning fri, sat" in shown
    again = json.loads(called("profile", "--user", user, "--consent", "tasks=on", "--json", state).stdout)
    assert again["consents"]["tasks"]
