"""Folds the golden journal and says, in lines that a person can read, what came of it.

`python -m tests.golden.replay [SEED]` prints those lines, of the journal as it is, as if all of it had been written by step version 5, as
if its second half had, and of the journals of step version 7, in which a language model is asked, 9, in which trained models say what they expect, and 10, in which tips are said unasked; a seed ends batches at random places. It never writes a file.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from agents.active_version import ActiveVersion
from agents.features import FIRST, SCORED, Space
from agents.fold import PartitionState, taught
from agents.reward import DEFAULT, hearing, interrupting
from agents.step import Entry, Outputs
from oo.v1 import decision_pb2, journal_pb2, outcome_pb2, policy_pb2, row_pb2
from tables import slates
from tables.marginal import Epoch, resized
from tables.row import spelled_out
from tables.totals import Totals, messages
from tests.agents.build import JOURNAL_ID, active, asking, prior

HERE = Path(__file__).parent
JOURNAL = HERE / "journal.jsonl"
VERSIONS = HERE / "versions.jsonl"
EXPECTED = HERE / "expected.jsonl"
EXPECTED_STEP5 = HERE / "expected-step5.jsonl"
JOURNAL_STEP7 = HERE / "journal-step7.jsonl"
EXPECTED_STEP7 = HERE / "expected-step7.jsonl"
JOURNAL_STEP9 = HERE / "journal-step9.jsonl"
EXPECTED_STEP9 = HERE / "expected-step9.jsonl"
JOURNAL_STEP10 = HERE / "journal-step10.jsonl"
EXPECTED_STEP10 = HERE / "expected-step10.jsonl"

PARTITIONS = 2


def to_line(one: Entry) -> str:
    """A journal record with its place, on one line of JSON."""
    record = MessageToDict(one.record, preserving_proto_field_name=True)
    place = {"partition": one.partition, "offset": one.offset, "key": one.user_id, "time_ms": one.time_ms}
    return json.dumps({**place, "record": record}, ensure_ascii=False, separators=(",", ":"))


def from_line(line: str) -> Entry:
    """The entry that `to_line` wrote."""
    said = json.loads(line)
    return Entry(
        user_id=said["key"],
        topic_id=JOURNAL_ID,
        partition=said["partition"],
        offset=said["offset"],
        time_ms=said["time_ms"],
        record=ParseDict(said["record"], journal_pb2.JournalRecord()),
    )


def golden() -> list[Entry]:
    """The journal as it is: its records were written by a step version before 2."""
    return [from_line(line) for line in JOURNAL.read_text("utf-8").splitlines()]


def as_step(entries: list[Entry], step_version: int, *, begin: int = 0) -> list[Entry]:
    """The same records, as if that step version had written them from one of them on."""
    found = entries[:begin]
    for one in entries[begin:]:
        record = journal_pb2.JournalRecord()
        record.CopyFrom(one.record)
        record.step_version = step_version
        found.append(one._replace(record=record))
    return found


def half_step(entries: list[Entry], step_version: int) -> list[Entry]:
    """The same records, as if that step version had begun in the middle."""
    return as_step(entries, step_version, begin=len(entries) // 2)


def versions() -> dict[str, ActiveVersion]:
    """The prior, and the versions that the marks name, as bytes: fitting them again elsewhere may differ."""
    known = {"": active(prior(space=FIRST))}
    for line in VERSIONS.read_text("utf-8").splitlines():
        version = ParseDict(json.loads(line), policy_pb2.PolicyVersion())
        known[version.version_id] = active(version)
    return known


def golden_step7() -> list[Entry]:
    """The journal in which a language model is asked."""
    return [from_line(line) for line in JOURNAL_STEP7.read_text("utf-8").splitlines()]


def asking_versions() -> dict[str, ActiveVersion]:
    """What it was decided by."""
    return {"": active(prior(config=asking(), space=FIRST))}


def golden_step9() -> list[Entry]:
    """The journal in which trained models say what they expect."""
    return [from_line(line) for line in JOURNAL_STEP9.read_text("utf-8").splitlines()]


def hearing_versions() -> dict[str, ActiveVersion]:
    """What it was decided by: one that names no model, then those of two models, each by a policy that hears and by one that does not."""
    made = [
        prior(policy, config=hearing(DEFAULT, model), space=SCORED)
        for model in ("tips@3", "tips@4")
        for policy in ("mixed_hearing", "mixed")
    ]
    return {"": active(prior(space=FIRST)), **{one.version_id: active(one) for one in made}}


def golden_step10() -> list[Entry]:
    """The journal in which tips are said to somebody who does not look."""
    return [from_line(line) for line in JOURNAL_STEP10.read_text("utf-8").splitlines()]


def interrupting_versions() -> dict[str, ActiveVersion]:
    """What it was decided by."""
    return {"": active(prior(config=interrupting(DEFAULT), space=FIRST))}


def epochs_of(known: dict[str, ActiveVersion]) -> dict[int, Epoch]:
    """Every belief about how people differ that a row may name."""
    return {one.version.epoch: one.belief.epoch for one in known.values()}


def digest(message: Message | bytes) -> str:
    """Sixteen hex digits over a message's deterministic bytes."""
    raw = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def replay(
    entries: list[Entry], *, known: dict[str, ActiveVersion], batch_seed: int | None = None, space: Space = FIRST
) -> Iterator[str]:
    """What follows from each record, then every row, the totals as a build of these features published them, and the marks; a line of JSON
    each."""
    ends = random.Random(batch_seed)
    rows: list[dict[str, bytes]] = [{} for _ in range(PARTITIONS)]
    epochs = epochs_of(known)
    partitions = {
        n: PartitionState(partition=n, versions=known, rows=rows[n], totals=Totals(epochs=epochs))
        for n in range(PARTITIONS)
    }
    for one in entries:
        partition = partitions[one.partition]
        outputs = partition.apply(one)
        assert not outputs.fault, outputs.fault
        said = _said(one, outputs)
        if said:
            yield json.dumps(said, ensure_ascii=False)
        if batch_seed is None or ends.random() < 0.2:
            partition.acknowledge()
    for number, partition in partitions.items():
        partition.acknowledge()
        for user, message in sorted(rows[number].items()):
            row = spelled_out(row_pb2.UserRow.FromString(message))
            yield json.dumps(
                {
                    "row": user,
                    "offset": row.journal_offset,
                    "tasks": len(row.tasks),
                    "events": len(row.events),
                    "pending": len(row.pending),
                    "learned_n": row.sums.n,
                    "next_wake_ms": row.next_wake_ms,
                    "bytes": len(message),
                    "hash": digest(message),
                    "said": digest(row),
                },
                ensure_ascii=False,
            )
        assert partition.totals is not None
        anew = Totals(epochs=epochs)
        for message in rows[number].values():
            anew.replace(None, taught(row_pb2.UserRow.FromString(message)))
        assert anew.to_bytes() == partition.totals.to_bytes(), "totals kept up and counted anew differ"
        kept = messages(partition.totals, feature_version=space.version)
        for total in kept:
            total.contribution[:] = resized(np.array(total.contribution), d=SCORED.d, to=space.d).tolist()
        marks = [[a.offset, a.mark.version_id] for a in partition.marks.marks]
        yield json.dumps(
            {
                "partition": number,
                "users": partition.totals.users,
                "n": sum(one.n for one in kept),
                "sums": [digest(one) for one in kept],
                "marks": marks,
            }
        )


