"""`oo watch` on the whole stack: what its owner does to the file happens to the tip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from command import ROOT
from outside import client, eventually, settled_tip, state_of, tip

from deploy.stack.running import RunningStack


@contextmanager
def watching(stack: RunningStack, path: Path, user: str) -> Iterator[Path]:
    """The file in which what it says stands."""
    said = path.with_name(f"{path.name}.said")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1"}
    with said.open("wb") as out:
        process = subprocess.Popen(
            (sys.executable, "-m", "deploy.cli", "watch", str(path), "--user", user, state_of(stack)),
            env=environment,
            cwd=ROOT,
            stdout=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def outcomes_of(stack: RunningStack, decision_id: str) -> list[tuple[str, bool]]:
    with psycopg.connect(stack.recommender_dsn) as connection:
        found = connection.execute(
            "SELECT kind, learned FROM outcomes WHERE decision_id = %s ORDER BY event_time_ms, kind DESC",
            (decision_id,),
        )
        return [(str(kind), bool(learned)) for kind, learned in found.fetchall()]


def test_ticking_off_the_line_of_the_tip_that_was_seen_is_a_done_reaction_to_it(
    stack: RunningStack, tmp_path: Path
) -> None:
    user, path = f"watch-{uuid.uuid4().hex[:8]}", tmp_path / "todo.txt"
    path.write_text("(A) Call the dentist\n(B) Water the plants\n")
    with watching(stack, path, user), client(stack, user) as http:
        first = settled_tip(stack, http)
        seen = {"decision_id": first["decision_id"], "reaction": "seen"}
        assert http.post("/v1/feedback", json=seen).status_code == 202
        eventually(lambda: outcomes_of(stack, first["decision_id"]))

        ticked = [f"x {line[4:]}" if first["title"] in line else line for line in path.read_text().splitlines()]
        path.write_text("\n".join(ticked) + "\n")

        second = eventually(lambda: tip(http), lambda t: t is not None and t["decision_id"] != first["decision_id"])
        assert second is not None and second["title"] != first["title"]
        eventually(lambda: ("DONE", True) in outcomes_of(stack, first["decision_id"]))
