"""What must be out there after a fault: folds the raw log itself, and holds everything else against it.

Of the engine it uses the pure `step` and the settings that `step` takes, and nothing else: reading, folding, the
changelog, PostgreSQL and Valkey are its own. Where it can, it counts beside `step` as well, from what was written.

    I1  no acknowledged event lost            I5  history unique and complete
    I2  each reaction learned once            I6  nothing committed that is not durable
    I3  rows = oracle = changelog             I7  lag reaches 0
    I4  the tip in Valkey never goes back     I8  every refused event in the dead letters with its reason
"""

from __future__ import annotations

import hashlib
import time
import uuid
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from google.protobuf.message import DecodeError, Message
from valkey import Valkey

from agents.active_version import ActiveVersion
from agents.features import FIRST
from agents.prior import prior
from agents.step import Entry, step
from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from oo.v1.dead_letter_pb2 import DeadLetter
from oo.v1.decision_pb2 import CandidateRequest, Decision, Tip
from oo.v1.journal_pb2 import JournalRecord, SetAside
from oo.v1.outcome_pb2 import Outcome
from oo.v1.policy_pb2 import PolicyVersion
from oo.v1.row_pb2 import PartitionRow, UserRow
from streams.sealing import KeyMissing, NotOpened
from tables.pseudonyms import Pseudonyms
from tables.row import spelled_out
from tests.faults.log import Line, Log
from tests.faults.traffic import Ledger, unframed
from tests.sealed import KeptKeys, opened_now

M = TypeVar("M", bound=Message)
MARKS_KEY = b"\x00marks"
EXPLICIT = frozenset((Outcome.DONE, Outcome.SNOOZE, Outcome.DISMISS))
LAGS = {
    "signals": "core",
    "reactions": "core",
    "subject-requests": "core",
    "journal": "core",
    "tips": "publish",
    "decisions": "record",
    "outcomes": "record",
    "erasures": "record",
}
"""Topic -> the process whose group reads it."""


@dataclass(slots=True)
class Findings:
    """What is wrong, by invariant; the numbers of events lost and doubled among it."""

    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0
    doubled: int = 0

    def add(self, invariant: str, what: str, *, lost: int = 0, doubled: int = 0) -> None:
        self.broken[invariant].append(what)
        self.lost += lost
        self.doubled += doubled


