"""Notify on real servers, with a push service on loopback that opens what comes: each tip once on each device, through kills and absences."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from connectors.channels import words
from connectors.postgres.notifier import Known, Notifier
from connectors.valkey import TipStore
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Delivery
from oo.v1.device_pb2 import Device
from oo.v1.erased_pb2 import Erased
from oo.v1.journal_pb2 import Position
from oo.v1.settings_pb2 import Settings
from oo.v1.subject_request_pb2 import PURPOSE_EMAIL, PURPOSE_NOTIFICATIONS
from streams.partitioner import partition_of
from streams.sealing import Sealing, seal
from streams.topics import PARTITIONS
from tests.agents.process import AgentProcess, Topics, until
from tests.connectors.postgres_cluster import Cluster, Database, cluster
from tests.mail_server import MailServer
from tests.push_service import Browser, PushService

HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def home(whose: str) -> int:
    return partition_of(whose.encode(), PARTITIONS)


@dataclass(slots=True)
class Line:
    """Topics, a PostgreSQL of its own, a push service, and processes that tell."""

    servers: RunningStack
    topics: Topics
    postgres: Cluster
    database: Database
    push: PushService
    folder: Path
    key: ECKey
    started: list[AgentProcess] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def process(self, *, module: str = "agents", **more: str) -> AgentProcess:
        """One more, started."""
        folder = self.folder / f"{len(self.started)}"
        folder.mkdir()
        key_file = self.folder / "notify.json"
        key_file.write_text(json.dumps(self.key.as_dict(private=True)))
        told = {
            "OO_NOTIFIER_DSN": self.database.dsn("notifier"),
            "OO_NOTIFY_KEY_FILE": str(key_file),
            "OO_NOTIFY_INSIDE": "127.0.0.0/8",
            "OO_PUBLIC_URL": "https://oo.example",
            **more,
        }
        one = AgentProcess("notify", self.servers, self.topics, folder, told, module=module)
        self.started.append(one)
        return one.start()

    def person(self, *, granted: bool = True, **settings: Any) -> str:
        """Somebody new with a key, who has said what they want."""
        whose = f"p-{uuid.uuid4().hex[:8]}"
        self.topics.give_key(whose)
        self.set(whose, granted=granted, **settings)
        return whose

    def set(self, whose: str, *, granted: bool = True, time_zone: str = "UTC", quiet: tuple[int, int] = (0, 0)) -> None:
        """As `publish` has it in Valkey."""
        said = Settings(user_id=whose, time_zone=time_zone)
        said.journal.topic_id, said.journal.offset = b"s" * 16, self.place(whose)
        said.profile.quiet_hours.start_minute, said.profile.quiet_hours.end_minute = quiet
        for purpose in (PURPOSE_NOTIFICATIONS, PURPOSE_EMAIL):
            said.consents.add(purpose=purpose, granted=granted)
        sealed = seal(said, whose=whose.encode(), keys=self.topics.keys())
        sealed.user_id = whose

        async def put(store: TipStore) -> None:
            assert (await store.publish_settings([sealed])).newer == [True]

        self.valkey(put)

    def valkey(self, work: Any) -> Any:
        async def run() -> Any:
            store = TipStore(self.servers.valkey_url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def add(self, whose: str, device: Device, *, confirmed: bool = True) -> str:
        """As the edge does."""
        channel = str(device.WhichOneof("to"))
        kept = seal(device, whose=whose.encode(), keys=self.topics.keys()).SerializeToString()
        known = Known(uuid.uuid4().hex, whose, channel, now_ms(), now_ms() if confirmed else None, kept)

        async def add() -> bool:
            async with Notifier(self.database.dsn("notifier")) as store:
                return await store.add(known)

        assert asyncio.run(add())
        return known.device_id

    def browser(self, whose: str) -> Browser:
        one = self.push.subscribe()
        self.add(whose, one.device(whose))
        return one

    def mail(self, whose: str, *, confirmed: bool = True) -> str:
        """Their address."""
        device = Device(user_id=whose)
        device.email.address = f"{whose}@mail.example"
        self.add(whose, device, confirmed=confirmed)
        return device.email.address

    def place(self, whose: str) -> int:
        self.places[whose] = self.places.get(whose, 0) + 1
        return self.places[whose]

    def delivery(self, whose: str, *, title: str = "Call the dentist", left_ms: int = HOUR_MS, **more: Any) -> Delivery:
        """What step says at the next place of the person's journal partition."""
        place = self.place(whose)
        made = Delivery(
            delivery_id=f"{whose}-{place}",
            user_id=whose,
            journal=Position(topic_id=self.topics.topic_id("journal"), partition=home(whose), offset=place),
            decided_ms=now_ms(),
            runs_out_ms=now_ms() + left_ms,
            purposes=[PURPOSE_NOTIFICATIONS, PURPOSE_EMAIL],
            **more,
        )
        made.tip.decision_id, made.tip.title, made.tip.detail = f"d-{whose}-{place}", title, "It is open until six."
        made.tip.why.append("Due today")
        return made

    def say(self, *deliveries: Delivery) -> None:
        """Put them on the topic, sealed."""
        sealing = Sealing(self.topics._schemas, self.topics.keys())
        for one in deliveries:
            value = sealing.frame("deliveries", one, whose=one.user_id.encode())
            self.topics.produce("deliveries", [value], key=one.user_id.encode(), partition=home(one.user_id))

    def take_back(self, whose: str) -> None:
        made = self.delivery(whose)
        made.ClearField("tip")
        self.say(made)

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.database.admin() as admin:
            cursor = admin.execute(f"SELECT to_jsonb(it) FROM notifier.{table} it ORDER BY 1".encode())
            return [row for (row,) in cursor.fetchall()]

    def states(self, whose: str) -> list[tuple[str, str]]:
        """Of a person's deliveries, and why."""
        return sorted((row["state"], row["reason"]) for row in self.rows("deliveries") if row["user_id"] == whose)

    def until_drained(self, *people: str, by: AgentProcess) -> None:
        """All that was said of these is known, and nothing is due."""
        ends = {number: self.topics.end("deliveries", partition=number) for number in map(home, people)}

        def done() -> bool:
            at = {n: self.topics.committed("notify", "deliveries", partition=n) for n in ends}
            return at == ends and not [
                row for row in self.rows("standing") if row["due_ms"] is not None and row["due_ms"] <= now_ms()
            ]

        until(done, alive=by)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("notify")) as running:
        yield running


