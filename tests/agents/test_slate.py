"""The compiled slate, windows, pending decisions and what was taken agree to the bit with plain Python, on rows of chance."""

from __future__ import annotations

import random

import numpy as np
import pytest

from agents import candidates, fatigue, features
from agents.opened import Opened
from agents.slate import slate_at
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, row_pb2, signal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import pending, slates, taken, windows
from tables.consents import grants, withdrawn_sources
from tables.purposes import PURPOSES
from tables.row import BLOCKS, spelled_out
from tables.windows import SPANS_MS, Cell
from tests.agents import before
from tests.agents.build import MONDAY_MS, config

NEVER_MS, COUNT_MAX = 1 << 62, (1 << 32) - 1
TITLES = (
    *(
        "Call mum",
        "call MUM!",
        "mum: call",
        "Call mum now",
        "Write the report",
        "The report: write",
        "!!!",
        "",
        "牛乳を買う",
    ),
    *("Buy oat milk", "Buy milk", "Write down the one thing you want done today", "a b c d e", "a b c d", "ß", "SS"),
)
LABELS = ("home", "l0", "📞", "work", "", "a:b", "errand", "x" * 64)
SOURCES = ("todo.txt", "a", "z", "todo", "ics")
PROMPTS = ("", "m0", "m1", "m2", "m3")


def row_of(chance: random.Random) -> row_pb2.UserRow:
    """A row as chance has it; the times that matter meet now, 0 and never."""
    now_ms = MONDAY_MS + chance.randrange(14 * DAY_MS)

    def time_ms() -> int:
        near = now_ms + chance.choice(
            [-1, 0, 1, chance.randrange(-40 * DAY_MS, 40 * DAY_MS), chance.randrange(-HOUR_MS, HOUR_MS)]
        )
        return chance.choice([0, NEVER_MS, near, near, near, now_ms - DAY_MS, now_ms + DAY_MS, now_ms + 7 * DAY_MS])

    def count() -> int:
        return chance.choice([0, 0, 1, 2, 7, COUNT_MAX, COUNT_MAX - 1, 1 << 31])

    row = row_pb2.UserRow(
        user_id="ada",
        now_ms=now_ms,
        time_zone=chance.choice(["UTC", "Europe/Berlin", "Pacific/Apia", "America/New_York"]),
        reacted_ms=chance.choice([0, now_ms - 5 * MINUTE_MS, now_ms - DAY_MS]),
    )
    names = chance.sample(range(10_000), chance.choice([0, 1, 3, 12, 39, 40, 41, 60, 200]))
    stamps = [time_ms() for _ in range(3)]
    quiet = chance.random() < 0.3
    for name in names:
        row.tasks.add(
            source=chance.choice(SOURCES),
            external_id=chance.choice([f"t{name}", f"{name}", f"/{name}", f"日{name}"]),
            title=chance.choice(TITLES),
            notes=chance.choice(["", "n"]),
            priority=chance.randrange(5),
            due_ms=time_ms(),
            estimated_minutes=chance.choice([0, 5, 15, 29, 30, 31, 119, 120, 240, 241, COUNT_MAX]),
            labels=chance.sample(LABELS, chance.randrange(4)),
            created_ms=time_ms(),
            # Often the same, so that ties are met.
            updated_ms=chance.choice([*stamps, time_ms()]),
            quiet_until_ms=time_ms() if quiet or chance.random() < 0.2 else 0,
            quiet_reason=chance.choice([0, 1, 2, 3]),
            shown=count(),
            dismissed=count(),
            snoozed=count(),
        )
    for name in range(chance.choice([0, 0, 1, 4, 20])):
        start_ms = now_ms + chance.randrange(-3 * HOUR_MS, 5 * HOUR_MS)
        row.events.add(
            source=chance.choice(SOURCES),
            external_id=f"e{name}",
            title=chance.choice(TITLES),
            start_ms=chance.choice([start_ms, now_ms, now_ms + 30 * MINUTE_MS]),
            end_ms=start_ms + chance.choice([0, 1, 20 * MINUTE_MS, 3 * HOUR_MS, 30 * HOUR_MS]),
            busy=chance.random() < 0.7,
        )
    row.events.sort(key=lambda one: (one.start_ms, one.source, one.external_id))
    for name in range(chance.choice([0, 0, 1, 3, 16])):
        row.generated.add(
            external_id=f"w{name}",
            title=chance.choice(TITLES),
            expires_ms=time_ms(),
            prompt_version=chance.choice(PROMPTS),
            model=chance.choice(PROMPTS),
        )
    put_off = ["starter:plan", "starter:tidy", "starter:gap", "starter:prepare", *(f"generated:w{n}" for n in range(4))]
    for candidate in chance.sample(put_off, chance.randrange(4)):
        row.cool_downs.add(candidate=candidate, until_ms=time_ms(), reason=chance.choice([0, 1, 2, 3]))
    for window in windows_of(chance, now_ms, reactions=(1, 2, 3)):
        row.windows.append(window)
    for window in windows_of(chance, now_ms, reactions=(4,)):
        if window.width_s <= 3600:
            row.unasked.append(window)
    pending_of(chance, row)
    if chance.random() < 0.6:
        settings = {
            name: chance.random() < 0.7
            for name in ("task_tips", "starter_tips", "generated_tips")
            if chance.random() < 0.4
        }
        row.profile.CopyFrom(
            signal_pb2.ProfileChanged(
                **settings, tips_per_hour=chance.choice([0, 1, 9]), tips_per_day=chance.choice([0, 2])
            )
        )
        if chance.random() < 0.3:
            row.profile.quiet_hours.start_minute, row.profile.quiet_hours.end_minute = chance.choice(
                [(1320, 420), (0, 720), (600, 601)]
            )
    return row


