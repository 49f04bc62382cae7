"""(row, record, what is in force) -> (row, outputs): the whole decision core, a pure function of values.

Time is the record's, randomness is seeded from (user, record id), settings come with the policy version. It never
reads a clock, a file or the network, and never changes the row it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agents import candidates, decide, outcomes
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2, policy_pb2, reaction_pb2, row_pb2, signal_pb2
from tables import backlog, ids, windows
from tables import row as rows
from tables.backlog import Overflow, Stamp
from tables.zones import part_of_day

STEP_VERSION = 1

Trigger = decision_pb2.Decision


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal record where it stands. `time_ms` is the broker's append time."""

    user_id: str
    topic_id: bytes
    partition: int
    offset: int
    time_ms: int
    record: journal_pb2.JournalRecord

    @property
    def position(self) -> journal_pb2.Position:
        """Its place as a message."""
        return journal_pb2.Position(topic_id=self.topic_id, partition=self.partition, offset=self.offset)


@dataclass(frozen=True, slots=True)
class InForce:
    """What a record is decided with: the version that the last mark named, and the key of decision ids."""

    version: policy_pb2.PolicyVersion
    mac_key: bytes
    config_hash: str


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a step says to the outside, each with an id that a repeat makes again."""

    decision: decision_pb2.Decision | None = None
    tip: decision_pb2.Tip | None = None
    outcomes: tuple[outcome_pb2.Outcome, ...] = ()
    overflows: tuple[Overflow, ...] = ()
    fault: str = ""
    """Set where `step` itself failed on the record (agents.fold): the row stands as it was."""


NOTHING = Outputs()


@dataclass(slots=True)
class _Change:
    """What a record did to the row so far."""

    slate: bool = False
    urgent: bool = False
    reacted: bool = False
    outcomes: list[outcome_pb2.Outcome] = field(default_factory=list)
    overflows: list[Overflow] = field(default_factory=list)


def step(state: row_pb2.UserRow | None, entry: Entry, policy: InForce) -> tuple[row_pb2.UserRow | None, Outputs]:
    """The row after this record, and what follows from it; `state` itself comes back where the record changes nothing.

    A record below the row's fence, taken before, or a tick that the row does not wait for changes nothing. The record
    at the fence gives the same row and no outputs: they were acknowledged before the row existed.
    """
    record = entry.record
    if state is not None and state.topic_id == entry.topic_id and entry.offset <= state.journal_offset:
        return state, NOTHING
    record_ms = record.now_ms or entry.time_ms
    now_ms = max(state.now_ms if state is not None else 0, record_ms)
    if not _counts(state, record, now_ms=now_ms):
        return state, NOTHING

    row = row_pb2.UserRow(user_id=entry.user_id, time_zone="UTC")
    if state is not None:
        row.CopyFrom(state)
    row.topic_id, row.journal_offset, row.now_ms = entry.topic_id, entry.offset, now_ms
    rows.take(row, record, now_ms=now_ms)

    change = _Change()
    change.slate |= backlog.pass_time(row, now_ms=now_ms)
    _drop_cool_downs(row, now_ms=now_ms)
    match record.WhichOneof("payload"):
        case "signal":
            _take_signal(row, record, change, policy=policy)
        case "reaction":
            _take_reaction(row, record, change, policy=policy)
        case "candidates":
            _take_generated(row, record.candidates, change)
        case _:
            pass
    change.outcomes += outcomes.expire(row, now_ms=now_ms, config=policy.version.config)

    outputs = Outputs(outcomes=tuple(_named(row, change.outcomes, entry=entry)), overflows=tuple(change.overflows))
    trigger = _trigger(row, change, now_ms=now_ms)
    if trigger is not None:
        decision, tip = decide.decide(
            row,
            trigger=trigger,
            record_id=record.record_id,
            journal=entry.position,
            latency_ms=max(record_ms - record.source_time_ms, 0) if record.source_time_ms else 0,
            policy=policy.version,
            config_hash=policy.config_hash,
            step_version=STEP_VERSION,
            mac_key=policy.mac_key,
        )
        outputs = replace(outputs, decision=decision, tip=tip)
    row.next_wake_ms = _next_wake(row, policy.version.config)
    return row, outputs


def _counts(state: row_pb2.UserRow | None, record: journal_pb2.JournalRecord, *, now_ms: int) -> bool:
    if record.HasField("tick"):
        return state is not None and state.next_wake_ms == record.tick.due_ms and now_ms >= record.tick.due_ms
    if record.WhichOneof("payload") in (None, "mark", "sealed"):
        return False
    return state is None or not rows.has_taken(state, record, now_ms=now_ms)


def _take_signal(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, change: _Change, *, policy: InForce) -> None:
    signal, now_ms = record.signal, row.now_ms
    stamp = Stamp(time_ms=record.event_time_ms, offset=record.source.offset)
    match signal.WhichOneof("payload"):
        case "task_upserted":
            _take_task(row, signal, change, stamp=stamp, within_ms=policy.version.config.urgent_within_ms)
        case "task_completed" | "task_removed" as name:
            external_id = getattr(signal, name).external_id
            gone = backlog.remove_task(row, source=signal.source, external_id=external_id, stamp=stamp, now_ms=now_ms)
            change.slate |= gone is not None
            if gone is not None and name == "task_completed":
                found = outcomes.completed(
                    row,
                    candidate=candidates.task_id(signal.source, external_id),
                    event_ms=record.event_time_ms,
                    config=policy.version.config,
                )
                for outcome in found:
                    if outcome.kind == outcome_pb2.Outcome.DONE:
                        _count(row, outcome.kind, kind=decision_pb2.Decision.TASK, event_ms=record.event_time_ms)
                change.outcomes += found
        case "calendar_event_upserted":
            changed, overflow = backlog.upsert_event(
                row, signal.calendar_event_upserted, source=signal.source, stamp=stamp, now_ms=now_ms
            )
            if overflow is not None:
                change.overflows.append(overflow)
            change.slate |= changed
        case "calendar_event_removed":
            change.slate |= backlog.remove_event(
                row,
                source=signal.source,
                external_id=signal.calendar_event_removed.external_id,
                stamp=stamp,
                now_ms=now_ms,
            )
        case "profile_changed":
            if stamp.time_ms >= row.time_zone_updated_ms:
                change.slate |= row.time_zone != signal.profile_changed.time_zone
                row.time_zone = signal.profile_changed.time_zone
                row.time_zone_updated_ms = stamp.time_ms
        case _:
            # An activity wakes the row (a first decision, expiries) and leaves nothing else behind yet.
            pass


def _take_task(
    row: row_pb2.UserRow, signal: signal_pb2.Signal, change: _Change, *, stamp: Stamp, within_ms: int
) -> None:
    known = row_pb2.Task()
    index = backlog.task_index(row, source=signal.source, external_id=signal.task_upserted.external_id)
    if index is not None:
        known.CopyFrom(row.tasks[index])
    task, overflow = backlog.upsert_task(row, signal.task_upserted, source=signal.source, stamp=stamp)
    if overflow is not None:
        change.overflows.append(overflow)
    if task is None:
        return
    # An edit of what was urgent before is no arrival, and the same task told again is no change.
    change.urgent |= _is_urgent(task, now_ms=row.now_ms, within_ms=within_ms) and not _is_urgent(
        known, now_ms=row.now_ms, within_ms=within_ms
    )
    known.updated_ms, known.updated_offset = task.updated_ms, task.updated_offset
    change.slate |= known != task


def _is_urgent(task: row_pb2.Task, *, now_ms: int, within_ms: int) -> bool:
    return 0 < task.due_ms - now_ms <= within_ms and task.quiet_until_ms <= now_ms


def _take_reaction(
    row: row_pb2.UserRow, record: journal_pb2.JournalRecord, change: _Change, *, policy: InForce
) -> None:
    reaction, config = record.reaction, policy.version.config
    pending = outcomes.find(row, decision_id=reaction.decision_id)
    if reaction.kind == reaction_pb2.Reaction.SEEN:
        change.outcomes += outcomes.see(row, pending, event_ms=record.event_time_ms)
        return
    taken = outcomes.react(
        row, pending, kind=outcomes.KINDS[reaction.kind], event_ms=record.event_time_ms, config=config
    )
    if taken is None:
        return
    kind = pending.kind if pending is not None else decision_pb2.Decision.TIP_KIND_UNSPECIFIED
    _count(row, outcomes.KINDS[reaction.kind], kind=kind, event_ms=record.event_time_ms)
    change.outcomes += taken
    if pending is None:
        return
    until_ms = backlog.to_ms(reaction.snooze_until) if reaction.HasField("snooze_until") else 0
    if until_ms <= row.now_ms:
        until_ms = row.now_ms + config.snooze_default_ms
    change.slate |= _set_aside(row, pending, record, until_ms=until_ms, config=config)
    change.reacted = pending.decision_id == row.current_decision_id


def _count(row: row_pb2.UserRow, reaction: int, *, kind: int, event_ms: int) -> None:
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
        quiet_ms = {
            reaction_pb2.Reaction.SNOOZE: until_ms - row.now_ms,
            reaction_pb2.Reaction.DISMISS: config.dismiss_cool_down_ms,
        }.get(kind, config.starter_cool_down_ms)
        kept = [c for c in row.cool_downs if c.candidate != pending.candidate]
        del row.cool_downs[:]
        row.cool_downs.extend(
            [*kept, row_pb2.CoolDown(candidate=pending.candidate, until_ms=row.now_ms + quiet_ms)][-64:]
        )
        return True
    source, external_id = pending.candidate.removeprefix("task:").split("/", 1)
    index = backlog.task_index(row, source=source, external_id=external_id)
    if index is None:
        return False
    task = row.tasks[index]
    if kind == reaction_pb2.Reaction.DONE:
        stamp = Stamp(time_ms=max(record.event_time_ms, task.updated_ms), offset=task.updated_offset)
        backlog.remove_task(row, source=source, external_id=external_id, stamp=stamp, now_ms=row.now_ms)
    elif kind == reaction_pb2.Reaction.SNOOZE:
        task.snoozed += 1
        task.quiet_until_ms, task.quiet_reason = until_ms, row_pb2.Task.SNOOZED
    else:
        task.dismissed += 1
        task.quiet_until_ms = row.now_ms + config.dismiss_cool_down_ms
        task.quiet_reason = row_pb2.Task.COOLING_DOWN
    return True


def _take_generated(row: row_pb2.UserRow, arrived: journal_pb2.Candidates, change: _Change) -> None:
    fresh = {
        tip.external_id: journal_pb2.GeneratedTip(
            external_id=tip.external_id,
            title=tip.title[: candidates.TITLE_CHARS_MAX],
            detail=tip.detail[: candidates.DETAIL_CHARS_MAX],
            expires_ms=tip.expires_ms,
        )
        for tip in arrived.tips
        if tip.expires_ms > row.now_ms and tip.title and len(tip.external_id) <= candidates.ID_CHARS_MAX
    }
    kept = [t for t in row.generated if t.expires_ms > row.now_ms and t.external_id not in fresh]
    generated = [*kept, *fresh.values()][-candidates.GENERATED_MAX :]
    del row.generated[:]
    row.generated.extend(generated)
    change.slate |= bool(fresh)


def _trigger(row: row_pb2.UserRow, change: _Change, *, now_ms: int) -> decision_pb2.Decision.Trigger.ValueType | None:
    """Why a new decision is due, the strongest reason first; None where the present one stands.

    A tip that someone has seen gives way only to a reaction, its end, its becoming wrong, or an urgent arrival.
    """
    current = outcomes.find(row, decision_id=row.current_decision_id)
    if current is None:
        return Trigger.NO_TIP
    if change.reacted:
        return Trigger.REACTION
    if not decide.stands(row, current, now_ms=now_ms):
        return Trigger.BECAME_WRONG
    if current.valid_until_ms <= now_ms:
        return Trigger.RAN_OUT
    if change.urgent:
        return Trigger.URGENT_ARRIVAL
    if change.slate and not current.seen_ms:
        return Trigger.SLATE_CHANGED
    return None


def _next_wake(row: row_pb2.UserRow, config: policy_pb2.DecisionConfig) -> int:
    """The next time at which something changes by itself; always after now, 0 for never."""
    times = [c.until_ms for c in row.cool_downs] + [task.quiet_until_ms for task in row.tasks]
    for pending in row.pending:
        if pending.decision_id == row.current_decision_id:
            times.append(pending.valid_until_ms)
        if outcomes.is_open(pending):
            times.append(pending.seen_ms + config.reaction_window_ms)
    return min((max(time_ms, row.now_ms + 1) for time_ms in times if time_ms > 0), default=0)


def _drop_cool_downs(row: row_pb2.UserRow, *, now_ms: int) -> None:
    kept = [c for c in row.cool_downs if c.until_ms > now_ms]
    if len(kept) < len(row.cool_downs):
        del row.cool_downs[:]
        row.cool_downs.extend(kept)


def _named(row: row_pb2.UserRow, found: list[outcome_pb2.Outcome], *, entry: Entry) -> list[outcome_pb2.Outcome]:
    for index, outcome in enumerate(found):
        outcome.outcome_id = ids.outcome_id(entry.user_id, record_id=entry.record.record_id, index=index)
        outcome.user_id = row.user_id
        outcome.journal.CopyFrom(entry.position)
    return found
