"""Which policy `learn` makes versions of, and which trained model they hear: those that the last promotion of each names; and what turn its
rewards have taken of late (agents.lately).

It never judges: the gate does, in `shadow`.
"""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np

from agents import lately
from agents.policies import DEFAULT, POLICIES
from oo.v1 import evaluation_pb2
from streams.frames import Frames
from streams.messages import messages
from streams.metrics import Labels
from streams.reader import Tail
from tables.linear import Floats

logger = logging.getLogger(__name__)


class Champion:
    """Follows the topics of promotions and of estimates."""

    def __init__(self, *, schemas: Frames) -> None:
        self._schemas = schemas
        self.policy = DEFAULT
        self.model = ""
        """NAME@VERSION of the trained model that is heard; empty for none."""
        self._turns: dict[str, Floats] = {}
        self.promotions: Counter[Labels] = Counter()
        """By policy and cause, those that were heeded."""

    @property
    def turn(self) -> Floats:
        """By how much what this policy believes of each feature is to be moved; (0,) while nobody has said so."""
        return self._turns.get(self.policy, np.zeros(0))

    async def hear(self, tail: Tail) -> None:
        """Take estimates in for ever."""
        async for _, estimate in messages(self._schemas, "estimates", tail):
            assert isinstance(estimate, evaluation_pb2.Estimate)
            if not estimate.kind and not estimate.prompt_version:
                self._turns[estimate.policy] = lately.read(estimate.turn)

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
