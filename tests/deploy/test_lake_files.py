"""Files of a lake: each field of each message comes back by each reader, the same rows give the same bytes, and nobody's words are in them unasked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from command import ROOT
from filled import fill, paths

from deploy.lake.datasets import DATASETS, SIGNALS, Dataset, People
from deploy.lake.files import GROUP_ROWS, Part, read
from deploy.lake.manifest import File, Lake, LakeError, Manifest
from deploy.lake.rewriting import compact, without
from deploy.lake.schema import Column, Row, avro
from oo.v1.journal_pb2 import JournalRecord
from streams.record import Record

READERS = ("fastavro", "polars, Avro", "pyarrow", "DuckDB", "polars, Parquet")
DAY = "2026-11-29"
TELLS_ITS_PEAK = """
import resource, sys
from pathlib import Path
from deploy.lake.datasets import DECISIONS, People
from deploy.lake.files import Part
from oo.v1.decision_pb2 import Decision
from streams.record import Record
root, many = Path(sys.argv[1]), int(sys.argv[2])
row_of, said = DECISIONS.rows(People.COARSE), Decision(policy="mixed")
for at in range(20):
    said.slate.add(kind=2, x=[at] * 48, propensity=0.05)
part = Part(root, ["parquet"], DECISIONS.columns(People.COARSE), dataset="decisions", day="2026-11-29", name="x")
for at in range(many):
    part.add(row_of(Record("t", 0, at, at, b"ada", b""), said, at), 480)
part.finish("x")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def messages(dataset: Dataset) -> list[Any]:
    """An empty one, and some that have every field, with each of what may be in a oneof."""
    found = [dataset.kind(), *(fill(dataset.kind(), nth=nth) for nth in range(7))]
    if dataset is SIGNALS:
        found = [JournalRecord(), *(fill(JournalRecord(), nth=nth) for nth in range(7))]
        for nth, one in enumerate(found[1:]):
            fill(one.signal, nth=nth)
    for one in found:
        for path in dataset.without:
            one.ClearField(path)
    return found


def rows(dataset: Dataset, people: People) -> list[Row]:
    make = dataset.rows(people)
    return [
        make(Record("t", 3, at, 1_790_582_400_123 + at, b"somebody", b""), one, at)
        for at, one in enumerate(messages(dataset))
    ]


def written(root: Path, dataset: Dataset, people: People, some: list[Row], *, name: str = "000-0-9") -> File:
    part = Part(root, ["parquet", "avro"], dataset.columns(people), dataset=dataset.name, day=DAY, name=name)
    for one in some:
        part.add(one, 100)
    return part.finish(name)


def back(reader: str, root: Path, file: File) -> list[Row]:
    """What a reader makes of a file, found as its users find it: a folder of days."""
    folder = root / "parquet" / file.dataset
    match reader:
        case "fastavro":
            with (root / file.path("avro")).open("rb") as opened:
                return list(fastavro.reader(opened))  # type: ignore[arg-type]
        case "polars, Avro":
            return pl.read_avro(root / file.path("avro")).to_dicts()
        case "pyarrow":
            hive = ds.partitioning(pa.schema([("day", pa.string())]), flavor="hive")
            found = ds.dataset(folder, partitioning=hive).to_table().to_pylist()
        case "DuckDB":
            asked = duckdb.sql(
                f"SELECT * FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = true, hive_types = {{'day': VARCHAR}})"
            )
            found = [dict(zip(asked.columns, one, strict=True)) for one in asked.fetchall()]
        case _:
            schema = {"day": pl.String}
            found = pl.read_parquet(f"{folder}/*/*.parquet", hive_partitioning=True, hive_schema=schema).to_dicts()
    assert {one.pop("day") for one in found} == {DAY}
    return found


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("people", People)
@pytest.mark.parametrize("dataset", DATASETS, ids=lambda one: one.name)
def test_every_field_of_every_message_comes_back(dataset: Dataset, people: People, reader: str, tmp_path: Path) -> None:
    told = rows(dataset, people)
    assert back(reader, tmp_path, written(tmp_path, dataset, people, told)) == told


