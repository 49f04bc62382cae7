"""GET and PATCH /v1/me: what stands is shown with an ETag; a withdrawal is always taken, a grant only from who has read what stands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.valkey import TipStore
from deploy.stack.running import RunningStack
from oo.v1 import journal_pb2, settings_pb2, signal_pb2, subject_request_pb2
from serving.problems import ERRORS_MAX
from serving.schemas import MeChange, PurposeName
from tables.purposes import BY_NAME, PURPOSES
from tests.serving.edges import LiveEdge, problem
from tests.serving.topic import messages
from tests.serving.valkeys import ValkeyServer


def put(valkey: ValkeyServer, user_id: str, *, offset: int, topic_id: bytes = bytes(16), **fields: Any) -> bool:
    """Make settings stand for this user, as agents/publish does; says whether they were newer than what stood."""
    journal = journal_pb2.Position(topic_id=topic_id, offset=offset)
    settings = settings_pb2.Settings(user_id=user_id, journal=journal, told_ms=offset, **fields)

    async def write() -> list[bool]:
        store = TipStore(valkey.url)
        written = (await store.publish_settings([settings])).newer
        await store.close()
        return written

    return asyncio.run(write())[0]


def withdrawn(purpose: str, word: str) -> settings_pb2.Consent:
    return settings_pb2.Consent(purpose=BY_NAME[purpose].number, granted=False, since_ms=7, withdrawal=word)


def words(stack: RunningStack, user_id: str) -> list[subject_request_pb2.ConsentChanged]:
    found = messages(stack, "subject-requests", subject_request_pb2.SubjectRequest, user_id=user_id)
    assert len({one.request_id for one in found}) == len(found)
    return [one.consent_changed for one in found]


def test_somebody_of_whom_nothing_is_known_sees_every_purpose_at_its_default(edge: LiveEdge) -> None:
    with edge.client("me-new") as client:
        answer = client.get("/v1/me")
    assert answer.status_code == 200
    assert answer.headers["etag"].startswith('"none-')
    assert answer.headers["cache-control"] == "private, no-cache"
    body = answer.json()
    assert (body["time_zone"], body["quiet_hours"], body["sources"]) == (None, None, {})
    assert {name: one["granted"] for name, one in body["purposes"].items()} == {
        one.name: one.default for one in PURPOSES
    }
    calendar = body["purposes"]["calendar"]
    assert (calendar["since"], calendar["text"], calendar["text_version"]) == (
        None,
        BY_NAME["calendar"].text,
        BY_NAME["calendar"].text_version,
    )


def test_what_stands_is_shown_and_its_etag_is_of_it(edge: LiveEdge, valkey: ValkeyServer) -> None:
    profile = signal_pb2.ProfileChanged(
        quiet_hours=signal_pb2.QuietHours(start_minute=1320, end_minute=1440, weekdays=48), tips_per_day=9
    )
    consents = [withdrawn("calendar", "w"), settings_pb2.Consent(source="ical", granted=False, since_ms=8)]
    put(valkey, "me-known", offset=4, time_zone="Asia/Tokyo", profile=profile, consents=consents)
    with edge.client("me-known") as client:
        first = client.get("/v1/me")
        assert not put(valkey, "me-known", offset=3, time_zone="UTC")
        assert client.get("/v1/me").headers["etag"] == first.headers["etag"]
        assert put(valkey, "me-known", offset=5, time_zone="UTC")
        assert client.get("/v1/me").headers["etag"] != first.headers["etag"]
    body = first.json()
    assert body["time_zone"] == "Asia/Tokyo"
    assert body["quiet_hours"] == {"start": "22:00", "end": "24:00", "days": ["fri", "sat"]}
    assert (body["tips_per_hour"], body["tips_per_day"]) == (None, 9)
    assert body["purposes"]["calendar"]["granted"] is False
    assert body["purposes"]["calendar"]["since"] == "1970-01-01T00:00:00.007Z"
    assert body["sources"] == {"ical": {"granted": False, "since": "1970-01-01T00:00:00.008Z"}}


def test_settings_of_a_journal_that_was_made_anew_take_the_place_of_older_ones(valkey: ValkeyServer) -> None:
    assert put(valkey, "me-anew", offset=40)
    assert not put(valkey, "me-anew", offset=39, topic_id=b"n" * 16)
    assert put(valkey, "me-anew", offset=41, topic_id=b"n" * 16)


def test_a_withdrawal_is_taken_from_who_has_read_nothing(whole_edge: LiveEdge, servers: RunningStack) -> None:
    body = {"purposes": {"calendar": {"granted": False}}, "sources": {"ical": {"granted": False}}}
    with whole_edge.client("me-out") as client:
        answer = client.patch("/v1/me", json=body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    calendar, ical = words(servers, "me-out")
    assert (calendar.purpose, calendar.granted, calendar.text_version) == (BY_NAME["calendar"].number, False, "1")
    assert (ical.source, ical.granted, ical.knows_of) == ("ical", False, "")


def test_a_grant_names_the_withdrawal_that_was_read(
    whole_edge: LiveEdge, servers: RunningStack, valkey: ValkeyServer
) -> None:
    consents = [withdrawn("calendar", "w-1"), settings_pb2.Consent(source="ical", granted=False, withdrawal="w-2")]
    put(valkey, "me-in", offset=4, consents=consents)
    body = {
        "purposes": {"calendar": {"granted": True}, "email": {"granted": True}, "learning": {"granted": False}},
        "sources": {"ical": {"granted": True}},
    }
    with whole_edge.client("me-in") as client:
        read = client.get("/v1/me")
        answer = client.patch("/v1/me", json=body, headers={"if-match": read.headers["etag"]})
    assert answer.status_code == 202
    said = words(servers, "me-in")
    assert [(one.source or one.purpose, one.granted, one.knows_of) for one in said] == [
        (BY_NAME["learning"].number, False, ""),
        (BY_NAME["calendar"].number, True, "w-1"),
        (BY_NAME["email"].number, True, ""),
        ("ical", True, "w-2"),
    ]


@pytest.mark.parametrize("stated", [None, "*"])
def test_a_grant_from_who_has_read_nothing_is_refused(edge: LiveEdge, stated: str | None) -> None:
    with edge.client("me-blind") as client:
        answer = client.patch(
            "/v1/me",
            json={"purposes": {"email": {"granted": True}}},
            headers={} if stated is None else {"if-match": stated},
        )
    assert problem(answer, 428) == "if-match-needed"


def test_what_has_changed_since_it_was_read_is_not_changed_again(edge: LiveEdge, valkey: ValkeyServer) -> None:
    with edge.client("me-late") as client:
        read = client.get("/v1/me")
        put(valkey, "me-late", offset=1, consents=[withdrawn("email", "w")])
        answer = client.patch(
            "/v1/me", json={"purposes": {"email": {"granted": True}}}, headers={"if-match": read.headers["etag"]}
        )
    assert problem(answer, 412) == "changed"


def test_settings_go_out_as_one_signal_and_null_takes_one_back(whole_edge: LiveEdge, servers: RunningStack) -> None:
    with whole_edge.client("me-set") as client:
        body = {"time_zone": "Asia/Tokyo", "quiet_hours": {"start": "22:00", "end": "07:00"}, "tips_per_day": 9}
        assert client.patch("/v1/me", json=body).json() == {"accepted": 1}
        assert client.patch("/v1/me", json={"quiet_hours": None, "tips_per_day": None}).json() == {"accepted": 1}
    first, second = (one.profile_changed for one in messages(servers, "signals", signal_pb2.Signal, user_id="me-set"))
    assert (first.time_zone, first.quiet_hours.start_minute, first.quiet_hours.end_minute) == ("Asia/Tokyo", 1320, 420)
    assert (first.quiet_hours.weekdays, first.tips_per_day, first.HasField("tips_per_hour")) == (127, 9, False)
    assert second.HasField("quiet_hours")
    assert (second.quiet_hours.start_minute, second.quiet_hours.end_minute) == (0, 0)
    assert (second.HasField("tips_per_day"), second.tips_per_day) == (True, 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"purposes": {"world": {"granted": False}}}, "/purposes/world/[key]"),
        ({"purposes": {"calendar": {}}}, "/purposes/calendar/granted"),
        ({"sources": {"no source": {"granted": False}}}, "/sources/no source/[key]"),
        ({"quiet_hours": {"start": "25:00", "end": "07:00"}}, "/quiet_hours/start"),
        ({"tips_per_day": 0}, "/tips_per_day"),
        ({"tips_per_day": "9"}, "/tips_per_day"),
        ({"sources": {"ical": {"granted": 0}}}, "/sources/ical/granted"),
        ({"task_tips": False}, "/task_tips"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name(edge: LiveEdge, body: dict[str, Any], pointer: str) -> None:
    with edge.client("me-odd") as client:
        answer = client.patch("/v1/me", json=body)
    assert problem(answer, 422) == "invalid-request"
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert len(answer.json()["errors"]) <= ERRORS_MAX


def test_without_kafka_a_change_is_not_accepted(edge: LiveEdge) -> None:
    with edge.client("me-cut") as client:
        answer = client.patch("/v1/me", json={"purposes": {"calendar": {"granted": False}}})
    assert problem(answer, 503) == "log-unavailable"


def test_nobody_sees_another_persons_settings(edge: LiveEdge, valkey: ValkeyServer) -> None:
    put(valkey, "me-mine", offset=1, time_zone="Asia/Tokyo")
    with edge.client() as client:
        assert problem(client.get("/v1/me"), 401) == "no-token"
        assert problem(client.patch("/v1/me", json={"time_zone": "UTC"}), 401) == "no-token"
    with edge.client("me-other") as client:
        assert client.get("/v1/me").json()["time_zone"] is None


def test_a_change_can_name_every_purpose_that_there_is() -> None:
    assert set(PurposeName.__args__) == BY_NAME.keys()  # type: ignore[attr-defined]
    assert set(MeChange.model_fields) >= {"purposes", "sources", "time_zone", "quiet_hours"}
