"""A topic's messages stay in the file that its subject began with: a registry takes another file for all messages removed."""

from __future__ import annotations

from pathlib import PurePath

from streams.frames import MESSAGES

FILES = {
    "signals": "signal",
    "reactions": "reaction",
    "subject-requests": "subject_request",
    "journal": "journal",
    "set-aside": "journal",
    "erasures": "erased",
    "keys": "key",
    "rows": "row",
    "decisions": "decision",
    "outcomes": "outcome",
    "tips": "decision",
    "settings": "settings",
    "policy-sums": "policy",
    "policies": "policy",
    "shadows": "evaluation",
    "estimates": "evaluation",
    "promotions": "evaluation",
    "candidate-requests": "decision",
    "shadow-candidates": "shadow_candidates",
    "model-budget": "model_budget",
    "deliveries": "decision",
    "dead-letters": "dead_letter",
    "audit": "audit",
}
"""What folders of earlier builds have: a line is added, none is changed."""


def test_no_topic_has_gone_to_another_file() -> None:
    found = {name: {PurePath(kind.DESCRIPTOR.file.name).stem for kind in kinds} for name, kinds in MESSAGES.items()}
    assert found == {name: {file} for name, file in FILES.items()}
