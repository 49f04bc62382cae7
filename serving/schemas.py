"""What goes over HTTP: models that restate the contract once, and a tip as JSON.

It never invents a field: tests hold these against the protobuf descriptors.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from oo.v1 import decision_pb2, reaction_pb2
from tables import phrases
from tables.wall_clock import DAYS, Day

SNOOZE_DAYS_MAX = 366
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)


class PhraseBody(BaseModel):
    """A sentence of the engine's own, for who says it in another language."""

    code: phrases.Code
    values: dict[str, int | str] = Field(description="What stands in it: days, minutes, clock, part, title")


class PhrasesBody(BaseModel):
    """Which of the texts are the engine's own sentences; null for one that is not."""

    title: PhraseBody | None
    detail: PhraseBody | None
    why: list[PhraseBody | None] = Field(description="A place for each reason")


class TipBody(BaseModel):
    """The one thing worth doing now."""

    decision_id: str
    kind: str = Field(description="task, starter or generated: a language model wrote it")
    title: str
    detail: str
    source: str = Field(description="Where the task comes from: todo.txt, ical, ...")
    url: str = Field(description="http or https, or empty")
    why: list[str] = Field(description="Reasons, most telling first")
    phrases: PhrasesBody
    decided_at: datetime
    valid_until: datetime


class ReactionKind(StrEnum):
    DONE = "done"
    SNOOZE = "snooze"
    DISMISS = "dismiss"
    SEEN = "seen"

    @property
    def number(self) -> reaction_pb2.Reaction.Kind.ValueType:
        return reaction_pb2.Reaction.Kind.Value(self.name)


class DismissReason(StrEnum):
    NOT_RELEVANT = "not_relevant"
    NOT_NOW = "not_now"
    DONE_ALREADY = "done_already"
    NOT_MINE = "not_mine"

    @property
    def number(self) -> reaction_pb2.Reaction.Reason.ValueType:
        return reaction_pb2.Reaction.Reason.Value(self.name)


class ReactionBody(BaseModel):
    """What a person did with a tip. `reaction` may be written in any case."""

    model_config = ConfigDict(extra="forbid")

    reaction: ReactionKind
    snooze_until: AwareDatetime | None = Field(
        default=None, description="With `snooze` only; absent or past: the configured default. With a time zone."
    )

    @field_validator("reaction", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("snooze_until", mode="before")
    @classmethod
    def _a_time(cls, value: object) -> object:
        # pydantic would take a number for one, also one in a string.
        if value is not None and not (isinstance(value, str) and _TIME.fullmatch(value)):
            raise ValueError("not a date and time with a time zone, as 2026-12-01T09:00:00Z")
        return value

    @field_validator("snooze_until")
    @classmethod
    def _within_reach(cls, value: datetime | None) -> datetime | None:
        if value is not None and (value - datetime.now(UTC)).days > SNOOZE_DAYS_MAX:
            raise ValueError(f"snooze_until is more than {SNOOZE_DAYS_MAX} days ahead")
        return value

    @property
    def snooze_until_ms(self) -> int | None:
        """Since 1970; 0 for what lies before, however near to the calendar's edge."""
        if self.snooze_until is None:
            return None
        return max(0, (self.snooze_until - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1))


class FeedbackBody(ReactionBody):
    """And with which one."""

    decision_id: str = Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")
    reason: DismissReason | None = Field(
        default=None,
        description="Why, with `dismiss` only; one that comes after the reaction itself is not kept",
    )


class ButtonBody(ReactionBody):
    """By a button of a notification."""

    token: str = Field(max_length=1024, description="`reaction_token` of the notification")


class FeedbackAccepted(BaseModel):
    decision_id: str
    reaction: str
    event_id: str


class SignalsAccepted(BaseModel):
    accepted: int


class RequestAccepted(BaseModel):
    receipt: str = Field(description="Names this request: `oo privacy status --receipt` says what came of it")


class PastTip(BaseModel):
    decision_id: str
    kind: str = Field(description="task, starter, none, or generated: a language model wrote it")
    title: str
    decided_at: str = Field(json_schema_extra={"format": "date-time"})
    outcome: str | None = Field(description="done, snooze, dismiss, seen, expired, done_elsewhere; null for none yet")


class History(BaseModel):
    items: list[PastTip]
    next: str | None = Field(description="Give it as `before` for the next page; null at the end")


CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


class QuietHours(BaseModel):
    """When nothing is said, by the clock on the person's wall. An end before the start is on the day after."""

    model_config = ConfigDict(extra="forbid", strict=True)

    start: str = Field(pattern=CLOCK, examples=["22:00"])
    end: str = Field(pattern=f"{CLOCK}|^24:00$", examples=["07:00"])
    days: list[Day] = Field(default=list(DAYS), min_length=1, max_length=7, description="On which they begin")


class PurposeBody(BaseModel):
    """One thing that a person's data is used for, and whether it may be."""

    granted: bool
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        description="Null while the person has said nothing: it stands at its default"
    )
    text: str
    text_version: str
    basis: str = Field(description="The legal ground")