@dataclass(slots=True)
class Oracle:
    """The fold of the raw log so far. `take` reads on; `check` compares."""

    stack: RunningStack
    log: Log
    rows: dict[str, UserRow] = field(default_factory=dict)
    tips: dict[str, Tip] = field(default_factory=dict)
    decisions: dict[str, bytes] = field(default_factory=dict)
    outcomes: dict[str, bytes] = field(default_factory=dict)
    changes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By user: the journal offsets at which the row changed."""
    home: dict[str, int] = field(default_factory=dict)
    """By user: the journal partition."""
    sources: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """Source place -> how often it stands in the journal."""
    journaled_ms: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """Source place -> Kafka's time of its first record in the journal."""
    out_of_order: set[tuple[str, int, int]] = field(default_factory=set)
    """Source places that the journal has for the first time only after a later one of the same user and partition:
    a row skips them as taken."""
    letters: dict[tuple[str, int, int], list[DeadLetter]] = field(default_factory=lambda: defaultdict(list))
    greatest: dict[tuple[int, bytes], tuple[int, bytes]] = field(default_factory=dict)
    last: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    requests: list[CandidateRequest] = field(default_factory=list)
    """What a language model is to be asked, and is not any more."""
    scored: Counter[str] = field(default_factory=Counter)
    """Decisions whose row had scores for their slate, by model."""
    records: int = 0
    _versions: dict[str, ActiveVersion] = field(default_factory=dict)
    _force: dict[int, tuple[int, str]] = field(default_factory=dict)
    _seen: dict[tuple[str, str, int], int] = field(default_factory=dict)
    _topic_ids: dict[bytes, str] = field(default_factory=dict)
    _journal_id: bytes = b""
    _mac_key: bytes = b""
    _keys: KeptKeys = field(init=False)
    _checked: Counter[str] = field(default_factory=Counter)
    _written: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """By topic and partition: offsets at which a record stands."""
    _aside: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """By journal partition and digest of a record: from which offset on it and its copies are passed over."""
    _fresh: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"decisions": {}, "outcomes": {}})
    _made: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """By user: decisions and outcomes that the fold made."""
    _told: set[str] = field(default_factory=set)

    def open(self) -> None:
        """Learn the topics' ids and the key of decision ids."""
        prefix = self.stack.cluster.prefix
        client = AdminClient({"bootstrap.servers": self.stack.cluster.bootstrap, "log_level": 0})
        names = [prefix + name for name in ("signals", "reactions", "subject-requests", "journal")]
        for name, future in client.describe_topics(TopicCollection(names)).items():
            found = future.result(30).topic_id
            halves = (found.get_most_significant_bits(), found.get_least_significant_bits())
            raw = uuid.UUID(int=(halves[0] % 2**64 << 64) | halves[1] % 2**64).bytes
            self._topic_ids[raw] = name.removeprefix(prefix)
            if name == f"{prefix}journal":
                self._journal_id = raw
        self._mac_key = self.stack.mac_key_file.read_bytes()
        self._keys = KeptKeys.of(self.stack.cluster, KeyFiles(self.stack.kek_dir))
        self._version("", prior(space=FIRST))

    def take(self) -> None:
        """Read on in all topics, and fold what the journal has new."""
        # A version stands in its topic before its marks stand in the journal.
        journal = list(self.log.news("journal"))
        # So does the word that a record of it is passed over: no fault looks while such a one is still being tried.
        for line in self.log.news("set-aside"):
            word = parsed(SetAside, line)
            if word is not None and word.place.topic_id == self._journal_id:
                self._aside[word.place.partition, word.digest] = word.place.offset
        for topic in ("signals", "reactions"):
            # What is aborted, and the marks of transactions, are no records: offsets alone do not tell.
            for line in self.log.news(topic):
                self._written[topic, line.partition].append(line.offset)
        for line in self.log.news("policies"):
            if (version := parsed(PolicyVersion, line)) is not None:
                self._version(version.version_id, version)
        for line in journal:
            self._fold(line)
        for line in self.log.news("rows"):
            self._row(line)
        for line in self.log.news("dead-letters"):
            letter = parsed(DeadLetter, line)
            if letter is None:
                continue
            place = (letter.topic.removeprefix(self.stack.cluster.prefix), letter.partition, letter.offset)
            self.letters[place].append(letter)

    def lag(self) -> dict[str, int]:
        """Records not yet committed, by topic; only those that have any."""
        found = {}
        for topic, process in LAGS.items():
            group = f"{self.stack.cluster.prefix}{process}".replace(".", "-")
            ends, done = self.log.ends(topic), self.log.committed(group, topic)
            behind = sum(max(0, end - done.get(number, 0)) for number, end in ends.items())
            if behind:
                found[topic] = behind
        return found

    def durable(self, found: Findings) -> None:
        """I6, at this moment: what the core group has committed stands in the next topic."""
        group = self.stack.cluster.group("core")
        commits = {topic: self.log.committed(group, topic) for topic in ("signals", "reactions", "journal")}
        self.take()
        for topic in ("signals", "reactions"):
            for number, end in commits[topic].items():
                written, checked = self._written[topic, number], self._checked[f"{topic}/{number}"]
                upto = bisect_left(written, end)
                missing = sum(
                    (topic, number, offset) not in self.sources and (topic, number, offset) not in self.letters
                    for offset in written[checked:upto]
                )
                self._checked[f"{topic}/{number}"] = max(upto, checked)
                if missing:
                    found.add("I6", f"{topic}-{number}: {missing} committed and nowhere", lost=missing)
        for user, offsets in self.changes.items():
            number = self.home[user]
            below = bisect_left(offsets, commits["journal"].get(number, 0))
            stands = self.greatest.get((number, user.encode()), (-1, b""))[0]
            if below and stands < offsets[below - 1]:
                self._once(found, "I6", f"row of {user}: committed past {offsets[below - 1]}, row stands at {stands}")

    def check(self, found: Findings, ledger: Ledger, users: Iterable[str], *, rebuilt: bool) -> None:
        """Everything that can be compared once the lag is 0. `rebuilt`: a worker has recovered since the fault."""
        self._acknowledged(found, ledger)
        self._effects(found, ledger, users)
        self._changelog(found, rebuilt=rebuilt)
        self._history(found)
        self._served(found)
        for fault in self.faults:
            self._once(found, "I3", fault)

    # -- inside

    def _version(self, version_id: str, version: PolicyVersion) -> None:
        self._versions[version_id] = ActiveVersion.of(version, mac_key=self._mac_key)

    def _fold(self, line: Line) -> None:
        record = self._opened(parsed(JournalRecord, line), line.key)
        if record is None or line.value is None:
            return
        self.records += 1
        if record.HasField("mark"):
            if record.mark.sequence > self._force.get(line.partition, (0, ""))[0]:
                self._force[line.partition] = (record.mark.sequence, record.mark.version_id)
            return
        user = line.key.decode()
        self.home[user] = line.partition
        if record.source.topic_id:
            self._source(user, record, line.time_ms)
        digest = hashlib.blake2b(line.value, digest_size=16).digest()
        if self._aside.get((line.partition, digest), line.offset + 1) <= line.offset:
            return
        entry = Entry(user, self._journal_id, line.partition, line.offset, line.time_ms, record)
        before = self.rows.get(user)
        try:
            after, outputs = step(before, entry, self._versions[self._force.get(line.partition, (0, ""))[1]])
        except Exception as error:  # noqa: BLE001 - a finding, like any other
            self.faults.append(f"step failed at {line.partition}/{line.offset}: {type(error).__name__}")
            return
        if after is not None and after is not before:
            self.rows[user] = after
            self.changes[user].append(line.offset)
        if outputs.erased is not None and not outputs.erased.HasField("began_again"):
            # What was made of them before is in no place any more.
            for name, key in self._made.pop(user, ()):
                (self.decisions if name == "decisions" else self.outcomes).pop(key, None)
                self._fresh[name].pop(key, None)
        if outputs.decision is not None:
            self._expect("decisions", outputs.decision.decision_id, outputs.decision)
            if outputs.decision.scored_by:
                self.scored[outputs.decision.scored_by] += 1
        if outputs.tip is not None:
            self.tips[user] = outputs.tip
        if outputs.request is not None:
            self.requests.append(outputs.request)
        for outcome in outputs.outcomes:
            self._expect("outcomes", outcome.outcome_id, outcome)

    def _expect(self, name: str, key: str, message: Decision | Outcome) -> None:
        known = self.decisions if name == "decisions" else self.outcomes
        if key in known:
            self.faults.append(f"{name} {key}: made twice by the fold")
        known[key] = b""
        self._made[message.user_id].append((name, key))
        self._fresh[name][key] = message.SerializeToString(deterministic=True)

    def _source(self, user: str, record: JournalRecord, time_ms: int) -> None:
        topic = self._topic_ids[record.source.topic_id]
        place = (topic, record.source.partition, record.source.offset)
        newest = self._seen.get((user, topic, record.source.partition), -1)
        if place not in self.sources and record.source.offset < newest:
            self.out_of_order.add(place)
        self.sources[place] = self.sources.get(place, 0) + 1
        self.journaled_ms.setdefault(place, time_ms)
        self._seen[user, topic, record.source.partition] = max(newest, record.source.offset)

    def _row(self, line: Line) -> None:
        row: PartitionRow | UserRow | None
        row = parsed(PartitionRow, line) if line.key == MARKS_KEY else self._opened(parsed(UserRow, line), line.key)
        if row is None or line.value is None:
            return
        key, message, offset = (line.partition, line.key), row.SerializeToString(deterministic=True), row.journal_offset
        self.last[key] = message
        if key not in self.greatest or offset >= self.greatest[key][0]:
            self.greatest[key] = (offset, message)

    def _opened(self, message: M | None, key: bytes) -> M | None:
        """What was sealed; None for junk, and for what is of somebody who left: a living person's would be missed in their row."""
        try:
            return None if message is None else opened_now(message, whose=key, keys=self._keys)
        except (NotOpened, KeyMissing):
            return None

    def _once(self, found: Findings, invariant: str, what: str, *, lost: int = 0, doubled: int = 0) -> None:
        """Attributes a difference to the fault after which it is first seen."""
        if what not in self._told:
            self._told.add(what)
            found.add(invariant, what, lost=lost, doubled=doubled)

    def _acknowledged(self, found: Findings, ledger: Ledger) -> None:
        for place, sent in ledger.acknowledged.items():
            if sent.reason:
                reasons = {letter.reason for letter in self.letters.get(place, ())}
                if reasons != {sent.reason}:
                    found.add("I8", f"{place}: letters {sorted(reasons)}, not {sent.reason}", lost=not reasons)
                if place in self.sources:
                    found.add("I8", f"{place}: admitted, should be {sent.reason}")
            elif place not in self.sources:
                found.add("I1", f"{place} {sent.event_id}: acknowledged, not in the journal", lost=1)
            elif place in self.out_of_order:
                found.add("I1", f"{place} {sent.event_id}: journaled after a later one, so its row skips it", lost=1)
            elif place in self.letters:
                reasons = {letter.reason for letter in self.letters[place]}
                found.add("I8", f"{place} {sent.event_id}: good, and refused as {sorted(reasons)}")

    def _effects(self, found: Findings, ledger: Ledger, users: Iterable[str]) -> None:
        """Beside `step`: what the live rows must hold by what was written alone, under people's own names."""
        of = Pseudonyms.in_file(self.stack.name_key_file).of
        newest: dict[tuple[str, str], tuple[int, str]] = {}
        maybe: dict[tuple[str, str], set[str]] = defaultdict(set)
        reactions: dict[str, set[str]] = defaultdict(set)
        for sent in ledger.acknowledged.values():
            if sent.kind == "calendar":
                key = (of(sent.user), sent.item)
                newest[key] = max(newest.get(key, (0, "")), (sent.event_ms, sent.title))
            elif sent.kind in ("DONE", "SNOOZE", "DISMISS"):
                reactions[of(sent.user)].add(sent.decision_id)
        for sent in ledger.unknown:
            maybe[of(sent.user), sent.item].add(sent.title)
        for user in map(of, users):
            number = self.home.get(user)
            if number is None:
                continue
            row = spelled_out(UserRow.FromString(self.greatest.get((number, user.encode()), (0, b""))[1]))
            there = {event.external_id: event.title for event in row.events if event.source == "faults"}
            for (owner, item), (_, title) in newest.items():
                if owner == user and there.get(item) not in {title, *maybe[user, item]}:
                    found.add("I1", f"{user} {item}: the row has {there.get(item)!r}, the last is {title!r}", lost=1)
            counted = sum(sum(window.counts) for window in row.windows if window.width_s == 21600)
            unsure = sum(of(sent.user) == user and bool(sent.decision_id) for sent in ledger.unknown)
            if not len(reactions[user]) <= counted <= len(reactions[user]) + unsure:
                wrong = counted - len(reactions[user])
                found.add(
                    "I2",
                    f"{user}: {len(reactions[user])} reactions, {counted} counted",
                    lost=max(-wrong, 0),
                    doubled=max(wrong, 0),
                )

    def _changelog(self, found: Findings, *, rebuilt: bool) -> None:
        if rebuilt:
            # As a worker with an empty disk reads it now: what was compacted away since it was written is gone.
            self.greatest.clear()
            self.last.clear()
            for line in self.log.news("rows", again=True):
                self._row(line)
        for user, row in self.rows.items():
            key = (self.home[user], user.encode())
            wanted = row.SerializeToString(deterministic=True)
            offset, stands = self.greatest.get(key, (-1, b""))
            if stands != wanted:
                self._once(found, "I3", f"row of {user}: fold at {row.journal_offset}, changelog at {offset}")
            if rebuilt and self.last.get(key) != stands:
                self._once(found, "I3", f"row of {user}: compaction would keep an older row than {offset}")
        for number, key in self.greatest:
            if key != MARKS_KEY and key.decode() not in self.rows:
                self._once(found, "I3", f"row of {key!r} in {number}: not in the fold")
        for number, (sequence, _) in self._force.items():
            stands = self.greatest.get((number, MARKS_KEY), (-1, b""))[1]
            marks = PartitionRow.FromString(stands).marks
            if not marks or marks[-1].mark.sequence != sequence:
                self._once(found, "I3", f"partition row {number}: does not end with mark {sequence}")

    def _history(self, found: Findings) -> None:
        kinds: dict[str, type[Message]] = {"decisions": Decision, "outcomes": Outcome}
        with psycopg.connect(self.stack.dsn("postgres")) as connection:
            for name, kind in kinds.items():
                column, wanted = f"{name[:-1]}_id", self._fresh[name]
                total = len(self.decisions if name == "decisions" else self.outcomes)
                query = f"SELECT {column}, user_id, message FROM recommender.{name} WHERE {column} = ANY(%s)"
                rows_of = connection.execute(query, (list(wanted),)).fetchall()  # type: ignore[arg-type]
                there = {key: self._opened(kind.FromString(kept), user.encode()) for key, user, kept in rows_of}
                for key, message in wanted.items():
                    if key not in there:
                        self._once(found, "I5", f"{name} {key}: missing", lost=1)
                    elif (kept := there[key]) is None or kept.SerializeToString(deterministic=True) != message:
                        self._once(found, "I5", f"{name} {key}: not as the fold has it")
                wanted.clear()
                (rows,) = connection.execute(f"SELECT count(*) FROM recommender.{name}").fetchone() or (0,)  # type: ignore[arg-type]
                if rows != total:
                    self._once(found, "I5", f"{name}: {rows} rows, {total} in the fold", doubled=max(rows - total, 0))
            weights = _weights(time.time())
            query = (
                "SELECT user_id, count(DISTINCT decision_id), count(*) FILTER (WHERE corrects = ''"
                " OR corrects = 'KIND_UNSPECIFIED' OR corrects IS NULL) FROM recommender.outcomes"
                " WHERE learned GROUP BY user_id"
            )
            for user, decisions, first in connection.execute(query).fetchall():
                number = self.home.get(user, -1)
                row = spelled_out(UserRow.FromString(self.greatest.get((number, user.encode()), (0, b""))[1]))
                low, high = (decisions * weight for weight in weights)
                if not low <= row.sums.n <= high:
                    wrong = round(row.sums.n / weights[1]) - decisions
                    self._once(
                        found,
                        "I2",
                        f"{user}: the row learned {row.sums.n}, {decisions} decisions weigh {low} to {high}",
                        lost=max(-wrong, 0),
                        doubled=max(wrong, 0),
                    )
                if first > decisions:
                    self._once(found, "I2", f"{user}: {first - decisions} outcomes beside the first", doubled=1)

    def _served(self, found: Findings) -> None:
        for user, offset in self.unserved().items():
            wanted = self.tips[user].journal.offset
            if offset is None:
                self._once(found, "I4", f"tip of {user}: missing in Valkey", lost=1)
            else:
                self._once(found, "I4", f"tip of {user}: Valkey at {offset}, fold at {wanted}")

    def unserved(self) -> dict[str, int | None]:
        """Users whose tip in Valkey is not the fold's: the journal offset that stands there, if any."""
        users = list(self.tips)
        with Valkey.from_url(self.stack.valkey_url) as client, client.pipeline(transaction=False) as pipe:
            for user in users:
                pipe.hget(f"oo:tip:{{{user}}}", "tip")
            answers = pipe.execute()
        stands = {
            user: None if body is None else Tip.FromString(body).journal.offset
            for user, body in zip(users, answers, strict=True)
        }
        return {user: offset for user, offset in stands.items() if offset != self.tips[user].journal.offset}


def _weights(now_s: float) -> tuple[int, int]:
    """What one learned outcome of the last hours adds to a row's count: 64 at the start of 28 days, doubling in 32 steps.

    The least and the greatest: they differ only where a step has just ended.
    """
    days = 28 * 86_400
    steps = [int(at % days * 32 / days) for at in (now_s - 7200, now_s + 7200)]
    found = sorted(round(64 * 2 ** (step / 32)) for step in steps)
    return found[0], found[1]


def parsed(kind: type[M], line: Line) -> M | None:
    """The message in a value; None for junk, which a stranger may write anywhere."""
    try:
        return kind.FromString(unframed(line.value or b""))
    except (AssertionError, IndexError, DecodeError):
        return None
