"""A webhook's deliveries, signed by the public library of Standard Webhooks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from connectors.sources import hook
from connectors.sources.hook import Hook
from connectors.sources.kept import taken_back
from connectors.sources.source import Access, Delivery, Failed, FaultKind, Heard
from tests.connectors.sources.world import HOME, NOW, Told

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TASK = {
    "event_id": "e1",
    "user_id": "bob",
    "source": "todoist",
    "task_upserted": {"external_id": "1", "title": "Call Mom"},
}


def delivery(body: Any, *, name: str = "msg_1", when: datetime = NOW, secret: str = SECRET) -> Delivery:
    text = body if isinstance(body, str) else json.dumps(body)
    signature = Webhook(secret).sign(name, when.astimezone(UTC), text)
    stamp = str(int(when.timestamp()))
    headers = {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": signature}
    return Delivery(headers, text.encode())


def access(secret: str = SECRET) -> Access:
    return Access("c1", "ann", HOME, NOW, httpx.AsyncClient(), {}, {"secret": secret})


def heard(one: Delivery, cursor: bytes = b"") -> Heard:
    return Hook().webhook(access(), cursor, one)


def test_what_is_posted_is_the_persons_whatever_it_says() -> None:
    page = heard(delivery(TASK)).page
    assert page is not None
    (signal,) = page.signals
    assert (signal.user_id, signal.source, signal.task_upserted.title) == ("ann", "hook:c1", "Call Mom")


def test_a_delivery_that_comes_twice_counts_once_also_where_the_first_was_not_kept() -> None:
    first = heard(delivery(TASK)).page
    assert first is not None
    again = heard(delivery(TASK), first.cursor).page
    assert again is not None and not again.signals
    lost = heard(delivery(TASK)).page
    assert lost is not None
    assert [one.event_id for one in lost.signals] == [one.event_id for one in first.signals]
    unnamed = [heard(delivery({"activity": {"kind": "steps", "value": 7}})).page for _ in range(2)]
    assert len({page.signals[0].event_id for page in unnamed if page is not None}) == 1


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_delivery_of_another_time_is_refused(seconds: int) -> None:
    assert heard(delivery(TASK, when=NOW + timedelta(seconds=seconds))).refused == "too-old"
    assert heard(delivery(TASK, when=NOW + timedelta(seconds=seconds - (1 if seconds > 0 else -1)))).refused == ""


def test_a_delivery_that_waited_for_its_reader_is_as_old_as_when_it_came() -> None:
    waited = replace(delivery(TASK, when=NOW - timedelta(hours=1)), received_ms=_ms(NOW - timedelta(minutes=59)))
    page = heard(waited).page
    assert page is not None and len(page.signals) == 1
    again = heard(replace(waited, received_ms=_ms(NOW - timedelta(minutes=58))), page.cursor).page
    assert again is not None and not again.signals


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize("fault", ["secret", "body", "id", "time", "none", "version", "no secret of ours"])
def test_what_is_not_signed_by_the_secret_is_refused(fault: str) -> None:
    good = delivery(TASK, secret="whsec_" + "A" * 32 if fault == "secret" else SECRET)
    headers = dict(good.headers)
    body = good.body
    if fault == "body":
        body = body.replace(b"Mom", b"Dad")
    elif fault == "id":
        headers["webhook-id"] = "msg_2"
    elif fault == "time":
        headers["webhook-timestamp"] = str(int(NOW.timestamp()) + 1)
    elif fault == "none":
        del headers["webhook-signature"]
    elif fault == "version":
        headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v0,")
    ours = access("" if fault == "no secret of ours" else SECRET)
    assert Hook().webhook(ours, b"", Delivery(headers, body)).refused == "bad-signature"


def test_one_of_two_signatures_is_enough() -> None:
    good = delivery(TASK)
    headers = dict(good.headers) | {"webhook-signature": f"v1,AAAA {good.headers['webhook-signature']}"}
    assert heard(Delivery(headers, good.body)).refused == ""


def test_a_body_that_is_no_json_is_refused_and_one_odd_signal_costs_no_other() -> None:
    assert heard(delivery("hello")).refused == "bad-body"
    assert heard(delivery([TASK])).refused == "bad-body"
    odd = {"task_upserted": {"external_id": 7, "title": []}}
    consent = {"profile_changed": {"time_zone": "UTC"}}
    page = heard(delivery({"signals": [odd, TASK, consent, "x"]})).page
    assert page is not None
    assert [one.event_id for one in page.signals] == ["e1"]
    assert len(page.problems) == 3


def test_disconnecting_takes_back_what_stands() -> None:
    told = Told()
    event = {"external_id": "2", "title": "Review", "start": "2026-11-30T09:00:00Z", "end": "2026-11-30T10:00:00Z"}
    done = {"event_id": "e3", "task_completed": {"external_id": "1"}}
    cursor = b""
    for number, body in enumerate((TASK, {"event_id": "e2", "calendar_event_upserted": event}, done)):
        page = heard(delivery(body, name=f"msg_{number}"), cursor).page
        assert page is not None
        told.hear(page.signals)
        cursor = page.cursor
    assert told.titles == ["Review"]
    back = taken_back(access(), cursor)
    told.hear(back.signals)
    assert told.titles == []
    assert len(back.signals) == 1


def test_a_delivery_past_the_bound_waits_and_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    first = heard(delivery(TASK)).page
    assert first is not None
    monkeypatch.setattr(hook, "REMEMBERED_MAX", 1)
    with pytest.raises(Failed) as failed:
        heard(delivery(TASK, name="another"), first.cursor)
    assert failed.value.fault.kind is FaultKind.TOO_MUCH
