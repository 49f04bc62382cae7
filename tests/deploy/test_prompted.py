"""What is compared of prompts: in the order of decisions, none behind one that is still open, each by its joint probability."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import prompted
from deploy.judging import Verdict
from oo.v1.decision_pb2 import Decision

HOUR_MS = 3_600_000


def row(n: int, outcome: str | None, *, prompt: str = "short@1", chance: int = 1, propensity: float = 0.5, **more: Any):
    """A decision of hour n; two variants."""
    decision = Decision(
        prompt_version=prompt,
        model="tip-generator",
        propensity=propensity,
        prompt_chance=chance,
        prompt_chances=2,
        unshared=more.get("unshared", False),
    )
    at_ms = n * HOUR_MS
    return {
        "user_id": f"u{n}",
        "decision_id": f"d{n}",
        "decided_ms": at_ms,
        "valid_until_ms": at_ms + HOUR_MS,
        "message": decision.SerializeToString(),
        "outcome": outcome,
    }


def compared(rows, *, hours: int, so_far: bool = False) -> prompted.Compared:
    return prompted.compared(
        rows,
        opened=lambda _, message: Decision.FromString(message) if message else None,
        now_ms=hours * HOUR_MS,
        window_ms=4 * HOUR_MS,
        so_far=so_far,
    )


def test_a_share_is_of_what_was_seen_and_weighs_by_the_joint_probability() -> None:
    rows = [
        row(1, "DONE", propensity=0.9),
        row(2, "DISMISS", propensity=0.3),
        row(3, None),
        row(4, "EXPIRED", propensity=0.9),
    ]
    found = compared(rows, hours=100)
    (version, rate), = found.rates.items()  # fmt: skip
    assert version == ("short@1", "tip-generator")
    heavy, light = 1 / (0.3 / 2), 1 / (0.9 / 2)
    assert rate.share == pytest.approx(light / (heavy + 2 * light))
    assert (rate.n, rate.done, found.unseen, found.waiting) == (3, 1, 1, 0)


def test_nothing_behind_what_is_still_open_counts() -> None:
    rows = [row(1, "DONE"), row(50, "SEEN"), row(51, "DONE"), row(52, "DONE")]
    found = compared(rows, hours=53)
    assert (found.rates["short@1", "tip-generator"].n, found.waiting) == (1, 3)
    assert compared(rows, hours=56).waiting == 0
    assert compared(rows, hours=53, so_far=True).rates["short@1", "tip-generator"].n == 4


def test_who_teaches_nobody_and_what_cannot_be_read_are_left_out_and_counted() -> None:
    gone = {**row(2, "DONE"), "message": b""}
    before = row(3, "DONE")
    before["message"] = Decision(prompt_version="short@1").SerializeToString()
    found = compared([row(1, "DONE", unshared=True), gone, before], hours=100)
    assert (found.rates, found.unshared, found.unread) == ({}, 1, 2)


def test_versions_are_told_apart() -> None:
    found = compared([row(1, "DONE"), row(2, "DISMISS", prompt="long@2")], hours=100)
    assert {version[0]: rate.share for version, rate in found.rates.items()} == {"short@1": 1.0, "long@2": 0.0}


def test_the_page_says_what_the_plot_shows_and_fetches_nothing() -> None:
    from deploy.prompts_page import page

    told = page(compared([row(1, "DONE"), row(2, "DISMISS", prompt="long@2")], hours=100), {}, Verdict())
    assert 'alt="Shares done with their bounds: long@2 by tip-generator 0.00' in told
    assert "http" not in told.replace("http://www.w3.org", "")
