"""Takes what a person did with a tip into the row: outcome, windows, and what is put off or gone.

Works on the copy of the row that `step` hands through. It never decides.
"""

from __future__ import annotations

from agents import candidates, fatigue, outcomes
from agents.change import Change
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, reaction_pb2, row_pb2
from tables import backlog, windows
from tables.backlog import Stamp
from tables.zones import part_of_day


def apply(
    row: row_pb2.UserRow, record: journal_pb2.JournalRecord, change: Change, *, config: policy_pb2.DecisionConfig
) -> None:
    """Takes an admitted reaction into the row, and notes in `change` what it touched."""
    reaction = record.reaction
    pending = outcomes.find(row, decision_id=reaction.decision_id)
    if reaction.kind == reaction_pb2.Reaction.SEEN:
        seen = outcomes.see(row, pending, event_ms=record.event_time_ms)
        if seen and pending is not None:
            fatigue.see(row, pending.kind, config=config)
        change.outcomes += seen
        return
    before = row_pb2.PendingDecision()
    if pending is not None:
        before.CopyFrom(pending)
    taken = outcomes.react(
        row, pending, kind=outcomes.KINDS[reaction.kind], event_ms=record.event_time_ms, config=config
    )
    if taken is None:
        return
    kind = pending.kind if pending is not None else decision_pb2.Decision.TIP_KIND_UNSPECIFIED
    take_back(row, before)
    count(row, outcomes.KINDS[reaction.kind], kind=kind, event_ms=record.event_time_ms)
    note_counted(row, pending, record)
    change.outcomes += taken
    row.reacted_ms = row.now_ms
    if pending is None:
        return
    until_ms = backlog.to_ms(reaction.snooze_until) if reaction.HasField("snooze_until") else 0
    if until_ms <= row.now_ms:
        until_ms = row.now_ms + config.snooze_default_ms
    change.slate |= _set_aside(row, pending, record, until_ms=until_ms, config=config)
    change.reacted = outcomes.is_current(row, pending)


COUNTS_THE_ONE_THAT_STANDS = 3
"""The step version from which on a reaction that is replaced leaves the windows; records of earlier ones fold as they did."""


def note_counted(
    row: row_pb2.UserRow, pending: row_pb2.PendingDecision | None, record: journal_pb2.JournalRecord
) -> None:
    """Notes with the decision where its reaction was counted, so that a correction can take it back."""
    if pending is not None and record.step_version >= COUNTS_THE_ONE_THAT_STANDS and not pending.corrected:
        pending.counted_ms = min(record.event_time_ms, row.now_ms)
        pending.counted_part = part_of_day(pending.counted_ms, time_zone=row.time_zone)


def take_back(row: row_pb2.UserRow, before: row_pb2.PendingDecision) -> None:
    """Takes a reaction that another replaces out of the windows, where it was noted in which bucket it stands."""
    if not before.counted_ms:
        return
    cell = windows.Cell(reaction=before.outcome, kind=before.kind, part=before.counted_part)
    left = windows.take_back(row.windows, cell, event_ms=before.counted_ms)
    del row.windows[:]
    row.windows.extend(left)


def count(row: row_pb2.UserRow, reaction: int, *, kind: int, event_ms: int) -> None:
    """Counts a reaction in the windows; one that claims to be of tomorrow is of now."""
    event_ms = min(event_ms, row.now_ms)
    cell = windows.Cell(reaction=reaction, kind=kind, part=part_of_day(event_ms, time_zone=row.time_zone))
    counted = windows.add(row.windows, cell, event_ms=event_ms, now_ms=row.now_ms)
    del row.windows[:]
    row.windows.extend(counted)


def _set_aside(
    row: row_pb2.UserRow,
    pending: row_pb2.PendingDecision,
    record: journal_pb2.JournalRecord,
    *,
    until_ms: int,
    config: policy_pb2.DecisionConfig,
) -> bool:
    """Takes what was reacted to off the slate, for good or for a while; says whether it was on it."""
    kind = record.reaction.kind
    if pending.kind != decision_pb2.Decision.TASK:
        cool_down = _cool_down(row, pending, kind, until_ms=until_ms, config=config)
        kept = [c for c in row.cool_downs if c.candidate != pending.candidate_id]
        del row.cool_downs[:]
        row.cool_downs.extend([*kept, cool_down][-64:])
        return True
    task = backlog.task_of_key(row, pending.task_key)
    if task is None:
        return False
    if kind == reaction_pb2.Reaction.DONE:
        stamp = Stamp(time_ms=max(record.event_time_ms, task.updated_ms), offset=task.updated_offset)
        backlog.remove_task(row, source=task.source, external_id=task.external_id, stamp=stamp, now_ms=row.now_ms)
    elif kind == reaction_pb2.Reaction.SNOOZE:
        task.snoozed += 1
        task.quiet_until_ms, task.quiet_reason = until_ms, row_pb2.Task.SNOOZED
    else:
        task.dismissed += 1
        task.quiet_until_ms = row.now_ms + config.dismiss_cool_down_ms
        task.quiet_reason = row_pb2.Task.COOLING_DOWN
    return True


def _cool_down(
    row: row_pb2.UserRow,
    pending: row_pb2.PendingDecision,
    kind: int,
    *,
    until_ms: int,
    config: policy_pb2.DecisionConfig,
) -> row_pb2.CoolDown:
    """For how long what is no task is not said again; a written tip that is done is done for good."""
    made = row_pb2.CoolDown(candidate=pending.candidate_id)
    if kind == reaction_pb2.Reaction.SNOOZE:
        made.until_ms, made.reason = until_ms, row_pb2.Task.SNOOZED
    elif kind == reaction_pb2.Reaction.DISMISS:
        made.until_ms = row.now_ms + config.dismiss_cool_down_ms
    else:
        made.until_ms = row.now_ms + config.starter_cool_down_ms
        if pending.kind == decision_pb2.Decision.GENERATED:
            made.reason = row_pb2.Task.DONE
            ends_ms = [t.expires_ms for t in row.generated if candidates.generated_id(t.external_id) == made.candidate]
            made.until_ms = max([made.until_ms, *(one + candidates.GENERATED_KEPT_MS for one in ends_ms)])
    return made
