"""How many bytes a person's row and a decision take, beside the build before; and what a row's go to: `python -m bench.row_bytes`.

It measures bytes only, so it says the same on every machine, but for how many records of a backlog fall into one batch.
"""

from __future__ import annotations

from collections import Counter

from bench.builds import in_turns
from bench.lives import LIVES, Life, lived
from bench.result import Bench, Result, compared
from oo.v1 import row_pb2

PEOPLE, SIGNALS = 200, 4_000
"""Of the backlog whose rows and decisions are looked for in the log."""


def measure(bench: Bench) -> Result:
    """Bytes now and before, each by itself and in the log."""
    share = 10 if bench.quick else 1
    found = in_turns(bench, "bench.measured.row_bytes", f"{PEOPLE // share}", f"{SIGNALS // share}", turns=1)
    (before,), (now,) = found["before"], found["now"]
    rows = []
    for name in LIVES:
        for what, most in ((f"row, {name}", 1.0 if name == "typical" else None), (f"decision, {name}", None)):
            candidates = f" ({now[f'candidates, {name}']:.0f} candidates)" if what.startswith("decision") else ""
            rows.append(
                compared(
                    what.replace(", ", "-"),
                    f"a {what.split(',')[0]} of the {name} person{candidates}",
                    now[what],
                    "bytes",
                    peer=before[what],
                    peer_name=bench.against,
                    at_most=0.62 if what == "decision, typical" else most,
                )
            )
    both = {
        side: one["rows in the log"] + one["decisions in the log"] for side, one in (("before", before), ("now", now))
    }
    rows.append(
        compared(
            "in-the-log",
            "a row and a decision in the log",
            both["now"],
            "bytes",
            peer=both["before"],
            peer_name=bench.against,
            at_most=0.6,
            note=f"In the log: the segments of both topics after a backlog of {SIGNALS // share:,} signals of {PEOPLE // share} people with "
            f"{LIVES['typical'].tasks} tasks each, in batches as the core process writes them. A row took {now['rows in the log']:,.0f} "
            f"bytes and a decision {now['decisions in the log']:,.0f}; before, {before['rows in the log']:,.0f} and "
            f"{before['decisions in the log']:,.0f}.",
        )
    )
    return Result(rows)


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
