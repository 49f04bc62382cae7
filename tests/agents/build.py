"""Small builders of what the core works on: a journal written by hand, folded record by record.

It never patches anything: every row in these tests is one that `step` made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents import reward, written
from agents.active_version import ActiveVersion
from agents.bandit.choice import Choice
from agents.prior import prior
from agents.reward import DEFAULT
from agents.step import STEP_VERSION, Entry, Outputs, step
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, reaction_pb2, row_pb2, signal_pb2, subject_request_pb2
from tables import ids, slates
from tables.backlog import from_ms
from tables.purposes import BY_NAME
from tables.row import spelled_out
from tables.scored import key_of

MAC_KEY = bytes(range(32))
JOURNAL_ID = b"J" * 16
SIGNALS_ID = b"S" * 16
REACTIONS_ID = b"R" * 16
REQUESTS_ID = b"Q" * 16

MONDAY_MS = 1_790_582_400_000
"""Monday 28 September 2026, 08:00 UTC."""

MORNING = 1
"""agents.scores.moment_of a weekday's morning without an event: when these people live, if not told otherwise."""

Payload = (
    signal_pb2.Signal
    | reaction_pb2.Reaction
    | subject_request_pb2.SubjectRequest
    | journal_pb2.Tick
    | journal_pb2.Mark
    | journal_pb2.Candidates
    | journal_pb2.Scores
)
SOURCES = {
    signal_pb2.Signal: ("signal", SIGNALS_ID),
    reaction_pb2.Reaction: ("reaction", REACTIONS_ID),
    subject_request_pb2.SubjectRequest: ("subject_request", REQUESTS_ID),
}
"""Which field of a journal record holds what the door lets in, and the topic that it comes from."""


def config(**changes: int | bool) -> policy_pb2.DecisionConfig:
    """The default configuration with some of it changed."""
    made = policy_pb2.DecisionConfig()
    made.CopyFrom(DEFAULT)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def asking(**changes: int) -> policy_pb2.DecisionConfig:
    """The default configuration with a model that is asked at once, by two variants of equal weight."""
    made = reward.asking(config(), prompts={"a@1": 1, "b@2": 1}, models=["tip-generator"])
    made.generation.settle_ms = 0
    for name, value in changes.items():
        setattr(made.generation, name, value)
    return made


def answer(
    request: decision_pb2.CandidateRequest, *titles: str, about: Sequence[str] = (), **rest: int
) -> journal_pb2.Candidates:
    """What a model answers, all about the same."""
    tips = [journal_pb2.GeneratedTip(title=one, detail="Because.", about=about) for one in titles]
    return journal_pb2.Candidates(request_id=request.request_id, tips=tips, tokens_in=100, tokens_out=50, **rest)


def active(version: policy_pb2.PolicyVersion | None = None, **changes: int | bool) -> ActiveVersion:
    """A version as a record meets it: the prior, unless given."""
    return ActiveVersion.of(version or prior(config=config(**changes)), mac_key=MAC_KEY)


PRIOR = active()
BLUNT = active(exploration=0, floor_permille=0)
"""Without chance: the candidate with the greatest expected score, always."""


def task(
    external_id: str,
    *,
    title: str = "",
    priority: int = 0,
    due_ms: int = 0,
    minutes: int = 0,
    user: str = "ada",
    source: str = "todo.txt",
    **rest: str | list[str],
) -> signal_pb2.Signal:
    """A task as its source has it."""
    upsert = signal_pb2.TaskUpserted(
        external_id=external_id,
        title=title or f"Task {external_id}",
        priority=priority,
        estimated_minutes=minutes,
        **rest,  # type: ignore[arg-type]
    )
    if due_ms:
        upsert.due.CopyFrom(from_ms(due_ms))
    return signal_pb2.Signal(user_id=user, source=source, task_upserted=upsert)


def completed(external_id: str, *, user: str = "ada", source: str = "todo.txt") -> signal_pb2.Signal:
    """The task is done at its source."""
    return signal_pb2.Signal(
        user_id=user, source=source, task_completed=signal_pb2.TaskCompleted(external_id=external_id)
    )


