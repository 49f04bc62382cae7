"""`oo lake import`: the estimates of vw-estimators on the same files, joined or not; what cannot be used is counted; a long file takes no more memory."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import estimators
import numpy as np
import pytest
from command import ROOT, called
from estimators.bandits import gaussian, snips

from agents.active_version import ActiveVersion
from agents.features import PLACE
from agents.learn import NotSums, begun_with
from oo.v1.policy_pb2 import PolicyVersion
from tests.agents.test_learn import sums, versions

N = 3_000
TELLS_ITS_PEAK = """
import resource
from deploy import cli
try:
    cli.main()
except SystemExit:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def events(n: int = N, *, seed: int = 3, wrong: bool = False) -> list[dict[str, Any]]:
    """A log of a policy that prefers some of three to six actions, as Personalizer wrote it: the keys in its order, probabilities of 32 bits with six
    digits. `wrong`: each propensity is that of another action."""
    rng, found = np.random.default_rng(seed), []
    for number in range(n):
        k = int(rng.integers(3, 7))
        p = rng.dirichlet(np.ones(k)) * 0.8 + 0.2 / k
        chosen = int(rng.choice(k, p=p))
        order = [chosen, *(one for one in range(k) if one != chosen)]
        reward = float(rng.random() < 0.2 + 0.1 * chosen) * float(rng.choice([1, 0.5]))
        told = p[np.roll(order, 1)] if wrong else p[order]
        label = {
            "_label_cost": -reward if reward else 0,
            "_label_probability": float(np.float32(told[0])),
            "_label_Action": chosen + 1,
            "_labelIndex": chosen,
        }
        rest = {
            "Timestamp": "2019-04-02T16:15:43.0310000Z",
            "Version": "1",
            "EventId": f"event{number:06}",
            "a": [one + 1 for one in order],
            "c": {"User": {"morning": number % 2 == 0}, "_multi": [{"Action": {"n": at}} for at in range(k)]},
            "p": [float(f"{one:.6f}") for one in told],
            "VWState": {"m": "model"},
        }
        found.append({**label, **rest})
    return found


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def imported(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        called("lake", "import", "--format=dsjson", "--json", *map(str, arguments)).stdout
    )
    return found


