"""Folds one partition for a run, a part at a time, each from the rows behind the one before: so a run that was ended anywhere goes on to the same bytes.

It reads the journal and writes through the run's sink alone. What stands before the run's start is folded and not written.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from agents.step import STEP_VERSION, Outputs
from deploy.differing import digest
from deploy.folding import Folded, Journal, folded, keys_of
from deploy.replay.manifest import Manifest, Run
from deploy.replay.other import Other
from deploy.replay.sink import Part, Sink, sealed_row
from deploy.scratch import Rows, scratch
from oo.v1 import decision_pb2, journal_pb2, snapshot_pb2
from streams.sealing import Keys
from tables import marks, slates
from tables.row import fence_of
from tables.snapshots import Snapshot

NICENESS = 10
LOOK_EVERY_S = 0.2
SAID_EVERY_S = 1.0
KINDS = ("decisions", "outcomes", "requests")
SEALED = ("sealed-decisions", "sealed-outcomes")


async def fold_part(run: Run, journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> int:
    """Fold what is left of a partition; return how many records of it this process folded."""
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    manifest, sink, keys = run.manifest(), Sink(run, number), await keys_of(journal, number)
    other = Other(manifest.policy, journal.versions, manifest.settings) if manifest.asks else None
    begin, users = sink.taken() or journal.snapshots.get(number), set(manifest.users) or None
    done = 0 if begin is None else begin.offset + 1
    start, pace = manifest.start[number], _Pace(run, number, done, manifest.rate)
    kinds = (*KINDS, *(["unlogged"] if manifest.settings else []), *(SEALED if manifest.topics else []))
    while done < end:
        # The same places in every attempt.
        stop = start if done < start else start + ((done - start) // manifest.part_records + 1) * manifest.part_records
        stop, state = min(stop, end), journal.state(number)
        with scratch() as made:
            state.rows = rows = Rows(made)
            heard = pace.heard(progress)
            with ExitStack() as parts:
                wanted = kinds if done >= start else ()
                part = {kind: parts.enter_context(sink.part(kind, stop)) for kind in wanted}
                async for one in folded(
                    journal, number, keys=keys, end=stop, begin=begin, state=state, users=users, progress=heard
                ):
                    if part:
                        _collect(one, part, other)
                    if SEALED[0] in part:
                        _collect_sealed(one.outputs, part, keys)
                    await pace.wait(one.entry.offset)
            if part and stop == end:
                told = (
                    {"user": user, "journal_offset": fence_of(row).offset, "digest": digest_bytes(row)}
                    for user, row in rows.items()
                )
                sink.write("rows", stop, told)
            at = journal_pb2.Position(topic_id=journal.topic_id, partition=number, offset=stop - 1)
            about = snapshot_pb2.Snapshot(journal=at, step_version=STEP_VERSION)
            behind = sink.finish(about, rows.items(), state.marks, keys=keys)
        begin, done = behind, stop
    return pace.records


def digest_bytes(row: bytes) -> bytes:
    """Of a row as it is kept."""
    return hashlib.blake2b(row, digest_size=16).digest()


def journal_of(manifest: Manifest, journal: Journal) -> Journal:
    """The journal with the snapshots that this run begins with."""
    begins = {
        number: Snapshot(number, offset, 0, path, verified=True)
        for number, (offset, path) in manifest.snapshots().items()
    }
    return replace(journal, snapshots=begins)


class _Pace:
    """How fast, and whether at all."""

    def __init__(self, run: Run, number: int, begin: int, rate: float) -> None:
        """It waits while the run is to wait, and says in its folder how far it is."""
        self._waits, self._says = (run.paused_file, run.yielding_file), run.reached_file(number)
        self._begin = self._at = begin
        self._rate, self.records, self._steps = rate, 0, 0
        self._loop = asyncio.get_running_loop()
        self._looked_s, self._began_s = -math.inf, self._loop.time()
        self._say()

    def _say(self) -> None:
        self._said_s = self._loop.time()
        self._says.write_text(str(self._at))

    def heard(self, progress: Callable[[int], None]) -> Callable[[int], None]:
        def hear(records: int) -> None:
            self.records += records
            progress(records)
            # Those that are passed over are read too.
            self._come_to(self._begin + self.records)

        return hear

    def _come_to(self, offset: int) -> None:
        self._at = max(self._at, offset)
        if self._loop.time() - self._said_s >= SAID_EVERY_S:
            self._say()

    async def wait(self, offset: int) -> None:
        """Return when the next record may be taken; this one is done."""
        self._steps += 1
        self._at = max(self._at, offset + 1)
        if self._rate and (ahead_s := self._steps / self._rate - (self._loop.time() - self._began_s)) > 0:
            await asyncio.sleep(ahead_s)
        if (now_s := self._loop.time()) - self._said_s >= SAID_EVERY_S:
            self._say()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            while any(file.exists() for file in self._waits):  # noqa: ASYNC110 - another process makes and removes it
                await asyncio.sleep(LOOK_EVERY_S)
            self._looked_s = self._loop.time()


def _collect(one: Folded, parts: Mapping[str, Part], other: Other | None) -> None:
    offset, outputs = one.entry.offset, one.outputs
    theirs = None if other is None else said_by(other, one)
    if outputs.decision is not None:
        told = decision_row(outputs.decision, offset)
        if other is not None and theirs is not None and (not other.settings or _same(outputs.decision, theirs)):
            said = _said(theirs)
            told |= {f"other_{name}": said[name] for name in ("action", "propensities", "scores", "features")}
        parts["decisions"].add((told,))
    elif theirs is not None:
        parts["unlogged"].add(({"offset": offset, "user": theirs.user_id},))
    if outputs.outcomes:
        parts["outcomes"].add(outcome_rows(outputs, offset))
    if (request := outputs.request) is not None:
        told = {"offset": offset, "request_id": request.request_id, "user": request.user_id, "digest": digest(request)}
        parts["requests"].add(({**told, "requested_ms": request.requested_ms, "reason": request.reason},))


def _collect_sealed(outputs: Outputs, parts: Mapping[str, Part], keys: Keys) -> None:
    if outputs.decision is not None:
        parts["sealed-decisions"].add((sealed_row(outputs.decision, outputs.decision.decision_id, keys),))
    parts["sealed-outcomes"].add(sealed_row(one, one.outcome_id, keys) for one in outputs.outcomes)


def said_by(other: Other, one: Folded) -> decision_pb2.Decision | None:
    """What the other says at a record; None where it decides nothing."""
    # Whether a decision is due hangs on settings alone; a mark has no person to decide for, and where `step` fails nothing is decided.
    if one.outputs.decision is None and (not other.settings or one.after is None or one.outputs.fault):
        return None
    return other.says(one.before, one.entry, marks.version_at(one.state.marks, offset=one.entry.offset))


def _same(one: decision_pb2.Decision, other: decision_pb2.Decision) -> bool:
    """Whether both choose among the same candidates: else nothing of the one says what the other would have earned."""
    mine, theirs = (
        [candidate.id for candidate in slates.spelled_out(each) if not candidate.ineligible] for each in (one, other)
    )
    return mine == theirs


def decision_row(decision: decision_pb2.Decision, offset: int) -> dict[str, Any]:
    """A decision as a run keeps it: nothing in it is a person's text."""
    return {
        "offset": offset,
        "decision_id": decision.decision_id,
        "user": decision.user_id,
        "decided_ms": decision.decided_ms,
        "policy": decision.policy,
        "policy_version": decision.policy_version,
        "chosen": decision.chosen,
        "propensity": decision.propensity,
        "unshared": decision.unshared,
        "digest": digest(decision),
        **_said(decision),
    }


def _said(decision: decision_pb2.Decision) -> dict[str, Any]:
    """Of those candidates that could be drawn, and of the one that was."""
    slate = slates.eligible(decision)
    action = slate.places.index(decision.chosen)
    return {
        "kind": slate.kinds[action],
        "kinds": slate.kinds,
        "action": action,
        "propensities": slate.propensities,
        "scores": slate.scores,
        "features": slate.x[action].astype(np.int8).tobytes(),
    }


def outcome_rows(outputs: Outputs, offset: int) -> list[dict[str, Any]]:
    """A record's outcomes, likewise."""
    return [
        {
            "offset": offset,
            "outcome_id": one.outcome_id,
            "decision_id": one.decision_id,
            "user": one.user_id,
            "event_time_ms": one.event_time_ms,
            "kind": one.kind,
            "reward": one.reward,
            "digest": digest(one),
        }
        for one in outputs.outcomes
    ]
