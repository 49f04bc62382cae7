"""The default policy, fitted with what a trained model says of candidates beside all other features.

It chooses as `mixed` does; beside it, on the same decisions, the gate finds out whether hearing a model pays (docs/models.md).
"""

from __future__ import annotations

from agents.policies.mixed import WAY, pmf

__all__ = ["HEARS", "NAME", "WAY", "pmf"]

NAME = "mixed_hearing"
HEARS = True
