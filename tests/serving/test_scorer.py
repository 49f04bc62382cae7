"""The scorer as a process: what it answers, to whom, and what it does when models, registries and loads go wrong."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from connectors.model_registry import CHAMPION
from tests.foreign import programs
from tests.patience import PATIENCE_S
from tests.serving.scorers import ROWS, D, Scorer, onnx_file, register, request, rewards

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
CLIENT = Path(__file__).resolve().parent / "tritonclient"


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    return {kind: onnx_file(kind) for kind in ("linear", "boosting", "net")}


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> Iterator[Scorer]:
    """One with `tips@1`, for tests that change nothing."""
    one = Scorer(tmp_path_factory.mktemp("scorer"))
    register(one.registry, files["boosting"])
    one.start()
    one.until("/v2/models/tips/ready")
    yield one
    one.end()


@pytest.fixture
def own(tmp_path: Path, files: dict[str, bytes]) -> Iterator[Scorer]:
    one = Scorer(tmp_path / "scorer", timeout_ms="60000")  # A crowded machine fails no request.
    register(one.registry, files["linear"])
    one.start()
    one.until("/v2/models/tips/ready")
    yield one
    if one.process.poll() is None:
        one.end()


def test_it_answers_as_the_model_does(scorer: Scorer, files: dict[str, bytes]) -> None:
    from training.export import answers

    found = rewards(scorer.infer(version=1))
    assert (found == rewards(scorer.infer())).all()
    assert np.abs(found - answers(files["boosting"], ROWS)).max() < 1e-6
    assert scorer.metric('oo_scorer_requests_total{model="tips",status="200"}') >= 2


def test_tritonclient_reads_and_asks_it_with_equal_bits_in_json_and_binary(scorer: Scorer) -> None:
    command = (programs(CLIENT / "requirements.txt") / "python", CLIENT / "ask.py", str(scorer.port), "tips", str(D))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [found[name] for name in ("live", "ready", "model", "version", "none")] == [True, True, True, True, False]
    assert found["server"]["name"] == "oo-scorer"
    assert (found["metadata"]["version"], found["metadata"]["inputs"][0]["shape"]) == ("1", [-1, D])
    mine = rewards(scorer.infer(ROWS[:20])).tobytes().hex()
    assert {found[way] for way in ("00", "01", "10", "11", "as-it-comes")} == {mine}
    assert (found["wide"][0], found["unknown"][0], found["late"][0]) == ("400", "404", "504")
    assert f"[n, {D}]" in found["wide"][1]


def body(**changed: Any) -> bytes:
    tensor = {**request(ROWS[:1])["inputs"][0], **changed}
    return json.dumps({"inputs": [tensor]}).encode()


WRONG: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "no JSON": (b"{", {}, 400, "not JSON"),
    "no object": (b"[]", {}, 400, "JSON object"),
    "no input": (b"{}", {}, 400, "one input"),
    "another name": (body(name="x"), {}, 400, "features"),
    "another type": (body(datatype="FP64"), {}, 400, "FP32"),
    "another width": (body(shape=[1, D + 1]), {}, 400, f"[n, {D}]"),
    "no rows": (body(shape=[0, D], data=[]), {}, 400, "n from 1"),
    "too many rows": (body(shape=[100_000, D]), {}, 400, "n from 1 to 1024"),
    "a bool for a number": (body(shape=[True, D]), {}, 400, "n from 1"),
    "too few numbers": (body(data=[0.5]), {}, 400, "1 numbers"),
    "words": (body(data=["0.5"] * D), {}, 400, "list of numbers"),
    "ragged rows": (body(data=[[1], [1, 2]]), {}, 400, "list of numbers"),
    "no numbers": (body(data=None), {}, 400, "list of numbers"),
    "not finite": (body(data=[1e300] * D), {}, 400, "finite"),
    "NaN": (body(data=[float("nan")] * D), {}, 400, "finite"),
    "deep": (b"[" * 100_000, {}, 400, "not JSON"),
    "binary that is missing": (body(parameters={"binary_data_size": 4 * D}), {}, 400, "binary_data_size"),
    "a length that is none": (body(), {"inference-header-content-length": "-1"}, 400, "whole number"),
    "a length past the end": (body(), {"inference-header-content-length": "99999999"}, 400, "at most"),
    "compressed": (body(), {"content-encoding": "gzip"}, 415, "as they are"),
    "too much": (b" " * (17 * 2**20), {}, 413, "fewer rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_it_cannot_answer_is_refused_with_a_word_on_what_to_do(scorer: Scorer, name: str) -> None:
    content, headers, status, word = WRONG[name]
    answer = scorer.client.post("/v2/models/tips/infer", content=content, headers=headers)
    assert (answer.status_code, answer.json().keys()) == (status, {"error"}), answer.text
    assert word in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v2/models/none", "oo models promote"),
        ("/v2/models/tips/versions/99", "there is no tips@99"),
        ("/v2/models/tips/versions/x", "whole number"),
        ("/v2/models/..%2f..%2fetc/versions/1", ""),
        ("/elsewhere", "/v2/models/NAME/infer"),
    ],
)
def test_what_is_not_there_is_404_in_the_protocols_words(scorer: Scorer, path: str, word: str) -> None:
    answer = scorer.client.get(path)
    assert answer.status_code == 404 and word in answer.json()["error"]


def test_binary_in_and_out_by_hand(scorer: Scorer) -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "features", "shape": [2, D], "datatype": "FP32", "parameters": {"binary_data_size": 8 * D}}
            ],
            "outputs": [{"name": "reward", "parameters": {"binary_data": True}}],
        }
    ).encode()
    answer = scorer.client.post(
        "/v2/models/tips/infer",
        content=head + ROWS[:2].tobytes(),
        headers={"inference-header-content-length": str(len(head))},
    )
    at = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:at])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<2f", answer.content[at:]) == tuple(rewards(scorer.infer(ROWS[:2])))


def test_a_swap_under_load_fails_no_request_and_never_mixes_versions(own: Scorer, files: dict[str, bytes]) -> None:
    statuses, versions, ended = Counter[int](), list[list[str]](), threading.Event()

    def ask() -> None:
        mine = list[str]()
        versions.append(mine)
        with httpx.Client(base_url=own.client.base_url, trust_env=False, timeout=30) as client:
            while not ended.is_set():
                answer = client.post("/v2/models/tips/infer", json=request(ROWS[:20]))
                statuses[answer.status_code] += 1
                mine.append(answer.json()["model_version"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    try:
        for kind in ("boosting", "net", "linear"):
            own.until_champion(register(own.registry, files[kind]))
        # And back, which is a roll-back.
        own.registry.set_alias("tips", CHAMPION, 1)
        own.until_champion(1)
    finally:
        ended.set()
        for one in threads:
            one.join()
    assert statuses.keys() == {200} and sum(statuses.values()) > 20
    assert {"1", "2"} <= {one for mine in versions for one in mine} <= {"1", "2", "3", "4"}
    assert rewards(own.infer(version=3)).shape == (len(ROWS),)


def test_a_version_that_cannot_be_served_is_refused_while_the_one_before_goes_on(
    own: Scorer, files: dict[str, bytes]
) -> None:
    before = rewards(own.infer())
    bad = [
        register(own.registry, b"no model"),
        register(own.registry, files["linear"], features=["one"]),
        register(own.registry, files["linear"], features=None),
    ]
    mistaken = register(own.registry, files["linear"])
    (own.registry.folder / "tips" / str(mistaken) / "model.onnx").write_bytes(files["net"])
    for number in (*bad, mistaken):
        own.registry.set_alias("tips", CHAMPION, number)
        until_s = time.monotonic() + 60
        while f"model=tips@{number} serves=tips@1" not in (own.folder / "log").read_text():
            assert time.monotonic() < until_s, (own.folder / "log").read_text()
            time.sleep(0.05)
        answer = own.infer(version=number)
        assert answer.status_code in (404, 503) and f"tips@{number}" in answer.json()["error"]
        assert (rewards(own.infer()) == before).all()
    assert own.metric('oo_scorer_refused_version{model="tips"}') == 1
    assert own.status("/v2/health/ready") == 200
    own.until_champion(register(own.registry, files["net"]))
    assert own.metric('oo_scorer_refused_version{model="tips"}') == 0


def test_killed_it_is_there_again_with_the_same_bits_also_without_its_registry(own: Scorer) -> None:
    before = rewards(own.infer())
    own.end(signal.SIGKILL)
    shutil.move(own.registry.folder / "tips" / "1", own.folder / "lost")
    shutil.rmtree(own.registry.folder)
    own.registry.folder.write_text("away")  # A folder that is none: it cannot be listed.
    own.start()
    own.until("/v2/models/tips/ready")
    assert (rewards(own.infer()) == before).all()


def test_a_model_whose_alias_goes_is_served_by_its_number_only(own: Scorer) -> None:
    own.registry._write_aliases("tips", {})
    own.until("/v2/models/tips/ready", 404)
    assert own.infer(version=1).status_code == 200


def test_more_than_may_wait_is_shed_and_what_is_late_is_told_so_in_time(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    # The first of a batch waits a second for company, so that rows pile up.
    one = Scorer(tmp_path / "scorer", waiting_rows_max="100", batch_wait_ms="1000", timeout_ms="5000")
    register(one.registry, files["linear"])
    one.start()
    one.until("/v2/models/tips/ready")
    answers = list[httpx.Response]()
    threads = [threading.Thread(target=lambda: answers.append(one.infer(ROWS))) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Counter(each.status_code for each in answers) == {200: 2, 429: 4}
    shed = next(each for each in answers if each.status_code == 429)
    assert (shed.headers["retry-after"], "error" in shed.json()) == ("1", True)
    late = one.infer(ROWS, parameters={"timeout": 50_000})
    assert (late.status_code, late.elapsed.total_seconds() < 0.9) == (504, True)
    assert one.infer(ROWS).status_code == 200
    one.end()


def test_settings_that_are_missing_are_named(tmp_path: Path) -> None:
    one = Scorer(tmp_path / "scorer", rows_max="0")
    one.start()
    assert one.process.wait(60) == 1
    assert "OO_SCORER_ROWS_MAX" in (one.folder / "log").read_text()