def _said(one: Entry, outputs: Outputs) -> dict[str, object]:
    said: dict[str, object] = {}
    if outputs.outcomes:
        said["outcomes"] = [
            [
                outcome_pb2.Outcome.Kind.Name(o.kind),
                f"corrects {outcome_pb2.Outcome.Kind.Name(o.corrects)}" if o.corrects else "",
                o.reward if o.learned else None,
                digest(o),
            ]
            for o in outputs.outcomes
        ]
    if outputs.overflows:
        said["overflows"] = [[o.reason, digest(o.signal)] for o in outputs.overflows]
    decision, tip = outputs.decision, outputs.tip
    if decision is not None and tip is not None:
        said["trigger"] = decision_pb2.Decision.Trigger.Name(decision.trigger)
        slate = slates.spelled_out(decision)
        said["chosen"] = slate[decision.chosen].id
        said["propensity"] = repr(decision.propensity)
        said["version"] = decision.policy_version
        said["slate"] = {
            c.id: "/".join(c.ineligible) if c.ineligible else f"{c.draws_won} of 64, {c.score!r}" for c in slate
        }
        said["title"], said["why"] = tip.title[:60], list(tip.why)
        said["decision"], said["tip"] = digest(decision), digest(tip)
    if outputs.request is not None:
        said["request"] = [decision_pb2.CandidateRequest.Reason.Name(outputs.request.reason), digest(outputs.request)]
    if (delivery := outputs.delivery) is not None:
        odds = f"{delivery.chance} of {delivery.chances}" if delivery.HasField("tip") else "taken back"
        said["delivery"] = [odds, digest(delivery)]
    return {"at": f"{one.partition}/{one.offset}", "user": one.user_id, **said} if said else {}


def main() -> None:
    """Print the replays of the golden journal, one after the other."""
    entries = golden()
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for journal in (entries, as_step(entries, 5), half_step(entries, 5)):
        for line in replay(journal, known=versions(), batch_seed=seed):
            print(line)
    for line in replay(golden_step7(), known=asking_versions(), batch_seed=seed):
        print(line)
    for line in replay(golden_step9(), known=hearing_versions(), batch_seed=seed, space=SCORED):
        print(line)
    for line in replay(golden_step10(), known=interrupting_versions(), batch_seed=seed):
        print(line)


if __name__ == "__main__":
    main()
