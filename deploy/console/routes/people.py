"""One person: what is known of them, without their words unless somebody asks for those, which is noted first."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel

from deploy.audit import note
from deploy.console.routes.decisions import Decided, Stood, of_person, stood_at
from deploy.console.stack import TheKeys, TheStack, keys_of
from deploy.keys import HeldKeys
from deploy.masks import masked
from deploy.rows import row_of
from deploy.stack.running import RunningStack
from oo.v1.row_pb2 import UserRow
from serving.problems import Problem
from tables.row import spelled_out

router = APIRouter(tags=["people"])
DECISIONS = 50


class Task(BaseModel):
    """Of the backlog; its title is covered where nobody asked for it."""

    title: str
    source: str
    priority: int
    due_ms: int
    shown: int
    dismissed: int


class Event(BaseModel):
    """Of the calendar."""

    title: str
    source: str
    start_ms: int
    end_ms: int


class Person(BaseModel):
    """What is known of somebody."""

    pseudonym: str
    revealed: bool
    bytes: int
    journal_offset: int
    time_zone: str
    next_wake_ms: int
    left: bool
    tasks: list[Task]
    events: list[Event]
    decisions: list[Decided]
    """The newest fifty, the newest first."""


@router.get("/people/{user}", summary="What is known of one person, their words covered")
def person(stack: TheStack, keys: TheKeys, user: str, by_pseudonym: bool = False) -> Person:
    whose = user if by_pseudonym else stack.pseudonym(user)
    row = _row(stack, keys, whose)
    return _person(stack, whose, masked(spelled_out(row)), size=row.ByteSize(), revealed=False)


@router.get("/people/{user}/stood", summary="What stood for one person at a moment")
def stood(stack: TheStack, user: str, at_ms: int, by_pseudonym: bool = False) -> Stood:
    return stood_at(stack, user if by_pseudonym else stack.pseudonym(user), at_ms)


@router.post("/people/{user}/reveal", summary="The same with their words; noted in oo.audit first")
def reveal(stack: TheStack, keys: TheKeys, user: str, by_pseudonym: bool = False) -> Person:
    whose = user if by_pseudonym else stack.pseudonym(user)
    row = _row(stack, keys, whose)
    asyncio.run(note(stack, "oo console reveal", whose=whose.encode()))
    return _person(stack, whose, spelled_out(row), size=row.ByteSize(), revealed=True)


def _row(stack: RunningStack, keys: HeldKeys, whose: str) -> UserRow:
    row = asyncio.run(row_of(stack, whose, keys=keys_of(stack, keys, whose)))
    if row is None:
        raise Problem(
            404, "unknown-person", detail="Nothing is known of them: is the id spelled as the producer spells it?"
        )
    return row


def _person(stack: RunningStack, whose: str, row: UserRow, *, size: int, revealed: bool) -> Person:
    return Person(
        pseudonym=whose,
        revealed=revealed,
        bytes=size,
        journal_offset=row.journal_offset,
        time_zone=row.time_zone,
        next_wake_ms=row.next_wake_ms,
        left=row.HasField("left"),
        tasks=[
            Task(
                title=one.title,
                source=one.source,
                priority=one.priority,
                due_ms=one.due_ms,
                shown=one.shown,
                dismissed=one.dismissed,
            )
            for one in row.tasks
        ],
        events=[
            Event(title=one.title, source=one.source, start_ms=one.start_ms, end_ms=one.end_ms) for one in row.events
        ],
        decisions=of_person(stack, whose, limit=DECISIONS),
    )
