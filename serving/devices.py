"""A person's devices as the edge's routes see them: kept sealed, opened with the person's own key."""

from __future__ import annotations

from connectors import valkey
from connectors.channels.registry import CHANNELS
from connectors.postgres.notifier import Known, Unreachable
from oo.v1.device_pb2 import Device
from serving.edge import Edge
from serving.problems import Problem, unavailable
from serving.telling import Telling
from serving.tokens import Identity
from streams.keys import opened_by
from streams.sealing import KeyMissing, NotOpened, seal
from streams.units import DAY_S

DEVICES_MAX = 20
"""Of one person."""
ASKED_OF_PERSON_MAX = 5
"""Mails in a day that ask an owner whether an address is theirs, because this person named it."""
ASKED_OF_ADDRESS_MAX = 3
"""And to one address, whoever named it."""
AWAY = Unreachable
"""What `store` raises where PostgreSQL does not answer."""


def telling_of(edge: Edge) -> Telling:
    """Raises a 404 problem where nobody is told."""
    if edge.telling is None:
        raise Problem(404, "no-notifications", detail="This oO tells nobody: it runs without `oo up --people`.")
    return edge.telling


def away() -> Problem:
    return unavailable("devices", detail="Devices cannot be looked at now; tips go on.", retry_after_s=5)


async def devices_of(edge: Edge, user_id: str) -> list[Known]:
    """Raises a 503 problem."""
    try:
        return await telling_of(edge).store.devices(user_id)
    except AWAY:
        raise away() from None


async def keep(edge: Edge, who: Identity, device: Device, *, address: str) -> Known:
    """Keep it, sealed, in place of the one with the same address. Raises problems."""
    channel = str(device.WhichOneof("to"))
    device_id = edge.mac("device", who.pseudonym, channel, address)
    known = await devices_of(edge, who.pseudonym)
    is_new = not any(one.device_id == device_id for one in known)
    if is_new and len(known) >= DEVICES_MAX:
        raise Problem(409, "too-many-devices", detail=f"There may be {DEVICES_MAX}: DELETE one first.")
    whose = who.pseudonym.encode()
    try:
        if edge.people.lacks(whose):
            await edge.people.catch_up()
        kept = seal(device, whose=whose, keys=edge.people)
    except KeyMissing:
        edge.newcomers.tell(who)
        raise unavailable("key", detail="You are new here, and nothing of yours is kept yet; try again.") from None
    now_ms = edge.now_ms()
    made = Known(
        device_id=device_id,
        user_id=who.pseudonym,
        channel=channel,
        made_ms=now_ms,
        confirmed_ms=None if CHANNELS[channel].confirmed else now_ms,
        message=kept.SerializeToString(deterministic=True),
        # Where a browser is signed in no more, it is told nothing more; an address is the person's.
        session_id=who.session if channel == "web_push" else None,
    )
    if is_new and made.confirmed_ms is None:
        await _may_ask(edge, who, address)
    try:
        if not await telling_of(edge).store.add(made):
            edge.departed.check(who.pseudonym)
            raise away()
    except AWAY:
        raise away() from None
    return next((one for one in await devices_of(edge, who.pseudonym) if one.device_id == device_id), made)


async def _may_ask(edge: Edge, who: Identity, address: str) -> None:
    """Raises a 429 problem where the owner of this address would be asked too often; 503 where nobody can count."""
    for kind, whose, most in (
        ("asked-of-person", who.pseudonym, ASKED_OF_PERSON_MAX),
        ("asked-of-address", address.lower(), ASKED_OF_ADDRESS_MAX),
    ):
        try:
            count, wait_s = await telling_of(edge).tickets.tries(kind, edge.mac(kind, whose), within_s=DAY_S)
        except valkey.Unreachable:
            raise unavailable("devices", detail="No address can be added now; try again.", retry_after_s=5) from None
        if count > most:
            detail = "So many mails asked today whether an address is theirs: add it tomorrow."
            raise Problem(429, "too-many-mails", detail=detail, headers={"retry-after": str(wait_s)})


async def opened(edge: Edge, known: Known) -> Device:
    """Raises a 503 problem."""
    try:
        return await opened_by(edge.people, Device.FromString(known.message), whose=known.user_id.encode())
    except (KeyMissing, NotOpened):
        raise unavailable("devices", detail="The devices cannot be opened now; try again.") from None
