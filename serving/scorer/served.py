"""Which versions are served: the champion of each model, by the registry's alias, and those that somebody names.

A version is loaded beside the one that it follows, and takes its place in one step: a request keeps the version that it began with. What cannot be
loaded takes nothing's place. It never decides which version is the champion.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from connectors.model_registry import ABOUT, CHAMPION, NAME, RegistryFault
from connectors.model_store import Kept
from serving.scorer.batches import Batches
from serving.scorer.metrics import Metrics
from serving.scorer.runtimes import Failed, Runtime, Unusable
from serving.scorer.wire import Floats

log = logging.getLogger(__name__)

AGAIN_S = 30.0
"""A version that could not be loaded is not tried again before."""
PRUNE_EVERY_S = 60.0
SAMPLE = "sample.json"
SAMPLE_OFF_MAX = 1e-4
FEATURES_MAX = 4096
VERSION_MAX = 10**9
Load = Callable[[str, int, Path, int], Awaitable[Runtime]]
"""Of a name, a version, its folder, and how many features it takes."""


class NotServed(Exception):
    """`status` is 404 where there is nothing of that name, and 503 where there is and it cannot be served."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Served:
    """A version that answers."""

    name: str
    version: int
    batches: Batches
    asked_s: float = field(default_factory=time.monotonic)

    @property
    def runtime(self) -> Runtime:
        return self.batches.runtime

    async def infer(self, features: Floats, *, until_s: float) -> Floats:
        """See Batches."""
        self.asked_s = time.monotonic()
        return await self.batches.infer(features, until_s=until_s)


