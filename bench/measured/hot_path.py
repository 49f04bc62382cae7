"""The way from a signal to a tip and to its reader, on a whole stack of the build that runs this: milliseconds from the acknowledgement
of a new person's first task to their tip in Valkey, and what one GET /v1/tip costs the edge."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.arrivals import Writer
from bench.freshness import Latencies, Side, announcements, first_task, names_of, paced
from bench.load import parts_of, spent
from bench.measured import turns
from bench.result import Bench
from deploy.stack.running import RunningStack
from serving.issuer import LocalIssuer
from streams.schemas import Schemas

PER_S, CONNECTIONS, READERS = 50, 32, 200
"""Signals a second; who asks the edge at once, for how many people."""


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="oo-bench-") as folder, Bench(Path(folder)).stack(nameless=True) as stack:
        scratch = Path(folder)

        def turn() -> turns.Numbers:
            names, fresh = uvloop.run(_freshness(stack, seconds))
            return {**fresh, **uvloop.run(_lookups(stack, scratch, names[:READERS], seconds))}

        turn()  # The first finds everything cold.
        turns.answer(turn)


async def _freshness(stack: RunningStack, seconds: float) -> tuple[list[str], turns.Numbers]:
    schemas = Schemas(stack.cluster)
    await schemas.register()
    writer, found, names = Writer(stack.cluster.bootstrap), Latencies(), names_of(PER_S * seconds)
    async with announcements(stack) as watch:
        began_s = await paced(writer, Side(watch, first_task(stack, schemas)), rate=PER_S, names=names)
        found.add(watch, names, began_s=began_s)
    writer.close()
    assert not found.missing, f"{found.missing} of {len(names)} signals have no tip"
    return names, {"p50": found.percentile(50), "p99": found.percentile(99)}


async def _lookups(stack: RunningStack, scratch: Path, names: list[str], seconds: float) -> turns.Numbers:
    issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)
    asked, answer = scratch / "requests", scratch / "answer.json"
    asked.write_text("\n".join(f"/v1/tip {issuer.mint(name)}" for name in names))
    load = (sys.executable, "-P", "-m", "bench.http_load", str(stack.ports["edge"]), str(CONNECTIONS))
    edge = {name: processes for name, processes in parts_of(stack).items() if name == "edge"}
    before_s = spent(edge)["edge"]
    process = await asyncio.create_subprocess_exec(*load, str(seconds), str(asked), str(answer))
    assert await process.wait() == 0
    used_s, done = spent(edge)["edge"] - before_s, json.loads(answer.read_text())
    # 204: of a newcomer to whom nothing is said.
    assert set(done["statuses"]) <= {"200", "204"}, done["statuses"]
    assert done["statuses"]["200"] > 0.9 * len(done["latencies_ms"]), done["statuses"]
    latencies_ms = sorted(done["latencies_ms"])
    return {
        "look-ups": len(latencies_ms) / done["seconds"],
        "look-up-us": used_s / done["all"] * 1e6,
        "look-up-p99": latencies_ms[int(len(latencies_ms) * 0.99)],
    }


if __name__ == "__main__":
    main(float(sys.argv[1]))
