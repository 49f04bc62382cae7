"""A Feast repository, made of the definitions of training/people.py: its settings, entity, sources and view, and its offline rows as Parquet.

What Feast does otherwise than a FeatureStore is met in the rows where it can be, so that others who read the repository have the same values:
a row's event time is when it could be known, rows that came late are out, and a value that nobody said is -1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from training.people import FEATURES, KEPT_MS, NAMES, NOTHING, Row, steps

PROJECT: Final = "oo_people"
VIEW: Final = "people"
PUSHED: Final = "told"
COLUMNS: Final = (*NAMES, "at_ms", "known_ms")
"""What the view has: features, and of when they are."""
ROWS: Final = Path("data") / "people.parquet"
LOCK: Final = Path(__file__).parent / "requirements.txt"
_MS: Final = pa.timestamp("ms", tz="UTC")
_SCHEMA: Final = pa.schema(
    [
        pa.field("person", pa.string(), nullable=False),
        pa.field("event_timestamp", _MS, nullable=False),
        pa.field("created", _MS, nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in COLUMNS),
    ]
)
_SETTINGS: Final = """\
# Made by `oo lake feast`.
project: {project}
provider: local
registry: data/registry.db
offline_store:
  type: file
online_store:
{online}
entity_key_serialization_version: 3
"""
_SQLITE: Final = """\
  type: sqlite
  path: data/online.db"""
_REDIS: Final = """\
  type: redis
  connection_string: "{address}"
  # The greater row is chosen before it is written; Feast would drop one of the same instant.
  skip_dedup: true
  # Nothing of a person stays longer than it may be told.
  key_ttl_seconds: {kept_s}"""
_DEFINITIONS: Final = '''\
"""Made by `oo lake feast`, of training/people.py. Values are in units of 1/64, from 0 to 64; -1 where nobody said one."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Int64

person = Entity(name="person", join_keys=["person"], value_type=ValueType.STRING, description="a pseudonym")
rows = FileSource(
    name="rows", path="{path}", timestamp_field="event_timestamp", created_timestamp_column="created"
)
told = PushSource(name="{pushed}", batch_source=rows)
columns = {{
{fields}
}}
people = FeatureView(
    name="{view}",
    entities=[person],
    ttl=timedelta(days={days}),
    schema=[Field(name=name, dtype=Int64, description=meaning) for name, meaning in columns.items()],
    source=told,
)
'''


def make(folder: Path, rows: Iterable[Row], *, valkey: str = "") -> int:
    """Make the repository anew with these rows alone, and return how many it has; `valkey`: HOST:PORT of the online store, by default SQLite in the folder.

    What an online store has of before is not touched.
    """
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    online = _REDIS.format(address=valkey, kept_s=KEPT_MS // 1000) if valkey else _SQLITE
    fields = [(one.name, one.meaning) for one in FEATURES]
    fields += [("at_ms", "when it was decided"), ("known_ms", "when that could be known")]
    definitions = _DEFINITIONS.format(
        path=ROWS,
        pushed=PUSHED,
        view=VIEW,
        days=timedelta(milliseconds=KEPT_MS).days,
        fields="\n".join(f'    "{name}": "{said}",' for name, said in fields),
    )
    (folder / "feature_store.yaml").write_text(_SETTINGS.format(project=PROJECT, online=online), "utf-8")
    (folder / "people.py").write_text(definitions, "utf-8")
    (folder / "requirements.txt").write_bytes(LOCK.read_bytes())
    return write(folder, rows)


def write(folder: Path, rows: Iterable[Row]) -> int:
    """Put these in place of the offline rows, those that ever were the latest known, and return how many these are."""
    kept = [row for mine in steps(rows).values() for row in mine]
    put(folder, [(one.shows_ms, one) for one in kept])
    return len(kept)


def put(folder: Path, stamped: list[tuple[int, Row]]) -> None:
    """Write rows under these event times, in one step."""
    columns = {name: [_numbers(row)[at] for _, row in stamped] for at, name in enumerate(COLUMNS)}
    table = pa.table(
        {
            "person": [row.person for _, row in stamped],
            "event_timestamp": pa.array([at_ms for at_ms, _ in stamped], _MS),
            "created": pa.array([row.known_ms for _, row in stamped], _MS),
            **columns,
        },
        schema=_SCHEMA,
    )
    path = folder / ROWS
    unfinished = path.with_suffix(".part")
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(folder: Path) -> list[Row]:
    """The offline rows."""
    table = pq.read_table(folder / ROWS, columns=["person", *COLUMNS])
    people, *columns = (table[name].to_pylist() for name in ("person", *COLUMNS))
    return [row_of(person, numbers) for person, *numbers in zip(people, *columns, strict=True)]


def told(row: Row) -> dict[str, object]:
    """A row as a source has it, but for its times, of which Feast has types of its own."""
    return {"person": row.person, **dict(zip(COLUMNS, _numbers(row), strict=True))}


def row_of(person: str, numbers: list[int]) -> Row:
    """The row that these are of, in the order of COLUMNS."""
    *values, at_ms, known_ms = map(int, numbers)
    return Row(person, at_ms, known_ms, tuple(None if one == NOTHING else one for one in values))


def _numbers(row: Row) -> tuple[int, ...]:
    return (*(NOTHING if one is None else one for one in row.values), row.at_ms, row.known_ms)
