"""What a language model is asked for a person, and when: decided by the record that it follows, so that a replay asks the same.

Works on the copy of the row that `step` hands through. It calls nobody, and never waits for an answer.
"""

from __future__ import annotations

import hashlib
from functools import cmp_to_key

import numpy as np

from agents import consents, written
from agents.opened import Opened
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2, policy_pb2, row_pb2
from streams.units import DAY_MS
from tables import backlog, ids, windows
from tables.windows import Cell
from tables.zones import local, part_of

Request = decision_pb2.CandidateRequest

ASKS = 7
"""The step version from which on something is asked."""
ASKING = frozenset({"signal", "reaction", "subject_request"})
"""What a request follows: what somebody did. Nothing that oO wrote itself leads to one, or an answer would lead to the next; a tick does
where it was set for that by what somebody did (`Asked.due_ms`)."""
AT_ONCE = "reaction"
"""They look: an import has many signals, and who reacts is there now."""
TASKS_MAX, EVENTS_MAX, REACTIONS_MAX = 12, 8, 12
TEXT_CHARS_MAX = 200
"""Of a title, as a prompt may have it."""
REACTIONS_MS = 28 * DAY_MS
PERMILLE = 1_000
_COUNTED = (outcome_pb2.Outcome.DONE, outcome_pb2.Outcome.SNOOZE, outcome_pb2.Outcome.DISMISS)


def after(
    opened: Opened,
    record: journal_pb2.JournalRecord,
    *,
    withdrew: bool,
    journal: journal_pb2.Position,
    generation: policy_pb2.Generation,
) -> Request | None:
    """What is to be asked after this record, noted in the row; None for nothing, or what is asked already.

    `withdrew`: the record takes back what the request that stands may have been made from: it is withdrawn, and what is allowed now is
    asked with a later record.
    """
    row = opened.row
    if withdrew and _is_open(row):
        row.asked.answered = True
        return _request(row, record, Request.WITHDRAWN, journal=journal)
    asked, now_ms, payload = row.asked, row.now_ms, record.WhichOneof("payload")
    is_due = 0 < asked.due_ms <= now_ms
    if is_due:
        asked.due_ms = 0
    settled = is_due or payload == AT_ONCE or not generation.settle_ms
    weights = sum(one.weight for one in generation.variants)
    if not weights or not (is_due or payload in ASKING) or opened.limits.generated or _is_open(row):
        return None
    if asked.due_ms and not settled:
        return None
    today = now_ms // DAY_MS
    calls, tokens = (asked.day_calls, asked.day_tokens) if asked.day == today else (0, 0)
    if calls and not asked.answered:
        tokens += generation.tokens_max  # Nobody said what it took: as much as it may.
    if asked.request_id and now_ms - asked.requested_ms < generation.apart_ms:
        return None
    if calls >= generation.day_calls or tokens + generation.tokens_max > generation.day_tokens:
        return None
    ask = _about(opened)
    context = _digest(ask, part=part_of(local(now_ms, time_zone=row.time_zone)))
    reason = _reason(opened, ask, context, generation)
    if reason is None:
        return None
    if not settled:
        asked.due_ms = now_ms + generation.settle_ms
        return None
    variant = _drawn(generation, ids.request_draw(row.user_id, record_id=record.record_id) % weights)
    calls += 1
    shadow = _shadow(generation, ids.shadow_draw(row.user_id, record_id=record.record_id) % PERMILLE)
    if (
        shadow is not None
        # What it writes tells others which prompt is better.
        and consents.teaches_others(row)
        and calls < generation.day_calls
        and tokens + 2 * generation.tokens_max <= generation.day_tokens
    ):
        # It counts as a call like another, of as many tokens as it may take: no answer of it comes here.
        calls, tokens = calls + 1, tokens + generation.tokens_max
        ask.shadow, ask.shadow_permille = shadow.prompt_version, shadow.permille
    ask.prompt_version, ask.model = variant.prompt_version, variant.model
    ask.chance, ask.chances = variant.weight, weights
    ask.tips_max, ask.tokens_max = generation.tips_max, generation.tokens_max
    ask.now_ms, ask.time_zone = now_ms, row.time_zone
    ask.languages.extend(row.profile.languages)
    ask.reactions.extend(_reactions(opened))
    ask.written.extend(one.title for one in row.generated)
    made = _request(row, record, reason, journal=journal)
    made.runs_out_ms = now_ms + generation.runs_out_ms
    made.ask.CopyFrom(ask)
    row.asked.CopyFrom(
        row_pb2.Asked(
            request_id=made.request_id,
            requested_ms=now_ms,
            runs_out_ms=made.runs_out_ms,
            prompt_version=ask.prompt_version,
            model=ask.model,
            context=context,
            day=today,
            day_calls=calls,
            day_tokens=tokens,
            chance=ask.chance,
            chances=ask.chances,
        )
    )
    return made


