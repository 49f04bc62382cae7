"""A stack with a language model: the small one on this machine, by its own part of the stack, and another behind the same alias."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal, Self

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from command import called, kill, oo
from outside import console_link, eventually, send, state_of, task, worker_pid
from playwright.sync_api import expect, sync_playwright

from deploy.stack.running import RunningStack, open_stack
from streams.reader import end_offsets
from tests.model_server import ModelServer

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
CANARY = "Feed the turquoise canary"
WRITTEN = {"title": "Stretch for two minutes", "detail": "A short break helps.", "about": ["t1"]}

LONG = pytest.mark.long(
    "tests/agents/test_generate.py::test_a_request_is_one_call_and_one_answer_that_only_its_person_s_key_opens"
)
"""All that asks the small model, on a stack of its own."""


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


@LONG
def test_the_small_model_is_asked_and_nothing_around_it_keeps_what_was_asked(stack: RunningStack) -> None:
    shown = json.loads(called("status", "--json", state_of(stack)).stdout)
    assert shown["llm"]["ready"] and any(one["id"] == "generate" for one in shown["workers"])
    assert "ok    language model: local" in called("doctor", state_of(stack), check=False).stdout
    send(stack, "signals", task("ann", "1", CANARY), task("ann", "2", "Water the plants"))
    eventually(lambda: answers(stack))
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


@LONG
def test_another_model_is_a_line_in_the_file_and_its_tips_are_scored_beside_the_tasks(stack: RunningStack) -> None:
    with ModelServer() as server:
        server.says = lambda _: json.dumps({"tips": [WRITTEN]})
        path = stack.folder.llm_file
        here = json.loads(path.read_text())["model_list"][0]["litellm_params"]["api_base"]
        path.write_text(path.read_text().replace(here, server.url))
        kill(worker_pid(stack, "generate"))
        send(stack, "signals", task("ben", "1", "Call the dentist"), task("ben", "2", "Water the plants"))
        eventually(lambda: server.calls)
        eventually(lambda: answers(stack).get("tips"))
        query = "SELECT count(*) FROM recommender.tip_scores WHERE kind = 'GENERATED' AND eligible"
        unnamed = "SELECT count(*) FROM recommender.tip_scores WHERE (kind = 'GENERATED') IS DISTINCT FROM (prompt_version <> '' AND llm_model <> '')"
        with psycopg.connect(stack.recommender_dsn) as database:
            eventually(lambda: database.execute(query).fetchall() != [(0,)])
            assert database.execute(unnamed).fetchall() == [(0,)]


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")
@LONG
@pytest.mark.parametrize(("size", "scheme"), [((1280, 900), "light"), ((390, 844), "dark")], ids=["desktop", "phone"])
def test_an_operator_sees_who_is_asked_and_what_came_of_it_and_why_says_who_wrote_what(
    stack: RunningStack, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    why = json.loads(called("explain", "--user=ben", "--json", state_of(stack)).stdout)
    written = {one["kind"]: one["written_by"] for one in why["slate"]}
    assert re.fullmatch(
        r"Written by a language model: tip-generator by the prompt one-step@\w{12}, drawn for it with 1 of 1\.",
        written.pop("GENERATED"),
    )
    assert not any(written.values())
    assert "Written by a language model: tip-generator" in called("explain", "--user=ben", state_of(stack)).stdout
    with console_link(stack) as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, locale="en-GB")
        faults: list[str] = []
        page.on("console", lambda one: faults.append(one.text) if one.type in ("error", "warning") else None)
        eventually(lambda: page.goto(link))
        page.get_by_role("navigation").get_by_role("link", name="Models", exact=True).press("Enter")
        expect(page.get_by_role("row", name=re.compile("^one-step@.* tip-generator 100 %"))).to_be_visible(
            timeout=30_000
        )
        expect(page.get_by_text(re.compile("calls? since .* each"))).to_be_visible()
        expect(page.get_by_role("row", name=re.compile("^tip-generator .*of [0-9,]+ .*well [1-9]"))).to_be_visible()
        expect(page.get_by_text("tips came")).to_be_visible()
        expect(page.get_by_text(re.compile("a model wrote|No model has written"))).to_be_visible()
        assert Axe().run(page).violations_count == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if os.environ.get("OO_RENEW_SCREENSHOTS") == "1":
            name = "desktop" if size[0] > 500 else "phone"
            page.screenshot(path=SCREENSHOTS / f"console-models-{name}.png", full_page=True)
        browser.close()
        assert faults == []


class Elsewhere:
    """Plays a model elsewhere: speaks Anthropic's protocol on this machine, and counts what reaches it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """Key and body."""
        self.says = {"tips": [{"title": "Look up the opening hours", "detail": "", "about": ["t1"]}]}
        self.status = 200
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                place.calls.append((self.headers["x-api-key"], body))
                tool = json.loads(body)["tools"][0]["name"]
                said = {"type": "tool_use", "id": "1", "name": tool, "input": place.says}
                used = {"input_tokens": 400, "output_tokens": 30}
                about = {"id": "1", "type": "message", "role": "assistant", "model": "far-1", "stop_reason": "tool_use"}
                data = json.dumps({**about, "stop_sequence": None, "content": [said], "usage": used}).encode()
                self.send_response(place.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def file(self, folder: Path) -> Path:
        """A litellm.yaml of it."""
        params = {"model": "anthropic/far", "api_base": f"http://127.0.0.1:{self._server.server_address[1]}"}
        path = folder / "elsewhere.yaml"
        path.write_text(json.dumps({"model_list": [{"model_name": "tip-generator", "litellm_params": params}]}))
        return path


def ends(stack: RunningStack) -> dict[str, dict[int, int]]:
    """Where each topic ends, but for notes and what goes on by itself."""

    async def read() -> dict[str, dict[int, int]]:
        names = {name: topic.name for name, topic in stack.cluster.topics.items()}
        ours = ("journal", "decisions", "candidate-requests", "model-budget", "tips", "outcomes")
        return {name: dict(await end_offsets(stack.cluster, names[name])) for name in ours}

    return asyncio.run(read())


def audited(stack: RunningStack) -> list[str]:
    return [one["command"] for one in json.loads(called("audit", "--json", state_of(stack)).stdout)]


@LONG
def test_logged_requests_are_answered_again_by_a_model_elsewhere_offline_and_with_its_key_alone(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = f"asked-{uuid.uuid4().hex[:8]}"
    before = answers(stack)
    send(stack, "signals", task(user, "1", "Call the dentist"), task(user, "2", "Water the plants"))
    eventually(lambda: answers(stack) != before)
    with Elsewhere() as far:
        path = far.file(tmp_path)
        ask = ("replay", "ask", "--prompt=tips", f"--llm={path}", f"--users={user}", "--json", state_of(stack))
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        refused = oo(*ask, "--yes", check=False)
        assert refused.returncode == 1 and "ANTHROPIC_API_KEY is not set" in refused.stderr
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-far")
        # A live worker takes it with its key neither.
        live = oo("up", f"--llm={path}", f"--state={tmp_path}/s", check=False)
        assert live.returncode == 1 and "anthropic is not a server of your own" in live.stderr
        assert subprocess.run(
            (sys.executable, "-m", "deploy.cli", *ask), input="n\n", text=True, check=False
        ).returncode
        assert far.calls == []

        at = ends(stack)
        said = json.loads(oo(*ask, "--yes").stdout)
        assert (said["requests"], said["people"], said["now"]["answered"], said["now"]["tips"]) == (1, 1, 1, 1)
        assert (said["now"]["tokens_in"], said["now"]["tokens_out"], said["stopped"]) == (400, 30, "all were asked")
        assert said["then"]["answered"] + sum(said["then"]["without"].values()) == 1
        ((key, body),) = far.calls
        assert key == "sk-far" and "Call the dentist" in body and user not in body and "todo.txt" not in body
        assert ends(stack) == at
        assert [one for one in audited(stack) if "requests 1, people 1, to tip-generator, anthropic/far" in one]

        # Guards hold back here as they do live.
        far.says = {"tips": [{"title": "Mail ann@example.org", "detail": "", "about": ["t1"]}]}
        held = json.loads(oo(*ask, "--yes").stdout)["now"]
        assert (held["answered"], held["without"], sum(held["held_back"].values())) == (0, {"held-back": 1}, 1)
        # Nothing goes out that the tokens do not reach for.
        calls = len(far.calls)
        short = json.loads(oo(*ask, "--yes", "--tokens=200").stdout)
        assert (short["requests"], short["stopped"], len(far.calls)) == (0, "the tokens are spent", calls)
        # Nobody is asked for who does not allow it any more.
        called("profile", "--user", user, "--consent", "generated=off", state_of(stack))
        gone = oo(*ask, "--yes", check=False)
        assert gone.returncode == 1 and "none may be asked again (1 withdrawn)" in gone.stderr
        assert len(far.calls) == calls


@LONG
def test_a_prompt_is_tried_on_logged_requests_with_the_model_that_is_asked(stack: RunningStack) -> None:
    said = called("replay", "ask", "--prompt=one-step", "--sample=2", state_of(stack)).stdout
    assert "requests with a tip" in said and "estimates words, not what people would have done" in said
    refused = called("replay", "ask", "--prompt=none-such", state_of(stack), check=False)
    assert refused.returncode == 1 and "no prompt none-such" in refused.stderr


@LONG
def test_requests_of_a_run_are_held_against_those_that_stand(stack: RunningStack) -> None:
    called("replay", "run", "--name=asked", state_of(stack))
    found = json.loads(called("replay", "verify", "asked", "--json", state_of(stack)).stdout)
    assert found["difference"] == "" and found["requests"] > 0
    (file,) = [
        one
        for one in stack.folder.root.glob("replays/asked/partition-*/requests-*.parquet")
        if pq.read_table(one).num_rows
    ][:1]
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    found = json.loads(called("replay", "verify", "asked", "--json", state_of(stack), check=False).stdout)
    assert re.search("^request .* of partition", found["difference"])
    called("replay", "rm", "asked", state_of(stack))


def test_a_model_elsewhere_is_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = oo("up", "--llm=https://api.example.org/v1", f"--state={tmp_path}/s", check=False)
    assert refused.returncode == 1 and "is not near" in refused.stderr
    path = tmp_path / "litellm.yaml"
    path.write_text("model_list: [{model_name: tip-generator, litellm_params: {model: anthropic/x, api_key: k}}]")
    refused = oo("up", f"--llm={path}", f"--state={tmp_path}/s", check=False)
    assert refused.returncode == 1 and "anthropic is not a server of your own" in refused.stderr
