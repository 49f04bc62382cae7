"""Topics, groups and lag."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from deploy.console.stack import TheStack
from deploy.overview import topic_rows
from deploy.stack.groups import view

router = APIRouter(tags=["topics"])


class Topic(BaseModel):
    """One topic as `oo topics` shows it."""

    topic: str
    partitions: int
    records: int
    offsets: list[tuple[int, int]]
    """Of each partition, the first and the next."""
    lag: dict[str, int]
    """Records that each group has yet to commit."""


@router.get("/topics", summary="Topics, offsets and lag")
def topics(stack: TheStack) -> list[Topic]:
    return [Topic(**row) for row in topic_rows(view(stack.cluster))]