@pytest.fixture
def line(servers: RunningStack, postgres: Cluster, tmp_path: Path) -> Iterator[Line]:
    topics = Topics(servers)
    with PushService() as push:
        key = ECKey.generate_key("P-256", private=True)
        made = Line(servers, topics, postgres, postgres.migrated(), push, tmp_path, key)
        try:
            yield made
        finally:
            for one in made.started:
                if one.running():
                    one.kill()
            topics.close()


def test_a_tip_is_one_push_that_the_browser_alone_opens_and_every_device_gets_its_own(line: Line) -> None:
    process, whose = line.process(), line.person()
    phone, laptop = line.browser(whose), line.browser(whose)
    said = line.delivery(whose, languages=["de-CH"])
    said.tip.ClearField("detail")
    line.say(said)
    until(lambda: bool(phone.came and laptop.came), alive=process)
    (push,) = phone.came
    assert (push["title"], push["body"], push["lang"]) == ("Call the dentist", "Heute fällig", "de")
    assert push["tag"] == push["decision_id"] == said.tip.decision_id
    assert [one["title"] for one in push["actions"]] == ["Erledigt", "Später", "Nichts für mich"]
    assert 3500 < int(push["headers"]["ttl"]) <= 3600
    assert len(push["headers"]["topic"]) == 32
    assert words.read(push["reaction_token"], "react", key=line.key, now_ms=now_ms()) == push["delivery_id"]
    line.until_drained(whose, by=process)
    assert line.states(whose) == [("sent", ""), ("sent", "")]
    # Nothing that a person wrote, and no address, stands in the open.
    everything = json.dumps([line.rows(table) for table in ("devices", "standing", "deliveries")])
    kept = bytes.fromhex("".join(row["message"].removeprefix("\\x") for row in line.rows("devices")))
    assert not [one for one in ("dentist", "127.0.0.1", "/send/") if one in everything or one.encode() in kept]
    # The same again from Kafka's beginning is nobody's second push.
    assert process.stop() == 0
    line.topics.forget_commits("notify", ["deliveries", "erasures"])
    process = line.process()
    line.until_drained(whose, by=process)
    assert (len(phone.came), len(laptop.came)) == (1, 1)


