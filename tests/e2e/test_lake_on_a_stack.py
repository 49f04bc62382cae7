"""A lake of a running stack: its rows say what PostgreSQL says, and who leaves is gone from it when `oo erase` returns."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from command import called
from outside import client, eventually, send, settled, settled_tip, state_of, task

from deploy.stack.running import RunningStack


def places(stack: RunningStack, user: str) -> dict[str, Any]:
    told = json.loads(called("privacy", "status", "--user", user, "--json", state_of(stack)).stdout)
    return {one["place"]: one for one in told["places"] if one["place"].startswith("lake ")}


def test_a_lake_says_what_history_says_and_is_without_who_left(stack: RunningStack, tmp_path: Path) -> None:
    user, other = (f"lake-{uuid.uuid4().hex[:8]}" for _ in range(2))
    for one in (user, other):
        send(stack, "signals", *(task(one, f"{number}", f"Errand {number}", priority=2) for number in range(3)))
        with client(stack, one) as http:
            shown = settled_tip(stack, http)["decision_id"]
            for reaction in ("seen", "done"):
                assert http.post("/v1/feedback", json={"decision_id": shown, "reaction": reaction}).status_code == 202
            eventually(lambda: [one for one in http.get("/v1/tips").json()["items"] if one["outcome"]])
    settled(stack)
    out = tmp_path / "lake"
    called("lake", "export", f"--out={out}", "--from=2h", state_of(stack))

    def rows(dataset: str, columns: str) -> list[tuple[Any, ...]]:
        found = duckdb.sql(
            f"SELECT {columns} FROM '{out}/parquet/{dataset}/*/*.parquet' WHERE person = '{stack.pseudonym(user)}'"
        )
        return sorted(found.fetchall())

    decided = rows("decisions", "decision_id, propensity, journal_offset, len(slate) > 0, slate[chosen + 1].propensity")
    query = (
        "SELECT decision_id, propensity, journal_offset, true, propensity FROM recommender.decisions WHERE user_id = %s"
    )
    with psycopg.connect(stack.recommender_dsn) as database:
        assert decided == sorted(database.execute(query, [stack.pseudonym(user)]).fetchall())
    assert {one for (one,) in rows("outcomes", "kind")} == {"SEEN", "DONE"}
    assert rows("signals", "signal.payload_is, signal.task_upserted.priority") == [("task_upserted", 2)] * 3

    erased = called("erase", "--user", user, "--yes", state_of(stack)).stdout
    assert f"lake {out}: {len(decided) + 5} rows were taken out" in erased
    assert rows("decisions", "decision_id") == rows("outcomes", "kind") == rows("signals", "journal_offset") == []
    assert places(stack, user)[f"lake {out}"]["gone"]
