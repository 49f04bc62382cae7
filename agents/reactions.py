"""Takes what a person did with a tip into the row: outcome, windows, and what is put off or gone.

Works on the copy of the row that `step` hands through. It never decides.
"""

from __future__ import annotations

from agents import candidates, fatigue, outcomes
from agents.change import Change
from agents.opened import Opened
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, reaction_pb2, row_pb2
from tables import backlog, pending, windows
from tables.backlog import Stamp
from tables.linear import Ints
from tables.windows import Cell
from tables.zones import part_of_day


def apply(
    opened: Opened, record: journal_pb2.JournalRecord, change: Change, *, config: policy_pb2.DecisionConfig
) -> None:
    """Takes an admitted reaction into the row, and notes in `change` what it touched."""
    row, reaction, held = opened.row, record.reaction, opened.pending
    at = outcomes.find(opened, decision_id=reaction.decision_id)
    if reaction.kind == reaction_pb2.Reaction.SEEN:
        seen = outcomes.see(opened, at, event_ms=record.event_time_ms)
        if seen and at is not None:
            fatigue.see(opened, held.get(pending.KIND, at), config=config)
        change.outcomes += seen
        return
    before = () if at is None else held.columns[_COUNTED, at].tolist()
    taken = outcomes.react(opened, at, kind=outcomes.KINDS[reaction.kind], event_ms=record.event_time_ms, config=config)
    if taken is None:
        return
    kind = decision_pb2.Decision.TIP_KIND_UNSPECIFIED if at is None else held.get(pending.KIND, at)
    counted = windows.kept(row)
    if before and before[-1]:
        # Another stood before it: it leaves the bucket that was noted for it.
        reacted, before_kind, part, event_ms = before
        counted = windows.take_back(counted, Cell(reaction=reacted, kind=before_kind, part=part), event_ms=event_ms)
    count(row, counted, outcomes.KINDS[reaction.kind], kind=kind, event_ms=record.event_time_ms)
    note_counted(opened, at, record)
    change.outcomes += taken
    row.reacted_ms = row.now_ms
    if at is None:
        return
    if reaction.kind == reaction_pb2.Reaction.DONE and record.step_version >= NAMES_THE_TASK:
        index = opened.backlog.index(held.get(pending.TASK_KEY, at)) if kind == decision_pb2.Decision.TASK else None
        taken[0].candidate = opened.backlog.told(index).name if index is not None else ""
    until_ms = backlog.to_ms(reaction.snooze_until) if reaction.HasField("snooze_until") else 0
    if until_ms <= row.now_ms:
        until_ms = row.now_ms + config.snooze_default_ms
    change.slate |= _set_aside(opened, at, record, until_ms=until_ms, config=config)
    change.reacted = outcomes.is_current(opened, at)


_COUNTED = [pending.OUTCOME, pending.KIND, pending.COUNTED_PART, pending.COUNTED]


NAMES_THE_TASK = 10
"""The step version from which on what a tip was done of is named, so that the source of a task can be told."""
COUNTS_THE_ONE_THAT_STANDS = 3
"""The step version from which on a reaction that is replaced leaves the windows; records of earlier ones fold as they did."""


def note_counted(opened: Opened, at: int | None, record: journal_pb2.JournalRecord) -> None:
    """Notes with the decision where its reaction was counted, so that a correction can take it back."""
    row, held = opened.row, opened.pending
    if at is None or record.step_version < COUNTS_THE_ONE_THAT_STANDS or held.get(pending.CORRECTED, at):
        return
    event_ms = min(record.event_time_ms, row.now_ms)
    held.set(pending.COUNTED, at, event_ms)
    held.set(pending.COUNTED_PART, at, part_of_day(event_ms, time_zone=row.time_zone))


def count(row: row_pb2.UserRow, counted: Ints, reaction: int, *, kind: int, event_ms: int) -> None:
    """Counts a reaction in the windows; one that claims to be of tomorrow is of now."""
    event_ms = min(event_ms, row.now_ms)
    cell = Cell(reaction=reaction, kind=kind, part=part_of_day(event_ms, time_zone=row.time_zone))
    windows.keep(row, windows.add(counted, cell, event_ms=event_ms, now_ms=row.now_ms))


def _set_aside(
    opened: Opened,
    at: int,
    record: journal_pb2.JournalRecord,
    *,
    until_ms: int,
    config: policy_pb2.DecisionConfig,
) -> bool:
    """Takes what was reacted to off the slate, for good or for a while; says whether it was on it."""
    row, kind, held = opened.row, record.reaction.kind, opened.pending
    if held.get(pending.KIND, at) != decision_pb2.Decision.TASK:
        cool_down = _cool_down(opened, at, kind, until_ms=until_ms, config=config)
        kept = [c for c in row.cool_downs if c.candidate != cool_down.candidate]
        del row.cool_downs[:]
        row.cool_downs.extend([*kept, cool_down][-64:])
        return True
    tasks, index = opened.backlog, opened.backlog.index(held.get(pending.TASK_KEY, at))
    if index is None:
        return False
    if kind == reaction_pb2.Reaction.DONE:
        task = tasks.told(index)
        updated_ms = task.column[backlog.UPDATED]
        stamp = Stamp(time_ms=max(record.event_time_ms, updated_ms), offset=task.column[backlog.OFFSET])
        backlog.remove_task(tasks, source=task.source, external_id=task.external_id, stamp=stamp, now_ms=row.now_ms)
    elif kind == reaction_pb2.Reaction.SNOOZE:
        tasks.add(backlog.SNOOZED, index)
        tasks.put_off(index, until_ms=until_ms, reason=row_pb2.Task.SNOOZED)
    else:
        tasks.add(backlog.DISMISSED, index)
        tasks.put_off(index, until_ms=row.now_ms + config.dismiss_cool_down_ms, reason=row_pb2.Task.COOLING_DOWN)
    return True


def _cool_down(
    opened: Opened,
    at: int,
    kind: int,
    *,
    until_ms: int,
    config: policy_pb2.DecisionConfig,
) -> row_pb2.CoolDown:
    """For how long what is no task is not said again; a written tip that is done is done for good."""
    row = opened.row
    made = row_pb2.CoolDown(candidate=opened.pending.name(at))
    if kind == reaction_pb2.Reaction.SNOOZE:
        made.until_ms, made.reason = until_ms, row_pb2.Task.SNOOZED
    elif kind == reaction_pb2.Reaction.DISMISS:
        made.until_ms = row.now_ms + config.dismiss_cool_down_ms
    else:
        made.until_ms = row.now_ms + config.starter_cool_down_ms
        if opened.pending.get(pending.KIND, at) == decision_pb2.Decision.GENERATED:
            made.reason = row_pb2.Task.DONE
            ends_ms = [t.expires_ms for t in row.generated if candidates.generated_id(t.external_id) == made.candidate]
            made.until_ms = max([made.until_ms, *(one + candidates.GENERATED_KEPT_MS for one in ends_ms)])
    return made
