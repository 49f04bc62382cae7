"""The one table of channels, and how each is opened. What a channel needs is imported where it is."""

from __future__ import annotations

from importlib import import_module
from typing import Final, NamedTuple, cast

from connectors.channels.channel import Channel, Told
from oo.v1.subject_request_pb2 import PURPOSE_EMAIL, PURPOSE_NOTIFICATIONS, Purpose
from streams.units import DAY_MS


class Kind(NamedTuple):
    """What is known of a channel without opening it."""

    module: str
    purpose: Purpose.ValueType
    """Which the person has to have granted."""
    repeats: bool = False
    """Whether its provider, told of a delivery again, tells the person once."""
    apart_ms: int = 0
    """Between two of one device at the least: what comes within it becomes one."""
    one_server: bool = False
    """Whether it all goes through one server of our own: where that does not answer, it is left alone for a while."""
    confirmed: bool = False
    """Whether whoever has the address must have said so."""


CHANNELS: Final = {
    "web_push": Kind("web_push", PURPOSE_NOTIFICATIONS, repeats=True),
    "email": Kind("email", PURPOSE_EMAIL, apart_ms=DAY_MS, one_server=True, confirmed=True),
    "webhook": Kind("webhook", PURPOSE_NOTIFICATIONS, repeats=True),
    "apprise": Kind("apprise", PURPOSE_NOTIFICATIONS),
}
"""By the field of oo.v1.Device that has the address."""


def opened(name: str, told: Told) -> Channel | None:
    """The channel; None where it is not told what it needs, or its extra is not installed."""
    module = import_module(f"connectors.channels.{CHANNELS[name].module}")
    return cast("Channel | None", module.open_channel(told))
