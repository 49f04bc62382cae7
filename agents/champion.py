"""Which policy `learn` makes versions of, and which trained model they hear: those that the last promotion of each names; and when rewards last
drifted.

It never judges: the gate and ADWIN do, in `shadow`.
"""

from __future__ import annotations

import logging
from collections import Counter

from agents.policies import DEFAULT, POLICIES
from oo.v1 import evaluation_pb2
from streams.frames import Frames
from streams.messages import messages
from streams.metrics import Labels
from streams.reader import Tail

logger = logging.getLogger(__name__)


class Champion:
    """Follows the topics of promotions and of estimates."""

    def __init__(self, *, schemas: Frames) -> None:
        self._schemas = schemas
        self.policy = DEFAULT
        self.model = ""
        """NAME@VERSION of the trained model that is heard; empty for none."""
        self._drifted_ms: dict[str, int] = {}
        self.promotions: Counter[Labels] = Counter()
        """By policy and cause, those that were heeded."""

    @property
    def drifted_ms(self) -> int:
        """When rewards last stopped being what this policy expects of them; event time, 0 for never."""
        return self._drifted_ms.get(self.policy, 0)

    async def hear(self, tail: Tail) -> None:
        """Take estimates in for ever."""
        async for _, estimate in messages(self._schemas, "estimates", tail):
            assert isinstance(estimate, evaluation_pb2.Estimate)
            before = self._drifted_ms.get(estimate.policy, 0)
            self._drifted_ms[estimate.policy] = max(before, estimate.drift_ms)

    async def follow(self, tail: Tail) -> None:
        """Take promotions in for ever. One of a policy that this build cannot serve is told of and changes nothing."""
        async for record, promotion in messages(self._schemas, "promotions", tail):
            assert isinstance(promotion, evaluation_pb2.Promotion)
            if promotion.HasField("model"):
                self.model = promotion.model
                logger.info("champion.hears model=%s offset=%d", promotion.model, record.offset)
                if not promotion.policy:
                    continue
            policy = POLICIES.get(promotion.policy)
            if policy is None or not policy.servable:
                logger.error("promotion.skipped policy=%s offset=%d", promotion.policy, record.offset)
                continue
            self.policy = promotion.policy
            cause = evaluation_pb2.Promotion.Cause.Name(promotion.cause)
            self.promotions[promotion.policy, cause] += 1
            logger.info("champion.is policy=%s offset=%d", promotion.policy, record.offset)
