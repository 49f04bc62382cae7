"""What the edge has of the notifier: its tables, the public half of the key that signs words in notifications, and counts of mails.

It never sends.
"""

from __future__ import annotations

from dataclasses import dataclass

from joserfc.jwk import ECKey

from connectors.channels import words
from connectors.postgres.notifier import Notifier
from connectors.tickets import Tickets
from serving.problems import Problem
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Telling:
    """One per app."""

    store: Notifier
    key: ECKey
    tickets: Tickets

    @classmethod
    def read(cls, settings: Settings) -> Telling | None:
        """None where nobody is told. Raises OSError and ValueError for a key that is none."""
        if settings.notifier_dsn is None or settings.notify_public_key_file is None:
            return None
        return cls(
            store=Notifier(settings.notifier_dsn.get_secret_value()),
            key=words.key_in(settings.notify_public_key_file),
            tickets=Tickets(settings.valkey_url),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.store.close()
        await self.tickets.close()

    @property
    def public_key(self) -> str:
        """For a browser's `PushManager.subscribe`."""
        return words.public_text(self.key)

    def read_word(self, text: str, may: words.May, *, now_ms: int) -> str:
        """Of what a word in a notification is. Raises a 403 problem."""
        of = words.read(text, may, key=self.key, now_ms=now_ms)
        if of is None:
            raise Problem(403, "bad-word", detail="This link or button is not ours, for something else, or too old.")
        return of
