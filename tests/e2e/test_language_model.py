"""A stack with a language model: the small one on this machine, by its own part of the stack, and another behind the same alias."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from command import called, kill, oo
from outside import eventually, send, state_of, task, worker_pid

from deploy.stack.running import RunningStack, open_stack
from tests.model_server import ModelServer

CANARY = "Feed the turquoise canary"
WRITTEN = {"title": "Stretch for two minutes", "detail": "A short break helps.", "about": ["t1"]}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="oo-llm-") as folder:
        state = Path(folder) / "state"
        oo("up", "--detach", "--no-demo", "--llm=local", f"--state={state}")
        try:
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")


def answers(stack: RunningStack) -> dict[str, float]:
    """How many answers generate has put into the journal since it started, by reason."""
    try:
        page = httpx.get(f"http://127.0.0.1:{stack.ports['generate']}/metrics", trust_env=False).text
    except httpx.TransportError:
        return {}
    lines = [line for line in page.splitlines() if line.startswith("oo_answers_total{")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_the_small_model_is_asked_and_nothing_around_it_keeps_what_was_asked(stack: RunningStack) -> None:
    shown = json.loads(called("status", "--json", state_of(stack)).stdout)
    assert shown["llm"]["ready"] and any(one["id"] == "generate" for one in shown["workers"])
    assert "ok    language model: local" in called("doctor", state_of(stack), check=False).stdout
    send(stack, "signals", task("ann", "1", CANARY), task("ann", "2", "Water the plants"))
    eventually(lambda: answers(stack), within_s=180)
    found = eventually(lambda: answers(stack))
    assert not found.keys() & {"unreachable", "refused", "no-model", "no-prompt", "bad-answer"}
    kept = [
        path
        for where in (*stack.folder.root.glob("data/llm"), *stack.folder.root.glob("data/generate"), stack.folder.logs)
        for path in where.rglob("*")
        if path.is_file() and b"turquoise" in path.read_bytes()
    ]
    assert kept == []
    pid = shown["llm"]["pid"]
    held = {str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()}
    files = {one for one in held if one.startswith("/") and not one.startswith(("/dev/", "/proc/"))}
    assert {one for one in files if not one.endswith(".gguf")} == set()


def test_another_model_is_a_line_in_the_file_and_its_tips_are_scored_beside_the_tasks(stack: RunningStack) -> None:
    with ModelServer() as server:
        server.says = lambda _: json.dumps({"tips": [WRITTEN]})
        path = stack.folder.llm_file
        here = json.loads(path.read_text())["model_list"][0]["litellm_params"]["api_base"]
        path.write_text(path.read_text().replace(here, server.url))
        kill(worker_pid(stack, "generate"))
        send(stack, "signals", task("ben", "1", "Call the dentist"), task("ben", "2", "Water the plants"))
        eventually(lambda: server.calls, within_s=180)
        eventually(lambda: answers(stack).get("tips"))
        query = "SELECT count(*) FROM recommender.tip_scores WHERE kind = 'GENERATED' AND eligible"
        unnamed = "SELECT count(*) FROM recommender.tip_scores WHERE (kind = 'GENERATED') IS DISTINCT FROM (prompt_version <> '' AND llm_model <> '')"
        with psycopg.connect(stack.recommender_dsn) as database:
            eventually(lambda: database.execute(query).fetchall() != [(0,)], within_s=120)
            assert database.execute(unnamed).fetchall() == [(0,)]


def test_a_model_elsewhere_is_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = oo("up", "--llm=https://api.example.org/v1", f"--state={tmp_path}/s", check=False)
    assert refused.returncode == 1 and "is not near" in refused.stderr
    path = tmp_path / "litellm.yaml"
    path.write_text("model_list: [{model_name: tip-generator, litellm_params: {model: anthropic/x, api_key: k}}]")
    refused = oo("up", f"--llm={path}", f"--state={tmp_path}/s", check=False)
    assert refused.returncode == 1 and "anthropic is not a server of your own" in refused.stderr