def removed(external_id: str, *, user: str = "ada", source: str = "todo.txt") -> signal_pb2.Signal:
    """The task is gone from its source."""
    return signal_pb2.Signal(user_id=user, source=source, task_removed=signal_pb2.TaskRemoved(external_id=external_id))


def event(
    external_id: str,
    *,
    start_ms: int,
    end_ms: int,
    title: str = "",
    busy: bool | None = None,
    user: str = "ada",
    source: str = "ical",
) -> signal_pb2.Signal:
    """An event as its calendar has it."""
    upsert = signal_pb2.CalendarEventUpserted(
        external_id=external_id, title=title or f"Event {external_id}", start=from_ms(start_ms), end=from_ms(end_ms)
    )
    if busy is not None:
        upsert.busy = busy
    return signal_pb2.Signal(user_id=user, source=source, calendar_event_upserted=upsert)


def event_removed(external_id: str, *, user: str = "ada", source: str = "ical") -> signal_pb2.Signal:
    """The event is gone from its calendar."""
    return signal_pb2.Signal(
        user_id=user, source=source, calendar_event_removed=signal_pb2.CalendarEventRemoved(external_id=external_id)
    )


def activity(*, user: str = "ada") -> signal_pb2.Signal:
    """Something happened that is no task and no event."""
    return signal_pb2.Signal(user_id=user, source="phone", activity=signal_pb2.Activity(kind="app_opened", value=1))


def profile(
    time_zone: str = "", *, user: str = "ada", quiet: tuple[int, ...] | None = None, **settings: bool | int
) -> signal_pb2.Signal:
    """The person's settings; `quiet` is (start minute, end minute), and the weekdays where it is not every day."""
    changed = signal_pb2.ProfileChanged(time_zone=time_zone, **settings)  # type: ignore[arg-type]
    if quiet is not None:
        start, end, *weekdays = quiet
        changed.quiet_hours.CopyFrom(
            signal_pb2.QuietHours(start_minute=start, end_minute=end, weekdays=weekdays[0] if weekdays else 0)
        )
    return signal_pb2.Signal(user_id=user, source="edge", profile_changed=changed)


def withdrawn(of: str, *, word: str, user: str = "ada", **rest: str) -> subject_request_pb2.SubjectRequest:
    """The person withdraws a purpose, by its name, or a source, as `source:NAME`; `word` names the request."""
    return _consent(of, word, user=user, granted=False, **rest)


def granted(
    of: str, *, word: str, knows_of: str = "", user: str = "ada", **rest: str
) -> subject_request_pb2.SubjectRequest:
    """The person grants it, knowing of that withdrawal."""
    return _consent(of, word, user=user, granted=True, knows_of=knows_of, **rest)


def _consent(of: str, request_id: str, *, user: str, **said: str | bool) -> subject_request_pb2.SubjectRequest:
    changed = subject_request_pb2.ConsentChanged(**said)  # type: ignore[arg-type]
    if of.startswith("source:"):
        changed.source = of.removeprefix("source:")
    else:
        changed.purpose = BY_NAME[of].number
    return subject_request_pb2.SubjectRequest(request_id=request_id, user_id=user, consent_changed=changed)


def reaction(decision_id: str, kind: str, *, user: str = "ada", until_ms: int = 0) -> reaction_pb2.Reaction:
    """What the person did: SEEN, DONE, SNOOZE or DISMISS."""
    made = reaction_pb2.Reaction(user_id=user, decision_id=decision_id, kind=reaction_pb2.Reaction.Kind.Value(kind))
    if until_ms:
        made.snooze_until.CopyFrom(from_ms(until_ms))
    return made


def erasure(
    receipt: str, *, user: str = "ada", ends: Mapping[bytes, int] | None = None
) -> subject_request_pb2.SubjectRequest:
    """The person leaves; `ends`: by topic, where its first partition ended."""
    request = subject_request_pb2.SubjectRequest(request_id=receipt, user_id=user)
    request.erasure.SetInParent()
    for topic_id, offset in (ends or {}).items():
        request.erasure.ends.add(topic_id=topic_id, partition=0, offset=offset)
    return request


