"""What earlier builds have under other names: programs that measure take it from here. A build's own name comes first."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from oo.v1 import decision_pb2

try:
    from tests.bench import cores, result  # of when the benchmarks were tests
except ImportError:
    from bench import cores, result
try:
    from streams.frames import Frames
    from streams.schemas import Schemas
except ImportError:  # of when frames knew the registry
    from streams.frames import Schemas  # type: ignore[attr-defined, no-redef]

    Frames = Schemas.offline  # type: ignore[assignment, misc]
try:
    from tables.slates import spelled_out
except ImportError:  # of when decisions spelled their slates out

    def spelled_out(decision: decision_pb2.Decision) -> Sequence[decision_pb2.Candidate]:
        return decision.slate


try:
    from tables.pseudonyms import Pseudonyms

    _PSEUDONYMS = Pseudonyms(bytes(32))

    def under(user_id: str) -> dict[str, str]:
        """What the door is told of a person's name."""
        return {"pseudonym": _PSEUDONYMS.of(user_id)}
except ImportError:  # of when names were the same behind the door

    def under(user_id: str) -> dict[str, str]:
        return {}


REPLAYS = find_spec("deploy.replay") is not None
"""Whether it has `oo replay`."""

__all__ = (
    "REPLAYS",
    "Frames",
    "Schemas",
    "bootstrap",
    "cluster",
    "cores",
    "in_cluster",
    "prefix",
    "result",
    "schemas",
    "spelled_out",
    "under",
)


def bootstrap(stack: Any) -> str:
    """Where a stack's Kafka is."""
    return str(stack.cluster.bootstrap if hasattr(stack, "cluster") else stack.bootstrap)


def prefix(stack: Any) -> str:
    """What its topics' names begin with."""
    return str(stack.cluster.prefix if hasattr(stack, "cluster") else stack.prefix)


def schemas(stack: Any) -> Schemas:
    """Frames by its registry; nothing is registered yet."""
    return Schemas(stack.cluster) if hasattr(stack, "cluster") else Schemas(stack.registry_url, stack.prefix)


def cluster(stack: Any) -> Any:
    """What a reader takes for which Kafka it is."""
    return stack.cluster if hasattr(stack, "cluster") else stack.bootstrap


def in_cluster(stack: Any) -> dict[str, Any]:
    """The same as what a replayed journal is made with."""
    if hasattr(stack, "cluster"):
        return {"cluster": stack.cluster}
    from streams.security import PLAINTEXT

    return {"bootstrap": stack.bootstrap, "prefix": stack.prefix, "security": PLAINTEXT}
