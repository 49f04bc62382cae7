"""The pure core in memory, as a simulation drives it: one journal partition, its versions, and whom it wants to wake.

The records stand in the envelope that the door, the timer, `generate` and `learn` put around them. It reads no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from agents.active_version import ActiveVersion
from agents.fold import PartitionState
from agents.learn import GROWTH_PERCENT, SIZE, mark_of
from agents.prior import fit, prior
from agents.step import STEP_VERSION, Entry, Outputs
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, reaction_pb2, signal_pb2
from tables import ids
from tables.marginal import Epoch
from tables.totals import Total, Totals, merged

MAC_KEY = hashlib.sha256(b"simulated").digest()
JOURNAL_ID, SIGNALS_ID = b"J" * 16, b"S" * 16
WRITER = "simulate/1"
SETTLE_EVERY = 64
"""Records between two writings of the changed rows."""


class Core:
    """One journal partition with everybody in it, and the versions that are fitted to what they taught."""

    def __init__(
        self,
        policy: str,
        config: policy_pb2.DecisionConfig,
        *,
        hear: Callable[[Entry, Outputs], None] = lambda _entry, _outputs: None,
    ) -> None:
        """`hear`: is told each record, and what followed from it."""
        self._policy, self._config, self._tell = policy, config, hear
        self._known: dict[str, ActiveVersion] = {}
        self._epochs: dict[int, Epoch] = {}
        self._totals = Totals(epochs=self._epochs)
        self._latest = prior(policy, config=config)
        self._knows(self._latest, under="")
        self._partition = PartitionState(partition=0, versions=self._known, totals=self._totals)
        self._unsettled = 0
        self._waits: dict[str, int] = {}
        self._new_wakes: list[tuple[str, int]] = []
        self.offset = 0
        self.sequence = 0
        self.decisions = 0
        self.faults: list[str] = []
        self.digest = hashlib.blake2b(digest_size=16)
        self.standing: dict[str, decision_pb2.Decision] = {}
        """The decision that each person is served."""
        self.made: list[decision_pb2.Decision] = []
        """Decisions; whoever reads them empties it."""
        self.asked: list[decision_pb2.CandidateRequest] = []
        """What language models were asked; whoever answers empties it."""

    def feed(
        self,
        user_id: str,
        payload: signal_pb2.Signal
        | reaction_pb2.Reaction
        | journal_pb2.Tick
        | journal_pb2.Candidates
        | journal_pb2.Scores,
        *,
        time_ms: int,
    ) -> None:
        """Folds one record in, in the envelope that the door, the timer, `generate` or `score` puts around it."""
        if isinstance(payload, journal_pb2.Tick):
            row = self._partition.row(user_id)
            if row is None or row.next_wake_ms != payload.due_ms:
                return  # What the live timer would not send either.
        record = journal_pb2.JournalRecord(writer=WRITER, step_version=STEP_VERSION, event_time_ms=time_ms)
        match payload:
            case journal_pb2.Tick():
                record.record_id = ids.tick_record_id(user_id, due_ms=payload.due_ms)
                record.tick.CopyFrom(payload)
            case journal_pb2.Candidates():
                record.record_id = ids.answer_record_id(payload.request_id)
                record.candidates.CopyFrom(payload)
            case journal_pb2.Scores(decision=of):
                record.record_id = ids.scores_record_id(of.topic_id, of.partition, of.offset, payload.model)
                record.scores.CopyFrom(payload)
            case _:
                record.record_id = ids.source_record_id(SIGNALS_ID, partition=0, offset=self.offset)
                record.source.topic_id, record.source.offset = SIGNALS_ID, self.offset
                record.source_time_ms = time_ms
                if isinstance(payload, signal_pb2.Signal):
                    record.signal.CopyFrom(payload)
                else:
                    record.reaction.CopyFrom(payload)
        outputs = self._apply(user_id, record, time_ms=time_ms)
        self._hear(user_id, outputs)

    def refit(self, *, now_ms: int) -> None:
        """A new version from everybody's sums, marked in the journal, if there is enough new to matter."""
        self._acknowledge()
        totals = merged(self._totals.all(), size=SIZE)
        if abs(sum(one.n for one in totals) - self._latest.n) * 100 < GROWTH_PERCENT * max(self._latest.n, 1):
            return
        self._mark(totals, now_ms=now_ms)

    def promote(self, policy: str, config: policy_pb2.DecisionConfig, *, now_ms: int) -> None:
        """This policy decides from now on, by this configuration: a version of it is marked at once."""
        self._acknowledge()
        self._policy, self._config = policy, config
        self._mark(merged(self._totals.all(), size=SIZE), now_ms=now_ms)

    def _mark(self, totals: Sequence[Total], *, now_ms: int) -> None:
        before = self._latest if self.sequence else None
        self._latest = version = fit(self._policy, totals, before=before, config=self._config, now_ms=now_ms)
        self.sequence = version.sequence
        self._knows(version, under=version.version_id)
        self._apply("", mark_of(version), time_ms=now_ms)

    def wakes(self) -> list[tuple[str, int]]:
        """(user, time) of each row that has begun to wait for another time since this was last asked."""
        found, self._new_wakes = self._new_wakes, []
        return found

    def _apply(self, user_id: str, record: journal_pb2.JournalRecord, *, time_ms: int) -> Outputs:
        self.offset += 1
        entry = Entry(user_id, JOURNAL_ID, 0, self.offset, time_ms, record)
        outputs = self._partition.apply(entry)
        self._tell(entry, outputs)
        if outputs.fault:
            self.faults.append(outputs.fault)
        self._unsettled += 1
        if self._unsettled >= SETTLE_EVERY:
            self._acknowledge()
        return outputs

    def _acknowledge(self) -> None:
        self._partition.acknowledge()
        self._partition.committed, self._unsettled = self.offset, 0

    def _hear(self, user_id: str, outputs: Outputs) -> None:
        said: list[Message] = list(outputs.outcomes)
        if outputs.decision is not None:
            self.standing[user_id] = outputs.decision
            self.made.append(outputs.decision)
            self.decisions += 1
            said.append(outputs.decision)
        if outputs.request is not None:
            self.asked.append(outputs.request)
            said.append(outputs.request)
        for one in said:
            self.digest.update(one.SerializeToString(deterministic=True))
        row = self._partition.row(user_id)
        if row is not None and row.next_wake_ms and row.next_wake_ms != self._waits.get(user_id):
            self._waits[user_id] = row.next_wake_ms
            self._new_wakes.append((user_id, row.next_wake_ms))

    def _knows(self, version: policy_pb2.PolicyVersion, *, under: str) -> None:
        self._known[under] = known = ActiveVersion.of(version, mac_key=MAC_KEY)
        self._epochs[version.epoch] = known.belief.epoch