def theirs(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """What vw-estimators' own program says of a file."""
    home = Path(estimators.__file__).parent
    monkeypatch.syspath_prepend(str(home))
    spec = importlib.util.spec_from_file_location("basic_usage", home / "basic-usage.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    capsys.readouterr()
    program.compute_estimates(str(path))
    told = re.sub(r"np\.float64\(([^)]*)\)", r"\1", capsys.readouterr().out)
    said = re.findall(r"^(\w[\w ]+?): ?\[?([-0-9., e]+)\]?$", told, re.MULTILINE)
    return {name: [float(one) for one in values.split(",")] for name, values in said}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_estimates_are_those_of_vw_estimators_on_the_same_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = events()
    for one in lines[::7]:
        one["_label_cost"] = -0.25
    # Of these it learns nothing either: never activated, and a reward that no decision was found for.
    skipped = {**{key: lines[0][key] for key in list(lines[0])[:4]}, "_skipLearn": True, **lines[0]}
    dangling = {"RewardValue": 1.0, "EnqueuedTimeUtc": "2019-04-02T16:15:43.0310000Z", "EventId": "nobody"}
    path = write(tmp_path / "joined.json", [*lines, skipped, dangling])
    ours, oracle = imported(path), theirs(path, capsys, monkeypatch)
    assert ours["events"] == N
    assert (ours["counts"]["never activated"], ours["counts"]["dangling reward"], ours["bad"]) == (1, 1, 0)
    for name, policy in (("online", "logged"), ("baseline1", "first action"), ("baselineR", "at random")):
        for kind in ("ips", "snips"):
            assert ours["policies"][policy][kind]["value"] == pytest.approx(oracle[f"{name}_{kind}"][0], abs=1e-6)
    for name, policy in (("baseline1", "first action"), ("baselineR", "at random")):
        found = ours["policies"][policy]["ips"]
        assert [found["low"], found["high"]] == pytest.approx(oracle[f"{name} gaussian ci"], abs=1e-6)
    assert abs(ours["weight_z"]) < 4
    assert ours == {**imported(write(tmp_path / "joined.json.gz", [*lines, skipped, dangling]))}


def test_a_log_that_is_not_joined_gives_the_same_and_what_was_dropped_is_weighed(tmp_path: Path) -> None:
    lines = events(600)
    label = ("_label_cost", "_label_probability", "_label_Action", "_labelIndex")
    decisions = [{key: value for key, value in one.items() if key not in label} for one in lines]
    for one, bare in zip(lines, decisions, strict=True):
        one["_label_probability"] = bare["p"][0]
    rewards = [{"EventId": one["EventId"], "v": -one["_label_cost"]} for one in lines if one["_label_cost"]]
    late = [{**one, "v": 7.0, "EnqueuedTimeUtc": "2099-01-01T00:00:00Z"} for one in rewards[:5]]
    deferred = [{**bare, "EventId": f"{bare['EventId']}-d", "DeferredAction": True} for bare in decisions[:4]]
    taken = [{"EventId": deferred[0]["EventId"], "ActionTaken": True}, {"EventId": deferred[1]["EventId"], "v": 1.0}]
    nobody = [{"EventId": "nobody", "v": 1.0}]
    apart = [
        write(tmp_path / "observations.json", [*late, *rewards, *taken, *nobody]),
        write(tmp_path / "interactions.json", [*decisions, *deferred, decisions[0]]),
    ]
    found, whole = imported(*apart), imported(write(tmp_path / "joined.json", [*lines, {**lines[0], "_label_cost": 0}]))
    assert found["counts"] | {"without a reward": 0} == found["counts"] | {
        "without a reward": 0,
        "never activated": 3,
        "dangling reward": 1,
        "decision twice": 1,
    }
    assert found["events"] == 601
    for policy, told in whole["policies"].items():
        for kind in ("ips", "snips"):
            assert found["policies"][policy][kind] == pytest.approx(told[kind], abs=1e-9)
    summed = imported(*apart, "--reward=sum")["policies"]["logged"]["ips"]["value"]
    assert summed == pytest.approx(found["policies"]["logged"]["ips"]["value"] + 35 / 601)

    # Every other decision that stands for four counts as four.
    for one in lines[::2]:
        one["pdrop"] = 0.75
    mine = imported(write(tmp_path / "dropped.json", lines))["policies"]["at random"]
    oracle, normalized = gaussian.Interval(), snips.Estimator()
    for one in lines:
        told = {"p_log": one["_label_probability"], "r": -one["_label_cost"], "p_pred": 1 / len(one["a"])}
        oracle.add_example(**told, p_drop=one.get("pdrop", 0))
        for _ in range(4 if "pdrop" in one else 1):
            normalized.add_example(**told)
    assert mine["ips"]["value"] == pytest.approx(sum(oracle.get()) / 2, abs=1e-6)
    assert mine["snips"]["value"] == pytest.approx(normalized.get(), abs=1e-6)


def test_bad_lines_are_named_and_counted_and_wrong_propensities_are_alerted_on(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", events(200))
    with path.open("ab") as file:
        file.write(
            b'not json\n\n{"_label_cost":0,"_label_probability":0,"_label_Action":1,"_labelIndex":0,"a":[1],"c":{},"p":[1]}\n'
        )
    told = called("lake", "import", "--format=dsjson", str(path)).stdout
    assert "200 decisions count, of 202 lines; 2 could not be used" in told
    assert f"{path}:201: no JSON" in told
    assert f"{path}:203: _label_probability is 0" in told
    assert "NOTE" not in told
    assert (
        "NOTE: the mean weight"
        in called("lake", "import", "--format=dsjson", str(write(tmp_path / "wrong.json", events(wrong=True)))).stdout
    )


def test_a_log_of_several_slots_is_refused_with_its_line(tmp_path: Path) -> None:
    slots = {"Timestamp": "2019-01-01T00:00:00Z", "c": {"_multi": [{}], "_slots": [{}]}, "_outcomes": []}
    done = called(
        "lake", "import", "--format=dsjson", str(write(tmp_path / "ccb.json", [*events(2), slots])), check=False
    )
    assert done.returncode == 1
    assert "ccb.json:3: a log of several slots" in done.stderr
    empty = called("lake", "import", "--format=dsjson", str(write(tmp_path / "no.json", [])), check=False)
    assert (empty.returncode, "none of 0 lines" in empty.stderr) == (1, True)
    missing = called("lake", "import", "--format=dsjson", str(tmp_path / "nowhere"), check=False)
    assert (missing.returncode, "cannot be read" in missing.stderr) == (1, True)


@pytest.mark.long("tests/deploy/test_decision_logs.py::test_the_estimates_are_those_of_vw_estimators_on_the_same_file")
@pytest.mark.parametrize("apart", [False, True])
def test_a_longer_file_takes_no_more_memory(tmp_path: Path, apart: bool) -> None:
    line = events(1)[0]
    if apart:
        for name in ("_label_cost", "_label_probability", "_label_Action", "_labelIndex"):
            del line[name]

    def peak_kb(many: int) -> int:
        path = tmp_path / f"{many}.json"
        with path.open("w", encoding="utf-8") as file:
            for number in range(many):
                file.write(json.dumps({**line, "EventId": f"e{number}"}) + "\n")
        argv = (sys.executable, "-c", TELLS_ITS_PEAK, "lake", "import", "--format=dsjson", "--json", str(path))
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    # 25,000 lines more, of 350 bytes each, would be 9 MB as they are, and some 60 MB as Python has them.
    assert peak_kb(26_000) - peak_kb(1_000) < 20_000 + (16_000 if apart else 0)


def test_a_new_stack_can_begin_with_what_a_log_says_of_features_that_have_our_names(tmp_path: Path) -> None:
    """Of two actions the one with a high priority is rewarded, in the morning alone; `colour` is no feature of ours."""
    rng, lines = np.random.default_rng(5), []
    for number, one in enumerate(events(4_000)):
        priority, morning = rng.random(len(one["a"])), number % 2 == 0
        one["c"] = {
            "User": {"morning": morning, "colour": 1},
            "_multi": [{"Item": {"priority": at}} for at in priority],
        }
        one["_label_cost"] = -1 if morning and priority[one["_labelIndex"]] > 0.5 else 0
        lines.append(one)
    path, made = write(tmp_path / "log.json", lines), tmp_path / "prior.binpb"
    told = imported(path, "--prior", made, "--worth=500")
    assert told["carried"] == {"morning": 4_000, "priority": 4_000}
    assert told["left"] == {"colour": 4_000}
    (total,) = begun_with(made.read_bytes())
    sent = versions(sums(6400, offset=1), begun_with=[total])
    # It is in the first version, and stays in those that people's sums are in.
    first, second = sent.versions
    assert first.n == total.n
    assert second.n > first.n
    assert 500 * 64 <= first.n < 500 * 128
    without = mean(versions(sums(6400, offset=1)).versions[-1])
    for version in sent.versions:
        gained = mean(version) - without
        assert gained[PLACE["priority"]] > 0.1
        assert gained[PLACE["morning"]] > 0.05
        assert abs(gained[PLACE["starter"]]) < 1e-6
        assert ActiveVersion.of(version, mac_key=bytes(32)).version == version
    again = called("lake", "import", "--format=dsjson", str(path), "--prior", str(made), check=False)
    assert "is there already" in again.stderr
    with pytest.raises(NotSums):
        begun_with(b"no sums")


def mean(version: PolicyVersion) -> np.ndarray:
    return np.frombuffer(version.mean, dtype="<f8")