def windows_of(chance: random.Random, now_ms: int, *, reactions: tuple[int, ...]) -> list[row_pb2.Window]:
    found: list[row_pb2.Window] = []
    for _ in range(chance.choice([0, 0, 3, 12, 40])):
        cell = Cell(reaction=chance.choice(reactions), kind=chance.choice([0, 2, 3, 4]), part=chance.randrange(4))
        found = before.add(
            found,
            cell,
            event_ms=now_ms - chance.randrange(chance.choice([HOUR_MS, DAY_MS, 30 * DAY_MS])),
            now_ms=now_ms,
        )
    return found


def pending_of(chance: random.Random, row: row_pb2.UserRow) -> None:
    alike = chance.random() < 0.5
    for _ in range(chance.choice([0, 1, 3, 16, 17])):
        kind = chance.choice([2, 2, 2, 3] if alike else [1, 2, 3, 4])
        one = row.pending.add(
            decision_id=chance.randbytes(20),
            decided_ms=row.now_ms - chance.randrange(9 * DAY_MS),
            kind=kind,
            feature_version=features.NOW.version,
            seen_ms=chance.choice([0, row.now_ms - chance.randrange(DAY_MS), 1, NEVER_MS]),
            outcome=chance.choice([0, 0, 1, 5]),
            x=[64] * features.D if kind != 1 else [],
        )
        if kind == before.TASK:
            one.task_key = chance.choice([7, 8, (1 << 64) - 1, 1 << 63])
        elif kind != before.NONE:
            one.candidate_id = f"starter:{chance.choice('abc')}"
        else:
            one.seen_ms = 0  # nobody sees that there was nothing


def config_of(chance: random.Random) -> policy_pb2.DecisionConfig:
    return config(
        duplicate_permille=chance.choice([0, 1, 500, 600, 750, 999, 1000, 1200]),
        conflict_minutes=chance.choice([0, 15, 30]),
        conflict_event_ms_max=chance.choice([0, HOUR_MS, 4 * HOUR_MS]),
        same_kind_max=chance.choice([0, 1, 2, 5]),
        cap_hour=chance.choice([0, 1, 4]),
        cap_day=chance.choice([0, 2, 12]),
        cap_day_task=chance.choice([0, 1, 5]),
        cap_day_starter=chance.choice([0, 1, 5]),
        cap_day_generated=chance.choice([0, 1, 5]),
        asked_within_ms=chance.choice([0, 10 * MINUTE_MS]),
    )


def packed(row: row_pb2.UserRow) -> row_pb2.UserRow:
    """The same row in columns."""
    found = row_pb2.UserRow()
    found.CopyFrom(row)
    opened = Opened.of(found)
    opened.pending.said = opened.pending.named = True
    opened.close()
    windows.keep(found, windows.kept(found))
    windows.keep_unasked(found, windows.unasked(found))
    return found


Said = list[tuple[str, int, tuple[str, ...], list[int]]]


