"""The contract: what every source does, whatever its service is. Each case takes a world that runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from connectors.sources.kept import taken_back
from connectors.sources.source import FaultKind, Page
from oo.v1.signal_pb2 import Signal
from tables.bounds import EVENTS_MAX, TASKS_MAX
from tests.connectors.sources.loopback import always
from tests.connectors.sources.world import NINE_IN_NEW_YORK, NOW, Told, World, due, start

RATED_S: Final = 90


async def first_read(world: World) -> None:
    await world.put("a", "Call Mom")
    await world.put("b", "Water plants")
    reader = world.reader()
    assert await reader.read() is None
    assert reader.told.titles == ["Call Mom", "Water plants"]
    assert all(one.source == f"{world.name}:c1" and one.user_id == "ann" for one in reader.told.there)


async def increments(world: World) -> None:
    await world.put("a", "Call Mom")
    reader = world.reader()
    await reader.read()
    await reader.read()
    assert reader.told.counted == 1
    await world.put("b", "Water plants")
    await world.put("a", "Call Mum")
    await reader.read()
    assert reader.told.titles == ["Call Mum", "Water plants"]
    assert reader.told.counted == 3


async def deletion(world: World) -> None:
    await world.put("a", "Call Mom")
    await world.put("b", "Water plants")
    reader = world.reader()
    await reader.read()
    await world.take("a")
    await reader.settle(now=NOW + timedelta(hours=1))
    assert reader.told.titles == ["Water plants"]


async def cursor_lost_here(world: World) -> None:
    await world.put("a", "Call Mom")
    await world.put("b", "Water plants")
    reader = world.reader()
    await reader.read()
    reader.cursor = b"no cursor"
    assert await reader.read(now=NOW + timedelta(minutes=5)) is None
    assert reader.told.titles == ["Call Mom", "Water plants"]
    assert reader.told.counted == 2


async def cursor_lost_there(world: World) -> None:
    await world.put("a", "Call Mom")
    await world.put("b", "Water plants")
    reader = world.reader()
    await reader.read()
    await world.take("a")
    await world.forget_places()
    assert await reader.read(now=NOW + timedelta(minutes=5)) is None
    assert reader.told.titles == ["Water plants"]
    assert reader.told.counted == 3


async def killed(world: World) -> None:
    """A worker that is killed before it keeps the cursor, and another that reads again."""
    await world.put("a", "Call Mom")
    reader = world.reader()
    await reader.read()
    await world.put("b", "Water plants")
    await reader.read(keep=lambda page: not page.signals)
    await reader.read(now=NOW + timedelta(minutes=1))
    assert reader.told.titles == ["Call Mom", "Water plants"]
    assert reader.told.counted == 2


async def killed_and_gone(world: World) -> None:
    """A worker that is killed behind Kafka's word, and an item that is deleted before another reads again."""
    await world.put("a", "Call Mom")
    reader = world.reader()
    await reader.read()
    await world.put("b", "Water plants")

    def only_ahead(page: Page) -> bool:
        if page.signals:
            reader.cursor = page.ahead
        return not page.signals

    await reader.read(keep=only_ahead)
    assert reader.told.titles == ["Call Mom", "Water plants"]
    await world.take("b")
    await reader.settle(now=NOW + timedelta(hours=1))
    assert reader.told.titles == ["Call Mom"]


async def rate_limit(world: World) -> None:
    await world.put("a", "Call Mom")
    reader = world.reader()
    world.service.fails = always(429, headers={"retry-after": str(RATED_S)})
    fault = await reader.read()
    assert fault is not None
    assert fault.kind is FaultKind.RATE_LIMITED
    assert fault.until_ms == int(NOW.timestamp() * 1000) + RATED_S * 1000
    world.service.fails = lambda _: None
    assert await reader.read() is None
    assert reader.told.titles == ["Call Mom"]


async def token_refused(world: World) -> None:
    reader = world.reader()
    await reader.read()
    before = reader.cursor
    world.service.fails = always(401)
    fault = await reader.read()
    assert fault is not None
    expires = "access_token" in reader.access.credentials
    assert fault.kind is (FaultKind.TOKEN_EXPIRED if expires else FaultKind.TOKEN_REVOKED)
    assert reader.cursor == before


async def token_revoked(world: World) -> None:
    await world.put("a", "Call Mom")
    reader = world.reader()
    await reader.read()
    world.service.fails = always(403)
    fault = await reader.read()
    assert fault is not None
    assert fault.kind is FaultKind.TOKEN_REVOKED
    assert reader.told.titles == ["Call Mom"], "what was there is not gone because nobody may look"


async def unreachable(world: World) -> None:
    await world.put("a", "Call Mom")
    reader = world.reader()
    world.service.fails = always(502)
    fault = await reader.read()
    assert fault is not None
    assert fault.kind is FaultKind.UNREACHABLE
    world.service.fails = always(200, text="<html>Please sign in to the hotel's network</html>")
    fault = await reader.read()
    assert fault is not None
    assert fault.kind is FaultKind.ODD_ANSWER
    assert not reader.told.items


