"""Shadow on real servers: the gate's word stands in the topic of promotions once, whatever is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from agents import sample
from agents.features import NOW, D
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.evaluation_pb2 import Estimate, Promotion, ShadowDecision
from oo.v1.outcome_pb2 import Outcome
from tests.agents.process import AgentProcess, Topics, until

PEOPLE = 20
BATCH = 100
SHADOWS = ("mixed", "random")


@dataclass(slots=True)
class World:
    """Two tasks, told apart by one feature: one is always done, the other always dismissed. It asks no policy."""

    topics: Topics
    process: AgentProcess
    told: dict[str, str]
    folder: Path
    partitions: int = 1
    version: str = ""
    starts: int = 0
    decided: int = 0
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def start(self) -> None:
        """Returns once it has folded all that stands there."""
        self.starts += 1
        self.process.start()
        until(lambda: self.process.log().count("shadow.caught_up") == self.starts, alive=self.process)

    def decide(self, *, policy: str, propensities: Sequence[float], pays: int) -> None:
        """A hundred decisions of that policy, each answered at once."""
        number = self.decided // BATCH % self.partitions
        decisions, outcomes = [], []
        for _ in range(BATCH):
            decisions.append(self._decision(policy, propensities, number))
            done = decisions[-1].chosen == pays
            if decisions[-1].chosen < 2:
                outcomes.append(
                    Outcome(
                        outcome_id=f"o{self.decided}",
                        decision_id=decisions[-1].decision_id,
                        user_id=decisions[-1].user_id,
                        kind=Outcome.DONE if done else Outcome.DISMISS,
                        learned=True,
                        reward=1.0 if done else -0.25,
                    )
                )
            else:
                outcomes.append(Outcome(decision_id=decisions[-1].decision_id, kind=Outcome.EXPIRED))
        self.topics.produce("decisions", decisions, partition=number)
        self.topics.produce("outcomes", outcomes, partition=number)

    def _decision(self, policy: str, propensities: Sequence[float], number: int) -> Decision:
        self.decided += 1
        made = Decision(
            decision_id=f"d{self.decided}",
            record_id=self.decided.to_bytes(16, "big"),
            user_id=f"user-{self.decided % PEOPLE}",
            decided_ms=self.decided,
            feature_version=NOW.version,
            policy=policy,
            chosen=int(self.chance.choice(3, p=propensities)),
        )
        made.policy_version = self.version
        made.journal.topic_id, made.journal.partition, made.journal.offset = bytes(16), number, self.decided
        for at, propensity in enumerate(propensities):
            kind = Decision.TASK if at < 2 else Decision.NONE
            made.slate.add(id=str(at), kind=kind, propensity=propensity, x=[64 * (at == i) for i in range(D)])
        del made.slate[2].x[:]
        made.slate[2].x.extend([0] * D)
        return made

    def estimates(self) -> list[Estimate]:
        return [one for one in self.topics.messages("estimates") if isinstance(one, Estimate)]

    def promotions(self) -> list[Promotion]:
        return [one for one in self.topics.messages("promotions") if isinstance(one, Promotion)]


@pytest.fixture
def world(request: pytest.FixtureRequest, servers: RunningStack, tmp_path: Path) -> Iterator[World]:
    topics = Topics(servers)
    told = {
        "OO_SHADOWS": ",".join(SHADOWS),
        "OO_GATE": getattr(request, "param", "automatic"),
        "OO_SNAPSHOT_EVERY_S": "0.3",
        "OO_ESTIMATES_EVERY_S": "0.2",
    }
    world = World(topics, AgentProcess("shadow", servers, topics, tmp_path, told), told, tmp_path / "shadow")
    try:
        yield world
    finally:
        if world.process.running():
            world.process.kill()
        topics.close()


def counted(world: World) -> int:
    """How many decisions count now."""
    return next((one.n for one in reversed(world.estimates()) if (one.policy, one.kind) == ("mixed", 0)), 0)


def found_at_last(world: World, n: int) -> dict[str, bytes]:
    """What stands of each policy, kind and prompt once so many decisions count; without what depends on the clock."""
    until(lambda: counted(world) == n, alive=world.process)
    said = -1
    # One round says one after the other; it is over once nothing more is said.
    while said != (said := world.topics.end("estimates")):
        time.sleep(3)
    assert world.process.stop() == 0
    found = {f"{one.policy} {one.kind} {one.prompt_version}": one for one in world.estimates()}
    for one in found.values():
        one.updated_ms = one.cost_us = 0
    return {key: one.SerializeToString(deterministic=True) for key, one in found.items()}


@pytest.mark.long(
    "tests/agents/test_shadow.py::test_a_shadow_is_promoted_on_proof_and_rolled_back_when_the_world_turns_once_each_through_kills"
)
@pytest.mark.parametrize("world", ["by-hand"], indirect=True)
def test_one_that_is_killed_every_thousand_decisions_ends_with_the_same_estimates_to_the_bit(
    world: World, servers: RunningStack, tmp_path: Path
) -> None:
    world.partitions, world.version = 3, f"random-1-0123456789abcdef{sample.suffix(700)}"
    world.topics.produce("promotions", [Promotion(policy="random", before="mixed", cause=Promotion.BY_HAND)])
    world.start()
    for _ in range(3):
        before = counted(world)
        for _ in range(10):
            world.decide(policy="random", propensities=(0.45, 0.45, 0.1), pays=0)
        until(lambda before=before: counted(world) > before, alive=world.process)
        world.process.kill()
        world.start()
        assert "snapshot.restored" in world.process.log()
    taken = sum(sample.is_taken(f"d{number}", 0.7) for number in range(1, world.decided + 1))
    killed = found_at_last(world, taken)
    said = [world.topics.end("shadows", partition=number) for number in range(world.partitions)]
    # None is said twice, and none is left out.
    assert sum(said) == taken
    spoke = {
        tuple(one.policy for one in word.said)
        for word in world.topics.messages("shadows")
        if isinstance(word, ShadowDecision)
    }
    assert spoke == {SHADOWS}
    # Another one, with a folder of its own and never killed, reads all of it at once; what shadows said stands there already.
    (tmp_path / "another").mkdir()
    estimates = world.topics.end("estimates")
    world.process = AgentProcess("shadow", servers, world.topics, tmp_path / "another", world.told)
    world.starts = 0
    world.start()
    assert "snapshot.restored" not in world.process.log()
    until(lambda: world.topics.end("estimates") >= estimates + len(killed), alive=world.process)
    assert found_at_last(world, taken) == killed
    assert [world.topics.end("shadows", partition=number) for number in range(world.partitions)] == said


@pytest.mark.parametrize("world", ["by-hand"], indirect=True)
def test_a_snapshot_that_does_not_fit_is_set_aside_and_the_log_is_folded(world: World) -> None:
    world.start()
    world.decide(policy="mixed", propensities=(0.45, 0.45, 0.1), pays=0)
    before = found_at_last(world, BATCH)
    file = world.folder / "shadow.sqlite"
    file.write_bytes(b"?" * file.stat().st_size)
    world.start()
    assert "snapshot.set_aside" in world.process.log()
    assert found_at_last(world, BATCH) == before


def test_a_shadow_is_promoted_on_proof_and_rolled_back_when_the_world_turns_once_each_through_kills(
    world: World,
) -> None:
    by_hand = Promotion(policy="random", before="mixed", cause=Promotion.BY_HAND, why="it begins")
    world.topics.produce("promotions", [by_hand])
    world.start()

    def until_said(n: int, *, policy: str, propensities: Sequence[float], pays: int) -> Promotion:
        def said() -> bool:
            if len(world.promotions()) < n:
                world.decide(policy=policy, propensities=propensities, pays=pays)
            return len(world.promotions()) >= n

        until(said, alive=world.process)
        return world.promotions()[n - 1]

    promoted = until_said(2, policy="random", propensities=(0.45, 0.45, 0.1), pays=0)
    assert (promoted.policy, promoted.before, promoted.cause) == ("mixed", "random", Promotion.PROVEN)
    assert promoted.evidence.n > 0
    assert promoted.evidence.ahead.low > promoted.evidence.margin
    world.process.kill()
    world.start()
    back = until_said(3, policy="mixed", propensities=(0.89, 0.01, 0.1), pays=1)
    assert (back.policy, back.before, back.cause) == ("random", "mixed", Promotion.ROLLED_BACK)
    world.process.kill()
    world.start()
    world.decide(policy="random", propensities=(0.45, 0.45, 0.1), pays=1)
    assert world.process.stop() == 0
    assert [one.policy for one in world.promotions()] == ["random", "mixed", "random"]


@pytest.mark.parametrize("world", ["by-hand"], indirect=True)
def test_where_promotion_is_by_hand_proof_is_shown_and_not_acted_on(world: World) -> None:
    world.topics.produce("promotions", [Promotion(policy="random", before="mixed", cause=Promotion.BY_HAND)])
    world.start()

    def proven() -> bool:
        world.decide(policy="random", propensities=(0.45, 0.45, 0.1), pays=0)
        return any(one.policy == "mixed" and one.ahead.low > 0.1 for one in world.estimates())

    until(proven, alive=world.process)
    assert [one.policy for one in world.promotions()] == ["random"]
