"""What a seal costs: microseconds to seal and to open a message of the typical person, and bytes added: `python -m bench.sealing`.

Best of some turns, in one process, with the key ready for use; and what it takes to make a key ready.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.lives import LIVES, lived
from connectors.key_files import KeyFiles
from streams.frames import Frames
from streams.keys import Keys
from streams.sealing import Sealing, open_row, seal_row
from tests.sealed import give, keys_in

TURNS, TIMES = 5, 400


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
    somebody = lived(LIVES["typical"])
    whose, frames = somebody.user.encode(), Frames()
    messages = {}
    for entry, outputs in somebody.log:
        messages["journal"] = entry.record if entry.record.HasField("signal") else messages.get("journal", entry.record)
        if outputs.decision is not None:
            messages |= {"decisions": outputs.decision, "tips": outputs.tip}
        if outputs.outcomes:
            messages["outcomes"] = outputs.outcomes[0]
    assert somebody.row is not None
    row = somebody.row.SerializeToString(deterministic=True)
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
        sealed = seal_row(row, whose=whose, keys=keys)
        took = [0.0, best_us(lambda: seal_row(row, whose=whose, keys=keys))]
        took += [0.0, best_us(lambda: open_row(sealed, whose=whose, keys=keys))]
        _say("rows (bytes only)", row, sealed, took)
        print(f"\na key made ready: {best_us(lambda: _ready(keys, whose)):.1f} µs")


def _say(name: str, plain: bytes, sealed: bytes, took: list[float]) -> None:
    shown = " | ".join(f"{one:.1f}" for one in took)
    print(f"| {name} | {len(plain):,} | {len(sealed) - len(plain)} | {shown} |")


def _ready(keys: Keys, whose: bytes) -> None:
    keys._opened.clear()
    assert isinstance(keys.kek, KeyFiles)
    keys.sealing(whose)


if __name__ == "__main__":
    main()
