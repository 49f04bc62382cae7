"""Writes good and spoiled records at every door of a running stack, and holds what became of them against what has to.

The oracle reads the journal and the dead letters itself: each record stands in one of them, once, in order; all good ones
in the journal; no process has ended. It shares no code with the door but the frames.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from confluent_kafka import Message, Producer

from connectors.key_files import KeyFiles
from connectors.source_file import UnreadableFile
from connectors.sources.file import parse_file
from connectors.sources.registry import FILES
from connectors.watch import Snapshot
from deploy.stack.running import RunningStack
from oo.v1 import dead_letter_pb2, journal_pb2
from serving.issuer import LocalIssuer
from streams.keys import Keys
from streams.reader import end_offsets, read_partition, topic_ids
from streams.schemas import Schemas
from streams.sealing import Sealing
from tables import ids
from tests.fuzz.records import Made, Makes

Table = Counter[tuple[str, str, str]]
"""Door, input, outcome -> how many."""
WAIT_S = 180.0


class Fuzz:
    """One run against one stack. `faults` says what broke; empty is right."""

    def __init__(self, stack: RunningStack, *, seed: int) -> None:
        self.table: Table = Counter()
        self.faults: list[str] = []
        self._stack, self._seed = stack, seed
        self._chance = random.Random(seed)
        self._topics = stack.cluster.topics
        self._schemas = Schemas(stack.cluster)
        self._mac_key = stack.mac_key_file.read_bytes()
        self._keys = Keys.of(stack.cluster, KeyFiles(stack.kek_dir))

    async def run(self, *, kafka: int, http: int, files: int, internal: int) -> None:
        """So many inputs at each door."""
        await self._schemas.register()
        pids = self._pids()
        self._internal(internal)
        for name in ("signals", "reactions"):
            await self._kafka(name, kafka)
        await self._http(http)
        self._files(files)
        await self._kafka("signals", 10)
        self._schemas.close()
        if self._pids() != pids:
            self.faults.append(f"a process ended: {pids} became {self._pids()}")

    def _pids(self) -> dict[int, str]:
        return dict(_processes(self._stack))

    def _makes(self, name: str, *, user: str = "") -> Makes:
        def frame(message: object) -> bytes:
            return self._schemas.frame(name, message)  # type: ignore[arg-type]

        def decision_id(user: str) -> str:
            return ids.decision_id(
                self._stack.pseudonym(user), record_id=self._chance.randbytes(16), mac_key=self._mac_key
            )

        return Makes(name, seed=self._seed, frame=frame, decision_id=decision_id, user=user)

    async def _kafka(self, name: str, n: int) -> None:
        topic, makes = self._topics[name], self._makes(name)
        letters_from = (await end_offsets(self._stack.cluster, self._topics["dead-letters"].name))[0]
        journal_from = await end_offsets(self._stack.cluster, self._topics["journal"].name)
        sent: dict[tuple[int, int], Made] = {}
        producer = Producer({"message.max.bytes": 4 * 1024 * 1024, **self._stack.as_admin.cluster.rdkafka()})
        for number in range(n):
            made = makes.good() if number % 4 == 0 or number == n - 1 else makes.bad()

            def stands(error: object, message: Message, made: Made = made) -> None:
                if error is None:
                    sent[message.partition() or 0, message.offset() or 0] = made
                else:
                    self.table[f"Kafka {name}", made.how, "refused by the broker"] += 1

            producer.produce(topic.name, made.value, made.key, headers=made.headers, on_delivery=stands)
            producer.poll(0)
        producer.flush(60)
        topic_id = (await topic_ids(self._stack.cluster, [topic.name]))[topic.name]
        until_s = time.monotonic() + WAIT_S
        while True:
            journaled = await self._journaled(journal_from, topic_id)
            refused = await self._refused(letters_from, topic.name)
            found = Counter([*journaled, *refused])
            if sent.keys() <= found.keys() or time.monotonic() > until_s:
                break
            await asyncio.sleep(1)
        for place, made in sent.items():
            outcome = "journal" if place in journaled else refused.get(place, "nowhere")
            self.table[f"Kafka {name}", made.how, outcome] += 1
            if found[place] != 1:
                self.faults.append(f"{name} {place} ({made.how}): stands {found[place]} times")
            if made.good and place not in journaled:
                self.faults.append(f"{name} {place}: a good one became {outcome}")
            if outcome == "door-failed":
                self.faults.append(f"{name} {place} ({made.how}): door-failed")

    async def _journaled(self, start: dict[int, int], topic_id: bytes) -> list[tuple[int, int]]:
        places: list[tuple[int, int]] = []
        sealing = Sealing(self._schemas, self._keys)
        await self._keys.catch_up()
        for partition, offset in start.items():
            last: dict[tuple[bytes | None, int], int] = {}
            async for records in read_partition(
                self._stack.cluster, self._topics["journal"].name, partition, start=offset
            ):
                for record in records:
                    try:
                        journal = sealing.unframe("journal", record.value, whose=record.key or b"")
                    except Exception:  # noqa: BLE001 - our own junk
                        continue
                    assert isinstance(journal, journal_pb2.JournalRecord)
                    source = journal.source
                    if source.topic_id != topic_id:
                        continue
                    # Of each person: somebody new waits for a key, and holds up nobody.
                    at = record.key, source.partition
                    if source.offset <= last.get(at, -1):
                        self.faults.append(f"journal {partition}/{record.offset}: out of order")
                    last[at] = source.offset
                    places.append((source.partition, source.offset))
        return places

    async def _refused(self, start: int, topic: str) -> dict[tuple[int, int], str]:
        found: dict[tuple[int, int], str] = {}
        async for records in read_partition(self._stack.cluster, self._topics["dead-letters"].name, 0, start=start):
            for record in records:
                try:
                    letter = self._schemas.unframe("dead-letters", record.value)
                except Exception:  # noqa: BLE001 - our own junk
                    continue
                assert isinstance(letter, dead_letter_pb2.DeadLetter)
                if letter.topic == topic:
                    found[letter.partition, letter.offset] = letter.reason
        return found

    def _internal(self, n: int) -> None:
        """Junk on every internal topic: bytes, frames of garbage, frames of another topic's message."""
        producer = Producer(self._stack.as_admin.cluster.rdkafka())
        names = [name for name, topic in self._topics.items() if not topic.public]
        other = self._makes("signals").good().value
        for number in range(n):
            name = names[number % len(names)]
            how = self._chance.choice(["bytes", "framed garbage", "another message", "no value"])
            value = {
                "bytes": b"junk",
                "framed garbage": b"\x00" + self._chance.randrange(1, 20).to_bytes(4, "big") + b"\x00" + b"\xff" * 40,
                "another message": other,
                "no value": b"",
            }[how]
            key = self._chance.choice([None, b"\xff\xfe", b"junk", b"fuzz-1"])
            producer.produce(self._topics[name].name, value, key, on_delivery=lambda *_: None)
            self.table["internal topics", how, "passed over"] += 1
        producer.flush(60)

    async def _http(self, n: int) -> None:
        token = LocalIssuer.from_file(
            self._stack.signing_key_file, issuer=self._stack.issuer, audience=self._stack.audience
        ).mint("fuzz-http")
        doors = {
            "/v1/signals": self._makes("signals", user="fuzz-http"),
            "/v1/feedback": self._makes("reactions", user="fuzz-http"),
        }
        topic, accepted = self._topics["signals"].name, 0
        letters_from = (await end_offsets(self._stack.cluster, self._topics["dead-letters"].name))[0]
        journal_from = await end_offsets(self._stack.cluster, self._topics["journal"].name)
        async with httpx.AsyncClient(base_url=self._stack.edge_url, timeout=30) as http:
            for number in range(n):
                path = self._chance.choice(list(doors))
                made = doors[path].good() if number % 8 == 0 else doors[path].bad()
                kind = "application/json" if self._chance.random() < 0.9 else "text/plain"
                try:
                    answer = await http.post(
                        path,
                        content=made.value or b"",
                        headers={"authorization": f"Bearer {token}", "content-type": kind},
                    )
                except httpx.HTTPError as error:
                    self.faults.append(f"POST {path} ({made.how}): {type(error).__name__}")
                    continue
                self.table[f"POST {path}", made.how, str(answer.status_code)] += 1
                if path == "/v1/signals" and answer.status_code == httpx.codes.ACCEPTED:
                    accepted += answer.json()["accepted"]
                if answer.status_code >= 500:
                    self.faults.append(
                        f"POST {path} ({made.how}): {answer.status_code} for {(made.value or b'')[:200]!r}"
                    )
        topic_id = (await topic_ids(self._stack.cluster, [topic]))[topic]
        until_s = time.monotonic() + WAIT_S
        while True:
            journaled = len(await self._journaled(journal_from, topic_id))
            refused = await self._refused(letters_from, topic)
            if journaled + len(refused) >= accepted or time.monotonic() > until_s:
                break
            await asyncio.sleep(1)
        if refused or journaled != accepted:
            letters = dict(Counter(refused.values()))
            self.faults.append(f"{accepted} signals answered 202: {journaled} in the journal, letters {letters}")

    def _files(self, n: int) -> None:
        data = Path(__file__).resolve().parents[1] / "data"
        samples = [path for path in sorted(data.iterdir()) if path.suffix in (".ics", ".txt")]
        now = datetime.now(UTC)
        for _ in range(n):
            path = self._chance.choice(samples)
            how, content = self._spoiled(path.read_bytes())
            try:
                parse_file(
                    FILES, Snapshot(content, now), path=path, user_id="fuzz", zone=ZoneInfo("Europe/Berlin"), now=now
                )
                outcome = "read"
            except UnreadableFile:
                outcome = "refused whole"
            except Exception as error:  # noqa: BLE001 - what it looks for
                outcome = type(error).__name__
                self.faults.append(f"{path.name} ({how}): {outcome}: {error}")
            self.table[f"file {path.suffix}", how, outcome] += 1

    def _spoiled(self, content: bytes) -> tuple[str, bytes]:
        chance = self._chance
        how = chance.choice(["cut", "bytes", "lines", "controls", "numbers", "repeats"])
        lines = content.split(b"\n")
        match how:
            case "cut":
                return how, content[: chance.randrange(len(content))]
            case "bytes":
                changed = bytearray(content)
                for _ in range(chance.randrange(1, 9)):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                return how, bytes(changed)
            case "lines":
                chance.shuffle(lines)
            case "controls":
                at = chance.randrange(len(lines))
                lines[at] += chance.choice([b"\x00", b"\xc2\x85", b"\xed\xa0\x80", b"\x1b[1m", b"\x7f"])
            case "numbers":
                return how, content.replace(b"2026", chance.choice([b"0000", b"9999", b"1e99", b"-001", b"20266"]))
            case "repeats":
                at = chance.randrange(len(lines))
                lines[at:at] = [lines[at]] * chance.randrange(2, 200)
        return how, b"\n".join(lines)


def _processes(stack: RunningStack) -> Iterator[tuple[int, str]]:
    """Process id and command of what runs of ours over this stack."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if stack.cluster.bootstrap in environment and ("agents" in command or "serving" in command):
            yield int(folder.name), command


def shown(table: Table) -> str:
    """The table in Markdown."""
    doors: dict[tuple[str, str], Counter[str]] = {}
    for (door, how, outcome), n in table.items():
        doors.setdefault((door, how), Counter())[outcome] += n
    rows = [
        f"| {door} | {how} | {sum(outcomes.values())} | {', '.join(f'{name} {n}' for name, n in outcomes.most_common())} |"
        for (door, how), outcomes in sorted(doors.items())
    ]
    return "\n".join(["| door | input | records | outcome |", "|---|---|---|---|", *rows])