def grant(request_id: str, *, knows_of: str = "", user: str = "ada") -> subject_request_pb2.SubjectRequest:
    """The person agrees to tips from their tasks; with the receipt of their leaving they begin again."""
    changed = subject_request_pb2.ConsentChanged(
        purpose=subject_request_pb2.PURPOSE_TASKS, granted=True, knows_of=knows_of
    )
    return subject_request_pb2.SubjectRequest(request_id=request_id, user_id=user, consent_changed=changed)


def tick(due_ms: int) -> journal_pb2.Tick:
    """The time has come."""
    return journal_pb2.Tick(due_ms=due_ms)


UNASKED = "r"


def candidates(*external_ids: str, expires_ms: int, model: str = "") -> journal_pb2.Candidates:
    """Tips that a language model wrote and nobody asked for, as they came before step version 7."""
    return journal_pb2.Candidates(
        request_id=UNASKED,
        model=model,
        tips=[
            journal_pb2.GeneratedTip(external_id=one, title=f"Idea {one}", detail="Because.", expires_ms=expires_ms)
            for one in external_ids
        ],
    )


def scores(
    offset: int, expected: dict[str, int], *, model: str = "tips@3", topic_id: bytes = JOURNAL_ID, moment: int = MORNING
) -> journal_pb2.Scores:
    """What a model says of the slate that was decided at that journal offset."""
    said = sorted((key_of(candidate), one) for candidate, one in expected.items())
    place = journal_pb2.Position(topic_id=topic_id, partition=0, offset=offset)
    return journal_pb2.Scores(
        decision=place,
        model=model,
        keys=[key for key, _ in said],
        expected=[one for _, one in said],
        moment=moment,
    )


def entry(
    payload: Payload,
    *,
    offset: int,
    time_ms: int,
    user: str = "ada",
    partition: int = 0,
    source_offset: int | None = None,
    event_ms: int | None = None,
    event_id: str = "",
    topic_id: bytes = JOURNAL_ID,
    step_version: int = STEP_VERSION,
) -> Entry:
    """A journal record where it stands, with the envelope that the door or the timer puts around it."""
    record = journal_pb2.JournalRecord(
        writer="test/1", step_version=step_version, event_time_ms=time_ms if event_ms is None else event_ms
    )
    source_offset = offset if source_offset is None else source_offset
    match payload:
        case journal_pb2.Tick():
            record.record_id = ids.tick_record_id(user, due_ms=payload.due_ms)
            record.tick.CopyFrom(payload)
        case journal_pb2.Mark():
            record.record_id = payload.version_id.encode().ljust(16, b".")[:16]
            record.mark.CopyFrom(payload)
        case journal_pb2.Candidates():
            record.record_id = ids.source_record_id(b"C" * 16, partition=partition, offset=source_offset)
            record.candidates.CopyFrom(payload)
            if payload.request_id == UNASKED:
                record.step_version = min(step_version, written.BY_REQUEST - 1)
        case journal_pb2.Scores():
            record.record_id = ids.source_record_id(b"D" * 16, partition=partition, offset=source_offset)
            record.scores.CopyFrom(payload)
        case signal_pb2.Signal() | reaction_pb2.Reaction() | subject_request_pb2.SubjectRequest():
            name, source_id = SOURCES[type(payload)]
            record.record_id = ids.source_record_id(source_id, partition=partition, offset=source_offset)
            record.source.CopyFrom(journal_pb2.Position(topic_id=source_id, partition=partition, offset=source_offset))
            record.source_time_ms = time_ms - 5
            if isinstance(payload, subject_request_pb2.SubjectRequest):
                event_id = payload.request_id
            record.event_key = ids.event_key("test", event_id) if event_id else 0
            getattr(record, name).CopyFrom(payload)
    return Entry(user_id=user, topic_id=topic_id, partition=partition, offset=offset, time_ms=time_ms, record=record)


