"""Makes the golden journal and what is expected of it: `python -m tests.golden.make`. Read the diff.

Five people of two partitions and one who meets every guard rail, from 16 October to 10 November 2026: summer time ends in Berlin and New York, a half-life
ends on 4 November. Two versions are fitted to what was taught by then and marked. What a record says depends on what was
decided before it, so the journal changes where decisions do; `--expected` keeps it and refreshes only what is expected.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict

from agents.active_version import ActiveVersion
from agents.features import FIRST, SCORED
from agents.fold import PartitionState
from agents.learn import SIZE
from agents.prior import fit
from agents.scores import moment_of
from agents.step import STEP_VERSION, Entry
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from tables import ids
from tables.row import spelled_out
from tables.totals import Totals, merged
from tests.agents.build import (
    Payload,
    Person,
    active,
    activity,
    answer,
    candidates,
    completed,
    config,
    entry,
    erasure,
    event,
    event_removed,
    granted,
    profile,
    reaction,
    removed,
    scores,
    task,
    tick,
    withdrawn,
)
from tests.golden.replay import (
    EXPECTED,
    EXPECTED_STEP5,
    EXPECTED_STEP7,
    EXPECTED_STEP9,
    EXPECTED_STEP10,
    JOURNAL,
    JOURNAL_STEP7,
    JOURNAL_STEP9,
    JOURNAL_STEP10,
    PARTITIONS,
    VERSIONS,
    as_step,
    asking_versions,
    epochs_of,
    golden,
    golden_step7,
    golden_step9,
    golden_step10,
    hearing_versions,
    interrupting_versions,
    replay,
    to_line,
    versions,
)

SEED = 20261019
RECORDS = 300
START_MS = int(datetime(2026, 10, 19, 6, tzinfo=UTC).timestamp() * 1000)
END_MS = int(datetime(2026, 11, 10, 22, tzinfo=UTC).timestamp() * 1000)
PEOPLE = {
    "alice": ("Europe/Berlin", 0),
    "bob": ("America/New_York", 0),
    "zoë 🦊": ("Pacific/Apia", 1),
    "משה": ("Asia/Jerusalem", 1),
    "u-00000000000000000005": ("Asia/Kathmandu", 1),
}
TITLES = (
    "Call mum",
    "קנה חלב",
    "اتصل بالبنك",
    "Bake 🎂 for 👩‍👩‍👧‍👦",
    "Write the\nreport",
    "ß → ẞ",
    "牛乳を買う",
    "x" * 500,
)
GUARDED = "guarded"
"""The person of the days before, who meets every guard rail."""
NUMBERS = ("", " 2", " 3", " (4)", " 5!")
FITS_AT = (120, 215)

Tell = Callable[..., row_pb2.UserRow]
"""A record of the guarded person at a time; gives the row after it."""


def main() -> None:
    """Write the journal, the versions and the expected lines."""
    if "--expected" not in sys.argv:
        entries, made = journal()
        JOURNAL.write_text("".join(to_line(one) + "\n" for one in entries), "utf-8")
        VERSIONS.write_text(
            "".join(
                json.dumps(MessageToDict(one, preserving_proto_field_name=True), separators=(",", ":")) + "\n"
                for one in made
            ),
            "utf-8",
        )
        JOURNAL_STEP7.write_text("".join(to_line(one) + "\n" for one in journal_step7()), "utf-8")
    if "--expected" not in sys.argv or not JOURNAL_STEP9.exists():
        JOURNAL_STEP9.write_text("".join(to_line(one) + "\n" for one in journal_step9()), "utf-8")
    if "--expected" not in sys.argv or not JOURNAL_STEP10.exists():
        JOURNAL_STEP10.write_text("".join(to_line(one) + "\n" for one in journal_step10()), "utf-8")
    entries = golden()
    for path, records, known in (
        (EXPECTED, entries, versions()),
        (EXPECTED_STEP5, as_step(entries, 5), versions()),
        (EXPECTED_STEP7, golden_step7(), asking_versions()),
        (EXPECTED_STEP9, golden_step9(), hearing_versions()),
        (EXPECTED_STEP10, golden_step10(), interrupting_versions()),
    ):
        lines = list(replay(records, known=known, space=SCORED if path is EXPECTED_STEP9 else FIRST))
        path.write_text("".join(line + "\n" for line in lines), "utf-8")
        print(f"{len(records)} records, {len(lines)} lines expected in {path.name}")


def journal() -> tuple[list[Entry], list[policy_pb2.PolicyVersion]]:
    """The records in the order in which they are read, and the versions that their marks name."""
    chance = random.Random(SEED)
    known: dict[str, ActiveVersion] = {"": active()}
    epochs = epochs_of(known)
    partitions = {
        n: PartitionState(partition=n, versions=known, totals=Totals(epochs=epochs)) for n in range(PARTITIONS)
    }
    offsets = dict.fromkeys(range(PARTITIONS), 0)
    entries: list[Entry] = []
    made: list[policy_pb2.PolicyVersion] = []

    def add(one: Entry) -> None:
        partitions[one.partition].apply(one)
        partitions[one.partition].acknowledge()
        entries.append(one)

    def put(user: str, payload: Payload, *, time_ms: int, partition: int, **rest: int | str) -> None:
        # Offsets have holes, as compaction and transactions leave them.
        offsets[partition] += 1 + (chance.random() < 0.1)
        offset = offsets[partition]
        add(entry(payload, offset=offset, time_ms=time_ms, user=user, partition=partition, **rest))  # type: ignore[arg-type]

    def told(partition: int, user: str) -> row_pb2.UserRow:
        row = partitions[partition].row(user)
        assert row is not None
        return spelled_out(row)

    def tell(payload: Payload, *, time_ms: int) -> row_pb2.UserRow:
        put(GUARDED, payload, time_ms=time_ms, partition=0)
        return told(0, GUARDED)

    _meet_the_rails(tell)
    # Of each kind of duplicate one that is sure to be there: read again, journaled again, sent again.
    add(entries[-1])
    offsets[0] += 1
    add(entries[-1]._replace(offset=offsets[0]))
    for _ in range(2):
        put(GUARDED, activity(user=GUARDED), time_ms=entries[-1].time_ms, partition=0, event_id="twice")
    for number in range(RECORDS):
        time_ms = START_MS + (END_MS - START_MS) * number // RECORDS
        if number in FITS_AT:
            totals = merged(
                (one for p in partitions.values() for one in (p.totals or Totals(epochs={})).all()), size=SIZE
            )
            sequence = 1 + len(made)
            before = made[-1] if made else None
            settings = config(learn_expired=sequence > 1)
            version = fit("mixed", totals, before=before, config=settings, now_ms=time_ms)
            made.append(version)
            known[version.version_id] = active(version)
            epochs |= epochs_of(known)
            mark = journal_pb2.Mark(sequence=sequence, version_id=version.version_id, step_version=1)
            for partition in range(PARTITIONS):
                put("", mark, time_ms=time_ms, partition=partition)
                # Learn crashed and marked again.
                put("", mark, time_ms=time_ms, partition=partition)
        user = chance.choice(list(PEOPLE))
        zone, partition = PEOPLE[user]
        if partitions[partition].row(user) is None:
            put(user, profile(zone, user=user), time_ms=time_ms, partition=partition)
            continue
        due = [
            (name, r.next_wake_ms)
            for name, (_, p) in PEOPLE.items()
            if (r := partitions[p].row(name)) is not None and 0 < r.next_wake_ms <= time_ms and chance.random() < 0.5
        ]
        for name, wake_ms in due:
            put(name, tick(wake_ms), time_ms=time_ms, partition=PEOPLE[name][1])
        payload, event_ms = _next(chance, told(partition, user), user=user, time_ms=time_ms)
        put(
            user, payload, time_ms=time_ms, partition=partition, event_ms=event_ms,
            event_id=f"e{number}" if chance.random() < 0.3 else "",
        )  # fmt: skip
        entries_again = _again(chance, entries, offsets)
        for one in entries_again:
            add(one)
    return entries, made


def journal_step7() -> list[Entry]:
    """Ada is asked for as step version 7 does: answers that count, late, doubled and of another request, what takes them back, leaving."""
    ada = Person(policy=asking_versions()[""], user="ada", time_ms=START_MS)
    ada.take(profile("Europe/Berlin"))

    def ask(payload: Payload) -> decision_pb2.CandidateRequest:
        request = ada.take(payload, after_ms=HOUR_MS).request
        assert request is not None, payload
        return request

    first = ask(task("a", title="קנה חלב", priority=1))
    ada.take(answer(first, "Buy it on the way", "Ask what is missing", about=["task:todo.txt/a"]))
    ada.take(answer(first, "Buy it twice", about=["task:todo.txt/a"]))
    ada.react("SEEN")
    late = ask(event("e", start_ms=ada.time_ms + 3 * HOUR_MS, end_ms=ada.time_ms + 4 * HOUR_MS, title="Stand-up 🎂"))
    ada.take(answer(late, "Too late", about=["event:ical/e"]), after_ms=HOUR_MS)
    second = ask(task("b", source="work", title="Quarterly report"))
    ada.take(answer(first, "Of another request", about=["task:todo.txt/a"]))
    ada.take(answer(second, "Write two lines", about=["task:work/b", "event:ical/e"]))
    for kind in ("DISMISS", "DONE", "SNOOZE") * 4:
        ada.react(kind, after_ms=MINUTE_MS, **({"until_ms": ada.time_ms + HOUR_MS} if kind == "SNOOZE" else {}))
    ada.take(completed("a"))
    third = ask(task("c", priority=4))
    ada.take(withdrawn("source:work", word="w1"))
    ada.take(answer(third, "Of a request that was taken back", about=["task:todo.txt/c"]))
    fourth = ask(task("d"))
    ada.take(answer(fourth, "Begin with the smallest", about=["task:todo.txt/d"]))
    ada.take(withdrawn("generated", word="w2"), after_ms=HOUR_MS)
    ada.take(task("e"), after_ms=HOUR_MS)
    ada.take(granted("generated", word="g2", knows_of="w2"), after_ms=DAY_MS)
    ask(task("f", title="Last"))
    ada.take(erasure("receipt"))
    return [one for one, _ in ada.log]


def journal_step9() -> list[Entry]:
    """Ada is scored as step version 9 takes it: by a model, late by it once another is heard, of slates of before and to come, of what she withdrew; and
    after the mark of each version.
    """
    known = hearing_versions()
    _, hears_3, deaf_3, hears_4, deaf_4 = known
    ada = Person(policy=known[""], user="ada", time_ms=START_MS)

    def mark(version_id: str) -> None:
        ada.take(journal_pb2.Mark(sequence=len(ada.log), version_id=version_id, step_version=STEP_VERSION))
        ada.policy = known[version_id]

    def score(model: str, *, back: int = 0, **expected: int) -> None:
        """Of the last decision, or of one before it."""
        at, slate = [(one.offset, outputs.decision.slate) for one, outputs in ada.log if outputs.decision][-1 - back]
        moment = moment_of(next((one.x for one in slate if any(one.x)), [0] * SCORED.d))
        said = {f"task:todo.txt/{name}": one for name, one in expected.items()}
        ada.take(scores(at, said, model=model, moment=moment))

    for name in ("a", "b", "c"):
        ada.take(task(name, priority=1 + len(ada.log) % 4))
    score("tips@3", a=60)  # No version names it yet.
    mark(hears_3)
    for number, kind in enumerate(("DONE", "SNOOZE", "DISMISS", "DONE") * 4):
        ada.take(task(f"t{number}", priority=number % 5, minutes=5 * number), after_ms=HOUR_MS)
        score("tips@3", **{f"t{number}": 70 - 9 * number, "a": number, "z": 9})
        score("tips@3", back=1, a=1)
        ada.react(kind, after_ms=MINUTE_MS, **({"until_ms": ada.time_ms + HOUR_MS} if kind == "SNOOZE" else {}))
        if number in (3, 6, 9, 12):
            mark((deaf_3, hears_4, deaf_4, hears_3)[number // 3 - 1])
            score("tips@4", **{f"t{number}": 33, "b": 2 * number})
    ada.take(withdrawn("calendar", word="w"), after_ms=HOUR_MS)
    ada.take(task("d"), after_ms=HOUR_MS)
    score("tips@3", d=50, a=20)
    ada.react("DONE", after_ms=MINUTE_MS)
    ada.take(erasure("receipt"))
    ada.take(scores(ada.offset - 1, {"task:todo.txt/d": 50}, model="tips@3"))
    return [one for one, _ in ada.log]


def journal_step10() -> list[Entry]:
    """Ada is told of tips as step version 10 does it: in quiet hours, past her cap, while she looks, and after she reacted, ignored, withdrew, granted again and left."""
    ada = Person(policy=interrupting_versions()[""], user="ada", time_ms=START_MS)
    ada.take(profile("Europe/Berlin", quiet=(1320, 420), languages=["de", "en"]))
    ada.take(task("first"))
    ada.take(granted("notifications", word="n"))
    ada.take(granted("email", word="e"))
    for number in range(60):
        ada.take(task(f"t{number}", priority=number % 5), after_ms=47 * MINUTE_MS)
        if number % 3 == 0:
            ada.react("SEEN", after_ms=(2 + number % 2 * 30) * SECOND_MS)
        if number % 4 < 3:
            ada.react(("DISMISS", "SNOOZE", "DISMISS" if number < 30 else "DONE")[number % 4], after_ms=MINUTE_MS)
        if number == 20:
            ada.take(profile(notifications_per_day=2), after_ms=HOUR_MS)
        if number == 40:
            ada.take(withdrawn("email", word="we"), after_ms=MINUTE_MS)
    ada.take(withdrawn("notifications", word="wn"), after_ms=HOUR_MS)
    ada.take(granted("notifications", word="n2", knows_of="wn"), after_ms=HOUR_MS)
    ada.take(task("last", due_ms=ada.time_ms + HOUR_MS), after_ms=DAY_MS)
    ada.take(erasure("receipt"), after_ms=HOUR_MS)
    return [one for one, _ in ada.log]


def _meet_the_rails(tell: Tell) -> None:
    """Three days in which what chance may leave out is sure to happen."""
    begins_ms = START_MS - 3 * DAY_MS
    settings = profile("Europe/Berlin", user=GUARDED, quiet=(1320, 420), starter_tips=True, tips_per_hour=0)
    row = tell(settings, time_ms=begins_ms)
    for minute in range(1, 16):
        # Each event brings another tip, which nobody has seen yet.
        time_ms = begins_ms + minute * MINUTE_MS
        far_ms = time_ms + 30 * DAY_MS
        row = tell(event(f"f{minute}", start_ms=far_ms, end_ms=far_ms, user=GUARDED), time_ms=time_ms)
    for one in list(row.pending)[:-1]:
        # Then a client says that it has shown all of them: twelve starter tips are enough for a day.
        row = tell(reaction(ids.spelled(one.decision_id), "SEEN", user=GUARDED), time_ms=begins_ms + 20 * MINUTE_MS)
    starter = next(one for one in row.pending if one.kind == decision_pb2.Decision.STARTER)
    row = tell(reaction(ids.spelled(starter.decision_id), "DONE", user=GUARDED), time_ms=begins_ms + 21 * MINUTE_MS)
    for _ in range(4):
        row = tell(tick(row.next_wake_ms), time_ms=row.next_wake_ms)
    next_ms = begins_ms + DAY_MS + 4 * HOUR_MS
    for number in range(9):
        row = tell(task(f"r{number}", user=GUARDED), time_ms=next_ms + number * MINUTE_MS)
    for one in list(row.pending)[-9:-1]:
        # Of tasks there were enough running once there is something else to say.
        row = tell(reaction(ids.spelled(one.decision_id), "SEEN", user=GUARDED), time_ms=next_ms + 10 * MINUTE_MS)
    tell(candidates("idea", expires_ms=next_ms + 2 * HOUR_MS), time_ms=next_ms + 11 * MINUTE_MS)
    far_ms = next_ms + 30 * DAY_MS
    tell(event("f", start_ms=far_ms, end_ms=far_ms, user=GUARDED), time_ms=next_ms + 150 * MINUTE_MS)
    noon_ms = begins_ms + 2 * DAY_MS + 4 * HOUR_MS
    tell(event("long", start_ms=noon_ms, end_ms=noon_ms + HOUR_MS, user=GUARDED), time_ms=noon_ms)
    for number, minutes in enumerate((60, 5, 5)):
        title = "Sort the photos" if number else "Write the report"
        tell(task(f"g{number}", title=title, minutes=minutes, user=GUARDED), time_ms=noon_ms + number * 1000)
    tell(profile(user=GUARDED, task_tips=False, generated_tips=False, tips_per_day=1), time_ms=noon_ms + MINUTE_MS)
    tell(profile(user=GUARDED, task_tips=True, quiet=(0, 0)), time_ms=noon_ms + 2 * MINUTE_MS)


def _next(chance: random.Random, row: row_pb2.UserRow, *, user: str, time_ms: int) -> tuple[Payload, int]:
    """What the person or their sources say next, and when it happened."""
    # Told late, or by a clock that is ahead.
    event_ms = time_ms - (chance.randrange(-HOUR_MS, 3 * HOUR_MS) if chance.random() < 0.2 else 0)
    one = chance.choice(row.tasks).external_id if row.tasks else "none"
    current = row.pending[-1] if row.pending else None
    if current is not None and chance.random() < 0.45:
        # Now and then a decision of before, seen late or clicked twice.
        aim = current if chance.random() < 0.75 else chance.choice(row.pending)
        kind = chance.choices(["SEEN", "DONE", "SNOOZE", "DISMISS"], weights=[5, 4, 2, 2])[0]
        until_ms = time_ms + chance.choice([-HOUR_MS, 20 * MINUTE_MS, DAY_MS]) if kind == "SNOOZE" else 0
        return reaction(ids.spelled(aim.decision_id), kind, user=user, until_ms=max(until_ms, 0)), event_ms
    due_ms = time_ms + chance.choice([-DAY_MS, HOUR_MS, 20 * HOUR_MS, 5 * DAY_MS, 40 * DAY_MS])
    start_ms = time_ms + chance.choice([-30 * MINUTE_MS, 25 * MINUTE_MS, 90 * MINUTE_MS, 26 * HOUR_MS])
    say = chance.choices(
        ["task", "edit", "completed", "removed", "event", "event gone", "activity", "profile", "settings", "written"],
        weights=[34, 8, 8, 4, 12, 3, 8, 2, 12, 8],
    )[0]
    match say:
        case "task" | "edit":
            name = one if say == "edit" else f"t{chance.randrange(10_000)}"
            new = task(
                name, title=chance.choice(TITLES) + chance.choice(NUMBERS), priority=chance.randrange(5), user=user,
                due_ms=due_ms if chance.random() < 0.5 else 0, minutes=chance.choice([0, 5, 45, 300]),
                notes=chance.choice(["", "n" * 400]), labels=["home", "📞"], url="https://example.org/1",
            )  # fmt: skip
            return new, event_ms
        case "completed":
            if current is not None and row.current_candidate.startswith("task:") and chance.random() < 0.7:
                # What is on show is ticked off in the file.
                one = row.current_candidate.split("/", 1)[1]
            return completed(one, user=user), event_ms
        case "removed":
            return removed(one, user=user), event_ms
        case "event":
            length_ms = chance.choice([0, 30 * MINUTE_MS, 2 * HOUR_MS])
            return event(
                f"e{chance.randrange(40)}", start_ms=start_ms, end_ms=start_ms + length_ms, user=user,
                title=chance.choice(TITLES), busy=chance.choice([None, True, False]),
            ), event_ms  # fmt: skip
        case "event gone":
            return event_removed(f"e{chance.randrange(40)}", user=user), event_ms
        case "profile":
            return profile(chance.choice([zone for zone, _ in PEOPLE.values()]), user=user), event_ms
        case "settings":
            return profile(user=user, **_settings(chance)), event_ms
        case "written":
            names = [f"w{chance.randrange(20)}" for _ in range(3)]
            return candidates(*names, expires_ms=time_ms + chance.choice([6 * HOUR_MS, 3 * DAY_MS])), event_ms
        case _:
            return activity(user=user), event_ms


def _settings(chance: random.Random) -> dict[str, Any]:
    """What a person sets for themselves; what they withdraw they mostly give again."""
    match chance.choice(["quiet", "quiet", "consent", "caps"]):
        case "quiet":
            return {"quiet": chance.choice([(1320, 420), (1320, 420, 31), (120, 150), (0, 0), (720, 1440, 96)])}
        case "consent":
            kind = chance.choice(["task_tips", "starter_tips", "generated_tips"])
            return {kind: chance.random() < 0.7}
        case _:
            return {"tips_per_hour": chance.choice([0, 1, 2]), "tips_per_day": chance.choice([0, 1, 2, 9])}


def _again(chance: random.Random, entries: list[Entry], offsets: dict[int, int]) -> list[Entry]:
    """Duplicates of every kind, now and then."""
    draw = chance.random()
    last = entries[-1]
    if draw < 0.03:
        # Read again after a crash: a stretch of the journal at its own offsets.
        return [one for one in entries[-12:] if one.partition == last.partition][-4:]
    if draw < 0.08:
        # Journaled again by the door, or the same event sent twice by its producer.
        one = chance.choice(entries[-20:])
        offsets[one.partition] += 1
        record = journal_pb2.JournalRecord()
        record.CopyFrom(one.record)
        if record.event_key and chance.random() < 0.5:
            record.source.offset += 100_000
            record.record_id = b"again" + record.record_id[5:]
        # Its event time and source stay as they were; the broker's time is new.
        return [one._replace(offset=offsets[one.partition], time_ms=last.time_ms, record=record)]
    if draw < 0.09:
        offsets[last.partition] += 1
        record = journal_pb2.JournalRecord(record_id=bytes(16), writer="test/1", sealed=b"\x00\xff")
        return [last._replace(offset=offsets[last.partition], record=record)]
    return []


if __name__ == "__main__":
    main()
