"""`oo tip`, `oo react` and `oo token` as a person runs them, against a real edge."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from command import called, oo

from deploy.stack.local import SERVER_PORTS
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder
from oo.v1 import decision_pb2, reaction_pb2
from tests.serving.edges import LiveEdge
from tests.serving.topic import messages
from tests.serving.valkeys import ValkeyServer

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    folder = StateFolder(tmp_path_factory.mktemp("commands") / "state")
    folder.create()
    folder.keys()
    return folder


@pytest.fixture(scope="module")
def local_edge(folder: StateFolder, valkey: ValkeyServer, servers: RunningStack) -> Iterator[LiveEdge]:
    """An edge that a state folder tells of, as the supervisor would."""
    with (
        folder.lock(),
        LiveEdge(folder.root / "edge", valkey_url=valkey.url, stack=servers, key=folder.signing_key_file) as edge,
    ):
        folder.write({"ports": {**servers.ports, "edge": edge.port}, "prefix": "oo.", "phase": "ready", "ready": True})
        edge.until_ready()
        yield edge


@pytest.fixture(scope="module")
def run(folder: StateFolder, local_edge: LiveEdge) -> Run:
    def call(*arguments: str, check: bool = True) -> CompletedProcess[str]:
        return called(*arguments, f"--state={folder.root}", check=check)

    return call


def kinds(stack: RunningStack, user: str) -> list[str]:
    found = messages(stack, "reactions", reaction_pb2.Reaction, user_id=user)
    return [reaction_pb2.Reaction.Kind.Name(one.kind).lower() for one in found]


def test_the_tip_is_shown_with_its_reasons_and_told_as_seen(
    run: Run, local_edge: LiveEdge, servers: RunningStack
) -> None:
    local_edge.put_tip("cm-tip", 1, title="Water\x1b[31m the\x9b0m plants", why=["Due today"])
    printed = run("tip", "--user", "cm-tip").stdout
    assert "Water [31m the 0m plants" in printed
    assert "Due today" in printed
    assert "\x1b" not in printed
    assert kinds(servers, "cm-tip") == ["seen"]


def test_json_is_what_the_edge_answers(run: Run, local_edge: LiveEdge) -> None:
    local_edge.put_tip("cm-json", 1)
    found = json.loads(run("tip", "--user", "cm-json", "--json").stdout)
    with local_edge.client("cm-json") as client:
        assert found == client.get("/v1/tip").json()
    assert json.loads(run("tip", "--user", "cm-nobody", "--json").stdout) is None


def test_with_a_tip_to_begin_with_comes_what_to_do_next(run: Run, local_edge: LiveEdge) -> None:
    local_edge.put_tip("cm-begin", 1, kind=decision_pb2.Decision.STARTER, source="oo")
    assert "'oo import todo.txt'" in run("tip", "--user", "cm-begin").stdout
    local_edge.put_tip("cm-begin", 2)
    assert "oo import" not in run("tip", "--user", "cm-begin").stdout


def test_nothing_worth_doing_is_no_error_but_waiting_in_vain_is(run: Run) -> None:
    done = run("tip", "--user", "cm-none")
    assert "Nothing worth doing now" in done.stdout
    done = run("tip", "--user", "cm-none", "--wait", "0.3", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("oo: no tip within 0.3 s")


def test_waiting_ends_as_soon_as_there_is_a_tip(run: Run, local_edge: LiveEdge) -> None:
    later = threading.Timer(1.0, local_edge.put_tip, ("cm-wait", 1))
    later.start()
    assert "Tip 1" in run("tip", "--user", "cm-wait", "--wait", "60").stdout
    later.join()


def test_a_reaction_goes_to_the_current_tip_and_the_next_is_shown(
    run: Run, local_edge: LiveEdge, servers: RunningStack
) -> None:
    local_edge.put_tip("cm-react", 1, title="First")

    def answer() -> None:
        while not kinds(servers, "cm-react"):
            time.sleep(0.05)
        local_edge.put_tip("cm-react", 2, title="Second")

    core = threading.Thread(target=answer)
    core.start()
    printed = run("react", "done", "--user", "cm-react").stdout
    core.join()
    assert "Done: First" in printed
    assert "Second" in printed
    assert kinds(servers, "cm-react") == ["done", "seen"]


def test_a_snooze_takes_a_time(run: Run, local_edge: LiveEdge, servers: RunningStack) -> None:
    decision_id = local_edge.put_tip("cm-snooze", 1)
    run("react", "snooze", "--user", "cm-snooze", "--tip", decision_id, "--until", "2h")
    (reaction,) = messages(servers, "reactions", reaction_pb2.Reaction, user_id="cm-snooze")
    assert abs(reaction.snooze_until.seconds - time.time() - 7200) < 120


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("react", "done"), 1, "there is no tip to react to"),
        (("react", "done", "--tip", "unknown"), 1, "No decision with this id"),
        (("react", "love"), 2, "love"),
        (("react", "snooze", "--tip", "x", "--until", "someday"), 2, "no time"),
        (("react", "snooze", "--tip", "x", "--until", "2001-01-01"), 2, "has passed"),
        (("react", "done", "--tip", "x", "--until", "1h"), 2, "snooze only"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run: Run, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = run(*arguments, "--user", "cm-wrong", check=False)
    assert done.returncode == status
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_token_is_good_for_curl(run: Run, local_edge: LiveEdge) -> None:
    token = run("token", "--user", "cm-token").stdout
    assert token.count("\n") == 1
    answer = httpx.get(f"{local_edge.url}/v1/tip", headers={"authorization": f"Bearer {token.strip()}"})
    assert answer.status_code == 204


def test_an_edge_that_is_gone_is_said_in_a_line(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    folder.keys()
    with folder.lock():
        ports = dict.fromkeys((*SERVER_PORTS, "edge"), 1)
        folder.write({"ports": ports, "prefix": "oo.", "phase": "ready", "ready": True})
        done = oo("tip", "--user", "ada", f"--state={folder.root}", check=False)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
