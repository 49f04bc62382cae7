"""What a person's data is used for: one table of purposes, and all that rests on each.

Every use that `step` makes of a purpose is read from here, and so is what the person sees of it; docs/privacy.md shows the table.
It never looks at anybody's row.
"""

from __future__ import annotations

from typing import NamedTuple

from oo.v1 import decision_pb2, subject_request_pb2
from tables.texts import LABEL_BUCKETS, WRITER_BUCKETS

TASKS = subject_request_pb2.PURPOSE_TASKS
CALENDAR = subject_request_pb2.PURPOSE_CALENDAR
GENERATED = subject_request_pb2.PURPOSE_GENERATED
LEARNING = subject_request_pb2.PURPOSE_LEARNING
NOTIFICATIONS = subject_request_pb2.PURPOSE_NOTIFICATIONS
EMAIL = subject_request_pb2.PURPOSE_EMAIL
STARTER = subject_request_pb2.PURPOSE_STARTER


class Purpose(NamedTuple):
    """One of them. What it lists is out, masked or not done from its withdrawal's place in the journal on."""

    number: subject_request_pb2.Purpose.ValueType
    name: str
    text: str
    """What the person reads."""
    text_version: str
    basis: str
    """On which legal ground it stands unless whoever runs oO says otherwise."""
    default: bool = True
    """How it stands while nobody has said anything."""
    of_sources: bool = False
    """Whether it is about what sources tell."""
    kinds: tuple[int, ...] = ()
    """Kinds of tips that are out, with the reason `consent`; their pending decisions are not learned from, a tip that stands goes."""
    features: tuple[str, ...] = ()
    """Masked to 0 in every slate, and out of what the person taught."""
    starters: tuple[str, ...] = ()
    """Starter tips that are not made."""
    why: tuple[str, ...] = ()
    """How lines beside a tip begin that are not said."""
    rails: tuple[str, ...] = ()
    """Guard rails that find nothing."""
    requests: tuple[str, ...] = ()
    """What is asked of a model (agents/requests.py)."""
    deliveries: tuple[str, ...] = ()
    """What is said to somebody who does not look (agents/interrupting.py)."""
    shared: tuple[str, ...] = ()
    """What others get of it."""
    again: str = ""
    """What granting it again begins with."""


_PARTS = ("morning", "afternoon", "evening")
_OF_TASKS = (
    *("task", "priority", "overdue", "due_within_day", "short", "fits_gap", "novel"),
    *(f"label_{i}" for i in range(LABEL_BUCKETS)),
    *("has_due", "due_within_week", "age", "shown", "dismissed"),
    *(f"label_{i}_{part}" for i in range(LABEL_BUCKETS) for part in _PARTS),
)

_OF_WRITERS = (
    *("generated", "prompt"),
    *(f"{what}_{i}" for what in ("prompt", "model") for i in range(WRITER_BUCKETS)),
)

PURPOSES = (
    Purpose(
        TASKS,
        "tasks",
        text="Tips about what you have to do, from the lists that you connect.",
        text_version="1",
        basis="contract: it is what the lists were connected for (GDPR 6 (1) b)",
        of_sources=True,
        kinds=(decision_pb2.Decision.TASK,),
        features=_OF_TASKS,
        why=(
            "There is nothing on your list",
            "It is next on your list",
            "It was due",
            "Overdue",
            "Due",
            "Highest priority",
            "High priority",
            "Medium priority",
            "Low priority",
            "It fits into",
            "It has been waiting",
            "On your list:",
        ),
        rails=("snoozed", "cooling-down", "conflict"),
        again="the lists as their sources have them by then; nothing of what was learned from tasks before",
    ),
    Purpose(
        CALENDAR,
        "calendar",
        text="When you are busy and when you are free, from the calendars that you connect, so that a tip fits.",
        text_version="1",
        basis="contract: it is what the calendars were connected for (GDPR 6 (1) b)",
        of_sources=True,
        features=("fits_gap", "busy_now"),
        starters=("starter:prepare", "starter:gap"),
        why=("It fits into", "In your calendar:"),
        rails=("conflict",),
        again="the calendar as its sources have it by then; nothing of what was learned with it before",
    ),
    Purpose(
        GENERATED,
        "generated",
        text="Tips that a language model writes for you.",
        text_version="1",
        basis="legitimate interest, to which you may object here (GDPR 6 (1) f)",
        kinds=(decision_pb2.Decision.GENERATED,),
        features=_OF_WRITERS,
        requests=("candidate-requests", "shadow-candidates"),
        again="no tip that was written before, and nothing of what was learned from such tips",
    ),
    Purpose(
        LEARNING,
        "learning",
        text="What you do with tips makes tips better for others too: as sums over many people, without words.",
        text_version="1",
        basis="legitimate interest, to which you may object here (GDPR 6 (1) f)",
        requests=("shadow-candidates",),
        shared=("policy-sums", "shadows", "estimates"),
        again="all that the person has taught until then",
    ),
    Purpose(
        NOTIFICATIONS,
        "notifications",
        text="Notifications on your devices.",
        text_version="1",
        basis="consent (GDPR 6 (1) a)",
        default=False,
        deliveries=("deliveries",),
        again="what is new from then on",
    ),
    Purpose(
        EMAIL,
        "email",
        text="Mail with a tip.",
        text_version="1",
        basis="consent (GDPR 6 (1) a)",
        default=False,
        deliveries=("deliveries",),
        again="what is new from then on",
    ),
    Purpose(
        STARTER,
        "starter",
        text="Tips to begin with, while there is nothing of yours to choose from.",
        text_version="1",
        basis="contract: it is part of the service (GDPR 6 (1) b)",
        kinds=(decision_pb2.Decision.STARTER,),
        features=("starter",),
        again="nothing of what was learned from such tips",
    ),
)
"""All of them, in the order in which a person sees them."""

BY_NUMBER = {one.number: one for one in PURPOSES}
BY_NAME = {one.name: one for one in PURPOSES}

OF_KIND = {kind: one.number for one in PURPOSES for kind in one.kinds}
"""Which purpose a kind of tips is made for."""