def test_what_was_taken_back_replaced_or_ran_out_while_all_was_away_is_not_sent(line: Line) -> None:
    back, many, late, quiet, withdrew, left = (line.person() for _ in range(6))
    browsers = {one: line.browser(one) for one in (back, many, late, quiet, withdrew, left)}
    line.say(line.delivery(back), *(line.delivery(many, title=f"Number {n}") for n in range(20)))
    line.say(line.delivery(late, left_ms=1), line.delivery(quiet), line.delivery(withdrew), line.delivery(left))
    line.take_back(back)
    line.set(quiet, quiet=(0, 24 * 60))
    line.set(withdrew, granted=False)
    word = Erased(user_id=left, receipt="receipt-of-leaving", erased_ms=now_ms())
    word.journal.topic_id, word.journal.offset = line.topics.topic_id("journal"), line.place(left)
    line.topics.produce("erasures", [word], key=left.encode(), partition=home(left))
    process = line.process()
    until(lambda: bool(browsers[many].came), alive=process)
    line.until_drained(*browsers, by=process)
    assert {one: [push["title"] for push in browser.came] for one, browser in browsers.items() if browser.came} == {
        many: ["Number 19"]
    }
    assert line.states(late) == [("left", "ran-out")]
    assert line.states(quiet) == [("left", "quiet")]
    assert line.states(withdrew) == [("left", "consent")]
    until(lambda: not [one for one in line.rows("devices") if one["user_id"] == left], alive=process)
    assert not [one for table in ("standing", "deliveries") for one in line.rows(table) if one["user_id"] == left]
    # Who looks at the page is told nothing, for as long as they do.
    line.valkey(lambda store: store.mark_here(many))
    line.say(line.delivery(many))
    until(lambda: any((one["due_ms"] or 0) > now_ms() for one in line.rows("standing")), alive=process)
    assert len(browsers[many].came) == 1
    # What comes of somebody who left is of a life that ended, whatever brings it.
    early = line.delivery(left)
    early.journal.offset = word.journal.offset - 1
    line.say(early)
    line.until_drained(left, by=process)
    assert not [one for one in line.rows("standing") if one["user_id"] == left]


LOST = "AFTER pushed"
"""What is known then is known to the push service alone."""
STEPS = ("BEFORE taken", "BEFORE spoken-for", "AFTER spoken-for", LOST, "AFTER marked")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((LOST,), id=LOST),
        pytest.param(
            STEPS,
            id="each",
            marks=pytest.mark.long(
                f"tests/agents/test_notify.py::test_a_kill_at_each_step_doubles_nothing_and_loses_nothing[{LOST}]"
            ),
        ),
    ],
)
def test_a_kill_at_each_step_doubles_nothing_and_loses_nothing(line: Line, steps: tuple[str, ...]) -> None:
    browsers = {}
    for step in steps:
        when, what = step.split()
        whose = line.person()
        browsers[whose] = line.browser(whose)
        line.say(line.delivery(whose))
        killed = line.process(module="tests.agents.killed", **{f"KILLED_{when}": what})
        assert killed.wait() == -9, killed.log()
    process = line.process()
    until(lambda: all(one.came for one in browsers.values()), alive=process)
    line.until_drained(*browsers, by=process)
    for whose, browser in browsers.items():
        # A repeat has the topic and the tag of what it repeats: whoever shows it shows one.
        assert len(browser.shown()) == len(set(browser.topics())) == 1
        assert line.states(whose) == [("sent", "")]


def test_a_push_service_that_is_away_busy_or_done_with_somebody_is_believed(line: Line) -> None:
    process, one, other = line.process(), line.person(), line.person()
    first, second = line.browser(one), line.browser(other)
    line.push.go()
    line.say(line.delivery(one))
    until(lambda: line.states(one) == [("waiting", "unreachable")], alive=process)
    line.push.status, line.push.more = 429, {"retry-after": "1"}
    line.push.back()
    until(lambda: line.states(one) == [("waiting", "busy")], alive=process)
    line.push.status, line.push.more = 201, {}
    until(lambda: line.states(one) == [("sent", "")], alive=process)
    assert len(first.came) == 1
    # Nothing is followed to where a redirect leads, and what is gone is asked no more.
    line.push.status, line.push.more = 307, {"location": first.endpoint}
    line.say(line.delivery(one))
    until(lambda: ("failed", "refused-307") in line.states(one), alive=process)
    line.push.status, line.push.more = 410, {}
    line.say(line.delivery(other))
    until(lambda: line.states(other) == [("failed", "gone")], alive=process)
    assert [row["user_id"] for row in line.rows("devices")] == [one]
    assert (len(first.came), len(second.came)) == (1, 0)


