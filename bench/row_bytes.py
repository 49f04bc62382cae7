"""How many bytes a person's row takes, and what they go to: `python -m bench.row_bytes`.

It measures bytes only, so it says the same on every machine.
"""

from __future__ import annotations

from collections import Counter

from bench.lives import LIVES, Life, lived
from oo.v1 import row_pb2


def main() -> None:
    """Print a column of bytes for each life."""
    people = {name: live(life) for name, life in LIVES.items()}
    shares = {name: parts(row) for name, row in people.items()}
    print(f"{'':24}" + "".join(f"{name:>10}" for name in people))
    print(f"{'whole row':24}" + "".join(f"{row.ByteSize():>10,}" for row in people.values()))
    for field in sorted({field for share in shares.values() for field in share}, key=lambda f: -shares["typical"][f]):
        print(f"{field:24}" + "".join(f"{share[field]:>10,}" for share in shares.values()))
    for field in ("tasks", "events", "pending", "tombstones"):
        counts = [len(getattr(lived(life).now, field)) for life in LIVES.values()]
        print(f"{'number of ' + field:24}" + "".join(f"{count:>10,}" for count in counts))


def live(life: Life, *, seed: int = 1) -> row_pb2.UserRow:
    """The row after those days."""
    row = lived(life, seed=seed).row
    assert row is not None
    return row


def parts(row: row_pb2.UserRow) -> Counter[str]:
    """Bytes by field, with tags and lengths."""
    shares: Counter[str] = Counter()
    for field, _ in row.ListFields():
        only = row_pb2.UserRow()
        only.CopyFrom(row)
        only.ClearField(field.name)
        shares[field.name] = row.ByteSize() - only.ByteSize()
    return shares


if __name__ == "__main__":
    main()
