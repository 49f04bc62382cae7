"""The same journal folded twice gives the same bytes: on this processor, on others, wherever a batch ends."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from google.protobuf.message import Message

from agents.eligibility import REASONS
from agents.features import SCORED
from agents.fold import PartitionState
from agents.step import Entry, Outputs
from tests.agents import build
from tests.golden import processors
from tests.golden.replay import (
    EXPECTED,
    EXPECTED_STEP5,
    EXPECTED_STEP7,
    EXPECTED_STEP9,
    EXPECTED_STEP10,
    JOURNAL,
    PARTITIONS,
    as_step,
    asking_versions,
    golden,
    golden_step7,
    golden_step9,
    golden_step10,
    half_step,
    hearing_versions,
    interrupting_versions,
    replay,
    to_line,
    versions,
)

ON_X86 = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="names of x86 processors")

CORES = {"Haswell": "X86_V3", "Nehalem": "", "Prescott": "", "SkylakeX": "X86_V4"}
"""Processors that OpenBLAS can be told to compute for, and the instructions that each needs to be there."""


OLDEST_BLAS = "tests/golden/test_golden.py::test_another_blas_changes_no_byte[Prescott]"


def usable_cores() -> list[str]:
    return [core for core, needs in CORES.items() if not needs or processors.features().get(needs)]


def dispatchable() -> str:
    """What numpy can be told to leave unused on this machine; naming anything else is an error to it."""
    return " ".join(name for name, on in processors.features().items() if on)


def elsewhere(module: str, *arguments: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=600,
    ).stdout


@cache
def processor(**environment: str) -> dict[str, object]:
    said: dict[str, object] = json.loads(elsewhere("tests.golden.processors", **environment))
    return said


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@cache
def expected() -> list[str]:
    return lines(EXPECTED.read_text("utf-8"))


@cache
def expected_of_step5() -> list[str]:
    return lines(EXPECTED_STEP5.read_text("utf-8"))


@cache
def expected_of_all() -> list[str]:
    """What `tests.golden.replay` prints."""
    return [
        *(*expected(), *expected_of_step5(), *replay(half_step(golden(), 5), known=versions())),
        *(
            line
            for path in (EXPECTED_STEP7, EXPECTED_STEP9, EXPECTED_STEP10)
            for line in lines(path.read_text("utf-8"))
        ),
    ]


def test_the_golden_journal_gives_what_it_gave_before() -> None:
    # Where a change is meant: python -m tests.golden.make, and read the diff.
    assert list(replay(golden(), known=versions())) == expected()


def test_written_by_step_version_5_it_gives_what_it_gave_before() -> None:
    assert list(replay(as_step(golden(), 5), known=versions())) == expected_of_step5()


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_what_a_language_model_is_asked_is_what_it_was_before(seed: int | None) -> None:
    said = list(replay(golden_step7(), known=asking_versions(), batch_seed=seed))
    assert said == lines(EXPECTED_STEP7.read_text("utf-8"))


def test_the_journal_of_step_version_7_asks_takes_back_and_serves_what_was_written() -> None:
    said = [json.loads(line) for line in lines(EXPECTED_STEP7.read_text("utf-8"))]
    reasons = Counter(one["request"][0] for one in said if "request" in one)
    assert set(reasons) >= {"THIN", "WITHDRAWN"}
    assert reasons["WITHDRAWN"] == 2
    masks = [(name, mask) for one in said for name, mask in one.get("slate", {}).items()]
    assert any(name.startswith("generated:") and "about" in mask.split("/") for name, mask in masks)
    assert any(one.get("chosen", "").startswith("generated:") for one in said)
    (row,) = [one for one in said if "row" in one]
    assert row["tasks"] == 0


@pytest.mark.parametrize("seed", [None, 3])
def test_what_trained_models_say_is_heard_as_it_was_before(seed: int | None) -> None:
    said = list(replay(golden_step9(), known=hearing_versions(), batch_seed=seed, space=SCORED))
    assert said == lines(EXPECTED_STEP9.read_text("utf-8"))


def test_the_journal_of_step_version_9_hears_two_models_is_deaf_at_times_and_decides_by_both_policies() -> None:
    rows: dict[str, bytes] = {}
    part = PartitionState(partition=0, versions=hearing_versions(), rows=rows)
    made = []
    for one in golden_step9():
        made.append(part.apply(one))
        part.acknowledge()
    decisions = [one.decision for one in made if one.decision is not None]
    ways = Counter((one.policy, one.scored_by, one.deaf) for one in decisions)
    assert {(policy, model) for policy, model, _ in ways if model} == {
        (policy, model) for policy in ("mixed", "mixed_hearing") for model in ("tips@3", "tips@4")
    }
    assert {deaf for _, model, deaf in ways if model} == {False, True}
    # Two scales never meet: of a slate whose version names one model only that one's are heard.
    assert all(
        one.scored_by in ("", hearing_versions()[one.policy_version].version.config.scoring.model)
        for one in decisions
        if one.policy_version in hearing_versions()
    )


@pytest.mark.parametrize("seed", [None, 3])
def test_what_is_said_unasked_is_what_it_was_before(seed: int | None) -> None:
    said = list(replay(golden_step10(), known=interrupting_versions(), batch_seed=seed))
    assert said == lines(EXPECTED_STEP10.read_text("utf-8"))
    odds = [one["delivery"][0] for one in map(json.loads, said) if "delivery" in one]
    assert len(odds) > 8 and "taken back" in odds
    assert len({one for one in odds if one != "taken back"}) > 3, "what she made of them is heard"


def rows_and_outputs(journal: list[Entry]) -> tuple[list[dict[str, bytes]], list[Outputs]]:
    rows: list[dict[str, bytes]] = [{} for _ in range(PARTITIONS)]
    known = versions()
    partitions = [PartitionState(partition=n, versions=known, rows=rows[n]) for n in range(PARTITIONS)]
    outputs = []
    for one in journal:
        outputs.append(partitions[one.partition].apply(one))
        partitions[one.partition].acknowledge()
    return rows, outputs


@pytest.mark.parametrize("of", [as_step, half_step])
def test_step_version_5_packs_the_slate_and_changes_nothing_else(of: Callable[..., list[Entry]]) -> None:
    rows, packed = rows_and_outputs(of(golden(), 5))
    rows_before, spelled = rows_and_outputs(of(golden(), 4))
    assert rows == rows_before
    begin = 0 if of is as_step else len(packed) // 2
    n = 0
    for at, (one, other) in enumerate(zip(packed, spelled, strict=True)):
        assert one._replace(decision=None) == other._replace(decision=None)
        if one.decision is None or other.decision is None:
            assert one.decision is other.decision is None
        elif at < begin:
            assert one.decision == other.decision
            assert not one.decision.HasField("packed")
        else:
            n += 1
            assert (one.decision.step_version, other.decision.step_version) == (5, 4)
            assert not one.decision.slate
            assert not other.decision.HasField("packed")
            again = build.spelled(one.decision)
            again.step_version = 4
            assert frozen(again) == frozen(other.decision)
            assert one.decision.ByteSize() < other.decision.ByteSize()
    assert n > 100


def frozen(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def test_folding_it_again_gives_the_same_again() -> None:
    known, read = versions(), golden()
    assert list(replay(read, known=known)) == list(replay(read, known=known))


def test_its_lines_are_read_and_written_without_loss() -> None:
    assert [to_line(one) for one in golden()] == lines(JOURNAL.read_text("utf-8"))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_depends_on_where_a_batch_ends(seed: int) -> None:
    assert list(replay(golden(), known=versions(), batch_seed=seed)) == expected()
    assert list(replay(as_step(golden(), 5), known=versions(), batch_seed=seed)) == expected_of_step5()


def test_partitions_may_be_read_in_any_order() -> None:
    for journal, said in ((golden(), expected()), (as_step(golden(), 5), expected_of_step5())):
        one_by_one = sorted(journal, key=lambda one: one.partition)
        assert sorted(replay(one_by_one, known=versions())) == sorted(said)


@ON_X86
@pytest.mark.parametrize(
    "core",
    [
        pytest.param(core, marks=() if core in ("Prescott", "SkylakeX") else pytest.mark.long(OLDEST_BLAS))
        for core in CORES
    ],
)
def test_another_blas_changes_no_byte(core: str) -> None:
    if core not in usable_cores():
        pytest.skip(f"this machine lacks {CORES[core]}")
    assert lines(elsewhere("tests.golden.replay", OPENBLAS_CORETYPE=core)) == expected_of_all()


@ON_X86
def test_processors_without_numpys_vector_instructions_change_no_byte() -> None:
    assert lines(elsewhere("tests.golden.replay", NPY_DISABLE_CPU_FEATURES=dispatchable())) == expected_of_all()


@pytest.mark.long("tests/golden/test_golden.py::test_processors_without_numpys_vector_instructions_change_no_byte")
@ON_X86
def test_loops_compiled_for_the_oldest_processor_change_no_byte(tmp_path: Path) -> None:
    oldest = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert lines(elsewhere("tests.golden.replay", **oldest)) == expected_of_all()


def test_another_hash_seed_and_batches_that_end_elsewhere_change_no_byte() -> None:
    assert lines(elsewhere("tests.golden.replay", "99", PYTHONHASHSEED="7")) == expected_of_all()


def test_another_machines_zones_and_clock_change_no_byte(tmp_path: object) -> None:
    assert lines(elsewhere("tests.golden.replay", PYTHONTZPATH=str(tmp_path), TZ="Asia/Tokyo")) == expected_of_all()


# That these settings do something at all


@ON_X86
def test_the_setting_reaches_openblas() -> None:
    for core in usable_cores():
        said = str(processor(OPENBLAS_CORETYPE=core)["blas"])
        # OpenBLAS calls its oldest kernels Katmai.
        assert said == ("Katmai" if core == "Prescott" else core)


@ON_X86
def test_the_setting_reaches_numpy() -> None:
    said = processor(NPY_DISABLE_CPU_FEATURES=dispatchable())["features"]
    assert isinstance(said, dict)
    assert not any(said.values())


@ON_X86
def test_scores_by_blas_would_differ_between_these_processors() -> None:
    if len(usable_cores()) < 3:
        pytest.skip("this machine is too old to show it")
    assert len({processor(OPENBLAS_CORETYPE=core)["matmul"] for core in usable_cores()}) > 1


@ON_X86
def test_exp_would_differ_without_these_instructions() -> None:
    if not processors.features().get("X86_V4"):
        pytest.skip("numpy's exp has two ways only where AVX-512 is")
    assert processor()["exp"] != processor(NPY_DISABLE_CPU_FEATURES=dispatchable())["exp"]


# What the journal holds


def test_it_holds_every_kind_of_record() -> None:
    kinds: Counter[str] = Counter()
    for one in golden():
        payload = str(one.record.WhichOneof("payload"))
        kinds[payload] += 1
        if payload == "signal":
            kinds[str(one.record.signal.WhichOneof("payload"))] += 1
            kinds.update(field.name for field, _ in one.record.signal.profile_changed.ListFields())
        if payload == "reaction":
            kinds[f"reaction {one.record.reaction.kind}"] += 1
    wanted = {
        "signal", "reaction", "tick", "mark", "candidates", "sealed", "task_upserted", "task_completed", "task_removed",
        "calendar_event_upserted", "calendar_event_removed", "activity", "profile_changed",
        "reaction 1", "reaction 2", "reaction 3", "reaction 4",
        "time_zone", "quiet_hours", "task_tips", "starter_tips", "generated_tips", "tips_per_hour", "tips_per_day",
    }  # fmt: skip
    assert wanted <= set(kinds)


def test_it_holds_duplicates_of_every_kind() -> None:
    seen: set[tuple[int, int]] = set()
    sources: set[tuple[bytes, int, int]] = set()
    keys: set[int] = set()
    again: Counter[str] = Counter()
    for one in golden():
        place = (one.partition, one.offset)
        source = (one.record.source.topic_id, one.record.source.partition, one.record.source.offset)
        if place in seen:
            again["read again"] += 1
        elif source[0] and source in sources:
            again["journaled again"] += 1
        elif one.record.event_key and one.record.event_key in keys:
            again["sent again"] += 1
        seen.add(place)
        sources.add(source)
        keys.add(one.record.event_key)
    assert min(again[kind] for kind in ("read again", "journaled again", "sent again")) > 0


@pytest.mark.parametrize("lines_of", [expected, expected_of_step5])
def test_every_trigger_outcome_and_reason_comes_of_it(lines_of: Callable[[], list[str]]) -> None:
    said = [json.loads(line) for line in lines_of()]
    triggers = {one["trigger"] for one in said if "trigger" in one}
    assert triggers == {"NO_TIP", "RAN_OUT", "BECAME_WRONG", "REACTION", "SLATE_CHANGED", "URGENT_ARRIVAL"}
    outcomes = {(kind, bool(corrects)) for one in said for kind, corrects, *_ in one.get("outcomes", [])}
    assert {kind for kind, _ in outcomes} == {"SEEN", "DONE", "SNOOZE", "DISMISS", "EXPIRED", "DONE_ELSEWHERE"}
    assert any(corrects for _, corrects in outcomes)
    reasons = {reason for one in said for mask in one.get("slate", {}).values() for reason in mask.split("/")}
    # Of before step version 6, in which sources can be withdrawn.
    assert set(REASONS) - {"source", "about"} <= reasons
    assert len({one["version"] for one in said if "version" in one}) == 3
