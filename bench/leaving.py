"""Leaving: from the answer to DELETE /v1/me until nothing of somebody is shown, kept or can be opened, beside what a reaction of
theirs takes until it has changed their tip.

People leave one after the other over HTTP, each with their tasks, a tip and a history. Each place is asked again and again until
it has nothing, so a time holds one more question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from statistics import median

import httpx
import psycopg

from bench.result import Bench, Result, compared
from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from serving.issuer import LocalIssuer
from streams.keys import Keys

PEOPLE = 50
TASKS = 20
LATE_S = 60.0
SILENT_S = 2.0
"""Who has no tip by then after a reaction has been told nothing, and is left out of the peer."""
PLACES = {
    "tip": "until GET /v1/tip has none",
    "history": "until PostgreSQL has no decision and no outcome of theirs",
    "key": "until their key is gone, and with it what their sealed bytes say",
}


class Late(Exception):
    """What was waited for did not come."""


def measure(bench: Bench) -> Result:
    """The middle and the 95th of a hundred, of each place."""
    people = 5 if bench.quick else PEOPLE
    with bench.stack() as stack:
        reacted, gone = asyncio.run(_measure(stack, people, bench))
    peer = median(reacted)
    rows = [
        compared(
            f"leaving-{place}-p{percent}",
            f"DELETE /v1/me answered {what}, p{percent}, {people} people with {TASKS} tasks each, one after the other",
            _percentile(gone[place], percent),
            "ms",
            peer=peer,
            peer_name="a reaction answered until GET /v1/tip has the next tip, p50, the same people",
        )
        for place, what in PLACES.items()
        for percent in (50, 95)
    ]
    return Result(rows)


def _percentile(found: list[float], percent: int) -> float:
    """The place at or above that share of all, sorted.

    >>> _percentile([3.0, 1.0, 2.0, 4.0], 50), _percentile([1.0] * 19 + [9.0], 95)
    (2.0, 1.0)
    """
    return sorted(found)[-(-len(found) * percent // 100) - 1]


async def _measure(stack: RunningStack, people: int, bench: Bench) -> tuple[list[float], dict[str, list[float]]]:
    issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)
    keys = Keys.of(stack.cluster, KeyFiles(stack.kek_dir))
    reacted, gone = list[float](), {place: list[float]() for place in PLACES}
    database = await psycopg.AsyncConnection.connect(stack.recommender_dsn, autocommit=True)
    async with database, httpx.AsyncClient(base_url=stack.edge_url, timeout=10) as http:
        for number in bench.track(range(people), "leaving", people):
            user = f"leaver-{number}"
            http.headers["authorization"] = f"Bearer {issuer.mint(user)}"
            whose = stack.pseudonym(user)
            decision_id = await _settle(http)
            await _done(http.post("/v1/feedback", json={"decision_id": decision_id, "reaction": "done"}), 202)
            with suppress(Late):  # To say nothing was drawn.
                reacted.append(await _ms_until(partial(_has_other, http, decision_id), within_s=SILENT_S))
            while await _has_no_history(database, whose):
                await asyncio.sleep(0.01)
            asked = await http.delete("/v1/me")
            await _done(http.delete("/v1/me", params={"confirm": asked.json()["confirm"]}), 202)
            ways: dict[str, Callable[[], Awaitable[bool]]] = {
                "tip": partial(_has_none, http),
                "history": partial(_has_no_history, database, whose),
                "key": partial(_has_no_key, keys, whose),
            }
            took_ms = await asyncio.gather(*(_ms_until(ways[place], within_s=LATE_S) for place in PLACES))
            for place, ms in zip(PLACES, took_ms, strict=True):
                gone[place].append(ms)
    return reacted, gone


async def _settle(http: httpx.AsyncClient) -> str:
    """Tell this person's tasks; returns the decision of a tip that is about one of them."""
    tasks = [
        {"source": "bench", "task_upserted": {"external_id": f"{number}", "title": f"Errand {number}"}}
        for number in range(TASKS)
    ]
    await _done(http.post("/v1/signals", json=tasks), 202)
    # As many as they like: to say nothing is drawn too, and asked for anew.
    often = {"source": "bench", "profile_changed": {"tips_per_day": 500}}
    until_s = time.perf_counter() + LATE_S
    while time.perf_counter() < until_s:
        answer = await http.get("/v1/tip")
        if answer.status_code == 200 and answer.json()["kind"] == "task":
            return str(answer.json()["decision_id"])
        await _done(http.post("/v1/signals", json=often), 202)
        await asyncio.sleep(0.2)
    raise Late(f"no tip about a task within {LATE_S:g} s")


async def _has_other(http: httpx.AsyncClient, decision_id: str) -> bool:
    answer = await http.get("/v1/tip")
    return answer.status_code == 200 and answer.json()["decision_id"] != decision_id


async def _has_none(http: httpx.AsyncClient) -> bool:
    return (await http.get("/v1/tip")).status_code == 204


async def _has_no_history(database: psycopg.AsyncConnection, whose: str) -> bool:
    query = (
        "SELECT NOT EXISTS (SELECT FROM recommender.decisions WHERE user_id = %(whose)s)"
        " AND NOT EXISTS (SELECT FROM recommender.outcomes WHERE user_id = %(whose)s)"
    )
    row = await (await database.execute(query, {"whose": whose})).fetchone()
    return row is not None and bool(row[0])


async def _has_no_key(keys: Keys, whose: str) -> bool:
    await keys.catch_up()
    return not keys.held(whose.encode())


async def _done(asking: Awaitable[httpx.Response], status: int) -> None:
    answer = await asking
    if answer.status_code != status:
        raise Late(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text}")


async def _ms_until(holds: Callable[[], Awaitable[bool]], *, within_s: float) -> float:
    began_s = time.perf_counter()
    while not await holds():
        if time.perf_counter() > began_s + within_s:
            raise Late(f"not within {within_s:g} s")
        await asyncio.sleep(0.001)
    return 1000 * (time.perf_counter() - began_s)
