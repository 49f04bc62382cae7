"""The same version behind another server of the protocol, such as Triton."""

from __future__ import annotations

from connectors.inference import Inference, InferenceFailed
from serving.scorer.runtimes import Failed
from serving.scorer.wire import Floats


class Remote:
    """See Runtime. That server has to have the version under the same name and number."""

    platform = "remote"

    def __init__(self, server: Inference, name: str, version: int, d: int) -> None:
        self._server, self._spelled, self.d = server, f"{name}@{version}", d

    async def infer(self, features: Floats) -> Floats:
        """See Runtime."""
        try:
            return await self._server.expected(self._spelled, features)
        except InferenceFailed as failed:
            raise Failed(f"the server behind this one says nothing of {self._spelled}: {failed}") from None