@dataclass(slots=True)
class Person:
    """One person's row through time; each call is the next journal record."""

    policy: ActiveVersion = PRIOR
    user: str = "ada"
    row: row_pb2.UserRow | None = None
    offset: int = 0
    time_ms: int = MONDAY_MS
    log: list[tuple[Entry, Outputs]] = field(default_factory=list)
    """Every record, and what followed from it, decisions spelled out."""
    packed: list[decision_pb2.Decision] = field(default_factory=list)
    """Every decision as `step` made it."""

    def take(self, payload: Payload, *, after_ms: int = 1000, **rest: object) -> Outputs:
        """Folds one record in, `after_ms` later than the last."""
        self.time_ms += after_ms
        self.offset += 1
        return self.take_entry(
            entry(payload, offset=self.offset, time_ms=self.time_ms, user=self.user, **rest)  # type: ignore[arg-type]
        )

    def take_entry(self, one: Entry) -> Outputs:
        """Folds in a record that the test made itself; decisions come back spelled out."""
        self.row, outputs = step(self.row, one, self.policy)
        if outputs.decision is not None:
            self.packed.append(outputs.decision)
            outputs = outputs._replace(decision=spelled(outputs.decision))
        self.log.append((one, outputs))
        return outputs

    def wait(self, ms: int) -> Outputs:
        """Lets the timer send its tick for the row's next wake, `ms` from now."""
        assert self.row is not None
        return self.take(tick(self.row.next_wake_ms), after_ms=ms)

    def react(self, kind: str, *, decision_id: str = "", after_ms: int = 1000, **rest: object) -> Outputs:
        """Reacts to the current decision, or to the one named."""
        until_ms = rest.pop("until_ms", 0)
        made = reaction(decision_id or self.current, kind, user=self.user, until_ms=until_ms)  # type: ignore[arg-type]
        return self.take(made, after_ms=after_ms, **rest)

    @property
    def now(self) -> row_pb2.UserRow:
        """The row, spelled out; fails where there is none."""
        assert self.row is not None
        return spelled_out(self.row)

    @property
    def current(self) -> str:
        """The id of the decision that stands."""
        return current_id(self.now)

    def pending(self, decision_id: str) -> row_pb2.PendingDecision:
        """The decision as the row holds it."""
        return next(one for one in self.now.pending if one.decision_id == ids.packed(decision_id))


def current_id(row: row_pb2.UserRow) -> str:
    """The id of the decision that the row serves."""
    return ids.spelled(spelled_out(row).pending[-1].decision_id)


def spelled(decision: decision_pb2.Decision) -> decision_pb2.Decision:
    """The same decision with its slate spelled out, as those of before step version 5 have it."""
    found = decision_pb2.Decision()
    found.CopyFrom(decision)
    found.ClearField("packed")
    found.ClearField("slate")
    found.slate.extend(slates.spelled_out(decision))
    return found


def chosen(decision: decision_pb2.Decision | None) -> str:
    """The id of the candidate that was chosen."""
    assert decision is not None
    return slates.spelled_out(decision)[decision.chosen].id


def said(choice: Choice) -> tuple[object, ...]:
    """All that a choice says, to be compared."""
    return choice.chosen, choice.denominator, choice.known, choice.shares.tolist(), choice.scored.tolist()


def slate(outputs: Outputs) -> dict[str, tuple[str, ...]]:
    """Why each candidate is out; empty for eligible."""
    assert outputs.decision is not None
    return {one.id: tuple(one.ineligible) for one in slates.spelled_out(outputs.decision)}


def last_slate(ada: Person) -> dict[str, tuple[str, ...]]:
    """The same of the last decision."""
    return slate(next(outputs for _, outputs in reversed(ada.log) if outputs.decision is not None))


def trigger(outputs: Outputs) -> str:
    """Why there is a new decision; empty for none."""
    if outputs.decision is None:
        return ""
    return decision_pb2.Decision.Trigger.Name(outputs.decision.trigger)


def told(outputs: Outputs) -> list[tuple[str, bool, float]]:
    """Outcomes as (kind, learned, reward)."""
    from oo.v1 import outcome_pb2

    return [(outcome_pb2.Outcome.Kind.Name(o.kind), o.learned, o.reward) for o in outputs.outcomes]


def frozen(row: row_pb2.UserRow | None) -> bytes:
    """The row's bytes."""
    assert row is not None
    return row.SerializeToString(deterministic=True)


def versions(
    *, also: Mapping[str, ActiveVersion] | None = None, prior: ActiveVersion = PRIOR
) -> dict[str, ActiveVersion]:
    """What a partition is given: the prior under the empty id, and others by theirs."""
    return {"": prior, **(also or {})}
