"""What a seal costs: microseconds to seal and to open a message, bytes added, and what both add to a decision: `python -m bench.sealing`.

The least of many turns, in one process, with the key ready for use; and what it takes to make a key ready.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.lives import LIVES, lived
from connectors.key_files import KeyFiles
from streams.cipher import KEY_BYTES, Cipher
from streams.frames import Frames
from streams.keys import Keys
from streams.sealing import Sealing, open_row, seal_row
from tests.agents.build import Person
from tests.sealed import give, keys_in

TURNS, TIMES = 60, 50


def best_us(work: Callable[[], object]) -> float:
    """Of one call."""
    took = []
    for _ in range(TURNS):
        began_s = time.perf_counter()
        for _ in range(TIMES):
            work()
        took.append((time.perf_counter() - began_s) / TIMES * 1e6)
    return min(took)


def main() -> None:
    decisions = []
    for name, life in LIVES.items():
        print(f"\n## {name}\n")
        decisions.append(f"| {name} | {_person(lived(life))} |")
    print("\n## A decision\n")
    print("Its record sealed at the door and opened, its tip and itself sealed, its row opened and sealed.\n")
    print("| person | µs added | of it AES-SIV | of that the row |")
    print("|---|---|---|---|")
    print(*decisions, sep="\n")


def _person(somebody: Person) -> str:
    whose, frames = somebody.user.encode(), Frames()
    messages: dict[str, Any] = {}
    for entry, outputs in somebody.log:
        messages["journal"] = entry.record if entry.record.HasField("signal") else messages.get("journal", entry.record)
        if outputs.decision is not None:
            messages |= {"decisions": outputs.decision, "tips": outputs.tip}
        if outputs.outcomes:
            messages["outcomes"] = outputs.outcomes[0]
    assert somebody.row is not None
    row = somebody.row.SerializeToString(deterministic=True)
    aes: dict[str, float] = {}
    added: dict[str, float] = {}
    cipher = Cipher(bytes(KEY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        keys = keys_in(Path(folder))
        give(keys, whose)
        sealing = Sealing(frames, keys)
        print("| message | bytes | added | µs framed open | µs framed sealed | µs read open | µs read sealed |")
        print("|---|---|---|---|---|---|---|")
        for name, message in messages.items():
            plain, sealed = frames.frame(name, message), sealing.frame(name, message, whose=whose)
            took = [
                best_us(lambda n=name, m=message: frames.frame(n, m)),  # type: ignore[misc]
                best_us(lambda n=name, m=message: sealing.frame(n, m, whose=whose)),  # type: ignore[misc]
                best_us(lambda n=name, v=plain: frames.unframe(n, v)),  # type: ignore[misc]
                best_us(lambda n=name, v=sealed: sealing.unframe(n, v, whose=whose)),  # type: ignore[misc]
            ]
            _say(name, plain, sealed, took)
            reads = name == "journal"
            added[name] = took[1] - took[0] + (took[3] - took[2] if reads else 0.0)
            aes[name] = best_us(lambda p=plain: cipher.seal(p, [b"oo.v1.Tip", whose])) * (2 if reads else 1)  # type: ignore[misc]
        sealed = seal_row(row, whose=whose, keys=keys)
        took = [0.0, best_us(lambda: seal_row(row, whose=whose, keys=keys))]
        took += [0.0, best_us(lambda: open_row(sealed, whose=whose, keys=keys))]
        _say("rows (bytes only)", row, sealed, took)
        added["rows"], aes["rows"] = sum(took), 2 * best_us(lambda: cipher.seal(row, [b"oo.v1.Row", whose]))
        print(f"\na key made ready: {best_us(lambda: _ready(keys, whose)):.1f} µs")
    whole, alone = (sum(some[name] for name in ("journal", "tips", "decisions", "rows")) for some in (added, aes))
    return f"{whole:.1f} | {alone:.1f} | {aes['rows']:.1f}"


def _say(name: str, plain: bytes, sealed: bytes, took: list[float]) -> None:
    shown = " | ".join(f"{one:.1f}" for one in took)
    print(f"| {name} | {len(plain):,} | {len(sealed) - len(plain)} | {shown} |")


def _ready(keys: Keys, whose: bytes) -> None:
    keys._opened.clear()
    assert isinstance(keys.kek, KeyFiles)
    keys.sealing(whose)


if __name__ == "__main__":
    main()