def test_with_postgresql_away_nothing_is_sent_and_afterwards_what_still_stands_is_once(line: Line) -> None:
    process = line.process()
    people = [line.person() for _ in range(8)]
    browsers = {one: line.browser(one) for one in people}
    line.say(line.delivery(people[0]))
    until(lambda: bool(browsers[people[0]].came), alive=process)
    line.postgres.stop()
    try:
        line.say(*(line.delivery(one, title="Old") for one in people[1:]), *(line.delivery(one) for one in people[1:]))
        until(lambda: "postgres.unavailable" in process.log(), alive=process)
        assert line.push.posts == 1
    finally:
        line.postgres.start()
    until(lambda: all(one.came for one in browsers.values()), alive=process)
    line.until_drained(*people, by=process)
    assert {tuple(push["title"] for push in one.came) for one in browsers.values()} == {("Call the dentist",)}


@pytest.mark.long(
    "tests/agents/test_notify.py::test_a_push_service_that_is_away_busy_or_done_with_somebody_is_believed"
)
def test_a_dead_mail_server_is_no_flood_nothing_stale_and_nothing_twice_when_it_is_back(
    line: Line, tmp_path: Path
) -> None:
    with MailServer(tmp_path) as server:
        server.go()
        process = line.process(**server.settings)
        people = {one: line.mail(one) for one in (line.person() for _ in range(12))}
        stand, gone, late = list(people)[:6], list(people)[6:9], list(people)[9:]
        # An hour in which something else stood every five minutes.
        for five_minutes in range(12):
            line.say(*(line.delivery(one, title=f"Number {five_minutes}", left_ms=2 * HOUR_MS) for one in people))
            time.sleep(0.3)
        line.say(*(line.delivery(one, title="Too late", left_ms=4_000) for one in late))
        for one in gone:
            line.take_back(one)
        until(lambda: "unreachable" in {row["reason"] for row in line.rows("deliveries")}, alive=process)
        time.sleep(4.0)
        server.back()
        until(lambda: len(server.came) >= len(stand), alive=process)
        line.until_drained(*people, by=process)
        assert {one: [mail["Subject"] for mail in server.to(people[one])] for one in people} == {
            one: ["Number 11"] if one in stand else [] for one in people
        }
        mail = server.to(people[stand[0]])[0]
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        word = str(mail["List-Unsubscribe"]).strip("<>").partition("word=")[2]
        (device,) = [row["device_id"] for row in line.rows("devices") if row["user_id"] == stand[0]]
        assert words.read(word, "unsubscribe", key=line.key, now_ms=now_ms()) == device
        plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
        assert plain is not None and "It is open until six." in plain.get_content()
        assert page is not None and "<h1>Number 11</h1>" in page.get_content()
        # A second one of the same day waits for its end, and one that does not last so long is let go.
        line.say(line.delivery(stand[0]), line.delivery(stand[1], left_ms=48 * HOUR_MS))
        until(lambda: ("left", "apart") in line.states(stand[0]), alive=process)
        until(
            lambda: any((row["due_ms"] or 0) > now_ms() + 20 * HOUR_MS for row in line.rows("standing")), alive=process
        )
        # 4xx is for now, 5xx for good; an address that nobody confirmed gets nothing.
        full, wrong, stranger = line.person(), line.person(), line.person()
        address = line.mail(full)
        server.says = "452 too many"
        line.say(line.delivery(full))
        until(lambda: line.states(full) == [("waiting", "mail-later")], alive=process)
        server.says = "550 nobody"
        line.mail(wrong)
        line.say(line.delivery(wrong))
        until(lambda: line.states(wrong) == [("failed", "mail-refused")], alive=process)
        server.says = "250 OK"
        address = line.mail(stranger, confirmed=False)
        line.say(line.delivery(stranger))
        until(lambda: line.states(stranger) == [("left", "unconfirmed")], alive=process)
        # Its owner is asked, once.
        until(lambda: bool(server.to(address)), alive=process)
        (question,) = server.to(address)
        word = question.get_content().strip().partition("word=")[2]
        (device,) = [row["device_id"] for row in line.rows("devices") if row["user_id"] == stranger]
        assert words.read(word, "confirm", key=line.key, now_ms=now_ms()) == device
        until(lambda: line.states(full) == [("sent", "")], alive=process)
        # What was cut off while it went out may have gone out: it does not go again.
        assert process.stop() == 0
        assert len(server.to(address)) == 1
        for step in ("BEFORE", "AFTER"):
            whose = line.person()
            address = line.mail(whose)
            line.say(line.delivery(whose))
            killed = line.process(module="tests.agents.killed", **server.settings, **{f"KILLED_{step}": "mailed"})
            assert killed.wait() == -9, killed.log()
            process = line.process(**server.settings)
            until(lambda one=whose: line.states(one) == [("unknown", "cut-off")], alive=process)
            assert len(server.to(address)) == (0 if step == "BEFORE" else 1)
            assert process.stop() == 0
