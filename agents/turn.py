"""One turn of one connection, under its lease: tells its source what is done, reads what changed, sends it, keeps the place.

A cursor is kept when Kafka has the signals that came before it, and one that knows what may be out before they are sent: killed at
any moment, the next turn sends the same ids again, and nothing is lost. It never waits for a service that said when to come
again, and logs no word of a person's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from connectors.postgres.leases import Leased, LeaseLost, Leases, Open, Unreachable
from connectors.sources.kept import taken_back
from connectors.sources.source import (
    Access,
    Delivery,
    Failed,
    Fault,
    FaultKind,
    Hooked,
    Outcome,
    Page,
    Source,
    WrittenBack,
    pages,
    write_back,
)
from connectors.vault import Box, NotOpened, Vault, Wrapped
from oo.v1.signal_pb2 import Signal
from streams.backoff import Backoff
from streams.keys import KekGone
from streams.metrics import TURNS
from streams.producer import DeliveryFailed
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

logger = logging.getLogger(__name__)

Send = Callable[[Sequence[Signal]], Awaitable[None]]
"""Returns once Kafka has acknowledged all of them."""
Refresh = Callable[[str, Mapping[str, str]], Awaitable[Mapping[str, str]]]
"""(source, credentials) -> new ones; raises `Failed` of connectors.sources.source."""

PAGES_MAX: Final = 50
"""Of one turn: then others have theirs."""
POSTED_MAX: Final = 20
"""Likewise, of what was posted to us."""
TOLD_WITHIN_MS: Final = 7 * DAY_MS
"""A task that was done longer ago is no news to its source."""
TURN_S: Final = 900.0
"""Of one turn as a whole: a server may answer, and answer, and never end."""
REST: Final = 4
"""So many times as long as its turn took others have theirs, whatever a slow server's connection is due."""
AHEAD_MS: Final = 5 * MINUTE_MS
"""A token that runs out within this is refreshed before it is used."""
_TROUBLED: Final = Backoff(first_s=15.0, max_s=3600.0)
_LIMITED: Final = Backoff(first_s=60.0, max_s=3600.0)
_SELDOM: Final = Backoff(first_s=600.0, max_s=24 * 3600.0)
_PASSES: Final = {FaultKind.UNREACHABLE, FaultKind.ODD_ANSWER}
"""What is wrong with a service just now, and says nothing of a token that it gave before."""
_PAUSES: Final = {FaultKind.RATE_LIMITED: _LIMITED, FaultKind.GONE: _SELDOM, FaultKind.TOO_MUCH: _SELDOM}
_NAMESPACE: Final = uuid.UUID("5f0c1a52-7a2e-4f0e-9c4b-3a9c6d1e0b76")


def pause_ms(connection_id: str, *, every_ms: int, now_ms: int) -> int:
    """How long until this connection's next place on the wheel, at least half a turn ahead: everybody's places differ, and stay.

    >>> [pause_ms("3f2a9c", every_ms=1000, now_ms=now) for now in (0, 100, 700)]
    [889, 789, 1189]
    """
    place = int.from_bytes(hashlib.blake2b(connection_id.encode(), digest_size=8).digest(), "big") % every_ms
    earliest = now_ms + every_ms // 2
    return earliest + (place - earliest) % every_ms - now_ms


@dataclass(frozen=True, slots=True)
class Opened:
    """What is under a connection's seals."""

    user_id: str
    """The person's own: signals carry it to the door."""
    settings: Mapping[str, str]
    credentials: Mapping[str, str] = field(repr=False)
    sealed: bytes = field(repr=False)
    """The credentials as they stand."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a turn ended, for who holds back a service."""

    held_ms: int = 0
    """For how long this service's other connections are to wait."""


class _Broken(Exception):
    """Only the person can mend it; the word says what."""