class SourceBody(BaseModel):
    """Where signals come from; one of which the person has said nothing is granted, and not listed."""

    granted: bool
    since: str = Field(json_schema_extra={"format": "date-time"})


class Me(BaseModel):
    """What a person has set for themselves."""

    account: str = Field(description="Tells a device whether the person is still the same; says nothing else")
    time_zone: str | None = Field(description="Null for none that anybody has told")
    quiet_hours: QuietHours | None
    tips_per_hour: int | None = Field(description="The most that come unasked; null for as usual")
    tips_per_day: int | None
    languages: list[str] = Field(description="BCP 47, the best first; empty for none that anybody has told")
    notifications_per_day: int | None = Field(
        description="The most that are said while the person does not look; null for as usual"
    )
    purposes: dict[str, PurposeBody]
    sources: dict[str, SourceBody]


class Granted(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    granted: bool


PurposeName = Literal["tasks", "calendar", "generated", "learning", "notifications", "email", "starter"]
LanguageTag = Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


class MeChange(BaseModel):
    """What is to be different; what is not named stays as it is. Null takes a setting back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    time_zone: str = Field(default="", max_length=64, examples=["Europe/Berlin"])
    quiet_hours: QuietHours | None = None
    tips_per_hour: int | None = Field(default=None, ge=1, le=60)
    tips_per_day: int | None = Field(default=None, ge=1, le=500)
    languages: list[LanguageTag] = Field(default=[], max_length=8, examples=[["de", "en"]])
    notifications_per_day: int | None = Field(default=None, ge=1, le=60)
    purposes: dict[PurposeName, Granted] = Field(default={}, max_length=7)
    sources: dict[SourceName, Granted] = Field(default={}, max_length=64)


class MeAccepted(BaseModel):
    accepted: int = Field(description="Words that stand in the log now; `GET /v1/me` shows what became of them")


class Liveness(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    ready: bool
    missing: list[str] = Field(description="What must come back before requests are served")
    degraded: list[str] = Field(description="What is away while tips and feedback go on")


def iso(time_ms: int) -> str:
    """
    >>> iso(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tip_body(tip: decision_pb2.Tip) -> bytes:
    """The tip as JSON, on one line."""
    return json.dumps(tip_json(tip), ensure_ascii=False, separators=(",", ":")).encode()


def tip_json(tip: decision_pb2.Tip) -> dict[str, object]:
    """The tip as a client gets it; a link that is not http or https is left out."""
    return {
        "decision_id": tip.decision_id,
        "kind": decision_pb2.Decision.TipKind.Name(tip.kind).lower(),
        "title": tip.title,
        "detail": tip.detail,
        "source": tip.source,
        "url": tip.url if tip.url.startswith(("http://", "https://")) else "",
        "why": list(tip.why),
        "phrases": _phrases(tip),
        "decided_at": iso(tip.decided_ms),
        "valid_until": iso(tip.valid_until_ms),
    }


def _phrases(tip: decision_pb2.Tip) -> dict[str, object]:
    found = phrases.of_tip(tip)
    return {
        "title": _phrase(found.title),
        "detail": _phrase(found.detail),
        "why": [_phrase(line) for line in found.why],
    }


def _phrase(found: phrases.Phrase | None) -> dict[str, object] | None:
    return None if found is None else found._asdict()


class NewConnection(BaseModel):
    """What to connect, and what its form asks for."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(min_length=1, max_length=32)
    way: str | None = Field(default=None, max_length=16, description="Absent: the first that has a form")
    fields: dict[str, str] = Field(default_factory=dict, max_length=16)


class ConnectionChange(BaseModel):
    """Only what is to be different."""

    model_config = ConfigDict(extra="forbid", strict=True)

    paused: bool | None = None
    fields: dict[str, str] | None = Field(default=None, max_length=16, description="As of its form; mends a broken one")