def count(told: Any, found: Any) -> tuple[int, int]:
    """How many values there were, and how many came back as they were."""
    if isinstance(told, dict | list):
        if type(found) is not type(told) or len(found) != len(told):
            return count(told, told)[0], 0
        pairs = (
            zip(told, found, strict=True) if isinstance(told, list) else ((told[key], found.get(key)) for key in told)
        )
        each = [count(*pair) for pair in pairs]
        return sum(one for one, _ in each), sum(one for _, one in each)
    return 1, int(told == found and type(told) is type(found))


def section(name: str) -> str:
    page = (ROOT / "docs" / "lake.md").read_text("utf-8")
    return page.partition(f"<!-- {name}: ")[2].partition("-->\n")[2].partition(f"<!-- end of {name} -->")[0]


def test_the_page_says_what_came_back(tmp_path: Path) -> None:
    lines = ["| read by | " + " | ".join(one.name for one in DATASETS) + " |", "|---" * (len(DATASETS) + 1) + "|"]
    for reader in READERS:
        cells = []
        for dataset in DATASETS:
            told, root = rows(dataset, People.OPEN), tmp_path / reader / dataset.name
            many, same = count(told, back(reader, root, written(root, dataset, People.OPEN, told)))
            cells.append("all" if same == many else f"{many - same} not")
        lines.append(f"| {reader} | {' | '.join(cells)} |")
    assert section("readers") == "\n".join(lines) + "\n"


def test_the_page_says_which_fields_are_in_no_file_and_which_strings_are_in_every_one() -> None:
    for name, head in (("without", "in no file"), ("kept", "strings and bytes in coarse files")):
        lines = [f"| {head} | why |", "|---|---|"]
        for dataset in DATASETS:
            by: dict[str, list[str]] = {}
            for path, why in getattr(dataset, name).items():
                by.setdefault(why, []).append(f"`{path}`")
            lines += [f"| {dataset.name}: {', '.join(some)} | {why} |" for why, some in by.items()]
        assert section(name) == "\n".join(lines) + "\n"


def leaves(columns: tuple[Column, ...]) -> set[str]:
    return {path for one in columns for path in (leaves(one.columns) if one.columns else {one.path})}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda one: one.name)
def test_every_field_has_a_column_or_is_said_to_have_none(dataset: Dataset) -> None:
    said = {
        path
        for path in paths(dataset.kind.DESCRIPTOR)
        if not any(f"{path}.".startswith(f"{one}.") for one in dataset.without)
    }
    assert said <= leaves(dataset.columns(People.OPEN))


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda one: one.name)
def test_nobodys_words_are_in_a_file_unless_they_are_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    """Every string of these messages ends with its field's name: those that are told to stay are all that is found."""
    kept = {path.rpartition(".")[2] for path in dataset.kept}
    told = str(rows(dataset, People.COARSE))
    words = {path.rpartition(".")[2] for path in paths(dataset.kind.DESCRIPTOR)} - kept
    assert not [one for one in words if f"\U0001f600 {one}'" in told or f"\\xff{one}'" in told]
    assert "event_key" not in told, "a hash of a producer's id, which who knows the id can make"
    assert f"\U0001f600 {'title'}'" in str(rows(dataset, People.OPEN)) or dataset.name == "outcomes"


def test_the_same_rows_give_the_same_bytes_and_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    dataset, told = DATASETS[0], rows(DATASETS[0], People.COARSE)
    one, two = (written(tmp_path / name, dataset, People.COARSE, told) for name in "ab")
    assert one == two
    for form, digest in one.sha256.items():
        assert hashlib.sha256((tmp_path / "a" / one.path(form)).read_bytes()).hexdigest() == digest
    part = Part(
        tmp_path / "c", ["parquet", "avro"], dataset.columns(People.COARSE), dataset=dataset.name, day=DAY, name="x"
    )
    for _ in range(GROUP_ROWS // len(told) + 1):
        for row in told:
            part.add(row, 1)
    assert not [path for path in (tmp_path / "c").rglob("*") if path.is_file() and not path.name.startswith(".")]
    part.abandon()
    assert not [path for path in (tmp_path / "c").rglob("*") if path.is_file()]


@pytest.mark.long(
    "tests/deploy/test_lake_files.py::test_the_same_rows_give_the_same_bytes_and_a_file_is_not_there_before_it_is_whole"
)
def test_a_longer_file_takes_no_more_memory(tmp_path: Path) -> None:
    def peak_kb(many: int) -> int:
        argv = (sys.executable, "-c", TELLS_ITS_PEAK, str(tmp_path / str(many)), str(many))
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}
        return int(subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)

    # Each thousand decisions of 20 candidates are 30 MB as Python has them.
    assert peak_kb(9_000) - peak_kb(3_000) < 60_000


