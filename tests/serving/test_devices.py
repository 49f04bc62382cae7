"""Devices and what they were told, over HTTP: kept sealed, a person's own alone, and what a notification's button may do."""

from __future__ import annotations

import asyncio
import uuid

from joserfc.jwk import ECKey

from connectors.channels import words
from connectors.postgres.notifier import Notifier, Standing
from connectors.valkey import TipStore
from deploy.stack.running import RunningStack
from serving.devices import ASKED_OF_ADDRESS_MAX, ASKED_OF_PERSON_MAX
from streams.clock import clock_ms
from tests.push_service import Browser
from tests.sealed import give
from tests.serving.edges import NOTIFY_KEY, LiveEdge, events, problem


def somebody(edge: LiveEdge) -> str:
    """With a key, as a door gives it."""
    whose = f"d-{uuid.uuid4().hex[:8]}"
    give(edge.parts.people, whose.encode())
    return whose


def test_a_device_is_kept_sealed_shown_to_its_person_alone_and_the_same_address_again_is_the_same(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    ada, bob = somebody(whole_edge), somebody(whole_edge)
    browser = Browser("https://push.example/send/secret-path")
    with whole_edge.client(ada) as hers, whole_edge.client(bob) as his:
        assert hers.get("/v1/devices/key").json() == {"key": words.public_text(NOTIFY_KEY)}
        made = hers.post("/v1/devices", json={"name": "My phone", **browser.subscription(), "expirationTime": None})
        assert made.status_code == 201, made.text
        again = hers.post("/v1/devices", json={"name": "My new phone", **browser.subscription()})
        assert again.json()["device_id"] == made.json()["device_id"]
        mail = hers.post("/v1/devices", json={"email": "ada@example.com"}).json()
        assert (mail["channel"], mail["confirmed"]) == ("email", False)
        hook = hers.post("/v1/devices", json={"webhook": "https://hook.example/x"}).json()
        assert hook["secret"].startswith("whsec_")
        shown = hers.get("/v1/devices").json()["devices"]
        assert [(one["channel"], one["name"]) for one in shown] == [
            ("web_push", "My new phone"),
            ("email", ""),
            ("webhook", ""),
        ]
        assert "example" not in hers.get("/v1/devices").text
        assert his.get("/v1/devices").json() == {"devices": []}
        assert problem(his.delete(f"/v1/devices/{mail['device_id']}"), 404) == "unknown-device"
        for wrong in (
            {},
            {"email": "nobody"},
            {"email": "a@b.example", "webhook": "https://x.example/"},
            {**browser.subscription(), "keys": {"p256dh": "AAAA", "auth": "AAAA"}},
            {"endpoint": browser.endpoint},
            {"webhook": "ftp://x.example/"},
        ):
            assert problem(hers.post("/v1/devices", json=wrong), 422) == "invalid-request"
        word = words.word("confirm", mail["device_id"], key=NOTIFY_KEY, until_ms=clock_ms() + 60_000)
        link = {"params": {"word": word}}
        with whole_edge.client() as anybody:
            assert "<form" in anybody.get("/v1/devices/confirm", **link).text
            assert not hers.get("/v1/devices").json()["devices"][1]["confirmed"]
            assert anybody.post("/v1/devices/confirm", **link).status_code == 200
            assert hers.get("/v1/devices").json()["devices"][1]["confirmed"]
            # A word is for one thing alone.
            assert problem(anybody.post("/v1/deliveries/unsubscribe", **link), 403) == "bad-word"
            word = words.word("unsubscribe", mail["device_id"], key=NOTIFY_KEY, until_ms=clock_ms() + 60_000)
            for _ in range(2):
                one_click = anybody.post(
                    "/v1/deliveries/unsubscribe", params={"word": word}, data={"List-Unsubscribe": "One-Click"}
                )
                assert one_click.status_code == 200
        assert hers.delete(f"/v1/devices/{hook['device_id']}").status_code == 204
        assert [one["channel"] for one in hers.get("/v1/devices").json()["devices"]] == ["web_push"]


def test_a_button_reacts_to_its_own_decision_once_and_without_a_session(
    whole_edge: LiveEdge, servers: RunningStack
) -> None:
    ada = somebody(whole_edge)
    decision, delivery = whole_edge.decision(ada, 1), uuid.uuid4().hex
    with whole_edge.client(ada) as hers:
        device = hers.post("/v1/devices", json=Browser("https://push.example/x").subscription()).json()["device_id"]
        asyncio.run(tell(servers, ada, decision, delivery, device))
        (line,) = hers.get("/v1/deliveries").json()["items"]
        assert (line["state"], line["decision_id"], line["reaction"]) == ("sent", decision, "")
        token = words.word("react", delivery, key=NOTIFY_KEY, until_ms=clock_ms() + 60_000)
        path = f"/v1/deliveries/{delivery}/reaction"
        with whole_edge.client() as anybody:
            for wrong in (
                {"token": words.word("react", "another", key=NOTIFY_KEY, until_ms=clock_ms() + 60_000)},
                {"token": words.word("react", delivery, key=NOTIFY_KEY, until_ms=clock_ms() - 1)},
                {"token": words.word("confirm", delivery, key=NOTIFY_KEY, until_ms=clock_ms() + 60_000)},
                {"token": words.word("react", delivery, key=ECKey.generate_key("P-256"), until_ms=clock_ms() + 60_000)},
                {"token": "no word"},
            ):
                assert problem(anybody.post(path, json={"reaction": "done", **wrong}), 403) == "bad-word"
            said = [anybody.post(path, json={"token": token, "reaction": "done"}) for _ in range(2)]
            assert [one.status_code for one in said] == [202, 202]
            assert problem(anybody.post(path, json={"token": token, "reaction": "dismiss"}), 409) == "reacted"
        # What the page says of it is the same word.
        paged = hers.post("/v1/feedback", json={"decision_id": decision, "reaction": "done"})
        assert {one.json()["event_id"] for one in (*said, paged)} == {paged.json()["event_id"]}
        assert hers.get("/v1/deliveries").json()["items"][0]["reaction"] == "done"


async def tell(servers: RunningStack, whose: str, decision: str, delivery: str, device: str) -> None:
    """As notify does."""
    async with Notifier(servers.dsn("notifier")) as store:
        it = Standing(whose, b"j" * 16, 0, 1, 0, b"sealed")
        await store.take([it])
        assert await store.claim(
            it,
            delivery_id=delivery,
            decision_id=decision,
            device_id=device,
            claim="c",
            repeats=False,
            now_ms=clock_ms(),
        )
        await store.mark_sent(delivery, now_ms=clock_ms())


def test_owners_of_addresses_are_asked_so_often_in_a_day_of_one_person_and_at_one_address(
    whole_edge: LiveEdge,
) -> None:
    ada, *others = (somebody(whole_edge) for _ in range(2 * ASKED_OF_ADDRESS_MAX + 2))
    with whole_edge.client(ada) as hers:
        named = [hers.post("/v1/devices", json={"email": f"{ada}{number}@example.org"}) for number in range(11)]
        refused = [one for one in named if one.status_code != 201]
        # A day may begin between two of them.
        assert len(named) - len(refused) in range(ASKED_OF_PERSON_MAX, 2 * ASKED_OF_PERSON_MAX + 1)
        assert {problem(one, 429) for one in refused} == {"too-many-mails"}
        assert 0 < int(refused[0].headers["retry-after"]) <= 86_400
        # Whose address that is was asked already; forgotten and named anew, it would be asked again.
        first = hers.post("/v1/devices", json={"email": f"{ada}0@example.org"})
        assert first.status_code == 201
        assert hers.delete(f"/v1/devices/{first.json()['device_id']}").status_code == 204
        assert problem(hers.post("/v1/devices", json={"email": f"{ada}0@example.org"}), 429) == "too-many-mails"
        assert hers.post("/v1/devices", json={"webhook": "https://hook.example/more"}).status_code == 201
    answers = []
    for number, one in enumerate(others):
        with whole_edge.client(one) as theirs:
            # However it is written.
            email = f"{ada}@Example.org" if number % 2 else f"{ada}@example.org"
            answers.append(theirs.post("/v1/devices", json={"email": email}))
    taken = [one.status_code for one in answers].count(201)
    assert taken in range(ASKED_OF_ADDRESS_MAX, 2 * ASKED_OF_ADDRESS_MAX + 1)
    assert {problem(one, 429) for one in answers if one.status_code != 201} == {"too-many-mails"}


def test_where_nobody_is_told_it_says_so(edge: LiveEdge) -> None:
    with edge.client("ada") as client:
        for path in ("/v1/devices", "/v1/devices/key", "/v1/deliveries"):
            assert problem(client.get(path), 404) == "no-notifications"


def test_who_has_the_page_open_is_there_and_so_the_notifier_knows(whole_edge: LiveEdge) -> None:
    ada, bob = somebody(whole_edge), somebody(whole_edge)

    async def here(whose: str) -> bool:
        store = TipStore(whole_edge._valkey_url)
        try:
            return await store.is_here(whose)
        finally:
            await store.close()

    whole_edge.put_tip(ada, 1)
    with whole_edge.client(ada) as client, events(client) as stream:
        assert stream.next()[0] == "tip"
        assert asyncio.run(here(ada))
        assert not asyncio.run(here(bob))
