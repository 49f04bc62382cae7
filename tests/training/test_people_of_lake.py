"""Features of people out of a lake: those of the decisions that it was written of, in a Feast repository that loses whoever the lake loses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import called
from simulated import followed, simulated_set

from deploy.lake import people
from deploy.lake.datasets import DECISIONS, People
from deploy.lake.files import Part
from deploy.lake.manifest import Lake, LakeError, Manifest
from deploy.lake.rewriting import without
from streams.record import Record
from training.feast import repository
from training.people import Row, rows_of, steps

LAG_MS = 5
MANY = 2_000


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Of simulated people, in two files."""
    made, manifest = Lake(tmp_path / "lake"), Manifest(People.COARSE, ["parquet"], {DECISIONS.name: ""})
    make = DECISIONS.rows(People.COARSE)
    decided = [(entry, outputs.decision) for entry, outputs in followed() if outputs.decision is not None][:MANY]
    for half in (decided[: MANY // 3], decided[MANY // 3 :]):
        name = f"000-{half[0][0].offset:012}"
        part = Part(
            made.root,
            ["parquet"],
            DECISIONS.columns(People.COARSE),
            dataset=DECISIONS.name,
            day="2026-11-29",
            name=name,
        )
        for entry, decision in half:
            at_ms = decision.decided_ms + LAG_MS
            record = Record("t", 0, entry.offset, at_ms, decision.user_id.encode(), b"")
            part.add(make(record, decision, entry.offset), 100)
        manifest.files.append(part.finish(name))
    made.write(manifest)
    return made


def manifest_of(lake: Lake) -> Manifest:
    found = lake.manifest()
    assert found is not None
    return found


def hashed(user_id: str) -> str:
    return hashlib.blake2b(user_id.encode(), digest_size=8, person=b"split").hexdigest()


def test_a_lake_says_of_people_what_the_fold_says(lake: Lake) -> None:
    mine = list(people.rows_of(lake, manifest_of(lake)))
    folded = {(one.person, one.at_ms, one.values) for one in rows_of(simulated_set()) if one.at_ms < mine[-1].at_ms}
    assert len(mine) == MANY and len(folded) > MANY // 2
    assert folded <= {(hashed(one.person), one.at_ms, one.values) for one in mine}
    assert {one.known_ms - one.at_ms for one in mine} == {LAG_MS}


def test_a_sealed_lake_and_one_in_avro_alone_say_so(lake: Lake) -> None:
    for people_are, form in ((People.SEALED, "parquet"), (People.COARSE, "avro")):
        with pytest.raises(LakeError, match="no features in Parquet"):
            list(people.rows_of(lake, Manifest(people_are, [form], {})))


def test_a_repository_is_made_by_a_command_and_who_leaves_the_lake_is_not_in_it(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "feast"
    told = json.loads(called("lake", "feast", str(folder), f"--out={lake.root}", "--json").stdout)
    mine = list(people.rows_of(lake, manifest_of(lake)))
    kept = [row for one in steps(mine).values() for row in one]
    assert repository.read(folder) == kept and told == {"folder": str(folder), "rows": len(kept)}
    times = pq.read_table(folder / repository.ROWS, columns=["event_timestamp"])["event_timestamp"].cast("int64")
    assert times.to_pylist() == [one.at_ms + LAG_MS for one in kept]
    assert (folder / repository.ROWS).stat().st_mode & 0o077 == 0

    gone = mine[0].person
    with lake.held():
        manifest = manifest_of(lake)
        assert without(lake, manifest, lambda person, _: person == gone)
        people.write_again(lake, manifest)
    rows: list[Row] = repository.read(folder)
    assert {one.person for one in rows} == {one.person for one in kept} - {gone}
    assert gone.encode() not in (folder / repository.ROWS).read_bytes()
