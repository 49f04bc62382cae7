"""A webhook has no service: what is posted is in test_hook.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connectors.sources.hook import Hook
from tests.connectors.sources.cases import CASES
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import World


class HookWorld(World):
    name = "hook"
    not_said = dict.fromkeys(CASES, "it asks nobody: what is posted to it is tried in test_hook.py")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = Hook()
        self.service = Loopback()

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {}

    async def put(self, name: str, title: str) -> None:
        raise NotImplementedError

    async def take(self, name: str) -> None:
        raise NotImplementedError
