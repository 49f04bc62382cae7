"""What PostgreSQL keeps of a person beside the log, for their export: where they are told of tips, what they were told there, what they have
connected, and where they sign in.

It shows no password, token or key, and of an address that lets somebody in its host alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.key_files import KeyFiles
from connectors.postgres import accounts, connections, notifier
from connectors.postgres.accounts import Accounts
from connectors.postgres.connections import Connection, Connections
from connectors.postgres.notifier import PAGE_MAX, Known, Notifier
from connectors.vault import NotOpened, Vault, Wrapped
from oo.v1.device_pb2 import Device
from serving.exports import Order
from streams.clock import clock_ms
from streams.keys import KekGone

Entries = AsyncIterator[dict[str, Any]]
Opener = Callable[[Device], Device | None]
"""Opens what was sealed with the person's own key; None for what nobody of ours sealed."""

DEVICES, TOLD, CONNECTED, SIGN_IN = "devices.json", "told.json", "connections.json", "sign_in.json"
FILES: Final = {
    DEVICES: "where you are told of tips",
    TOLD: "what you were told there in the last 90 days, and what became of it",
    CONNECTED: "what you have connected, without what opens it, and what happened with it",
    SIGN_IN: "with whom you sign in, and where you are signed in",
}
AWAY: Final = (*notifier.Unreachable, *connections.Unreachable, *accounts.Unreachable)
"""What `read` raises where PostgreSQL does not answer."""


async def read(order: Order, *, opened: Opener, until: AsyncExitStack) -> dict[str, Entries]:
    """The entries of each file that there is. What is bounded is read now, so that nothing begins where PostgreSQL is away."""
    kept, whose, found = order.kept, order.pseudonym, dict[str, Entries]()
    if kept.notifier_dsn:
        told = Notifier(kept.notifier_dsn, connections_max=1)
        await told.open()
        until.push_async_callback(told.close)
        found[DEVICES] = _each(
            [_device(one, opened(Device.FromString(one.message))) for one in await told.devices(whose)]
        )
        found[TOLD] = _told(told, whose)
    if kept.connections_dsn:
        connected = Connections(kept.connections_dsn, connections_max=1)
        await connected.open()
        until.push_async_callback(connected.close)
        vault = Vault(KeyFiles(Path(kept.vault_dir)))
        found[CONNECTED] = _connected(connected, await connected.of(whose), vault)
    if kept.auth_dsn:
        people = Accounts(kept.auth_dsn, connections_max=1)
        await people.open()
        until.push_async_callback(people.close)
        found[SIGN_IN] = _each(await _signed_in(people, whose, kept.auth_key_file))
    return found


async def _each(entries: list[dict[str, Any]]) -> Entries:
    for one in entries:
        yield one


def _device(known: Known, device: Device | None) -> dict[str, Any]:
    return {
        "channel": known.channel,
        "device_id": known.device_id,
        "name": "" if device is None else device.name,
        "to": "" if device is None else _address(device),
        "made_ms": known.made_ms,
        "confirmed_ms": known.confirmed_ms,
    }


def _address(device: Device) -> str:
    """
    >>> from oo.v1.device_pb2 import Email, Webhook
    >>> _address(Device(email=Email(address="ada@example.org"))), _address(Device(webhook=Webhook(url="https://x.org/secret")))
    ('ada@example.org', 'x.org')
    """
    match device.WhichOneof("to"):
        case "email":
            return device.email.address
        case "apprise":
            return urlsplit(device.apprise.url).scheme
        case "webhook":
            return urlsplit(device.webhook.url).hostname or ""
        case _:
            return urlsplit(device.web_push.endpoint).hostname or ""


async def _told(told: Notifier, whose: str) -> Entries:
    before: tuple[int, str] | None = None
    while True:
        page = await told.page(whose, limit=PAGE_MAX, before=before)
        for one in page:
            yield {
                "decision_id": one.decision_id,
                "device_id": one.device_id,
                "channel": one.channel,
                "state": one.state,
                "reason": one.reason,
                "attempts": one.attempts,
                "begun_ms": one.begun_ms,
                "ended_ms": one.ended_ms,
                "reaction": one.reaction,
            }
        if len(page) < PAGE_MAX:
            return
        before = page[-1].cursor


async def _connected(connected: Connections, found: list[Connection], vault: Vault) -> Entries:
    for one in found:
        happened = await connected.log(one.connection_id)
        yield {
            "source": one.source,
            "connection_id": one.connection_id,
            "settings": _settings(one, vault),
            "state": one.state,
            "trouble": one.trouble,
            "created_ms": one.created_ms,
            "read_ms": one.read_ms,
            "log": [{name: getattr(entry, name) for name in entry.__slots__} for entry in happened],
        }


def _settings(one: Connection, vault: Vault) -> dict[str, str] | None:
    """None where nothing opens them any more."""
    from serving.connecting import settings_in

    try:
        box = vault.open(Wrapped(one.kek_id, one.wrapped_key), user_id=one.user_id, connection_id=one.connection_id)
        return settings_in(box, one)[1]
    except (KekGone, NotOpened):
        return None


async def _signed_in(people: Accounts, whose: str, key_file: str) -> list[dict[str, Any]]:
    from serving.auth.seals import Seals
    from serving.auth.sessions import device_in

    seals = Seals.in_file(Path(key_file))
    return [
        *({"provider": provider, "since_ms": made_ms} for provider, made_ms in await people.providers(whose)),
        *(
            {
                "kind": one.kind,
                "session_id": one.session_id,
                "device": device_in(one, seals),
                "signed_in_ms": one.made_ms,
                "used_ms": one.used_ms,
            }
            for one in await people.listed(whose, now_ms=clock_ms())
        ),
    ]
