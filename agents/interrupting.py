"""Whether a tip is worth interrupting somebody for who does not look: decided by the record that made the tip, so that a replay says the same.

Saying it is an action with a cost. What it is worth is what the tip is expected to bring, and what people make of being interrupted beyond that:
a number of each person, by part of the day and weekend, learned from what became of the tips that were said so. It is drawn as the choice of
a tip is, and its chance goes out with it. Works on the copy of the row that `step` hands through; it sends nothing, and knows no device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from math import sqrt

import numpy as np

from agents.bandit.belief import NOISE
from agents.bandit.choice import drawn, floored, words
from agents.reward import reward_64
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2, policy_pb2, row_pb2
from streams.units import SECOND_MS
from tables import consents, ids
from tables.purposes import EMAIL, NOTIFICATIONS
from tables.sums import PREDICTED_UNIT, UNIT
from tables.zones import local, part_of

Delivery = decision_pb2.Delivery
Outcome = outcome_pb2.Outcome

INTERRUPTS = 10
"""The step version from which on something is said unasked."""
BY = (NOTIFICATIONS, EMAIL)
"""Purposes by which it may be."""
SAID_MAX = 16
CELLS = 8
"""Parts of a weekday, then those of a weekend's day."""
LEARNED_MAX = 64
"""Of a cell: what was learned counts half from there on, so that people may change."""
LOOKING_MS = 10 * SECOND_MS
"""Who has seen a tip so soon had the page before them: it was no interruption."""
DRAWS = 32
_SD = sqrt(NOISE) * PREDICTED_UNIT
_SUMMED = 12
"""A draw is a sum of so many even ones: its variance is theirs times twelve, 1."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def after(
    row: row_pb2.UserRow,
    record: journal_pb2.JournalRecord,
    outcomes: Iterable[outcome_pb2.Outcome],
    *,
    current: bytes,
    decision: decision_pb2.Decision | None,
    tip: decision_pb2.Tip | None,
    expected: int,
    journal: journal_pb2.Position,
    config: policy_pb2.DecisionConfig,
) -> Delivery | None:
    """What is to be said after this record, or not to be said any more, noted in the row; None for neither.

    `current`: the 20 bytes of the decision that is being served and that nobody has seen or answered, else none; `expected`: what a tip that was decided now is expected
    to bring, in units of 1/1024.
    """
    granted = [one for one in BY if consents.grants(row.consents, one)] if config.HasField("interrupting") else []
    if not granted:
        stood = row.interrupted.standing
        row.ClearField("interrupted")
        return _withdrawal(row, record, journal=journal) if stood else None
    noted = row.interrupted
    _learn(noted, outcomes, now_ms=row.now_ms, config=config)
    made = None
    if decision is not None and tip is not None and tip.decision_id:
        made = _considered(row, record, decision, tip, expected=expected, rules=config.interrupting)
    if made is not None:
        made.purposes.extend(granted)
        made.journal.CopyFrom(journal)
        return made
    if noted.standing and (noted.standing != current or _withdraws(record)):
        noted.standing = b""
        return _withdrawal(row, record, journal=journal)
    return None


def of_who_left(
    user_id: str, record: journal_pb2.JournalRecord, *, journal: journal_pb2.Position, time_ms: int
) -> Delivery:
    """What withdraws whatever was to be said to somebody who leaves, known to be or not: nothing before that is looked at."""
    return _withdrawal(row_pb2.UserRow(user_id=user_id, now_ms=time_ms), record, journal=journal)


def _considered(
    row: row_pb2.UserRow,
    record: journal_pb2.JournalRecord,
    decision: decision_pb2.Decision,
    tip: decision_pb2.Tip,
    *,
    expected: int,
    rules: policy_pb2.Interrupting,
) -> Delivery | None:
    noted, now_ms = row.interrupted, row.now_ms
    clock = local(now_ms, time_zone=row.time_zone)
    today = clock.toordinal() - _EPOCH_DAY
    said_today = noted.day_count if noted.day == today else 0
    own = row.profile.notifications_per_day
    candidate = _named(row.current_candidate)
    urgent = decision.trigger == decision_pb2.Decision.URGENT_ARRIVAL
    if (
        said_today >= (min(own, rules.own_cap_day_max) if own else rules.cap_day)
        or (row.reacted_ms and now_ms - row.reacted_ms < rules.there_ms)
        or (noted.said and now_ms - noted.said[-1].at_ms < rules.apart_ms)
        or (noted.considered_ms and now_ms - noted.considered_ms < rules.again_ms and not urgent)
        or any(one.candidate == candidate and now_ms - one.at_ms < rules.same_apart_ms for one in noted.said)
    ):
        return None
    noted.considered_ms = now_ms
    cell = part_of(clock) + (CELLS // 2 if clock.weekday() >= 5 else 0)
    chances, total, says = draw(noted, cell, expected, rules, ids.interruption_key(row.user_id, record.record_id))
    if not says:
        return None
    noted.standing = ids.packed(decision.decision_id)
    noted.day, noted.day_count = today, said_today + 1
    noted.said.add(decision_id=noted.standing, at_ms=now_ms, candidate=candidate, cell=cell, expected=expected)
    del noted.said[:-SAID_MAX]
    return Delivery(
        delivery_id=ids.delivery_id(row.user_id, record_id=record.record_id),
        user_id=row.user_id,
        decided_ms=now_ms,
        runs_out_ms=min(decision.valid_until_ms, now_ms + rules.valid_ms),
        tip=tip,
        languages=row.profile.languages,
        time_zone=row.time_zone,
        quiet_hours=row.profile.quiet_hours if row.profile.HasField("quiet_hours") else None,
        chance=chances,
        chances=total,
    )


def draw(
    noted: row_pb2.Interrupted, cell: int, expected: int, rules: policy_pb2.Interrupting, key: int
) -> tuple[int, int, bool]:
    """With which chance, over which chances, a tip that is expected to bring so much is said, and whether it is.

    It is worth saying where what it brings, and what interrupting at such a time is believed to add, is more than its cost; the belief is drawn from,
    so that what is little known is tried. `expected` in units of 1/1024, `key` of 128 bits.
    """
    n = rules.prior_n + (noted.counts[cell] if noted.counts else 0)
    total = rules.prior * rules.prior_n + (noted.sums[cell] if noted.sums else 0)
    raw = words(key=key, n=DRAWS * 3 + 1)
    shifts = np.arange(4, dtype=np.uint64) * np.uint64(16)
    parts = (raw[:-1].reshape(DRAWS, 3, 1) >> shifts) & np.uint64(0xFFFF)
    normal = (parts.sum(axis=(1, 2)).astype(np.int64) - _SUMMED // 2 * 0x10000) / 0x10000
    adds = total / n + _SD / sqrt(n) * normal
    wins = int((expected + adds > rules.cost * (PREDICTED_UNIT // UNIT)).sum())
    chances, over = floored((wins, DRAWS - wins), floor_permille=2 * rules.floor_permille)
    return chances[0], over, drawn(chances, over, word=int(raw[-1])) == 0


def _learn(
    noted: row_pb2.Interrupted,
    outcomes: Iterable[outcome_pb2.Outcome],
    *,
    now_ms: int,
    config: policy_pb2.DecisionConfig,
) -> None:
    """Take in what became of what was said; what nobody looked at within the time for a reaction was worth nothing."""
    waiting = {one.decision_id: one for one in noted.said if not one.learned}
    if not waiting:
        return
    for outcome in outcomes:
        one = waiting.get(ids.packed(outcome.decision_id))
        if one is None or one.learned:
            continue
        if outcome.kind == Outcome.SEEN:
            one.learned = now_ms - one.at_ms < LOOKING_MS
        elif outcome.kind == Outcome.DONE_ELSEWHERE:
            one.learned = True
        else:
            _count(noted, one, reward_64(outcome.kind, config=config) or 0)
    for one in waiting.values():
        # Of what was seen it is said by then that it expired.
        if not one.learned and now_ms - one.at_ms > 2 * config.reaction_window_ms:
            _count(noted, one, 0)


def _count(noted: row_pb2.Interrupted, one: row_pb2.Interruption, reward: int) -> None:
    if not noted.counts:
        noted.counts.extend([0] * CELLS)
        noted.sums.extend([0] * CELLS)
    one.learned = True
    noted.counts[one.cell] += 1
    noted.sums[one.cell] += reward * (PREDICTED_UNIT // UNIT) - one.expected
    if noted.counts[one.cell] >= LEARNED_MAX:
        noted.counts[one.cell] //= 2
        noted.sums[one.cell] //= 2


def _withdraws(record: journal_pb2.JournalRecord) -> bool:
    said = record.subject_request.consent_changed
    return said.purpose in BY and not said.granted


def _withdrawal(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, *, journal: journal_pb2.Position) -> Delivery:
    name = ids.delivery_id(row.user_id, record_id=record.record_id)
    return Delivery(delivery_id=name, user_id=row.user_id, journal=journal, decided_ms=row.now_ms)


def _named(candidate: str) -> int:
    return int.from_bytes(hashlib.blake2b(candidate.encode(), digest_size=8).digest(), "big")