def test_a_row_that_is_no_row_leaves_no_half_of_itself(tmp_path: Path) -> None:
    """fastavro without a validator writes what it can of it, and shifts every later one."""
    dataset, (good, *_) = DATASETS[1], rows(DATASETS[1], People.OPEN)
    part = Part(tmp_path, ["avro"], dataset.columns(People.OPEN), dataset=dataset.name, day=DAY, name="x")
    for one in (good, {**good, "reward": "much"}):
        part.add(one, 1)
    with pytest.raises(fastavro.validation.ValidationError):
        part.finish("x")
    part.abandon()


def made(root: Path, *people: str) -> tuple[Lake, Manifest]:
    """A lake with a file for each of these, of two rows of theirs and one of eve's."""
    lake, dataset = Lake(root), DATASETS[1]
    manifest = Manifest("coarse", ["parquet", "avro"], {})
    row = rows(dataset, People.COARSE)[1]
    for number, person in enumerate(people):
        some = [
            {
                **row,
                "person": who,
                "kafka_partition": number % 2,
                "kafka_offset": 10 * number + at,
                "journal_offset": at,
            }
            for at, who in enumerate((person, person, "eve"))
        ]
        manifest.files.append(written(root, dataset, People.COARSE, some, name=f"00{number % 2}-{number}"))
    lake.write(manifest)
    return lake, manifest


def all_rows(lake: Lake, form: str) -> list[Row]:
    found = lake.manifest()
    assert found is not None
    assert {str(path.relative_to(lake.root)) for path in (lake.root / form).rglob(f"*.{form}")} == {
        one.path(form) for one in found.files
    }
    return [row for one in found.files for row in read(lake.root / one.path(form))]


@pytest.mark.parametrize("form", ["parquet", "avro"])
def test_the_files_of_a_day_become_one_in_order(tmp_path: Path, form: str) -> None:
    lake, manifest = made(tmp_path, "ada", "bob", "cyd", "dan")
    before = all_rows(lake, form)
    assert compact(lake, manifest) == 1
    assert len(manifest.files) == 1
    assert all_rows(lake, form) == sorted(before, key=lambda one: (one["kafka_partition"], one["kafka_offset"]))
    assert compact(lake, manifest) == 0


@pytest.mark.parametrize("form", ["parquet", "avro"])
def test_who_left_is_in_no_file_from_their_leaving_back(tmp_path: Path, form: str) -> None:
    lake, manifest = made(tmp_path, "ada", "bob", "ada")
    assert without(lake, manifest, lambda person, at: person == "ada" and at < 1) == 2
    found = [(one["person"], one["journal_offset"]) for one in all_rows(lake, form)]
    assert found == [("bob", 0), ("bob", 1), ("eve", 2), ("ada", 1), ("eve", 2), ("ada", 1), ("eve", 2)]
    assert without(lake, manifest, lambda *_: True) == 7
    assert all_rows(lake, form) == []


def test_what_a_killed_process_left_behind_goes_and_one_process_writes(tmp_path: Path) -> None:
    lake, manifest = made(tmp_path, "ada")
    stray = tmp_path / "parquet" / "outcomes" / f"day={DAY}" / "000-0-1.parquet"
    stray.write_bytes(b"half")
    lake.sweep(manifest)
    assert not stray.exists()
    assert len(all_rows(lake, "avro")) == 3
    with lake.held(), pytest.raises(LakeError, match="another process"), Lake(tmp_path).held():
        pass
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(LakeError, match="no manifest"):
        lake.manifest()


@pytest.mark.parametrize("people", People)
@pytest.mark.parametrize("dataset", DATASETS, ids=lambda one: one.name)
def test_an_avro_file_holds_no_map_and_no_union_but_with_null(dataset: Dataset, people: People) -> None:
    """Polars knows only those."""

    def look(schema: Any) -> None:
        if isinstance(schema, list):
            assert schema[0] == "null"
            assert len(schema) == 2
            look(schema[1])
        elif isinstance(schema, dict):
            assert schema["type"] != "map"
            look(schema.get("items", ""))
            for field in schema.get("fields", ()):
                look(field["type"])

    look(avro(dataset.columns(people), dataset.name))
