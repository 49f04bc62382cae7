"""Why a decision came out as it did, and what would have had to be different: from the decision, the row behind it and its policy version. Pure.

It makes the choice again with the same draws, and another one only in thought: nothing of it is served, logged or learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agents import candidates, eligibility, fatigue, quiet_hours
from agents.active_version import ActiveVersion
from agents.bandit.choice import Choice
from agents.features import NAMES, ONE
from agents.opened import Opened
from oo.v1 import decision_pb2, row_pb2
from tables import backlog, ids, slates
from tables.linear import Ints

LIFTS = {
    "consent": "the person grants this kind of tips again",
    "quiet-hours": "quiet hours end",
    "cap-hour": "enough of the tips of the hour have left it",
    "cap-day": "enough of the tips of the day have left it",
    "cap-kind": "enough of the tips of its kind have left the day",
    "expired": "it is sent anew",
    "done": "it is sent anew",
    "snoozed": "the time until which it was put off is over",
    "cooling-down": "its pause is over",
    "conflict": "the event that runs ends",
    "has-tasks": "nothing else is left to do",
    "duplicate": "the better one that says the same is gone",
    "repeated-kind": "a tip of another kind was seen, or there is none to choose",
    "source": "the person grants its source again",
    "about": "what it is about is open again",
}
"""What ends each reason for which a candidate is out."""
_STEP = 8
"""Units of 1/64 between values of a feature that are tried."""
_OWN = frozenset(
    (
        *("priority", "overdue", "due_within_day", "short", "fits_gap", "novel"),
        *("has_due", "due_within_week", "age", "shown", "dismissed"),
    )
)
"""Features that are a candidate's own and could have been others: not the moment's, which all share, nor what it is."""


@dataclass(frozen=True, slots=True)
class Held:
    """One reason for which a candidate was out."""

    reason: str
    means: str
    lifts: str
    until_ms: int
    """When that is so by time alone; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A change of one feature with which a candidate would have been chosen, by the same draws."""

    feature: str
    was: float
    would_be: float


@dataclass(frozen=True, slots=True)
class Instead:
    """What kept a candidate from being chosen."""

    held: Sequence[Held]
    """Why it was out; empty where it could have been chosen."""
    chosen_if_not_held: bool
    """With nothing against it the same draws would have chosen it."""
    below: float
    """How much less it was expected to be worth than what was chosen; below 0: more, and the draws decided. 0 where nothing is expected."""
    flips: Sequence[Flip]
    """The smallest changes of one feature each that would have done it, the smallest first."""


@dataclass(frozen=True)
class Explained:
    """A decision made again. `row`: as the record left it."""

    decision: decision_pb2.Decision
    row: row_pb2.UserRow
    policy: ActiveVersion

    @cached_property
    def slate(self) -> Sequence[decision_pb2.Candidate]:
        """Every candidate, in the order of their ids."""
        return slates.spelled_out(self.decision)

    @property
    def chosen(self) -> decision_pb2.Candidate:
        """What was chosen."""
        return self.slate[self.decision.chosen]

    @cached_property
    def is_the_same(self) -> bool:
        """Whether the choice made again here is the one that was logged, probabilities and all."""
        if self.decision.feature_version != self.policy.space.version:
            return False
        places, choice = self._places, self._again(self._places, {})
        return places[choice.chosen] == self.decision.chosen and [
            choice.propensity(index) for index in range(len(places))
        ] == [self.slate[place].propensity for place in places]

    def features(self, place: int) -> dict[str, float]:
        """What the policy saw of a candidate, by name; what was 0 is left out."""
        return {name: value / ONE for name, value in zip(NAMES, self.slate[place].x, strict=False) if value}

    def title(self, place: int) -> str:
        """What a candidate said; empty for saying nothing and for what is not in the row any more."""
        return self._titles.get(self.slate[place].id, "")

    def instead(self, place: int) -> Instead:
        """What kept this candidate from being chosen, and what would have had to be different."""
        one, chosen = self.slate[place], self.chosen
        places = sorted({*self._places, place})
        hidden = {"consent", "source"} & {*one.ineligible}
        return Instead(
            held=[self._held(reason, one) for reason in one.ineligible],
            # Of what may not be used the slate shows nothing, so nothing can be said of what it would have been worth.
            chosen_if_not_held=not hidden and places[self._again(places, {}).chosen] == place,
            below=0.0 if one.ineligible else chosen.score - one.score,
            flips=[] if one.ineligible or place == self.decision.chosen else self._flips(place),
        )

    def _flips(self, place: int) -> list[Flip]:
        x, found = self.slate[place].x, list[tuple[int, Flip]]()
        if not len(x) or self.slate[place].kind == decision_pb2.Decision.NONE:
            return []
        for index, name in enumerate(NAMES):
            if name not in _OWN:
                continue
            others = (value for value in range(0, ONE + 1, _STEP) if value != x[index])
            for value in sorted(others, key=lambda value, was=x[index]: abs(value - was)):  # type: ignore[misc]
                if self._places[self._again(self._places, {(place, index): value}).chosen] == place:
                    found.append((abs(value - x[index]), Flip(name, x[index] / ONE, value / ONE)))
                    break
        return [flip for _, flip in sorted(found, key=lambda one: one[0])[:3]]

    @cached_property
    def _places(self) -> list[int]:
        return [place for place, one in enumerate(self.slate) if not one.ineligible]

    def _again(self, places: Sequence[int], changes: dict[tuple[int, int], int]) -> Choice:
        """The choice among these with the draws of this decision; `changes`: other values, by place and feature."""
        x: Ints = np.array([self.slate[place].x for place in places], dtype=np.int64)
        for (place, index), value in changes.items():
            x[places.index(place), index] = value
        nothing = decision_pb2.Decision.NONE
        silent = next(at for at, place in enumerate(places) if self.slate[place].kind == nothing)
        key = ids.draw_key(self.row.user_id, record_id=self.decision.record_id)
        policy, now_ms = self.policy, self.decision.decided_ms
        return policy.policy.pmf(policy.belief, self._opened.taught, x, silent=silent, now_ms=now_ms, key=key)

    @cached_property
    def _opened(self) -> Opened:
        return Opened.of(self.row, self.policy.space)

    @cached_property
    def _titles(self) -> dict[str, str]:
        items, calendar = self._opened.backlog, self._calendar
        tasks = (items.told(index) for index in range(items.tasks.shape[1]))
        others = candidates.others(self.row, calendar=calendar, now_ms=self.decision.decided_ms)
        return {one.id: one.title for one in others} | {one.name: one.title for one in tasks}

    @cached_property
    def _calendar(self) -> candidates.Calendar:
        holds_ms_max = self.policy.version.config.conflict_event_ms_max
        return candidates.calendar_at(self._opened.usable, now_ms=self.decision.decided_ms, holds_ms_max=holds_ms_max)

    def _held(self, reason: str, one: decision_pb2.Candidate) -> Held:
        return Held(reason, eligibility.REASONS[reason], LIFTS[reason], self._until_ms(reason, one))

    def _until_ms(self, reason: str, one: decision_pb2.Candidate) -> int:
        now_ms, row, items = self.decision.decided_ms, self.row, self._opened.backlog
        match reason:
            case "quiet-hours":
                return quiet_hours.until_ms(row, now_ms=now_ms)
            case "cap-hour" | "cap-day" | "cap-kind":
                caps = fatigue.caps(self._opened, config=self.policy.version.config)
                return max(
                    (cap.until_ms for cap in caps if cap.reason == reason and cap.kind in (0, one.kind)), default=0
                )
            case "conflict":
                return self._calendar.busy_until_ms
            case "snoozed" | "cooling-down":
                own = [cool.until_ms for cool in row.cool_downs if cool.candidate == one.id]
                for index in range(items.tasks.shape[1]):
                    if items.told(index).name == one.id:
                        own.append(int(items.tasks[backlog.QUIET_UNTIL, index]))
                return max(own, default=0)
            case _:
                return 0
