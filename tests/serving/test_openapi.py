"""/openapi.json says what the edge does: schemathesis calls a whole edge by it, and looks for an answer that it does not say."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.stack.running import RunningStack
from tests.foreign import programs
from tests.patience import PATIENCE_S
from tests.serving.edges import LiveEdge
from tests.serving.topic import make_known
from tests.serving.valkeys import ValkeyServer

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent / "schemathesis"
METHODS = ("get", "head", "post", "delete", "patch")


@contextmanager
def a_new_tip_every_moment(edge: LiveEdge, user_id: str) -> Iterator[None]:
    """What the core would do: feedback takes the tip away, and the calls that follow from one need another."""
    ended = threading.Event()

    def put() -> None:
        number = 1
        while not ended.wait(0.2):
            edge.put_tip(user_id, number)
            number += 1

    thread = threading.Thread(target=put)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def scenarios(report: Path) -> Iterator[dict[str, Any]]:
    for line in report.read_text().splitlines():
        entry = json.loads(line)
        if "ScenarioFinished" in entry:
            yield entry["ScenarioFinished"]


SIGNALS = 'include-name = "POST /v1/signals"\n'


@pytest.mark.parametrize(
    "is_covered",
    [
        pytest.param(False, id="drawn signals"),
        pytest.param(
            True,
            id="every value of a signal",
            marks=pytest.mark.long(
                "tests/serving/test_openapi.py::test_no_call_that_the_document_allows_or_forbids_is_answered_in_another_way_than_it_says[drawn signals]",
                "tests/serving/test_signals.py::test_a_signal_past_its_bounds_is_422",
            ),
        ),
    ],
)
def test_no_call_that_the_document_allows_or_forbids_is_answered_in_another_way_than_it_says(
    servers: RunningStack, valkey: ValkeyServer, tmp_path: Path, *, is_covered: bool
) -> None:
    """All values of all fields of a signal, each allowed and forbidden, are a third of all calls and half of the time."""
    report, config = tmp_path / "report.ndjson", tmp_path / "schemathesis.toml"
    told = (HERE / "schemathesis.toml").read_text()
    assert SIGNALS in told
    config.write_text(told if is_covered else told.replace(SIGNALS, f"{SIGNALS}phases.coverage.enabled = false\n"))
    with (
        LiveEdge(tmp_path / "edge", valkey_url=valkey.url, stack=servers, stream_s_max=0.1) as edge,
        a_new_tip_every_moment(edge, "oa-tried"),
    ):
        edge.until_ready()
        make_known(servers.cluster, edge.parts.people, "oa-tried")
        command = (
            programs(HERE / "requirements.txt") / "st",
            f"--config-file={config}",
            "run",
            f"{edge.url}/openapi.json",
        )
        done = subprocess.run(
            (*command, "--report=ndjson", f"--report-ndjson-path={report}"),
            env={**os.environ, "OO_TOKEN": edge.token("oa-tried")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        document = edge.app.openapi()
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout + done.stderr
    operations = {f"{method.upper()} {path}" for path, one in document["paths"].items() for method in one}
    assert f"Selected: {len(operations)}/{len(operations)}" in done.stdout
    assert f"Tested: {len(operations)}" in done.stdout
    ran, followed = set(), set()
    for scenario in scenarios(report):
        label = scenario["recorder"]["label"]
        if scenario["status"] == "skip":
            # Nothing to give an example of, a draw of a sequence that came to nothing, and what the long tests alone try.
            assert (scenario["phase"], scenario.get("skip_reason")) in {
                ("examples", "No examples in schema"),
                ("stateful", None),
                ("coverage", "Disabled for this operation"),
            }
        else:
            ran.add((scenario["phase"], label))
        for case in scenario["recorder"].get("cases", {}).values():
            if case.get("transition"):
                followed.add(f"{case['value']['method']} {case['value']['path']}")
    covered = {label for phase, label in ran if phase == "coverage"}
    assert covered == (operations if is_covered else operations - {"POST /v1/signals"})
    assert {label for phase, label in ran if phase == "fuzzing"} == operations
    # Which calls follow others is drawn; of fifteen links some.
    assert "POST /v1/feedback" in followed and len(followed) > 1


def test_every_call_says_what_any_call_may_be_answered(edge: LiveEdge) -> None:
    for path, operations in edge.app.openapi()["paths"].items():
        assert ("head" in operations) == ("get" in operations), path
        for method, operation in operations.items():
            assert method in METHODS
            assert operation["responses"].keys() >= {"400", "408", "413", "431", "500", "503"}, (method, path)
            if "requestBody" in operation:
                assert "415" in operation["responses"]
                (content,) = operation["requestBody"]["content"].values()
                assert content["schema"]
                assert content.get("example") or content.get("examples")


def test_the_session_cookie_has_its_own_name(edge: LiveEdge) -> None:
    with edge.client() as client:
        (name,) = client.get("/").cookies.keys()
    assert edge.app.openapi()["components"]["securitySchemes"]["session"]["name"] == name


def test_the_documents_examples_of_signals_are_taken(whole_edge: LiveEdge) -> None:
    body = whole_edge.app.openapi()["paths"]["/v1/signals"]["post"]["requestBody"]["content"]["application/json"]
    with whole_edge.client("oa-examples") as client:
        for example in body["examples"].values():
            assert client.post("/v1/signals", json=example["value"]).status_code == 202
