"""Features of people out of a lake's decisions, and the Feast repositories that were made of a lake. It writes nothing into the lake but their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agents.features import SPACES
from deploy.lake.datasets import DECISIONS, People
from deploy.lake.manifest import FEAST, Lake, LakeError, Manifest
from training.feast import repository
from training.people import KINDS, PLACES, Row, values_of

_NAMES: Final = pa.array([name.upper() for name in KINDS])
_COLUMNS: Final = ["person", "decided_ms", "logged_at", "feature_version", "slate"]


def rows_of(lake: Lake, manifest: Manifest, *, progress: Callable[[int], object] = lambda _: None) -> Iterator[Row]:
    """What its decisions saw of people, of who may teach others and has not left. Raises LakeError for a lake that does not say."""
    if manifest.people == People.SEALED or "parquet" not in manifest.formats:
        raise LakeError(f"{lake.root} has no features in Parquet: 'oo lake export --out DIR' makes a lake that has")
    for file in manifest.files:
        if file.dataset == DECISIONS.name:
            with pq.ParquetFile(lake.root / file.path("parquet")) as parquet:
                for group in range(parquet.num_row_groups):
                    some = parquet.read_row_group(group, columns=_COLUMNS)
                    yield from _rows_of(some)
                    progress(some.num_rows)


def _rows_of(some: Any) -> Iterator[Row]:
    slates = some["slate"].combine_chunks()
    candidates = slates.flatten()
    kind, out, x = (pc.struct_field(candidates, name) for name in ("kind", "ineligible", "x"))
    counted = (pc.list_value_length(out).to_numpy() == 0) & (pc.list_value_length(x).to_numpy() > max(PLACES))
    counted &= pc.is_in(kind, value_set=_NAMES).to_numpy(zero_copy_only=False)
    kinds = np.array(list(KINDS.values()))[pc.index_in(kind.filter(pa.array(counted)), value_set=_NAMES).to_numpy()]
    begins = x.offsets.to_numpy()[:-1][counted]
    seen = x.values.to_numpy()[begins[:, None] + np.array(PLACES)].astype(np.int64)
    before = np.concatenate([[0], np.cumsum(counted)])
    starts = before[slates.offsets.to_numpy() - slates.offsets[0].as_py()]
    values = values_of(starts=starts, kinds=kinds, seen=seen)
    known_ms = some["logged_at"].cast(pa.int64()).to_numpy() // 1000
    people, decided_ms, versions = (some[name].to_pylist() for name in ("person", "decided_ms", "feature_version"))
    for person, at_ms, known, version, said in zip(
        people, decided_ms, known_ms.tolist(), versions, values, strict=True
    ):
        if version in SPACES:
            yield Row(person, at_ms, known, said)


def note(lake: Lake, folder: Path) -> None:
    """Note that there is this repository, so that who leaves the lake leaves it."""
    if folder not in noted(lake):
        with (lake.root / FEAST).open("a", encoding="utf-8") as file:
            file.write(f"{folder}\n")


def noted(lake: Lake) -> list[Path]:
    """Those that are still there."""
    try:
        lines = (lake.root / FEAST).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Path(one) for one in lines if (Path(one) / repository.ROWS).exists()]


def write_again(lake: Lake, manifest: Manifest) -> None:
    """Put what the lake has now in place of the offline rows of its repositories."""
    if folders := noted(lake):
        rows = list(rows_of(lake, manifest))
        for folder in folders:
            repository.write(folder, rows)
