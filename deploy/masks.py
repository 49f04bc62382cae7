"""A message with a person's words covered: what an operator sees who does not ask for them.

It covers every text and every run of bytes but those that are known to hold none, so that a field that is new is covered.
"""

from __future__ import annotations

from typing import Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

T = TypeVar("T", bound=Message)

COVER: Final = "•••"

OPEN: Final = {
    "oo.v1.UserRow.user_id": "what was asked for",
    "oo.v1.UserRow.topic_id": "of which journal it is",
    "oo.v1.UserRow.time_zone": "a place as wide as a continent's strip",
    "oo.v1.UserRow.item_sources": "which program the items come from",
    "oo.v1.Task.source": "which program it comes from",
    "oo.v1.CalendarEvent.source": "which program it comes from",
    "oo.v1.Consent.source": "which program it is about",
    "oo.v1.Consent.text_version": "which text of ours was agreed to",
    "oo.v1.PendingDecision.decision_id": "made under a secret",
    "oo.v1.Position.topic_id": "which topic",
    "oo.v1.SourceEnd.topic_id": "which topic",
    "oo.v1.Left.receipt": "what the person was given, by chance",
}
"""Fields of text or bytes that hold no words of a person, and what they hold."""


def masked(message: T) -> T:
    """A copy of it, every text covered that may hold a person's words; numbers, times and kinds stay.

    >>> from oo.v1.row_pb2 import UserRow
    >>> row = UserRow(user_id="ada", task_texts="words")
    >>> row.tasks.add(source="todo.txt", title="call Bob", labels=["home"], priority=1)
    source: "todo.txt"
    title: "call Bob"
    priority: 1
    labels: "home"
    <BLANKLINE>
    >>> found = masked(row)
    >>> found.user_id, found.tasks[0].source, found.tasks[0].title, found.tasks[0].labels, found.tasks[0].priority
    ('ada', 'todo.txt', '•••', ['•••'], 1)
    """
    covered = type(message)()
    covered.CopyFrom(message)
    _cover(covered)
    return covered


def _cover(message: Message) -> None:
    for field, value in message.ListFields():
        many = field.is_repeated
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for one in value if many else [value]:
                _cover(one)
        elif field.full_name in OPEN:
            continue
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, COVER) if not many else value.__setitem__(slice(None), [COVER] * len(value))
        elif field.type == FieldDescriptor.TYPE_BYTES:
            message.ClearField(field.name)