class _Stopped(Exception):
    """The source gave no more, for this reason."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.kind)
        self.fault = fault


class Turns:
    """Takes turns of leased connections. `access`: what all have in common; `refresh`: None where no service signs in with OAuth."""

    def __init__(
        self,
        *,
        leases: Leases,
        vault: Vault,
        sources: Mapping[str, Source],
        access: Access,
        send: Send,
        clock_ms: Callable[[], int],
        refresh: Refresh | None = None,
        lease_ms: int = 30_000,
    ) -> None:
        self._leases = leases
        self._vault = vault
        self._sources = sources
        self._shared = access
        self._send = send
        self._clock_ms = clock_ms
        self._refresh = refresh
        self.lease_ms = lease_ms

    async def take(self, leased: Leased) -> Ended:
        """See one turn to its end, or as far as the lease lasts. Raises what ends the process: a failed delivery."""
        work = asyncio.create_task(self._take(leased), name=f"turn-{leased.connection_id}")
        keep = asyncio.create_task(self._keep_lease(leased), name=f"lease-{leased.connection_id}")
        try:
            await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _ended(work, keep)
            await self._give_back(leased)
            raise
        await _ended(work, keep)
        try:
            return work.result()
        except DeliveryFailed:
            await self._give_back(leased)
            raise
        except asyncio.CancelledError:
            pass
        TURNS["lost",] += 1
        logger.warning("turn.lease_lost connection=%s", leased.connection_id)
        return Ended()

    async def _give_back(self, leased: Leased) -> None:
        """This process ends, and it is not the connection's doing: another may go on at once."""
        with contextlib.suppress(LeaseLost, TimeoutError, *Unreachable):
            back = self._leases.release(
                leased, pause_ms=0, trouble=leased.trouble, failures=leased.failures, died=leased.died
            )
            await asyncio.wait_for(back, 2.0)

    async def _keep_lease(self, leased: Leased) -> None:
        """Renew it until somebody else has it, or PostgreSQL has not answered for too long; then return."""
        loop = asyncio.get_running_loop()
        held_s = self.lease_ms / SECOND_MS
        until_s = loop.time() + held_s
        while loop.time() < until_s - held_s / 3:
            await asyncio.sleep(held_s / 6)
            asked_s = loop.time()
            try:
                await asyncio.wait_for(self._leases.renew(leased, lease_ms=self.lease_ms), held_s / 3)
            except LeaseLost:
                return
            except (*Unreachable, TimeoutError):
                continue
            until_s = asked_s + held_s

    async def _take(self, leased: Leased) -> Ended:
        try:
            async with asyncio.timeout(TURN_S) as whole:
                return await self._turn(leased)
        except TimeoutError:
            if not whole.expired():
                raise
            return await self._failed(leased, Fault(FaultKind.UNREACHABLE, detail="a turn without an end"))
        except LeaseLost:
            # Paused or taken back meanwhile, and ours still; or another's, and then this does nothing.
            with contextlib.suppress(LeaseLost, *Unreachable):
                await self._leases.release(leased, pause_ms=leased.every_ms, trouble=leased.trouble)
        except Unreachable as error:
            logger.warning("turn.postgres_away connection=%s error=%s", leased.connection_id, type(error).__name__)
        TURNS["abandoned",] += 1
        return Ended()

    async def _turn(self, leased: Leased) -> Ended:
        try:
            box = self._vault.open(
                Wrapped(leased.kek_id, leased.wrapped_key), user_id=leased.user_id, connection_id=leased.connection_id
            )
            said = opened(box, leased)
            source = self._sources.get(leased.source)
            if leased.state == "leaving":
                return await self._leave(leased, box, said)
            if source is None:
                raise _Broken("no-such-source")
            return await self._at(source, leased, box, said)
        except (NotOpened, KekGone):
            if leased.state == "leaving":
                await self._leases.purge(leased)
                return Ended()
            return await self._over(leased, "not-opened", broken=True)
        except _Broken as broken:
            return await self._over(leased, str(broken), broken=True)
        except _Stopped as stopped:
            return await self._failed(leased, stopped.fault)

    async def _at(self, source: Source, leased: Leased, box: Box, said: Opened) -> Ended:
        began_s = asyncio.get_running_loop().time()
        said = await self._fresh(leased, box, said)
        try:
            again_ms = await self._write_and_read(source, leased, box, said)
        except _Stopped as stopped:
            if stopped.fault.kind is not FaultKind.TOKEN_EXPIRED or "refresh_token" not in said.credentials:
                raise
            said = await self._refreshed(leased, box, said)
            again_ms = await self._write_and_read(source, leased, box, said)
        wheel_ms = pause_ms(leased.connection_id, every_ms=leased.every_ms, now_ms=self._clock_ms())
        took_s = asyncio.get_running_loop().time() - began_s
        wheel_ms = max(wheel_ms, round(REST * took_s * SECOND_MS))
        await self._leases.release(leased, pause_ms=wheel_ms if again_ms is None else again_ms, read=True)
        TURNS["read",] += 1
        return Ended()

    async def _write_and_read(self, source: Source, leased: Leased, box: Box, said: Opened) -> int | None:
        """When to come again, in ms; None for when its turn comes. Raises _Stopped."""
        access = self._access(leased, box, said)
        cursor = b"" if leased.cursor is None else box.open("cursor", leased.cursor)
        for one in await self._leases.open_write_backs(leased):
            if (fault := await self._write_back(source, access, cursor, leased, box, one)) is not None:
                await self._put_off(leased, one, fault)
                break
        posted = await self._leases.posted(leased, limit=POSTED_MAX)
        for number, sealed in posted:
            page = _heard(source, access, cursor, box.open("delivery", sealed))
            cursor = await self._tell(leased, box, page or Page(cursor), posted=number)
        count, again_ms = 0, None
        async for page in _all(source, access, cursor):
            cursor = await self._tell(leased, box, page)
            again_ms = round(page.again_s * SECOND_MS) or None
            if page.fault is not None:
                raise _Stopped(page.fault)
            count += 1
            if count >= PAGES_MAX:
                return 0
        return 0 if len(posted) == POSTED_MAX else again_ms

    async def _tell(self, leased: Leased, box: Box, page: Page, *, posted: int | None = None) -> bytes:
        """Send what a page says and keep the place behind it, which this returns."""
        if page.signals:
            if page.ahead:
                await self._leases.keep(leased, cursor=box.seal("cursor", page.ahead))
            await self._send(page.signals)
        sealed = box.seal("cursor", page.cursor)
        if sealed != leased.cursor or page.signals or posted is not None:
            await self._leases.keep(leased, cursor=sealed, told=len(page.signals), posted=posted)
        return page.cursor

    async def _write_back(
        self, source: Source, access: Access, cursor: bytes, leased: Leased, box: Box, one: Open
    ) -> Fault | None:
        """Tell the source that a task is done; returns why it did not hear of it, where it may later."""
        await self._leases.try_write(leased, one)
        operation = str(uuid.uuid5(_NAMESPACE, one.outcome_id))
        external_id = box.open("item", one.item).decode()
        try:
            answer = await write_back(source, access, cursor, external_id=external_id, operation=operation)
        except Exception as error:  # noqa: BLE001 - as in `_all`
            answer = WrittenBack(None, _ours(source, error).fault)
        if answer.outcome is not None:
            # Completed before by a try of ours whose answer nobody heard, or by hand: it is done either way.
            result = Outcome.DONE if answer.outcome is Outcome.ALREADY else answer.outcome
            await self._leases.written(leased, one, result=result.value)
            return None
        if one.done_ms < self._clock_ms() - TOLD_WITHIN_MS:
            await self._leases.written(leased, one, result="failed")
            return None
        return answer.fault

    async def _put_off(self, leased: Leased, one: Open, fault: Fault) -> None:
        """Tell it nothing for a while, and read on; raises _Stopped where it said until when, which is meant for reads too."""
        kind, detail = fault.kind, fault.detail
        logger.info("write_back.put_off connection=%s kind=%s detail=%s", leased.connection_id, kind, detail)
        wait_ms = max(fault.until_ms - self._clock_ms(), 0)
        pause_ms = wait_ms + round(_TROUBLED.pause_s(one.attempts + 1) * SECOND_MS)
        await self._leases.put_off(leased, pause_ms=pause_ms)
        if kind is FaultKind.RATE_LIMITED and fault.until_ms:
            raise _Stopped(fault)

    async def _leave(self, leased: Leased, box: Box, said: Opened) -> Ended:
        """Take back all that was told, then have all of it gone."""
        if leased.cursor is not None:
            page = taken_back(self._access(leased, box, said), box.open("cursor", leased.cursor))
            if page.signals:
                await self._send(page.signals)
        await self._leases.purge(leased)
        TURNS["left",] += 1
        logger.info("connection.purged connection=%s", leased.connection_id)
        return Ended()

    async def _fresh(self, leased: Leased, box: Box, said: Opened) -> Opened:
        """With a token that lasts for this turn; with the one at hand where its service cannot be heard just now and it still counts."""
        expires = said.credentials.get("expires_ms", "")
        soon = expires.isdigit() and int(expires) < self._clock_ms() + AHEAD_MS
        if not soon or "refresh_token" not in said.credentials:
            return said
        try:
            return await self._refreshed(leased, box, said)
        except _Stopped as stopped:
            if int(expires) <= self._clock_ms() or stopped.fault.kind not in _PASSES:
                raise
            logger.info("token.kept connection=%s kind=%s", leased.connection_id, stopped.fault.kind)
            return said

    async def _refreshed(self, leased: Leased, box: Box, said: Opened) -> Opened:
        if self._refresh is None:
            raise _Broken("token-expired")
        try:
            new = await self._refresh(leased.source, said.credentials)
        except Failed as failed:
            raise _Stopped(failed.fault) from None
        # Kept before anything uses it: the old refresh token may be worth nothing from here on.
        sealed = box.seal("credentials", json.dumps({**new}).encode())
        await self._leases.refreshed(leased, before=said.sealed, credentials=sealed)
        TURNS["refreshed",] += 1
        return replace(said, credentials=new, sealed=sealed)

    async def _failed(self, leased: Leased, fault: Fault) -> Ended:
        failures = leased.failures + 1
        logger.info("turn.stopped connection=%s kind=%s detail=%s", leased.connection_id, fault.kind, fault.detail)
        if fault.kind in (FaultKind.TOKEN_REVOKED, FaultKind.TOKEN_EXPIRED):
            return await self._over(leased, fault.kind.value, broken=True)
        by = _PAUSES.get(fault.kind, _TROUBLED)
        wait_ms = max(fault.until_ms - self._clock_ms(), round(by.pause_s(failures) * SECOND_MS))
        limited = fault.kind is FaultKind.RATE_LIMITED
        if limited and fault.until_ms:
            wait_ms = max(fault.until_ms - self._clock_ms(), SECOND_MS)
        TURNS[fault.kind.value,] += 1
        await self._leases.release(leased, pause_ms=wait_ms, trouble=fault.kind.value, failures=failures, hold=limited)
        # A service of one name counts by token: what one person has spent is theirs alone. Many people share a host.
        return Ended(held_ms=wait_ms if limited and ":" in leased.service else 0)

    async def _over(self, leased: Leased, trouble: str, *, broken: bool) -> Ended:
        TURNS["broken",] += 1
        logger.warning("connection.broken connection=%s trouble=%s", leased.connection_id, trouble)
        await self._leases.release(leased, pause_ms=HOUR_MS, trouble=trouble, failures=leased.failures, broken=broken)
        return Ended()

    def _access(self, leased: Leased, box: Box, said: Opened) -> Access:
        return replace(
            self._shared,
            connection_id=leased.connection_id,
            user_id=said.user_id,
            zone=ZoneInfo(box.open("zone", leased.zone).decode() or "UTC"),
            now=datetime.fromtimestamp(self._clock_ms() / SECOND_MS, UTC),
            settings=said.settings,
            credentials=said.credentials,
        )


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def opened(box: Box, row: Leased) -> Opened:
    """What is under the seals. Raises NotOpened."""
    kept = json.loads(box.open("settings", row.settings))
    credentials = json.loads(box.open("credentials", row.credentials))
    return Opened(kept["user_id"], kept["settings"], credentials, row.credentials)


async def _all(source: Source, access: Access, cursor: bytes) -> AsyncIterator[Page]:
    """The source's pages. A fault of its own making is an odd answer."""
    try:
        async for page in pages(source, access, cursor):
            yield page
    except Exception as error:  # noqa: BLE001 - a source of tomorrow may raise anything, and must not stop the others
        raise _ours(source, error) from None


def _heard(source: Source, access: Access, cursor: bytes, posted: bytes) -> Page | None:
    """What a delivery says; None where nothing of it is of use."""
    if not isinstance(source, Hooked):
        return None
    kept = json.loads(posted)
    try:
        delivery = Delivery(kept["headers"], bytes.fromhex(kept["body"]), kept["received_ms"])
        return source.webhook(access, cursor, delivery).page
    except Failed as failed:
        raise _Stopped(failed.fault) from None
    except Exception as error:  # noqa: BLE001 - as above
        raise _ours(source, error) from None


def _ours(source: Source, error: Exception) -> _Stopped:
    # Never its text: that may quote what it read.
    logger.error("source.failed source=%s error=%s", source.description.name, type(error).__name__)
    return _Stopped(Fault(FaultKind.ODD_ANSWER, detail=type(error).__name__))
