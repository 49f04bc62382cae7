"""Policy versions as they arrive: follows `oo.policies` without a group, so that every worker has all of them.

A partition that meets a mark waits here for its version; past the timeout the worker ends rather than guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from agents.policies import POLICIES
from agents.reward import DEFAULT, config_hash
from agents.step import InForce
from oo.v1 import policy_pb2
from streams.frames import Schemas
from streams.reader import Tail

WAIT_S_MAX = 30.0


class VersionTimeout(Exception):
    """A mark's version did not arrive; the process has to end and be started again."""


def prior(*, mac_key: bytes, policy: str = "lin_ts") -> InForce:
    """What is in force before the first mark."""
    version = POLICIES[policy].prior(config=DEFAULT)
    return InForce(version=version, mac_key=mac_key, config_hash=config_hash(version.config))


class Versions(Mapping[str, InForce]):
    """Versions by id; the empty id is the prior."""

    def __init__(self, *, schemas: Schemas, mac_key: bytes) -> None:
        self._schemas = schemas
        self._mac_key = mac_key
        self._known: dict[str, InForce] = {"": prior(mac_key=mac_key)}
        self._arrived = asyncio.Condition()

    async def follow(self, tail: Tail) -> None:
        """Take versions in for ever."""
        async for records in tail:
            for record in records:
                if record.value is not None:
                    self.learn_of(self._schemas.unframe("policies", record.value))
            async with self._arrived:
                self._arrived.notify_all()

    def learn_of(self, version: object) -> None:
        """Take one version in."""
        assert isinstance(version, policy_pb2.PolicyVersion)
        self._known[version.version_id] = InForce(
            version=version, mac_key=self._mac_key, config_hash=config_hash(version.config)
        )

    async def wait_for(self, version_id: str) -> None:
        """Return once the version is here; raises VersionTimeout after 30 s."""
        try:
            async with asyncio.timeout(WAIT_S_MAX), self._arrived:
                await self._arrived.wait_for(lambda: version_id in self._known)
        except TimeoutError:
            raise VersionTimeout(f"policy version {version_id} did not arrive within {WAIT_S_MAX:.0f} s") from None

    def __getitem__(self, version_id: str) -> InForce:
        return self._known[version_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
