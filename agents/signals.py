"""Takes what producers tell into the row: tasks, events, the profile, generated tips.

Works on the copy of the row that `step` hands through. It never decides.
"""

from __future__ import annotations

from agents import candidates, consents, outcomes, profile, reactions
from agents.change import Change
from agents.opened import Opened
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2, policy_pb2, signal_pb2
from tables import backlog, ids, windows
from tables.backlog import Stamp


def apply(
    opened: Opened, record: journal_pb2.JournalRecord, change: Change, *, config: policy_pb2.DecisionConfig
) -> None:
    """Takes an admitted signal into the row, and notes in `change` what it touched."""
    row, items = opened.row, opened.backlog
    signal, now_ms = record.signal, row.now_ms
    stamp = Stamp(time_ms=record.event_time_ms, offset=record.source.offset)
    match signal.WhichOneof("payload"):
        case "task_upserted":
            _take_task(opened, signal, change, stamp=stamp, within_ms=config.urgent_within_ms)
        case "task_completed" | "task_removed" as name:
            external_id = getattr(signal, name).external_id
            gone = backlog.remove_task(items, source=signal.source, external_id=external_id, stamp=stamp, now_ms=now_ms)
            # It leaves what is kept of a withdrawn source too, and nothing else follows.
            gone &= opened.limits.tasks_of(signal.source)
            change.slate |= gone
            if gone and name == "task_completed":
                found = outcomes.completed(
                    opened,
                    task_key=ids.item_key(signal.source, external_id),
                    event_ms=record.event_time_ms,
                    config=config,
                )
                for outcome in found:
                    if outcome.kind == outcome_pb2.Outcome.DONE:
                        reactions.count(
                            row,
                            windows.kept(row),
                            outcome.kind,
                            kind=decision_pb2.Decision.TASK,
                            event_ms=record.event_time_ms,
                        )
                        reactions.note_counted(opened, outcomes.find(opened, decision_id=outcome.decision_id), record)
                change.outcomes += found
        case "calendar_event_upserted":
            changed, overflow = backlog.upsert_event(
                row, items, signal.calendar_event_upserted, source=signal.source, stamp=stamp, now_ms=now_ms
            )
            if overflow is not None:
                change.overflows.append(overflow)
            change.slate |= changed and opened.limits.events_of(signal.source)
        case "calendar_event_removed":
            gone = backlog.remove_event(
                items,
                source=signal.source,
                external_id=signal.calendar_event_removed.external_id,
                stamp=stamp,
                now_ms=now_ms,
            )
            change.slate |= gone and opened.limits.events_of(signal.source)
        case "profile_changed":
            changes = signal.profile_changed
            if record.step_version >= consents.BY_PLACE:
                consents.apply(opened, record, change)
                changes = consents.other_settings(changes)
            change.slate |= profile.apply(row, changes, stamp=stamp)
        case _:
            # An activity wakes the row (a first decision, expiries) and leaves nothing else behind yet.
            pass


def _take_task(opened: Opened, signal: signal_pb2.Signal, change: Change, *, stamp: Stamp, within_ms: int) -> None:
    row, items = opened.row, opened.backlog
    told = backlog.upsert_task(row, items, signal.task_upserted, source=signal.source, stamp=stamp)
    if told.overflow is not None:
        change.overflows.append(told.overflow)
    if told.at is None or not opened.limits.tasks_of(signal.source):
        return
    now = items.tasks[:, told.at].tolist()
    # An edit of what was urgent before is no arrival, and the same task told again is no change.
    if _is_urgent(now, now_ms=row.now_ms, within_ms=within_ms):
        before = told.before
        change.urgent |= before is None or not _is_urgent(before, now_ms=row.now_ms, within_ms=within_ms)
    change.slate |= told.changed


def _is_urgent(task: list[int], *, now_ms: int, within_ms: int) -> bool:
    return 0 < task[backlog.DUE] - now_ms <= within_ms and task[backlog.QUIET_UNTIL] <= now_ms


def take_generated(opened: Opened, arrived: journal_pb2.Candidates, change: Change) -> None:
    """Takes tips of a language model in, where they are wanted; 16 at most are kept, the newest."""
    row = opened.row
    if opened.limits.generated:
        return
    fresh = {
        tip.external_id: journal_pb2.GeneratedTip(
            external_id=tip.external_id,
            title=tip.title[: candidates.TITLE_CHARS_MAX],
            detail=tip.detail[: candidates.DETAIL_CHARS_MAX],
            expires_ms=tip.expires_ms,
            prompt_version=arrived.prompt_version[: candidates.ID_CHARS_MAX],
            model=arrived.model[: candidates.ID_CHARS_MAX],
        )
        for tip in arrived.tips
        if tip.expires_ms > row.now_ms and tip.title and len(tip.external_id) <= candidates.ID_CHARS_MAX
    }
    kept = [t for t in row.generated if t.expires_ms > row.now_ms and t.external_id not in fresh]
    generated = [*kept, *fresh.values()][-candidates.GENERATED_MAX :]
    del row.generated[:]
    row.generated.extend(generated)
    change.slate |= bool(fresh)
