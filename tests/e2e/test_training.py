"""A stack with MLflow: simulated people use it, models are made of what they did, and somebody leaves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import called, kill, oo
from outside import eventually, settled, state_of, verify

from connectors.mlflow_store import MlflowStore
from connectors.model_registry import CHALLENGER, FolderRegistry, ModelRegistry, RegistryFault
from deploy import earned
from deploy.journal import newest_version
from deploy.keys import read_keys
from deploy.models.collected import VectorsDiffer, collect
from deploy.models.due import Due
from deploy.models.places import training_folder
from deploy.models.retiring import retire_outstayed
from deploy.models.run import alone
from deploy.stack.running import RunningStack, open_stack
from deploy.writing import writing
from oo.v1 import decision_pb2
from streams.frames import Frames
from streams.reader import read_partition
from streams.sealing import Sealing
from tests.patience import PATIENCE_S
from training.sets import person

pytestmark = pytest.mark.long(
    "tests/training/test_registry.py::test_versions_count_up_and_no_number_comes_twice",
    "tests/training/test_run.py::test_a_run_killed_at_any_step_changes_nothing_and_the_next_one_begins_anew",
    "tests/agents/test_score.py::test_the_newest_slate_of_a_person_is_scored_once_by_the_model_in_force_and_sealed",
)


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """With half a minute of simulated people behind it, which is six days of theirs."""
    with tempfile.TemporaryDirectory(prefix="oo-ml-") as folder:
        state = Path(folder) / "state"
        oo("up", "--detach", "--no-demo", "--ml", f"--state={state}")
        try:
            found = open_stack(state)
            called("simulate", "--json", "--users=60", "--minutes=0.4", "--speed=21600", "--run=ml", state_of(found))
            settled(found)
            yield found
        finally:
            oo("down", f"--state={state}")


def ask(stack: RunningStack, call: str, **said: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(
        f"{stack.mlflow_url}/api/2.0/mlflow/{call}", params=said, trust_env=False, timeout=30
    ).json()
    return found


def listed(stack: RunningStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(called("models", "list", "--json", state_of(stack)).stdout)
    return found


def files(folder: Path, said: str) -> Path:
    made = folder / f"made-{said}"
    (made / "plots").mkdir(parents=True)
    (made / "model.onnx").write_bytes(said.encode())
    (made / "plots" / "one.png").write_bytes(b"png")
    (made / "model.json").write_text(json.dumps({"model": said, "metrics": {"later.error": 0.5}, "erasures": 2}))
    return made


# The registry: a folder and MLflow, under the same suite


@pytest.fixture(params=["folder", "mlflow"])
def registry(request: pytest.FixtureRequest, stack: RunningStack, tmp_path: Path) -> ModelRegistry:
    if request.param == "folder":
        return FolderRegistry(tmp_path / "models")
    return MlflowStore(stack.mlflow_url, tmp_path / "copies")


def test_versions_count_up_and_an_alias_goes_with_its_version(registry: ModelRegistry, tmp_path: Path) -> None:
    name = "suite"
    assert [registry.register(name, files(tmp_path, said)) for said in "ab"] == [1, 2]
    registry.set_alias(name, "champion", 1)
    registry.set_alias(name, "champion", 2)
    registry.set_alias(name, "none", 1)
    registry.drop_alias(name, "none")
    first, second = registry.versions(name)
    assert (first.aliases, second.aliases) == ((), ("champion",))
    assert (first.about["version"], first.about["model"], first.about["metrics"]) == (1, "a", {"later.error": 0.5})
    registry.remove(name, 2)
    assert [(one.version, one.aliases) for one in registry.versions(name)] == [(1, ())]
    assert registry.register(name, files(tmp_path, "c")) == 3
    with pytest.raises(RegistryFault, match="there is no suite@2"):
        registry.set_alias(name, "champion", 2)
    assert registry.versions("nobody") == []


def test_what_is_fetched_is_what_was_registered_and_goes_with_its_version(stack: RunningStack, tmp_path: Path) -> None:
    store = MlflowStore(stack.mlflow_url, tmp_path / "copies")
    number = store.register("fetched", files(tmp_path, "x"))
    store.set_alias("fetched", CHALLENGER, number)
    assert "fetched" in store.names()
    assert store.aliased("fetched", CHALLENGER) == number
    assert store.aliased("fetched", "champion") is store.aliased("nobody", "champion") is None
    home = store.fetch("fetched", number)
    assert (home / "model.onnx").read_bytes() == b"x"
    assert json.loads((home / "model.json").read_text())["version"] == number
    assert store.fetch("fetched", number) == home
    store.remove("fetched", number)
    assert not home.exists()
    with pytest.raises(RegistryFault, match="there is no fetched@"):
        store.fetch("fetched", number)


def test_who_does_not_answer_is_said_with_what_to_do() -> None:
    with pytest.raises(RegistryFault, match=r"does not answer.*oo up --ml"):
        MlflowStore("http://127.0.0.1:9").versions()


def test_what_a_killed_run_left_in_mlflow_is_marked_by_the_next_one(stack: RunningStack, tmp_path: Path) -> None:
    store = MlflowStore(stack.mlflow_url, tmp_path / "copies")
    store.register("cut-off", files(tmp_path, "a"))
    experiment = ask(stack, "experiments/get-by-name", experiment_name="oo")["experiment"]["experiment_id"]
    said = {"experiment_id": experiment, "start_time": 1}
    made = httpx.post(f"{stack.mlflow_url}/api/2.0/mlflow/runs/create", json=said, trust_env=False).json()
    run = made["run"]["info"]["run_id"]
    place = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/model/model.onnx"
    assert httpx.put(place, content=b"half", trust_env=False).is_success
    store.register("cut-off", files(tmp_path, "b"))
    assert ask(stack, "runs/get", run_id=run)["run"]["info"]["status"] == "KILLED"
    assert not httpx.get(place, trust_env=False).is_success


def test_mlflow_answers_on_loopback_under_its_own_names_and_to_its_own_pages_alone(stack: RunningStack) -> None:
    place, said = f"{stack.mlflow_url}/api/2.0/mlflow/experiments/search", {"max_results": 1}

    def answer(**headers: str) -> int:
        return httpx.post(place, json=said, headers=headers, trust_env=False).status_code

    assert answer() == 200
    assert answer(Host="evil.example.com") == 403
    assert answer(Origin="http://evil.example.com") == 403
    pid = json.loads(called("status", "--json", state_of(stack)).stdout)["mlflow"]["pid"]
    assert b"postgresql" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children == []  # No process for jobs, and none that only waits.


# Training


@pytest.fixture(scope="module")
def trained(stack: RunningStack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        oo("train", "--json", "--name=tips", "--wait=2", "--model=linear", state_of(stack)).stdout
    )
    return found


def test_every_vector_is_that_of_the_live_decision(stack: RunningStack, trained: dict[str, Any]) -> None:
    audit = trained["audit"]
    assert audit["decisions"] > 800 and audit["vectors"] > audit["decisions"]
    assert (audit["differences"], audit["missing"]) == (0, 0)
    assert verify(stack)["differences"] == 0


def test_the_version_and_its_run_say_what_it_was_made_from(stack: RunningStack, trained: dict[str, Any]) -> None:
    (one,) = [one for one in listed(stack) if one["name"] == "tips"]
    assert one["aliases"] == [CHALLENGER] and one["due"] is None
    assert one["trained_on"]["journal"] == trained["ranges"]
    version = ask(stack, "model-versions/get", name="tips", version="1")["model_version"]
    assert json.loads({tag["key"]: tag["value"] for tag in version["tags"]}["oo.trained_on"]) == one["trained_on"]
    run = ask(stack, "runs/get", run_id=version["run_id"])["run"]
    assert run["info"]["status"] == "FINISHED"
    parameters = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert parameters["fingerprint"] == trained["fingerprint"] and len(parameters["commit"]) == 40
    metrics = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert metrics["earned.all.earned.low"] < metrics["earned.all.earned"] < metrics["earned.all.earned.high"]
    plots = ask(stack, "artifacts/list", run_id=version["run_id"], path="plots")["files"]
    assert {each["path"] for each in plots} == {"plots/calibration.png", "plots/earned.png"}
    told = called("models", "list", "tips", state_of(stack)).stdout
    assert told.startswith("tips@1  challenger, linear\n")


def test_mlflow_itself_loads_the_model_and_finds_the_answers_of_its_made_up_sample(
    stack: RunningStack, trained: dict[str, Any], tmp_path: Path
) -> None:
    program = """
