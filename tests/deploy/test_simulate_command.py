"""`oo simulate` without a stack: what it says, what it writes, and how it fails."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from command import called, oo

from deploy.simulator.curve import CannotPlot, Point, check, curve, sparkline, write
from deploy.simulator.live import Heard, Plan
from deploy.simulator.scenario import load
from deploy.simulator.visit import Judged
from oo.v1 import decision_pb2

PURE = ("simulate", "--pure", "--users=2", "--days=2")


def decision(offset: int, *, partition: int = 0) -> decision_pb2.Decision:
    made = decision_pb2.Decision(user_id="sim-x-0", decision_id=f"d{offset}")
    made.journal.partition, made.journal.offset = partition, offset
    return made


def tip(offset: int, *, partition: int = 0) -> decision_pb2.Tip:
    made = decision_pb2.Tip(user_id="sim-x-0", decision_id=f"d{offset}")
    made.journal.partition, made.journal.offset = partition, offset
    return made


def test_a_pure_run_tells_what_came_of_it_the_same_twice_and_writes_it(tmp_path):
    out = tmp_path / "run.json"
    told = oo(*PURE, f"--out={out}")
    assert "2 people" in told.stdout
    assert "captured gain" in told.stdout
    written = json.loads(out.read_text())
    printed = json.loads(called(*PURE, "--json").stdout)
    assert written == printed
    assert printed["scenario"] == "base"
    assert printed["seen"] > 0
    assert sum(point["decisions"] for point in printed["curve"]) >= printed["seen"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--scenario=nope",), 1, "no scenario 'nope': there are base, "),
        (("--pure", "--policy=nope"), 1, "no policy 'nope'"),
        (("--pure", "--out=x.png"), 1, "name a .json or .svg file"),
        (("--pure", "--out=/no/such/folder/x.json"), 1, "there is no folder /no/such/folder"),
        (("--state=/no/such/folder",), 1, "start it with 'oo up'"),
        (("--run=../x",), 2, "letters, digits and -"),
        (("--rate=nan",), 2, "--rate"),
        (("--users=0",), 2, "--users"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_simulated_is_said_in_a_line(arguments, status, said):
    done = called("simulate", *arguments, check=False)
    assert done.returncode == status
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_list_names_every_scenario():
    told = called("simulate", "--list").stdout
    assert "costly_interruptions" in told


def test_a_person_sees_a_decision_once_its_own_tip_is_served_and_no_older_one_comes_back():
    heard = Heard()
    heard.hear(decision(5))
    assert heard.standing("sim-x-0") is None
    heard.hear(tip(5))
    standing = heard.standing("sim-x-0")
    assert standing is not None
    assert [one.decision_id for one in standing] == ["d5", "d5"]
    heard.hear(tip(7))
    assert heard.standing("sim-x-0") is None
    heard.hear(decision(7))
    for old in (tip(5), decision(5)):
        heard.hear(old)
    standing = heard.standing("sim-x-0")
    assert standing is not None
    assert [one.decision_id for one in standing] == ["d7", "d7"]
    assert heard.tips == 2


def test_with_a_rate_lives_are_long_enough_to_have_that_many_signals():
    plan = Plan(users=10, minutes=10.0, speed=60.0, seed=0, run="x", rate=None)
    base = load("base")
    assert plan.horizon_ms(base) == plan.span_ms == 10 * 60 * 60_000
    hurried = replace(plan, rate=50.0)
    days = hurried.horizon_ms(base) / (24 * 3600 * 1000)
    assert days * 10 * (base.tasks_per_day + base.events_per_day) >= 50 * 600


def test_a_curve_is_of_honest_people_in_stretches_of_equal_count():
    judged = [Judged(index * 86_400_000, 0.1 * index, 1.0, 0.0, index != 3) for index in range(9)]
    points = curve(judged, steps=4)
    assert [point.decisions for point in points] == [2, 2, 2, 2]
    assert [point.value for point in points] == [0.05, 0.3, 0.55, 0.75]
    assert [point.regret for point in points] == [0.95, 0.7, 0.45, 0.25]
    assert curve([]) == []
    assert sparkline([]) == ""
    assert sparkline([0.2, 0.2]) == "▁▁"


def test_a_curve_is_drawn(tmp_path):
    path = tmp_path / "curve.svg"
    check(path)
    write(path, {"scenario": "base", "users": 3}, [Point(1.0, 5, 0.2, 0.3, 0.4), Point(2.0, 5, 0.3, 0.2, 0.6)])
    drawn = path.read_text()
    assert drawn.startswith("<?xml")
    with pytest.raises(CannotPlot):
        check(tmp_path / "curve.pdf")
