"""(row, record, active version) -> (row, outputs): the whole decision core, a pure function of values.

Time is the record's, randomness is seeded from (user, record id), settings come with the policy version. It never
reads a clock, a file or the network, and never changes the row it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agents import (
    candidates,
    consents,
    decide,
    eligibility,
    erasure,
    fatigue,
    interrupting,
    moved,
    outcomes,
    profile,
    reactions,
    requests,
    scores,
    signals,
    written,
)
from agents.active_version import ActiveVersion
from agents.change import Change
from agents.fatigue import Cap
from agents.opened import Opened
from oo.v1 import decision_pb2, erased_pb2, journal_pb2, outcome_pb2, policy_pb2, row_pb2, settings_pb2
from tables import backlog, ids, pending, taken
from tables.backlog import Overflow

STEP_VERSION = 10
"""Of what is written now. A record folds by the rules of the version that it was written under, so that old journals fold as
they did: version 3 takes a reaction that another replaces out of the windows (agents.reactions), version 4 lets a starter
tip that was seen give way to something to do, version 5 packs the slate of a decision (agents.decide), version 6 takes consents in the
order of the journal (agents.consents), version 7 asks a language model and takes the one answer (agents.requests, agents.written), version 8 says on a slate who wrote what
(agents.decide), version 9 takes what a trained model says of candidates (agents.scores), version 10 says tips unasked (agents.interrupting)
and names the task that was done by its tip (agents.reactions)."""
OLDEST_VERSION = 2
"""Records of earlier versions fold by its rules."""
STARTERS_GIVE_WAY = 4
"""The step version from which on they do once seen; records of earlier ones fold as they did."""

Trigger = decision_pb2.Decision


class Entry(NamedTuple):
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


class Outputs(NamedTuple):
    """What a step says to the outside, each with an id that a repeat makes again."""

    decision: decision_pb2.Decision | None = None
    tip: decision_pb2.Tip | None = None
    outcomes: tuple[outcome_pb2.Outcome, ...] = ()
    overflows: tuple[Overflow, ...] = ()
    erased: erased_pb2.Erased | None = None
    """The person leaves, or begins again."""
    settings: settings_pb2.Settings | None = None
    """What the person has set, where that is another thing now."""
    request: decision_pb2.CandidateRequest | None = None
    """What a language model is asked, or is not to be asked any more."""
    delivery: decision_pb2.Delivery | None = None
    """What is to be said to a person who does not look, or is not to be said any more."""
    fault: str = ""
    """Set where `step` itself failed on the record (agents.fold): the row stands as it was."""


NOTHING = Outputs()


def step(state: row_pb2.UserRow | None, entry: Entry, policy: ActiveVersion) -> tuple[row_pb2.UserRow | None, Outputs]:
    """The row after this record, and what follows from it; `state` itself comes back where the record changes nothing.

    A record below the row's fence, taken before, or a tick that the row does not wait for changes nothing. The record
    at the fence gives the same row and no outputs: they were acknowledged before the row existed.
    """
    record = entry.record
    if state is not None and state.topic_id == entry.topic_id and entry.offset <= state.journal_offset:
        return state, NOTHING
    if record.HasField("moved"):
        return (state, NOTHING) if state is not None else _begin_here(entry)
    if record.HasField("scores"):
        return _take_scores(state, entry, policy)
    record_ms = record.now_ms or entry.time_ms
    now_ms = max(state.now_ms if state is not None else 0, record_ms)
    noted = taken.take(state, record, now_ms=now_ms)
    left = state.left if state is not None and state.HasField("left") else None
    if noted.already or (left is not None and erasure.passes(left, record)):
        return state, NOTHING
    payload = record.WhichOneof("payload")
    if payload == "subject_request" and erasure.is_erasure(record):
        return _erase(entry, policy, time_ms=record_ms)
    comes_back = left is not None and erasure.begins_again(left, record)
    if not comes_back and not _counts(payload, state, record, now_ms=now_ms):
        return state, NOTHING

    row, place = row_pb2.UserRow(), entry.position
    if state is None:
        row.user_id, row.time_zone = entry.user_id, "UTC"
    else:
        row.CopyFrom(state)
    row.topic_id, row.journal_offset, row.now_ms = entry.topic_id, entry.offset, now_ms
    noted.write(row)
    erased = None
    if comes_back:
        row.left.began_again = True
        erased = erasure.said(row, partition=entry.partition, began_again=place)

    opened, change, config = Opened.of(row, policy.space), Change(), policy.version.config
    limits_before = opened.limits
    change.slate |= opened.pass_time()
    if row.cool_downs:
        _drop_cool_downs(row, now_ms=now_ms)
    if row.generated:
        _drop_expired(row, now_ms=now_ms)
    if record.step_version >= consents.BY_PLACE and row.HasField("profile"):
        consents.adopt(opened, change)
    match payload:
        case "signal":
            signals.apply(opened, record, change, config=config)
        case "subject_request":
            consents.apply(opened, record, change)
        case "reaction":
            reactions.apply(opened, record, change, config=config)
        case "candidates" if record.step_version >= written.BY_REQUEST:
            written.take(opened, record.candidates, change, generation=config.generation)
        case "candidates":
            signals.take_generated(opened, record.candidates, change)
        case _:
            pass
    if row.HasField("scored") and opened.limits.adds_to(limits_before):
        row.ClearField("scored")  # Whatever each is about, the model may have seen what is withdrawn.
    if change.unsaid and record.step_version >= written.BY_REQUEST:
        del row.generated[:]  # Whatever each is about, its prompt may have had what is withdrawn.
    change.outcomes += outcomes.expire(opened, now_ms=now_ms, config=config)
    if change.outcomes and any(outcome.learned for outcome in change.outcomes):
        opened.taught.epoch, opened.learned = policy.version.epoch, True

    decision, tip, expected = None, None, 0
    caps = fatigue.caps(opened, config=config)
    trigger = _trigger(opened, change, caps, now_ms=now_ms, config=config, step_version=record.step_version)
    if trigger is not None:
        decision, tip, expected = decide.decide(
            opened,
            trigger=trigger,
            record_id=record.record_id,
            journal=place,
            latency_ms=max(record_ms - record.source_time_ms, 0) if record.source_time_ms else 0,
            policy=policy,
            caps=caps,
            step_version=max(record.step_version, OLDEST_VERSION),
        )
    request = None
    if record.step_version >= requests.ASKS and (config.HasField("generation") or row.HasField("asked")):
        request = requests.after(
            opened, record, withdrew=opened.limits.adds_to(limits_before), journal=place, generation=config.generation
        )
    delivery = None
    if record.step_version >= interrupting.INTERRUPTS and (row.consents or row.HasField("interrupted")):
        delivery = interrupting.after(
            row,
            record,
            change.outcomes,
            current=_unseen(opened),
            decision=decision,
            tip=tip,
            expected=expected,
            journal=place,
            config=config,
        )
    row.next_wake_ms = _next_wake(opened, caps, config)
    opened.close()
    settings = profile.to_tell(state, row, journal=place) if record.step_version >= consents.BY_PLACE else None
    if change.outcomes:
        _name(change.outcomes, entry=entry, unshared=not consents.teaches_others(row))
    return row, Outputs(
        decision, tip, tuple(change.outcomes), tuple(change.overflows), erased, settings, request, delivery
    )


def _take_scores(
    state: row_pb2.UserRow | None, entry: Entry, policy: ActiveVersion
) -> tuple[row_pb2.UserRow | None, Outputs]:
    """The row with what a model says of its candidates. Nothing follows from it: no time passes, nothing ends, nothing is decided."""
    config, row = policy.version.config, None
    if state is not None and not state.HasField("left") and entry.record.step_version >= scores.BY_MODEL:
        row = scores.take(state, entry.record.scores, journal=entry.position, scoring=config.scoring)
    return (state if row is None else row), NOTHING


def _begin_here(entry: Entry) -> tuple[row_pb2.UserRow, Outputs]:
    """What a person had in another journal, from here on."""
    told, at = entry.record.moved, entry.position
    row = moved.row_of(told, user_id=entry.user_id, journal=at)
    tip, settings = moved.tip_of(told, row, journal=at), moved.settings_of(told, row, journal=at)
    return row, Outputs(tip=tip, settings=settings, erased=moved.said(row, journal=at))


def _erase(entry: Entry, policy: ActiveVersion, *, time_ms: int) -> tuple[row_pb2.UserRow, Outputs]:
    """What stands from an erasure on, whatever stood before it."""
    row = erasure.stub(entry.user_id, entry.record, journal=entry.position, time_ms=time_ms)
    tip = erasure.tip(row, journal=entry.position)
    # Of settings too nothing is left but from where on.
    settings = settings_pb2.Settings(user_id=entry.user_id, journal=entry.position, told_ms=row.now_ms)
    request = None
    if entry.record.step_version >= requests.ASKS and policy.version.config.HasField("generation"):
        request = requests.of_who_left(entry.user_id, entry.record, journal=entry.position, time_ms=row.now_ms)
    delivery = None
    if entry.record.step_version >= interrupting.INTERRUPTS and policy.version.config.HasField("interrupting"):
        delivery = interrupting.of_who_left(entry.user_id, entry.record, journal=entry.position, time_ms=row.now_ms)
    said = erasure.said(row, partition=entry.partition)
    return row, Outputs(tip=tip, erased=said, settings=settings, request=request, delivery=delivery)


def _counts(
    payload: str | None, state: row_pb2.UserRow | None, record: journal_pb2.JournalRecord, *, now_ms: int
) -> bool:
    if payload == "tick":
        return state is not None and state.next_wake_ms == record.tick.due_ms and now_ms >= record.tick.due_ms
    if payload == "subject_request":
        return record.subject_request.HasField("consent_changed") and record.step_version >= consents.BY_PLACE
    if payload == "candidates" and record.step_version >= written.BY_REQUEST:
        return state is not None and written.is_awaited(state, record.candidates, now_ms=now_ms)
    return payload not in (None, "mark", "sealed")


def _trigger(
    opened: Opened,
    change: Change,
    caps: Sequence[Cap],
    *,
    now_ms: int,
    config: policy_pb2.DecisionConfig,
    step_version: int,
) -> decision_pb2.Decision.Trigger.ValueType | None:
    """Why a new decision is due, the strongest reason first; None where the present one stands.

    A tip that someone has seen gives way only to a reaction, its end, its becoming wrong, or an urgent arrival; a starter
    tip, which is there for want of something to do, to that as well.
    """
    row = opened.row
    current = outcomes.current(opened)
    if current is None:
        return Trigger.NO_TIP
    if change.reacted:
        return Trigger.REACTION
    if change.wrong or not decide.stands(opened, current, now_ms=now_ms):
        return Trigger.BECAME_WRONG
    if not eligibility.may_stand(row, current, caps, limits=opened.limits):
        return Trigger.BECAME_WRONG
    if row.current_valid_until_ms <= now_ms:
        return Trigger.RAN_OUT
    if change.urgent:
        return Trigger.URGENT_ARRIVAL
    if change.slate and not current.seen_ms:
        return Trigger.SLATE_CHANGED
    gives_way = current.kind == decision_pb2.Decision.STARTER and step_version >= STARTERS_GIVE_WAY
    if change.slate and gives_way and decide.something_to_do(opened, caps, config=config):
        return Trigger.SLATE_CHANGED
    return None


def _next_wake(opened: Opened, caps: Sequence[Cap], config: policy_pb2.DecisionConfig) -> int:
    """The next time at which something changes by itself; always after now, 0 for never."""
    row = opened.row
    seen_ms = pending.first_seen_ms(opened.pending.columns)
    times = [
        row.current_valid_until_ms,
        # Nobody else's may end by time alone.
        eligibility.next_change_ms(row, outcomes.current(opened), caps) if caps or row.HasField("profile") else 0,
        backlog.next_quiet_end_ms(opened.usable.tasks),
        seen_ms + config.reaction_window_ms if seen_ms else 0,
        row.asked.due_ms,
    ]
    if row.cool_downs:
        times += [c.until_ms for c in row.cool_downs]
    times = [time_ms for time_ms in times if time_ms > 0]
    return max(min(times), row.now_ms + 1) if times else 0


def _unseen(opened: Opened) -> bytes:
    """The decision that is being served, while nobody has seen or answered it; else none."""
    held = opened.pending
    at = len(held) - 1
    if at < 0 or held.get(pending.SEEN, at) or held.get(pending.OUTCOME, at):
        return b""
    return held.id(at)


def _drop_cool_downs(row: row_pb2.UserRow, *, now_ms: int) -> None:
    kept = [c for c in row.cool_downs if c.until_ms > now_ms]
    if len(kept) < len(row.cool_downs):
        del row.cool_downs[:]
        row.cool_downs.extend(kept)


def _drop_expired(row: row_pb2.UserRow, *, now_ms: int) -> None:
    kept = [one for one in row.generated if one.expires_ms + candidates.GENERATED_KEPT_MS > now_ms]
    if len(kept) < len(row.generated):
        del row.generated[:]
        row.generated.extend(kept)


def _name(found: list[outcome_pb2.Outcome], *, entry: Entry, unshared: bool) -> None:
    for index, outcome in enumerate(found):
        outcome.outcome_id = ids.outcome_id(entry.user_id, record_id=entry.record.record_id, index=index)
        outcome.user_id, outcome.unshared = entry.user_id, unshared
        outcome.journal.CopyFrom(entry.position)
