"""Policy versions as they arrive: follows `oo.policies` without a group, so that every worker has all of them.

A partition that meets a mark waits here for its version; past the timeout the worker ends rather than guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

from agents.active_version import ActiveVersion
from agents.bandit.belief import is_named
from agents.fault import where
from oo.v1 import policy_pb2
from streams.frames import Frames
from streams.messages import pass_over, read
from streams.reader import Tail
from tables.marginal import Epoch

WAIT_S_MAX = 30.0


class VersionTimeout(Exception):
    """A mark's version did not arrive; the process has to end and be started again."""


class Versions(Mapping[str, ActiveVersion]):
    """Versions by id; the empty id is the prior."""

    def __init__(self, *, schemas: Frames, mac_key: bytes, end: Callable[[], Awaitable[int]]) -> None:
        """`end()`: the end offset of the topic of versions, as it is now."""
        self._schemas = schemas
        self._end = end
        self._taken = 0
        """Below this offset every version is here."""
        self._mac_key = mac_key
        self._known: dict[str, ActiveVersion] = {"": ActiveVersion.first(mac_key=mac_key)}
        self.epochs: dict[int, Epoch] = {one.version.epoch: one.belief.epoch for one in self._known.values()}
        """Every belief about how people differ that a version began, by its name: rows may still be of any."""
        self._arrived = asyncio.Condition()

    async def follow(self, tail: Tail) -> None:
        """Take versions in for ever."""
        async for records in tail:
            for record in records:
                version = read(self._schemas, "policies", record)
                if version is not None:
                    try:
                        self.learn_of(version)
                    except Exception as error:  # noqa: BLE001 - no policy: a mark that names it waits for it in vain
                        pass_over(record, where(error))
                self._taken = record.offset + 1
            async with self._arrived:
                self._arrived.notify_all()

    def learn_of(self, version: object) -> None:
        """Take one version in."""
        assert isinstance(version, policy_pb2.PolicyVersion)
        if not is_named(version):
            raise ValueError("no version of ours: its id does not name it")
        known = ActiveVersion.of(version, mac_key=self._mac_key)
        self._known[version.version_id] = known
        self.epochs[version.epoch] = known.belief.epoch

    async def wait_for(self, version_id: str) -> None:
        """Return once the version is here; raises VersionTimeout after 30 s."""
        await self._wait(lambda: version_id in self._known, what=f"policy version {version_id}")

    async def catch_up(self) -> None:
        """Return once all that were published until now are here; raises VersionTimeout after 30 s."""
        end = await self._end()
        await self._wait(lambda: self._taken >= end, what=f"the policy version at offset {end - 1}")

    async def _wait(self, here: Callable[[], bool], *, what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S_MAX), self._arrived:
                await self._arrived.wait_for(here)
        except TimeoutError:
            raise VersionTimeout(f"{what} did not arrive within {WAIT_S_MAX:.0f} s") from None

    def __getitem__(self, version_id: str) -> ActiveVersion:
        return self._known[version_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