def by_the_kernel(row: row_pb2.UserRow, config: policy_pb2.DecisionConfig) -> Said:
    opened = Opened.of(row)
    calendar = candidates.calendar_at(opened.usable, now_ms=row.now_ms, holds_ms_max=config.conflict_event_ms_max)
    at = features.moment(row, calendar=calendar, now_ms=row.now_ms, space=features.NOW)
    slate = slate_at(opened, at=at, caps=fatigue.caps(opened, config=config), config=config)
    ids = [*(one.id for one in slate.others), *(opened.backlog.told(int(i)).name for i in slate.tasks)]
    block = slate.block.T.tolist()
    # What the policy is given is what is logged.
    eligible = [i for i, column in enumerate(block) if not column[slates.OUT]]
    assert slate.eligible.tolist() == eligible
    assert slate.x.tolist() == [block[i][slates.X :] for i in eligible]
    assert ids[eligible[slate.silent]] == candidates.NONE_ID
    return [
        (name, column[slates.KIND], tuple(slates.names(column[slates.OUT])), column[slates.X :])
        for name, column in zip(ids, block, strict=True)
    ]


def by_plain_python(row: row_pb2.UserRow, config: policy_pb2.DecisionConfig) -> Said:
    calendar = before.calendar_at(row, now_ms=row.now_ms)
    proposals = before.propose(row, calendar=calendar, now_ms=row.now_ms)
    masks = before.reasons(row, proposals, now_ms=row.now_ms, config=config)
    at = before.moment(row, calendar=calendar, now_ms=row.now_ms)
    return [
        (one.id, int(one.kind), mask, before.vector(one, at=at)) for one, mask in zip(proposals, masks, strict=True)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_kernel_and_plain_python_agree_on_every_mask_and_vector(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        row, settings = row_of(chance), config_of(chance)
        assert by_the_kernel(packed(row), settings) == by_plain_python(row, settings)


def test_rows_of_chance_meet_every_reason_and_every_feature() -> None:
    chance, met, used = random.Random(99), set(), np.zeros(features.D, dtype=bool)
    for _ in range(200):
        for _, _, mask, x in by_plain_python(row_of(chance), config_of(chance)):
            met |= set(mask)
            used |= np.array(x) != 0
    assert met == set(slates.REASONS) - {"source", "about"}
    assert [name for name, one in zip(features.NAMES[: features.D], used, strict=True) if not one] == ["prompt"]


def said_of_consents(chance: random.Random, row: row_pb2.UserRow) -> None:
    for purpose in PURPOSES:
        if chance.random() < 0.4:
            row.consents.add(purpose=purpose.number, granted=chance.random() < 0.5)
    for source in sorted({one.source for one in (*row.tasks, *row.events)} | {"elsewhere"}):
        if chance.random() < 0.4:
            row.consents.add(source=source, granted=chance.random() < 0.3)


def by_plain_python_without_what_is_withdrawn(row: row_pb2.UserRow, config: policy_pb2.DecisionConfig) -> Said:
    gone = [one for one in PURPOSES if not grants(row.consents, one.number)]
    names, sources = {one.name for one in gone}, withdrawn_sources(row.consents)
    seen = row_pb2.UserRow()
    seen.CopyFrom(row)
    del seen.events[:]
    seen.events.extend(one for one in row.events if "calendar" not in names and one.source not in sources)
    hidden = set()
    for one in seen.tasks:
        if "tasks" in names or one.source in sources:
            hidden.add(f"task:{one.source}/{one.external_id}")
            stub = row_pb2.Task(source=one.source, external_id=one.external_id, quiet_until_ms=NEVER_MS)
            one.CopyFrom(stub)
    for purpose in gone:
        for kind in purpose.kinds:
            setattr(seen.profile, f"{decision_pb2.Decision.TipKind.Name(kind).lower()}_tips", False)
    masked = {features.PLACE[name] for one in gone for name in one.features}
    found: Said = []
    for name, number, mask, vector in by_plain_python(seen, config):
        told = tuple("source" if name in hidden and one == "cooling-down" else one for one in mask)
        if "consent" in told and name in hidden:
            told = tuple(one for one in told if one != "source")
        shown = not {"consent", "source"} & set(told)
        x = [one if shown and at not in masked else 0 for at, one in enumerate(vector)]
        # The order of a mask is that of its reasons.
        found.append((name, number, tuple(sorted(told, key=slates.REASONS.index)), x))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_kernel_and_plain_python_agree_on_what_is_left_when_something_is_withdrawn(seed: int) -> None:
    chance, met = random.Random(seed), set()
    for _ in range(20):
        row, settings = row_of(chance), config_of(chance)
        said_of_consents(chance, row)
        if row.consents:
            said = by_the_kernel(packed(row), settings)
            assert said == by_plain_python_without_what_is_withdrawn(row, settings)
            met |= {reason for _, _, mask, _ in said for reason in mask}
    assert {"consent", "source"} <= met


@pytest.mark.parametrize("seed", range(10))
def test_a_row_in_columns_says_what_it_said_in_messages(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        row = row_of(chance)
        said = spelled_out(packed(row))
        assert said == spelled_out(row)
        assert sorted(said.tasks, key=key) == sorted(row.tasks, key=key)
        assert said.events == row.events
        assert said.pending == row.pending
        assert said.SerializeToString(deterministic=True) == spelled_out(packed(said)).SerializeToString(
            deterministic=True
        )


def key(task: row_pb2.Task) -> tuple[str, str]:
    return task.source, task.external_id


@pytest.mark.parametrize("seed", range(10))
def test_what_stands_for_now_agrees_with_plain_python(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        row = row_of(chance)
        opened = Opened.of(row)
        calendar = candidates.calendar_at(opened.backlog, now_ms=row.now_ms, holds_ms_max=HOUR_MS)
        plain = before.calendar_at(row, now_ms=row.now_ms)
        assert (calendar.busy_until_ms, calendar.next_title, calendar.next_start_ms) == plain
        assert calendar.held == any(
            one.start_ms <= row.now_ms < one.end_ms and one.busy and one.end_ms - one.start_ms <= HOUR_MS
            for one in row.events
        )
        at = features.moment(row, calendar=calendar, now_ms=row.now_ms, space=features.NOW)
        said = before.moment(row, calendar=plain, now_ms=row.now_ms)
        often = slate_at(opened, at=at, caps=(), config=config()).often_done_now
        assert (at.part, often, at.free_ms) == (said.part, said.often_done_now, said.free_ms)
        for settings in (config_of(chance) for _ in range(4)):
            caps = [(one.reason, one.kind, one.from_ms, one.until_ms) for one in fatigue.caps(opened, config=settings)]
            assert caps == [tuple(one) for one in before.caps(row, config=settings)]


# Windows


def held(found: list[row_pb2.Window]) -> list[row_pb2.Window]:
    """Without widths of which nothing is counted: messages had those, columns have not."""
    return [window for window in found if window.counts]


@pytest.mark.parametrize("seed", range(10))
def test_windows_in_columns_count_as_they_did_in_messages(seed: int) -> None:
    chance = random.Random(seed)
    row, now_ms, plain, told = row_pb2.UserRow(), MONDAY_MS, [], []
    for _ in range(250):
        now_ms += chance.choice([0, 1, chance.randrange(HOUR_MS), chance.randrange(3 * DAY_MS)])
        cell = Cell(reaction=chance.randrange(1, 5), kind=chance.choice([0, 2, 3, 4]), part=chance.randrange(4))
        event_ms = max(now_ms - chance.choice([0, chance.randrange(HOUR_MS), chance.randrange(29 * DAY_MS)]), 0)
        if told and chance.random() < 0.3:
            cell, event_ms = chance.choice(told)
            plain = before.take_back(plain, cell, event_ms=event_ms)
            windows.keep(row, windows.take_back(windows.kept(row), cell, event_ms=event_ms))
        else:
            told.append((cell, event_ms))
            plain = before.add(plain, cell, event_ms=event_ms, now_ms=now_ms)
            windows.keep(row, windows.add(windows.kept(row), cell, event_ms=event_ms, now_ms=now_ms))
        assert list(spelled_out(row).windows) == held(plain)
        span_ms = chance.choice([HOUR_MS, DAY_MS, 7 * DAY_MS, 28 * DAY_MS])
        kept = windows.kept(row)
        assert windows.last(kept, now_ms=now_ms, span_ms=span_ms) == before.last(plain, now_ms=now_ms, span_ms=span_ms)
        for kind, most in ((0, 1), (0, 5), (2, 1), (3, 2)):
            falls_ms = windows.falls_below_ms(
                kept, most, now_ms=now_ms, span_ms=span_ms, reaction=cell.reaction, kind=kind
            )
            assert falls_ms == before.falls_below_ms(
                plain, most, now_ms=now_ms, span_ms=span_ms, reaction=cell.reaction, kind=kind or None
            )
        cells = np.zeros(windows.CELLS, dtype=np.int64)
        width_s = next(width_s for width_s, kept_ms in SPANS_MS.items() if span_ms <= kept_ms)
        windows.count_cells(kept, now_ms, span_ms, width_s, cells)
        tally = before.last(plain, now_ms=now_ms, span_ms=span_ms)
        for reaction in (1, 2, 3):
            assert windows.share_64(cells, reaction, cell.kind) == before.rate_64(
                tally, reaction=reaction, kind=cell.kind
            )


# Decisions that can still be reacted to


@pytest.mark.parametrize("seed", range(10))
def test_pending_decisions_in_columns_are_found_as_they_were_in_messages(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        row = row_pb2.UserRow(now_ms=MONDAY_MS)
        pending_of(chance, row)
        kept = packed(row)
        found = pending.read(kept, d=features.D)
        assert pending.first_seen_ms(found.columns) == before.first_seen_ms(row)
        for seen_ms in (0, 1, MONDAY_MS - HOUR_MS, NEVER_MS):
            assert pending.first_waiting(found.columns, seen_ms) == before.first_waiting(row, seen_ms)
        for task_key in (7, 8, 9, (1 << 64) - 1, 1 << 63):
            signed = task_key - (1 << 64) if task_key >= 1 << 63 else task_key
            assert pending.latest_on(found.columns, signed) == before.latest_on(row, task_key)
        for running in range(1, 6):
            assert pending.repeated_kind(found.columns, running) == before.repeated_kind(row, running)
        if row.pending:
            assert pending.oldest_unseen(found.columns) == before.oldest_unseen(row)
        for at, one in enumerate(row.pending):
            assert found.find(one.decision_id) == at
            assert found.id(at) == one.decision_id
            assert found.name(at) == one.candidate_id
        assert found.find(bytes(20)) is found.find(b"") is None
        while len(found) > 1:
            at = chance.randrange(len(found))
            found.drop(at)
            del row.pending[at]
            pending.write(found, kept)
            assert spelled_out(kept).pending == row.pending


# What a row has taken


@pytest.mark.parametrize("seed", range(10))
def test_what_was_taken_is_known_in_columns_as_it_was_in_messages(seed: int) -> None:
    chance = random.Random(seed)
    plain, row, now_ms = row_pb2.UserRow(), row_pb2.UserRow(), MONDAY_MS
    topics = [chance.randbytes(16) for _ in range(9)] + [b"\xff" * 16, b""]
    keys = [chance.choice([0, 0, 1, (1 << 64) - 1, 1 << 63, chance.getrandbits(64)]) for _ in range(40)]
    for _ in range(500):
        now_ms += chance.choice([0, 1, HOUR_MS, chance.randrange(2 * DAY_MS) if chance.random() < 0.1 else 0])
        record = journal_pb2.JournalRecord(event_key=chance.choice([*keys, chance.getrandbits(64)]))
        topic_id = chance.choice(topics)
        if topic_id:
            position = journal_pb2.JournalRecord().source
            position.topic_id, position.partition, position.offset = (
                topic_id,
                chance.randrange(8),
                chance.choice([0, 3, chance.randrange(1 << 62)]),
            )
            record.source.CopyFrom(position)
        known = taken.take(row, record, now_ms=now_ms)
        assert known.already == before.has_taken(plain, record, now_ms=now_ms)
        if not known.already:
            known.write(row)
            before.note_record(plain, record, now_ms=now_ms)
        said = spelled_out(row)
        assert list(said.sources) == list(plain.sources)
        assert list(said.event_keys) == list(plain.event_keys)
        if chance.random() < 0.1:
            # From here on from a row of before.
            row = row_pb2.UserRow()
            row.CopyFrom(plain)


# Rows that nobody of ours wrote


@pytest.mark.parametrize("seed", range(5))
def test_a_torn_row_is_said_to_be_none_or_says_something_else(seed: int) -> None:
    chance, torn = random.Random(seed), 0
    for _ in range(60):
        row = packed(row_of(chance))
        name = chance.choice(BLOCKS)
        value = getattr(row, name)
        if isinstance(value, bytes):
            block = bytearray(value or b"\x01\x01\x00\x07")
            block[chance.randrange(len(block))] = chance.randrange(256)
            setattr(row, name, bytes(block))
        elif isinstance(value, str):
            setattr(row, name, value[: chance.randrange(len(value) + 1)])
        else:
            del value[:]
        try:
            spelled_out(row)
        except ValueError:
            torn += 1
    assert torn > 0
