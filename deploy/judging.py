"""Has a sample of written tips judged by the alias `judge`, offline: as many of each prompt as there is room for. Nothing that is said is kept but sums.

What the judge is told of somebody is what the tip's writer was told. Of who has said anything of purposes since, or teaches nobody, it is told nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import Any, Final

from agents.evaluation.agreement import TOO_FEW, Agreement, agreement
from agents.generation import judge
from agents.generation.judge import Judged
from connectors.models import ModelFailed, Models
from deploy.tried import Tip, Version, Wrote
from oo.v1.row_pb2 import UserRow
from tables import consents
from tables.purposes import CALENDAR, GENERATED, LEARNING, TASKS

HEAD: Final = ("prompt", "model", "", "answers", "failed", "tips", "held back", "alike", "judged", "score", "agreement")
DEADLINE_S: Final = 60.0
FAILURES_MAX: Final = 3
"""In a row; then nothing more is asked."""


@dataclass(slots=True)
class Scores:
    """Of one version."""

    said: list[Judged] = field(default_factory=list)
    reacted: list[tuple[float, bool]] = field(default_factory=list)
    """Of those that people saw: the mean of the scores, and whether it was done."""

    def mean(self) -> float:
        """Over tips and scores, from 1 to 5; 0 for none."""
        return sum(map(sum, self.said)) / len(judge.SCORES) / len(self.said) if self.said else 0.0

    def means(self) -> dict[str, float]:
        """Of each score, over tips."""
        return {
            name: sum(getattr(one, name) for one in self.said) / len(self.said) for name in judge.SCORES if self.said
        }

    def agreement(self) -> Agreement:
        """With what people did."""
        return agreement(self.reacted)


@dataclass(slots=True)
class Verdict:
    """What the judge said."""

    scores: dict[Version, Scores] = field(default_factory=dict)
    calls: int = 0
    tokens: int = 0
    passed_over: int = 0
    """Tips of people who may not be judged any more."""
    failures: dict[str, int] = field(default_factory=dict)
    """Calls that brought no scores, by reason."""


def in_turn(wrote: Mapping[Version, Wrote]) -> list[tuple[Version, Tip]]:
    """Return all tips that are kept, a version after the other."""
    lists = [[(version, tip) for _, tip in sorted(one.sample, reverse=True)] for version, one in wrote.items()]
    return [one for one in chain.from_iterable(zip_longest(*lists)) if one is not None]


def may_be_told(row: UserRow | None, *, since_ms: int) -> bool:
    """Whether a model may be told what one was told then: all purposes stand, and no word on any was said since."""
    return (
        row is not None
        and not row.HasField("left")
        and (
            all(consents.grants(row.consents, one) for one in (GENERATED, LEARNING, TASKS, CALENDAR))
            and not consents.withdrawn_sources(row.consents)
            and all(one.since_ms < since_ms for one in row.consents)
        )
    )


async def judged(
    models: Models,
    wrote: Mapping[Version, Wrote],
    *,
    most: int,
    row_of: Callable[[str], Awaitable[UserRow | None]],
    done: Mapping[str, bool],
    on_one: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Ask at most so many calls, one after the other. `done`: of tips that were seen and are settled, by id; `on_one`: told of each call."""
    found = Verdict()
    in_a_row = 0
    for version, tip in islice(in_turn(wrote), most * 4):
        if found.calls >= most or in_a_row >= FAILURES_MAX:
            break
        if not may_be_told(await row_of(tip.whose), since_ms=tip.requested_ms):
            found.passed_over += 1
            continue
        found.calls += 1
        on_one(found.calls)
        reason, scores = await _asked(models, tip, found)
        in_a_row = in_a_row + 1 if reason else 0
        if scores is None:
            found.failures[reason] = found.failures.get(reason, 0) + 1
            continue
        kept = found.scores.setdefault(version, Scores())
        kept.said.append(scores)
        if not version.in_shadow and tip.external_id in done:
            kept.reacted.append((sum(scores) / len(scores), done[tip.external_id]))
    return found


async def _asked(models: Models, tip: Tip, found: Verdict) -> tuple[str, Judged | None]:
    try:
        said = await models.ask(
            judge.ALIAS,
            judge.messages(tip.ask, title=tip.title, detail=tip.detail),
            judge.SCHEMA,
            max_tokens=judge.TOKENS_MAX,
            deadline_s=DEADLINE_S,
        )
    except ModelFailed as failed:
        return failed.reason, None
    found.tokens += said.tokens_in + said.tokens_out
    scores = judge.parse(said.text)
    return ("" if scores else "garbage"), scores


def rows(wrote: Mapping[Version, Wrote], verdict: Verdict) -> list[tuple[str, ...]]:
    """Under HEAD, in words."""
    return [
        (
            version.prompt,
            version.model,
            "shadow" if version.in_shadow else "served",
            str(one.answers),
            str(one.failed),
            str(one.tips),
            f"{one.held} of {one.tips + one.held}",
            "" if one.likeness() is None else f".{max(0, one.likeness() or 0):03d}",
            *_scores(version, verdict),
        )
        for version, one in wrote.items()
    ]


def _scores(version: Version, verdict: Verdict) -> tuple[str, str, str]:
    scores = verdict.scores.get(version)
    if scores is None:
        return "", "", ""
    agrees = scores.agreement()
    told = f"{agrees.share:.2f} ({agrees.low:.2f} to {agrees.high:.2f})"
    few = f"too few to tell ({agrees.done} done, {agrees.other} not)"
    return str(len(scores.said)), f"{scores.mean():.1f}", "" if version.in_shadow else told if agrees.tells else few


def judged_summary(verdict: Verdict) -> str:
    """What the judge's scores rest on, in words."""
    failed = "".join(f", {n} {reason}" for reason, n in sorted(verdict.failures.items()))
    passed = (
        f" {verdict.passed_over} tips are of people of whom no model may be told any more."
        if verdict.passed_over
        else ""
    )
    return (
        f"The judge ({judge.RUBRIC.version}) was asked {verdict.calls} times, for {verdict.tokens} tokens{failed}. Scores are from 1 to 5; agreement is how often"
        f" a tip that was done has a greater one than one that was not, 95 % for one look, from {TOO_FEW} of each on.{passed}"
    )


def as_json(wrote: Mapping[Version, Wrote], verdict: Verdict) -> list[dict[str, Any]]:
    """The same in numbers."""
    found = []
    for version, one in wrote.items():
        told: dict[str, Any] = version._asdict() | {
            name: getattr(one, name) for name in ("answers", "failed", "tips", "held", "tokens", "pairs")
        }
        told["alike_permille"] = one.likeness()
        if scores := verdict.scores.get(version):
            told |= {"judged": len(scores.said), **scores.means(), "agreement": scores.agreement()._asdict()}
        found.append(told)
    return found