async def gone(world: World) -> None:
    await world.put("a", "Call Mom")
    reader = world.reader()
    await reader.read()
    await world.vanish()
    fault = await reader.read()
    assert fault is not None
    assert fault.kind is FaultKind.GONE
    assert reader.told.titles == ["Call Mom"]


async def time_zones(world: World) -> None:
    await world.put_at_nine_in_new_york("Call Mom")
    reader = world.reader()
    await reader.read()
    assert _moment(reader.told.one("Call Mom")) == NINE_IN_NEW_YORK


async def recurring(world: World) -> None:
    await world.put_weekly("Take out the bins")
    reader = world.reader()
    await reader.read()
    world.says_weekly(reader.told, "Take out the bins")
    counted = reader.told.counted
    await reader.read(now=NOW + timedelta(minutes=5))
    assert reader.told.counted == counted


async def ten_thousand(world: World) -> None:
    """A row holds so many, and no more are sent; what waits comes in once there is room."""
    await world.put_many(world.many)
    reader = world.reader()
    assert await reader.read() is None
    held = len(reader.told.there)
    tasks = reader.told.there[0].HasField("task_upserted")
    assert held == (world.held or (TASKS_MAX if tasks else EVENTS_MAX))
    gone = reader.told.titles[0]
    name = f"n{int(gone.rpartition(' ')[2]):05}"
    await world.take(name)
    await reader.settle(now=NOW + timedelta(minutes=5))
    assert gone not in reader.told.titles
    assert len(reader.told.there) == held, "the next one took its place"


async def broken_page(world: World) -> None:
    """An answer breaks off in its middle, each of the first read's in turn."""
    await world.put("a", "Call Mom")
    await world.put_many(3)
    reader = world.reader()
    for after in range(20):
        broken = world.reader(told=reader.told)
        before = len(world.service.asked)
        world.service.cut_next(after)
        fault = await broken.read()
        if fault is None:
            assert after > 0
            assert len(world.service.asked) - before <= after, "a cut answer was taken for a whole one"
            break
        assert fault.kind in (FaultKind.UNREACHABLE, FaultKind.ODD_ANSWER)
        world.service.cut_at = 0
        assert await broken.read() is None
        assert reader.told.titles == ["Call Mom", "item 0", "item 1", "item 2"]
    assert reader.told.counted == 4


async def two_connections(world: World) -> None:
    """The same item from two sources is two things known: one of them gone, the other stands."""
    await world.put("a", "Call Mom")
    await world.put("b", "Water plants")
    told = Told()
    one, other = world.reader("c1", told), world.reader("c2", told)
    await one.read()
    await other.read()
    assert told.titles == ["Call Mom", "Call Mom", "Water plants", "Water plants"]
    await world.take("a")
    await one.settle(now=NOW + timedelta(hours=1))
    assert told.titles == ["Call Mom", "Water plants", "Water plants"]
    await other.settle(now=NOW + timedelta(hours=1))
    assert told.titles == ["Water plants", "Water plants"]


async def odd_item(world: World) -> None:
    """One item that nobody can read becomes a problem and costs no other."""
    await world.put("a", "Call Mom")
    await world.put_odd()
    await world.put("b", "Water plants")
    reader = world.reader()
    assert await reader.read() is None
    assert {"Call Mom", "Water plants"} <= set(reader.told.titles)
    assert reader.problems
    reader.cursor = b""
    assert await reader.read() is None


async def disconnect(world: World) -> None:
    await world.put("a", "Call Mom")
    await world.put("b", "Water plants")
    reader = world.reader()
    await reader.read()
    reader.told.hear(taken_back(reader.access, reader.cursor).signals)
    assert reader.told.titles == []


def _moment(signal: Signal) -> object:
    return due(signal) if signal.HasField("task_upserted") else start(signal)


CASES: Final[dict[str, tuple[str, Callable[[World], Awaitable[None]]]]] = {
    "first-read": ("first read", first_read),
    "increments": ("increments, each told once", increments),
    "deletion": ("a deletion is seen", deletion),
    "cursor-lost-here": ("our cursor is lost: read anew, nothing doubled", cursor_lost_here),
    "cursor-lost-there": ("the service forgot its token: read anew, a deletion meanwhile seen", cursor_lost_there),
    "killed": ("killed before the cursor is kept", killed),
    "killed-and-gone": ("killed so, and the item is deleted meanwhile", killed_and_gone),
    "rate-limit": ("rate limit, Retry-After", rate_limit),
    "token-refused": ("token expired (or, where it cannot, revoked)", token_refused),
    "token-revoked": ("access taken away: nothing told before is taken back", token_revoked),
    "unreachable": ("no service, or another's page in its place", unreachable),
    "gone": ("the calendar or account is gone", gone),
    "time-zones": ("a time in another zone", time_zones),
    "recurring": ("what comes again", recurring),
    "ten-thousand": ("10,000 items", ten_thousand),
    "broken-page": ("each answer broken off in its middle", broken_page),
    "two-connections": ("the same item by two connections", two_connections),
    "odd-item": ("an item that nobody can read costs no other", odd_item),
    "disconnect": ("disconnecting takes back all", disconnect),
}
