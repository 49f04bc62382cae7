"""Models by litellm, against a real HTTP server that counts: how many calls truly go out, and what comes of each kind of answer."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.models import FileUnusable, ModelFailed, Models, Said, read
from tests.model_server import TEXT, ModelServer, Mood

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = {"type": "object"}
SECRET = "the canary sings at nine"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def asked(server: ModelServer, folder: Path, *, alias: str = "tip-generator", deadline_s: float = 5.0) -> Said | str:
    """What one call brings: text, or the word for its failure."""

    async def ask() -> Said | str:
        models = Models.of(server.file(folder))
        try:
            return await models.ask(
                alias, [{"role": "user", "content": SECRET}], SCHEMA, max_tokens=60, deadline_s=deadline_s
            )
        except ModelFailed as failed:
            return failed.reason

    return asyncio.run(ask())


def test_one_call_brings_the_text_its_tokens_and_who_wrote_it(server: ModelServer, tmp_path: Path) -> None:
    assert asked(server, tmp_path) == Said(TEXT, 50, 20, "stub-1")
    (call,) = server.calls
    assert call["messages"] == [{"role": "user", "content": SECRET}]
    assert (call["max_tokens"], call["response_format"]["type"]) == (60, "json_schema")


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("hangs", "timeout"),
        ("busy", "rate-limited"),
        ("garbage", "bad-answer"),
        ("no-choices", "empty"),
        ("says-no", "refused"),
    ],
)
def test_each_kind_of_failure_is_one_call_and_one_word_which_nobody_logs(
    server: ModelServer, tmp_path: Path, mood: Mood, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.mood = mood
    assert asked(server, tmp_path, deadline_s=1.0 if mood == "hangs" else 10.0) == reason
    assert len(server.calls) == 1
    assert SECRET not in caplog.text


def test_an_answer_of_nothing_but_an_empty_text_is_a_failure(server: ModelServer, tmp_path: Path) -> None:
    server.says = lambda _: ""
    assert asked(server, tmp_path) == "empty"


def test_a_server_that_is_gone_is_unreachable_at_once_and_an_alias_that_is_not_there_asks_nobody(
    server: ModelServer, tmp_path: Path
) -> None:
    assert asked(server, tmp_path, alias="judge") == "refused"
    assert server.calls == []
    server.go()
    assert asked(server, tmp_path) == "unreachable"


def test_after_failures_the_next_call_goes_out_as_if_nothing_had_been(server: ModelServer, tmp_path: Path) -> None:
    async def ask(models: Models) -> Said | str:
        try:
            return await models.ask(
                "tip-generator", [{"role": "user", "content": "x"}], SCHEMA, max_tokens=9, deadline_s=5
            )
        except ModelFailed as failed:
            return failed.reason

    async def six() -> list[Said | str]:
        models = Models.of(server.file(tmp_path))
        server.mood = "busy"
        failed = [await ask(models) for _ in range(5)]
        server.mood = "well"
        return [*failed, await ask(models)]

    assert asyncio.run(six()) == [*["rate-limited"] * 5, Said(TEXT, 50, 20, "stub-1")]
    assert len(server.calls) == 6


def test_a_file_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "litellm.yaml"
    for content in ("", "model_list: []", "model_list: [{model_name: a}]", "a: [", "[]"):
        path.write_text(content)
        with pytest.raises(FileUnusable, match="litellm"):
            read(path)
    with pytest.raises(FileUnusable, match="OO_LLM_FILE"):
        read(tmp_path / "nowhere")


WATCHED = """
import asyncio, json, sys
from pathlib import Path
seen = set()
def watch(event, given):
    if event == "socket.getaddrinfo":
        seen.add(str(given[0]))
    elif event == "socket.connect" and isinstance(given[1], tuple):
        seen.add(str(given[1][0]))
sys.addaudithook(watch)
from connectors.models import Models
async def ask():
    models = Models.of(Path(sys.argv[1]))
    await models.ask("tip-generator", [{"role": "user", "content": "x"}], {"type": "object"}, max_tokens=9, deadline_s=30)
asyncio.run(ask())
print(json.dumps(sorted(seen)))
"""


def test_a_whole_process_of_it_speaks_to_its_model_and_to_nobody_else(server: ModelServer, tmp_path: Path) -> None:
    """Neither for prices nor with what it learned about us: not at the import, not at a call, not at the end."""
    environment = {name: told for name, told in os.environ.items() if not name.lower().endswith("_proxy")}
    command = (sys.executable, "-W", "ignore", "-c", WATCHED, str(server.file(tmp_path)))
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) == ["127.0.0.1"]
    assert len(server.calls) == 1