class Models:
    """Use it inside one running loop."""

    def __init__(
        self, store: Kept, load: Load, batches: Callable[[Runtime], Batches], *, versions_max: int, metrics: Metrics
    ) -> None:
        self._store, self._load, self._batches = store, load, batches
        self._versions_max, self._metrics = versions_max, metrics
        self._champions: dict[str, Served] = {}
        self._served: dict[tuple[str, int], Served] = {}
        self._loading: dict[tuple[str, int], asyncio.Task[Served]] = {}
        self._refused: dict[tuple[str, int], tuple[float, NotServed]] = {}
        self._waits: dict[str, str] = {}
        """Why a model that has a champion has none here, or not that one."""
        self._pruned_s = time.monotonic()
        self.known = False
        """Whether the registry, or what was kept of it, was read once."""

    @property
    def missing(self) -> list[str]:
        """What a client would miss: champions that the registry names and that nothing stands in for."""
        if not self.known:
            return ["the registry was not read yet"]
        return [f"{name}: {why}" for name, why in sorted(self._waits.items()) if name not in self._champions]

    def champion(self, name: str) -> Served:
        """The version that stands for this model. Raises NotServed."""
        if (found := self._champions.get(name)) is not None:
            return found
        if not self.known or name in self._waits:
            raise NotServed(503, f"{name} is not served yet: {self._waits.get(name, 'the registry was not read yet')}")
        raise NotServed(
            404,
            f"there is no champion of {name[:64]!r}: 'oo models promote' makes one, 'oo models list' shows versions",
        )

    async def exact(self, name: str, version: str, *, until_s: float) -> Served:
        """Return that very version, loaded if it has to be and can be by then. Raises NotServed."""
        if not NAME.fullmatch(name) or not version.isdecimal() or not 0 < int(version[:12]) < VERSION_MAX:
            raise NotServed(
                404, "a model is named by small letters, digits and hyphens, and a version is a whole number"
            )
        if (found := self._served.get((name, int(version)))) is not None:
            return found
        try:
            async with asyncio.timeout_at(until_s):
                return await self._loaded(name, int(version))
        except TimeoutError:
            raise NotServed(503, f"{name}@{version} is being loaded: ask again") from None

    def versions(self, name: str) -> list[int]:
        """Those that are loaded."""
        return sorted(number for one, number in self._served if one == name)

    async def run(self, every_s: float) -> None:
        """Follow the registry, for ever."""
        while True:
            try:
                await self.poll()
            except Exception:
                log.exception("scorer.poll-fault")
            await asyncio.sleep(every_s)

    async def poll(self) -> None:
        """Ask the registry once, and do as it says."""
        try:
            champions = await asyncio.to_thread(self._named)
        except RegistryFault as fault:
            self._metrics.store_away.set(1)
            log.warning("scorer.registry-away fault=%s", fault)
            return
        self._metrics.store_away.set(1 if self._store.away else 0)
        for name in self._champions.keys() - champions.keys():
            log.info("scorer.champion-gone model=%s", name)
            del self._champions[name]
            with suppress(KeyError):
                self._metrics.champion.remove(name)
        self._waits = {name: why for name, why in self._waits.items() if name in champions}
        for name, version in champions.items():
            await self._crown(name, version)
        self.known = True
        if time.monotonic() - self._pruned_s > PRUNE_EVERY_S:
            await self._prune()
        self._evict()

    async def close(self) -> None:
        """End all."""
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    def _named(self) -> dict[str, int]:
        found = {name: self._store.aliased(name, CHAMPION) for name in self._store.names() if NAME.fullmatch(name)}
        return {name: version for name, version in found.items() if version is not None}

    async def _crown(self, name: str, version: int) -> None:
        before = self._champions.get(name)
        if before is None or before.version != version:
            try:
                self._champions[name] = await self._loaded(name, version)
            except NotServed as why:
                self._metrics.refused.labels(name).set(1)
                if self._waits.get(name) != str(why):
                    stays = "none" if before is None else f"{name}@{before.version}"
                    log.warning("scorer.version-refused model=%s@%d serves=%s why=%s", name, version, stays, why)
                self._waits[name] = str(why)
                return
            log.info("scorer.champion model=%s@%d", name, version)
        self._waits.pop(name, None)
        self._metrics.refused.labels(name).set(0)
        self._metrics.champion.labels(name).set(version)

    async def _loaded(self, name: str, version: int) -> Served:
        """Load it once, whoever asks; it goes on when one of them goes away."""
        key = (name, version)
        if (found := self._served.get(key)) is not None:
            return found
        if key in self._refused:
            since_s, why = self._refused[key]
            if time.monotonic() - since_s < AGAIN_S:
                raise NotServed(why.status, str(why))
            del self._refused[key]
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._make(name, version))
            task.add_done_callback(lambda done: self._made(key, done))
        return await asyncio.shield(task)

    async def _make(self, name: str, version: int) -> Served:
        key = (name, version)
        try:
            folder = await asyncio.to_thread(self._store.fetch, name, version)
            about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
            features = about.get("features")
            if not isinstance(features, list) or not 0 < len(features) <= FEATURES_MAX:
                raise Unusable(f"{ABOUT} has no list of features")
            runtime = await self._load(name, version, folder, len(features))
            await _try(runtime, folder)
        except RegistryFault as fault:
            refused = NotServed(404, str(fault))
        except (Unusable, Failed, OSError, ValueError) as error:
            refused = NotServed(503, f"{name}@{version} cannot be served: {error}")
        else:
            self._served[key] = Served(name, version, self._batches(runtime))
            return self._served[key]
        if len(self._refused) >= 1000:
            self._refused.clear()
        self._refused[key] = (time.monotonic(), refused)
        raise refused

    def _made(self, key: tuple[str, int], done: asyncio.Task[Served]) -> None:
        self._loading.pop(key, None)
        if not done.cancelled():
            done.exception()  # Whoever asked may be gone; it was noted.

    async def _prune(self) -> None:
        """What the registry no longer lists is neither served nor kept: somebody who left may have been in it."""
        self._pruned_s = time.monotonic()
        try:
            listed = await asyncio.to_thread(self._store.prune)
        except RegistryFault as fault:
            log.warning("scorer.registry-away fault=%s", fault)
            return
        for key in [key for key in self._served if key[1] not in listed.get(key[0], ())]:
            name, version = key
            log.info("scorer.version-gone model=%s@%d", name, version)
            if self._champions.get(name) is self._served[key]:
                del self._champions[name]
            del self._served[key]

    def _evict(self) -> None:
        champions = set(map(id, self._champions.values()))
        spare = sorted((one.asked_s, key) for key, one in self._served.items() if id(one) not in champions)
        for _, key in spare[: max(len(spare) - self._versions_max, 0)]:
            del self._served[key]


async def _try(runtime: Runtime, folder: Path) -> None:
    """Ask what the version says of itself. Raises Unusable where it answers otherwise, and Failed."""
    try:
        sample = json.loads((folder / SAMPLE).read_text())
    except FileNotFoundError:
        await runtime.infer(np.zeros((1, runtime.d), np.float32))
        return
    features, expected = np.array(sample["features"], np.float32), np.array(sample["reward"], np.float32).reshape(-1)
    if features.ndim != 2 or features.shape[1] != runtime.d:
        raise Unusable(f"{SAMPLE} has no rows of {runtime.d} features")
    off = float(np.abs(await runtime.infer(features) - expected).max(initial=0.0))
    if not off <= SAMPLE_OFF_MAX:
        raise Unusable(f"it answers its own sample otherwise, by {off:.2g}: it is not the model that was registered")
