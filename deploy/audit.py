"""Notes that an operator's command shows a person's words, before it does.

It never shows anything itself, and who is noted cannot be told apart from their account: where operators share one, so do their entries.
"""

from __future__ import annotations

import getpass
import platform

from deploy.stack.running import RunningStack
from deploy.writing import writing
from oo.v1.audit_pb2 import AuditEntry
from streams.producer import DeliveryFailed
from streams.registry import RegistryError


class NotNoted(Exception):
    """The entry could not be written, so nothing is shown."""


async def note(stack: RunningStack, command: str, *, whose: bytes | None, letter_id: str = "") -> None:
    """Write that this command shows words of this person, or a letter; returns when Kafka has it. Raises NotNoted."""
    entry = entry_of(stack, command, letter_id=letter_id)
    try:
        async with writing(stack, client_id="oo-audit") as (producer, schemas):
            await producer.produce(stack.cluster.name("audit"), key=whose, value=schemas.frame("audit", entry))
    except (DeliveryFailed, RegistryError) as error:
        raise NotNoted(
            f"nothing is shown, since it could not be noted in {stack.cluster.name('audit')}: {error}"
        ) from None


def entry_of(stack: RunningStack, command: str, *, letter_id: str = "") -> AuditEntry:
    """What is noted of this command, by whoever runs it."""
    user = stack.cluster.security.username
    return AuditEntry(kafka_user=user, account=_account(), command=command, letter_id=letter_id)


def _account() -> str:
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):  # a container's number without a name
        return platform.node()
