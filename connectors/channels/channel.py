"""What every channel is given, what it does, and how it says that it did not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from joserfc.jwk import ECKey

from connectors.outside import Network
from oo.v1.device_pb2 import Device


@dataclass(frozen=True, slots=True)
class Notice:
    """One tip, for one device."""

    delivery_id: str
    """Names the tip on this device: a provider that is told it twice tells the person once."""
    decision_id: str
    title: str
    detail: str
    why: tuple[str, ...]
    language: str
    """As connectors/channels/texts.py has it."""
    url: str
    """Of the page that shows the tip."""
    reaction_token: str
    """By it a button reacts to this decision, once, without a session."""
    unsubscribe_url: str
    left_s: int
    """It is of no use after so many seconds."""


@dataclass(frozen=True, slots=True)
class Told:
    """What channels are told from outside."""

    key: ECKey
    """Says to push services who sends (VAPID)."""
    contact: str
    """And whom to turn to: mailto: or https:."""
    inside: tuple[Network, ...] = ()
    """Networks of our own in which an address that people name may be."""
    smtp_url: str = field(default="", repr=False)
    mail_from: str = ""
    ca_file: Path | None = None
    """Of servers of our own; else the system's."""


class Channel(Protocol):
    """One way, open for the life of a process."""

    async def send(self, to: Device, notice: Notice) -> None:
        """Return once the provider has taken it, which does not mean that anybody saw it. Raises NotSent and Unsure."""

    async def close(self) -> None:
        """Let go of connections."""


class Asks(Protocol):
    """A channel whose addresses are confirmed by their owners."""

    async def ask(self, to: Device, url: str) -> None:
        """Ask whether the address is theirs, with the link that says so. Raises NotSent and Unsure."""


class NotSent(Exception):
    """It did not go out; `reason` is a fixed word that the person may read."""

    def __init__(self, reason: str, *, again_s: float | None = 0.0, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again_s = again_s
        """It may go out so much later, or later still; None: never."""
        self.gone = gone
        """The address is no more."""


class Unsure(Exception):
    """Whether it went out cannot be told."""
