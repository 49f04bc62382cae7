"""Channels against real servers on loopback: what goes out, and where nothing does."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc.jwk import ECKey
from standardwebhooks import Webhook

from connectors.channels.apprise import Apprise
from connectors.channels.channel import Channel, Notice, NotSent, Told, Unsure
from connectors.channels.email import question, written
from connectors.channels.registry import CHANNELS, opened
from connectors.channels.texts import PHRASES, TEXTS, in_words
from connectors.channels.web_push import BYTES_MAX, encrypted, payload
from oo.v1.decision_pb2 import Decision, Tip
from oo.v1.device_pb2 import Device
from tables import phrases
from tests.push_service import Browser

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def told(*, inside: bool = True) -> Told:
    key = ECKey.generate_key("P-256", private=True)
    return Told(key=key, contact="mailto:a@b.example", inside=LOOPBACK if inside else ())


def notice(**more: object) -> Notice:
    said = {
        "delivery_id": "d" * 32,
        "decision_id": "c" * 32,
        "title": "Call the dentist",
        "detail": "It is open until six.",
        "why": ("Due today",),
        "language": "en",
        "url": "https://oo.example/",
        "reaction_token": "t" * 300,
        "unsubscribe_url": "https://oo.example/u",
        "left_s": 600,
    }
    return Notice(**{**said, **more})  # type: ignore[arg-type]


def sent(channel: Channel, device: Device) -> None:
    async def run() -> None:
        try:
            await channel.send(device, notice())
        finally:
            await channel.close()

    asyncio.run(run())


@contextmanager
def listening(status: int = 200) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An address, and what is posted there; status 0: it hangs up without a word."""
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if status:
                self.send_response(status)
                self.send_header("location", f"http://127.0.0.1:{server.server_address[1]}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", came
    finally:
        server.shutdown()
        server.server_close()


def hook(url: str) -> Device:
    made = Device()
    made.webhook.url, made.webhook.secret = url, b"s" * 24
    return made


def channel(name: str, *, inside: bool = True) -> Channel:
    found = opened(name, told(inside=inside))
    assert found is not None
    return found


def test_a_webhook_is_signed_as_the_standards_own_library_has_it_and_has_the_same_id_each_time() -> None:
    with listening() as (url, came):
        sent(channel("webhook"), hook(url))
        sent(channel("webhook"), hook(url))
    said = [Webhook(base64.b64encode(b"s" * 24).decode()).verify(body.decode(), headers) for headers, body in came]
    assert [one["data"]["title"] for one in said] == ["Call the dentist"] * 2
    assert len({headers["webhook-id"] for headers, _ in came}) == 1


@pytest.mark.parametrize(
    ("status", "reason", "again"),
    [(302, "refused-302", False), (307, "refused-307", False), (410, "gone", False), (503, "provider", True)],
)
def test_a_redirect_is_not_followed_and_not_a_sending_and_what_is_gone_is_gone(
    status: int, reason: str, again: bool
) -> None:
    with listening(status) as (url, came), pytest.raises(NotSent) as failed:
        sent(channel("webhook"), hook(url))
    assert (failed.value.reason, failed.value.again_s is not None, failed.value.gone) == (reason, again, status == 410)
    assert len(came) == 1


def test_who_hangs_up_without_a_word_may_have_taken_it() -> None:
    with listening(0) as (url, came), pytest.raises(Unsure):
        sent(channel("webhook"), hook(url))
    assert len(came) == 1


@pytest.mark.parametrize("name", ["webhook", "web_push"])
def test_no_address_of_a_person_leads_to_this_machine_or_its_network(name: str) -> None:
    with listening() as (url, came):
        port = url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]"):
            for scheme in ("https", "http"):
                device = hook(f"{scheme}://{host}:{port}")
                if name == "web_push":
                    device = Browser(f"{scheme}://{host}:{port}").device("ada")
                with pytest.raises(NotSent, match="address"):
                    sent(channel(name, inside=False), device)
    assert came == []


def test_a_long_tip_is_cut_until_its_push_fits_and_is_whole_where_it_does() -> None:
    browser = Browser("https://push.example/x").device("ada").web_push
    for letter in ("a", "ß", "👍", '"', "\\", "\n", "\x01"):
        whole = payload(notice(title=letter * 500, detail=letter * 9_000))
        assert len(encrypted(whole, browser)) <= BYTES_MAX
    assert b"It is open until six." in payload(notice())
    with pytest.raises(NotSent, match="bad-keys"):
        encrypted(b"x", Device().web_push)


def test_a_title_with_line_breaks_is_one_line_of_a_mail_and_no_header() -> None:
    mail = written(notice(title="Call\r\nBcc: x@evil.example\n\n<b>"), sender="oO <oo@b.example>", to="a@b.example")
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Call Bcc: x@evil.example <b>"
    page = mail.get_body(("html",))
    assert page is not None and "&lt;b&gt;" in page.get_content()
    with pytest.raises(NotSent, match="address"):
        question("https://x", sender="oo@b.example", to="a@b.example\nBcc: x@evil.example")


def test_every_language_has_the_same_lines_and_every_channel_a_field() -> None:
    assert len({tuple(sorted(one)) for one in TEXTS.values()}) == 1
    assert {field.name for field in Device.DESCRIPTOR.oneofs_by_name["to"].fields} == set(CHANNELS)


@pytest.mark.parametrize("language", PHRASES)
def test_every_language_says_all_that_the_engine_says_with_what_stands_in_it(language: str) -> None:
    assert set(PHRASES[language]["phrases"]) == {code.value for code in phrases.Code}
    for code, text in (*phrases.WHY, *phrases.STARTERS):
        values: dict[str, int | str] = {
            "days": 3,
            "minutes": 45,
            "clock": "17:30",
            "title": "{title} Milk",
            "part": "night",
        }
        used = {name: value for name, value in values.items() if f"{{{name}}}" in text}
        said = phrases.said(phrases.Phrase(code, used), PHRASES[language])
        assert said and all(str(value) in said for name, value in used.items() if name != "part")


def test_a_tip_is_said_in_the_language_of_who_is_told_but_for_words_of_a_person() -> None:
    tip = Tip(
        kind=Decision.STARTER,
        title="Start something small before Stand-up",
        detail="Own words",
        why=["Overdue by 1 day", "You often get things done in the night", "Because"],
    )
    assert in_words(tip, "en") == (tip.title, tip.detail, tuple(tip.why))
    why = ("Seit 1 Tag überfällig", "Nachts schaffst du oft etwas", "Because")
    assert in_words(tip, "de") == ("Fang etwas Kleines an, vor: Stand-up", "Own words", why)
    assert in_words(Tip(kind=Decision.TASK, title=tip.title), "de").title == tip.title


def test_an_address_for_apprise_is_one_service() -> None:
    with pytest.raises(NotSent, match="address"):
        sent(Apprise(told(inside=False)), Device(apprise={"url": "discord://1/a,discord://2/b"}))


def test_an_address_that_is_none_is_not_tried_again() -> None:
    with pytest.raises(NotSent, match="address") as failed:
        sent(opened("webhook", told(inside=False)), Device(webhook={"url": "https://[", "secret": b"s" * 32}))
    assert failed.value.again_s is None