def of_who_left(
    user_id: str, record: journal_pb2.JournalRecord, *, journal: journal_pb2.Position, time_ms: int
) -> Request:
    """What withdraws whatever was asked for somebody who leaves, known to be asked or not: nothing before that is looked at."""
    row = row_pb2.UserRow(user_id=user_id, now_ms=time_ms)
    return _request(row, record, Request.WITHDRAWN, journal=journal)


def _is_open(row: row_pb2.UserRow) -> bool:
    asked = row.asked
    return asked.request_id != "" and not asked.answered and row.now_ms <= asked.runs_out_ms


def _request(
    row: row_pb2.UserRow,
    record: journal_pb2.JournalRecord,
    reason: Request.Reason.ValueType,
    *,
    journal: journal_pb2.Position,
) -> Request:
    return Request(
        request_id=ids.request_id(row.user_id, record_id=record.record_id),
        user_id=row.user_id,
        journal=journal,
        requested_ms=row.now_ms,
        reason=reason,
    )


def _reason(
    opened: Opened, ask: decision_pb2.Ask, context: int, generation: policy_pb2.Generation
) -> Request.Reason.ValueType | None:
    row = opened.row
    asked, now_ms = row.asked, row.now_ms
    if not (ask.tasks or ask.events):
        return None  # There is nothing to write about.
    live = sum(one.expires_ms > now_ms and written.rests(one.about, opened) for one in row.generated)
    is_old, has_moved = now_ms - asked.requested_ms >= generation.stale_ms, context != asked.context
    if live + len(ask.tasks) < generation.thin and (not live or is_old or has_moved):
        return Request.THIN
    if not live or is_old:
        return Request.STALE
    return Request.MOVED if has_moved else None


def _about(opened: Opened) -> decision_pb2.Ask:
    """Those tasks and events that may be used, by purpose and source."""
    items, limits, now_ms, ask = opened.usable, opened.limits, opened.row.now_ms, decision_pb2.Ask()
    # What may not be used is put off for ever there.
    open_ones = np.flatnonzero(items.tasks[backlog.QUIET_UNTIL] <= now_ms).tolist()

    def compare(one: int, other: int) -> int:
        return -1 if backlog.ranks_before(items.tasks, np.int64(one), np.int64(other)) else 1

    for index in sorted(open_ones, key=cmp_to_key(compare))[:TASKS_MAX]:
        told = items.told(index)
        column = told.column
        ask.tasks.add(
            id=told.name,
            title=told.title[:TEXT_CHARS_MAX],
            due_ms=column[backlog.DUE],
            priority=column[backlog.PRIORITY],
            estimated_minutes=column[backlog.MINUTES],
        )
    near = (items.events[backlog.END] > now_ms) & (items.events[backlog.START] < now_ms + DAY_MS)
    for place in np.flatnonzero(near).tolist():
        event = items.event(place)
        if len(ask.events) < EVENTS_MAX and limits.events_of(event.source):
            ask.events.add(
                id=written.event_head(event.source) + event.external_id,
                title=event.title[:TEXT_CHARS_MAX],
                start_ms=event.start_ms,
                end_ms=event.end_ms,
                busy=event.busy,
            )
    return ask


def _digest(ask: decision_pb2.Ask, *, part: int) -> int:
    said = ask.SerializeToString(deterministic=True) + bytes([part])
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")


def _reactions(opened: Opened) -> list[decision_pb2.AskedReaction]:
    tally = windows.last(windows.kept(opened.row), now_ms=opened.row.now_ms, span_ms=REACTIONS_MS)
    found = [(Cell.of(key), count) for key, count in tally.items()]
    said = [one for one in found if one[0].reaction in _COUNTED and one[0].kind not in opened.limits.kinds]
    said.sort(key=lambda one: (-one[1], one[0].kind, one[0].reaction, one[0].part))
    return [
        decision_pb2.AskedReaction(
            kind=decision_pb2.Decision.TipKind.ValueType(cell.kind),
            outcome=outcome_pb2.Outcome.Kind.ValueType(cell.reaction),
            part=cell.part,
            count=count,
        )
        for cell, count in said[:REACTIONS_MAX]
    ]


def _drawn(generation: policy_pb2.Generation, at: int) -> policy_pb2.Variant:
    for variant in generation.variants:
        if at < variant.weight:
            return variant
        at -= variant.weight
    raise AssertionError("unreachable: it is below the sum of all weights")


def _shadow(generation: policy_pb2.Generation, at: int) -> policy_pb2.ShadowPrompt | None:
    for one in generation.shadows:
        if at < one.permille:
            return one
        at -= one.permille
    return None