import json, sys
import numpy as np
import mlflow
from tests.patience import PATIENCE_S
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/tips@challenger")
sample = json.load(open(mlflow.artifacts.download_artifacts("models:/tips@challenger/sample.json")))
said = model.predict({"features": np.array(sample["features"], np.float32)})["reward"][:, 0]
assert np.allclose(said, sample["reward"], atol=1e-6), said
print(model.metadata.signature.inputs.to_json())
"""
    done = subprocess.run(
        (sys.executable, "-c", program, stack.mlflow_url),
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": "/usr/bin:/bin"},
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (taken,) = json.loads(done.stdout)
    assert taken["name"] == "features" and taken["tensor-spec"]["dtype"] == "float32"


def test_one_run_at_a_time(stack: RunningStack, trained: dict[str, Any]) -> None:
    with alone(training_folder(stack)):
        done = called("train", "--name=tips", "--wait=2", "--model=linear", state_of(stack), check=False)
    assert done.returncode == 1
    assert "a training run is at work already" in done.stderr


def heard(stack: RunningStack) -> str:
    """What the newest version has decisions hear."""
    version = asyncio.run(newest_version(stack.cluster))
    return version.config.scoring.model if version else ""


def test_promote_and_rollback_reach_decisions_by_the_journal_and_the_registry_by_its_alias(
    stack: RunningStack, trained: dict[str, Any], tmp_path: Path
) -> None:
    said = called("models", "promote", "tips", state_of(stack)).stdout
    assert said == "tips@1 is the champion: the next version hears it\n"
    eventually(lambda: heard(stack), lambda model: model == "tips@1")
    assert "tips@1 heard by" in called("policies", state_of(stack)).stdout
    store = MlflowStore(stack.mlflow_url)
    store.register("tips", files(tmp_path, "other"))
    assert "tips@2 is the champion after tips@1" in called("models", "promote", "tips@2", state_of(stack)).stdout
    again = called("models", "promote", "tips@2", state_of(stack), check=False)
    assert again.returncode == 1 and "tips@2 is the champion already" in again.stderr
    refused = called("models", "retire", "tips@2", state_of(stack), check=False)
    assert "is the champion" in refused.stderr
    assert "tips@1 is the champion again" in called("models", "rollback", "tips", state_of(stack)).stdout
    assert called("models", "retire", "tips@2", state_of(stack)).stdout == "tips@2 is gone\n"
    assert [one["version"] for one in listed(stack) if one["name"] == "tips"] == [1]


def test_what_the_champion_expects_is_heard_by_the_next_decisions_and_explained(
    stack: RunningStack, trained: dict[str, Any]
) -> None:
    eventually(lambda: heard(stack), lambda model: model == "tips@1")
    called("simulate", "--users=12", "--minutes=0.15", "--speed=3600", "--run=heard", state_of(stack))
    settled(stack)

    def explained() -> list[dict[str, Any]]:
        people = (f"sim-heard-{number}" for number in range(12))
        done = (called("explain", "--json", f"--user={user}", state_of(stack), check=False) for user in people)
        return [json.loads(one.stdout) for one in done if one.returncode == 0]

    said = [one for one in explained() if one["scored_by"]]
    assert said and {one["scored_by"] for one in said} == {"tips@1"}
    assert all(one["chosen_again_the_same"] for one in said)
    for one in said:
        scored = [each for each in one["slate"] if "has_score" in each["features"]]
        assert bool(scored) != one["deaf"]
        # Units of 1/64; none where it is 0.
        assert all(64 * each["features"].get("score", 0.0) % 1 == 0 for each in scored)
    assert verify(stack)["differences"] == 0


def test_a_champion_that_the_registry_lost_or_named_by_itself_is_told(stack: RunningStack, tmp_path: Path) -> None:
    store = MlflowStore(stack.mlflow_url)
    number = store.register("lost", files(tmp_path, "a"))
    called("models", "promote", f"lost@{number}", state_of(stack))
    # MLflow drops the alias of a version that is deleted, without a word.
    store.remove("lost", number)
    told = called("models", "list", state_of(stack)).stdout
    assert f"decisions hear lost@{number}, and the registry does not have it any more" in told
    store.set_alias("tips", "champion", 1)
    assert (
        "the registry calls tips@1 the champion, and decisions do not hear it"
        in called("models", "list", state_of(stack)).stdout
    )
    called("models", "promote", "tips@1", state_of(stack))
    (one,) = [one for one in listed(stack) if one["name"] == "tips"]
    assert one["heard"] and "champion" in one["aliases"]
    assert "decisions do not hear" not in called("models", "list", state_of(stack)).stdout


def test_what_is_not_due_is_not_made_and_who_outstayed_goes_even_if_it_is_heard(
    stack: RunningStack, trained: dict[str, Any], tmp_path: Path
) -> None:
    before = listed(stack)
    assert called("train", "--name=tips", "--if-due=86400", state_of(stack)).stdout == "tips is not due\n"
    assert listed(stack) == before
    registry = MlflowStore(stack.mlflow_url, tmp_path / "copies")
    number = registry.register("outstayed", files(tmp_path, "old"))
    called("models", "promote", f"outstayed@{number}", state_of(stack))
    (one,) = registry.versions("outstayed")
    to_go = [Due(one, people=1, by_ms=5)]
    assert asyncio.run(retire_outstayed(stack, registry, to_go, now_ms=4)) == []
    assert heard_now(stack) == one.spelled
    assert asyncio.run(retire_outstayed(stack, registry, to_go, now_ms=5)) == [one]
    assert (heard_now(stack), registry.versions("outstayed")) == ("", [])
    called("models", "promote", "tips@1", state_of(stack))


def heard_now(stack: RunningStack) -> str:
    """What was said last, whether or not a version was made of it yet."""
    return earned.heard(asyncio.run(earned.promotions(stack.cluster)))


def test_somebody_who_leaves_has_every_model_from_before_go_and_is_in_none_that_comes(
    stack: RunningStack, trained: dict[str, Any]
) -> None:
    user = "sim-ml-7"

    def is_in() -> bool:
        found = asyncio.run(collect(stack, since=0, until=1 << 62, wait_ms=2000))
        return person(stack.pseudonym(user)) in found.rows.person.tolist()

    assert is_in()
    called("erase", "--user", user, "--yes", state_of(stack))

    def place() -> dict[str, Any]:
        said = json.loads(called("privacy", "status", "--user", user, "--json", state_of(stack)).stdout)
        return next(one for one in said["places"] if one["place"] == "trained models")

    found = eventually(place, lambda one: not one["gone"])
    assert found["found"].startswith("tips@1 may have been made with them: retired by ")
    (one,) = [one for one in listed(stack) if one["name"] == "tips"]
    assert one["due"]["people"] == 1
    settled(stack)
    again = json.loads(oo("train", "--json", "--name=tips", "--wait=2", "--model=linear", state_of(stack)).stdout)
    assert again["erasures"] == 1 and not is_in()
    new = max(one["version"] for one in listed(stack) if one["name"] == "tips")
    called("models", "promote", f"tips@{new}", state_of(stack))
    called("models", "retire", "tips@1", state_of(stack))
    assert place()["gone"]
    assert all(one["due"] is None for one in listed(stack) if one["name"] == "tips")
    assert "No model is heard any more" in called("models", "rollback", "tips", state_of(stack)).stdout
    eventually(lambda: heard(stack), lambda model: not model)
    assert verify(stack)["differences"] == 0


def test_mlflow_killed_comes_back_with_all_that_it_knew(stack: RunningStack, trained: dict[str, Any]) -> None:
    before = listed(stack)
    pid = json.loads(called("status", "--json", state_of(stack)).stdout)["mlflow"]["pid"]
    kill(pid)

    def there() -> list[dict[str, Any]]:
        done = called("models", "list", "--json", state_of(stack), check=False)
        return json.loads(done.stdout) if done.returncode == 0 else []

    assert eventually(there) == before


def test_a_difference_to_the_live_vectors_ends_the_run(stack: RunningStack, trained: dict[str, Any]) -> None:
    async def doctor() -> None:
        """A decision that is in the topic, and that the fold does not make."""
        cluster = stack.cluster
        async for records in read_partition(cluster, cluster.name("decisions"), 0):
            keys = await read_keys(cluster, stack.kek_dir, partition=0)
            for record in records:
                if not record.key:
                    continue
                one = Sealing(Frames(), keys).unframe("decisions", record.value, whose=record.key)
                assert isinstance(one, decision_pb2.Decision)
                one.decision_id = "f" * len(one.decision_id)
                async with writing(stack, client_id="doctor") as (producer, schemas):
                    value = Sealing(schemas, keys).frame("decisions", one, whose=record.key)
                    await producer.produce(cluster.name("decisions"), key=record.key, value=value)
                return

    before = listed(stack)
    asyncio.run(doctor())
    settled(stack)
    with pytest.raises(VectorsDiffer, match=r"1 of .* decisions have other features"):
        asyncio.run(collect(stack, since=0, until=1 << 62, wait_ms=2000))
    done = called("train", "--name=tips", "--wait=2", "--model=linear", state_of(stack), check=False)
    assert done.returncode == 1 and "'oo verify' shows what differs" in done.stderr
    assert listed(stack) == before
