"""Takes away versions that have outstayed their time since somebody left; one that decisions hear is unheard first."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.model_registry import ModelRegistry, Version
from deploy.earned import heard, promotions
from deploy.models.due import Due
from deploy.models.schedule import outstayed
from deploy.promoting import let_hear
from deploy.stack.rights import PROMOTER
from deploy.stack.running import RunningStack


async def retire_outstayed(
    stack: RunningStack, registry: ModelRegistry, to_go: Iterable[Due], *, now_ms: int
) -> list[Version]:
    """Take them away, and return which. Raises RegistryFault, and what `let_hear` does."""
    gone = outstayed(to_go, now_ms=now_ms)
    decisions_hear = heard(await promotions(stack.cluster)) if gone else ""
    for one in gone:
        if one.spelled == decisions_hear:
            by = stack.as_named(PROMOTER, PROMOTER)
            await let_hear(by, "", command="oo train --if-due", why=f"{one.spelled} may hold somebody who left")
        registry.remove(one.name, one.version)
    return gone
