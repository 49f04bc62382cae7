"""Shadow on real servers: the gate's word stands in the topic of promotions once, whatever is killed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from agents.features import VERSION, D
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.evaluation_pb2 import Estimate, Promotion
from oo.v1.outcome_pb2 import Outcome
from tests.agents.process import AgentProcess, Topics, until

PEOPLE = 20
BATCH = 100


@dataclass(slots=True)
class World:
    """Two tasks, told apart by one feature: one is always done, the other always dismissed. It asks no policy."""

    topics: Topics
    process: AgentProcess
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
        decisions, outcomes = [], []
        for _ in range(BATCH):
            decisions.append(self._decision(policy, propensities))
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
        self.topics.produce("decisions", decisions)
        self.topics.produce("outcomes", outcomes)

    def _decision(self, policy: str, propensities: Sequence[float]) -> Decision:
        self.decided += 1
        made = Decision(
            decision_id=f"d{self.decided}",
            record_id=self.decided.to_bytes(16, "big"),
            user_id=f"user-{self.decided % PEOPLE}",
            decided_ms=self.decided,
            feature_version=VERSION,
            policy=policy,
            chosen=int(self.chance.choice(3, p=propensities)),
        )
        made.journal.topic_id, made.journal.offset = bytes(16), self.decided
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
    told = {"OO_SHADOWS": "mixed,random", "OO_GATE": getattr(request, "param", "automatic")}
    world = World(topics, AgentProcess("shadow", servers, topics, tmp_path, told))
    try:
        yield world
    finally:
        if world.process.running():
            world.process.kill()
        topics.close()


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
