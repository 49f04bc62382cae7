"""The door to many other services: apprise, where its extra is installed (`pip install 'oo-recommender[apprise]'`).

Its plug-ins connect wherever an address says, so addresses of machines are refused: of a service of the internet's its name alone is let by.
It is never imported by another process, and one that was cut off is not sent again.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Final

from connectors.channels.channel import Notice, NotSent, Told
from oo.v1.device_pb2 import Device

SERVICES: Final = ("discord", "pover", "slack", "tgram")
"""Schemas whose plug-ins speak to one host of their own, whatever else the address says."""


class Apprise:
    """All of them."""

    def __init__(self, told: Told) -> None:
        self._anywhere = bool(told.inside)

    async def close(self) -> None:
        """Nothing stays open."""

    async def send(self, to: Device, notice: Notice) -> None:
        schema = to.apprise.url.partition("://")[0].lower()
        if schema not in SERVICES and not self._anywhere:
            raise NotSent("service", again_s=None)
        # One address is one service: a text with commas is taken apart, and a list of one is not.
        if "," in to.apprise.url or to.apprise.url.count("://") != 1:
            raise NotSent("address", again_s=None)
        import apprise

        told = apprise.Apprise()
        if not told.add([to.apprise.url]):
            raise NotSent("address", again_s=None)
        body = "\n".join(line for line in (notice.detail, *notice.why, notice.url) if line)
        # It says whether it went well, and not why it did not: trying again could tell the person twice.
        if not await asyncio.to_thread(told.notify, body=body, title=notice.title):
            raise NotSent("service", again_s=None)


def open_channel(told: Told) -> Apprise | None:
    """Open it; None where its extra is not installed."""
    return Apprise(told) if find_spec("apprise") else None
