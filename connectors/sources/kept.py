"""What a source keeps from one read to the next, in its cursor: where it stands, what is there, and what was told of it.

It never keeps it itself: bytes come in and go out.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self

from connectors.differences import AT_ONCE, Memory, Patience, Sent, differences, settled
from connectors.source_file import Parsed
from connectors.sources.source import CURSOR_BYTES_MAX, Access, Page, signal_source
from oo.v1.signal_pb2 import Signal

VERSION: Final = 1
OPENED_BYTES_MAX: Final = 32 * CURSOR_BYTES_MAX
_SENT: Final = {one.name: one.default for one in fields(Sent)}


@dataclass(slots=True)
class Kept:
    """A cursor, opened."""

    place: dict[str, Any] = field(default_factory=dict)
    """What the service calls where we are: sync tokens, ETags; JSON."""
    items: dict[str, str] = field(default_factory=dict)
    """What is there now, by the service's own id, as this source writes it down; empty where every read is of all."""
    memory: Memory = field(default_factory=Memory)
    """What was told of it."""

    @classmethod
    def opened(cls, cursor: bytes) -> Self:
        """Return what is in a cursor; nothing where it is empty, broken or of another build: all is read again then."""
        try:
            unpacked = zlib.decompressobj()
            kept = json.loads(unpacked.decompress(cursor, OPENED_BYTES_MAX))
            if kept["version"] != VERSION:
                return cls()
            items = {key: Sent(**sent) for key, sent in kept["told"].items()}
            return cls(dict(kept["place"]), dict(kept["items"]), Memory(kept["event_ms"], items))
        except (zlib.error, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def closed(self) -> bytes:
        """Return it as a cursor."""
        told = {
            key: {name: value for name, value in asdict(sent).items() if value != _SENT[name]}
            for key, sent in self.memory.items.items()
        }
        kept = {
            "version": VERSION,
            "place": self.place,
            "items": self.items,
            "event_ms": self.memory.event_ms,
            "told": told,
        }
        return zlib.compress(json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode(), 1)

    def tell(
        self,
        parsed: Parsed,
        *,
        name: str,
        access: Access,
        modified_ms: int,
        patience: Patience = AT_ONCE,
        again_s: float = 0.0,
    ) -> Page:
        """Return the page that says what is different from what was told before, `parsed` being all that is there.

        `modified_ms` is the event time of what has none of its own. What is known here is afterwards as if the page's
        signals had arrived.
        """
        said = replace(parsed, signals=tuple(_ours(one, name=name, access=access) for one in parsed.signals))
        signals, memory = differences(
            self.memory,
            said,
            user_id=access.user_id,
            modified_ms=modified_ms,
            now_ms=access.now_ms,
            removals=True,
            patience=patience,
        )
        self.memory = memory
        ahead = self.closed() if signals else b""
        self.memory = settled(memory)
        return Page(
            self.closed(),
            tuple(signals),
            ahead,
            parsed.problems,
            again_s=again_s if memory.doubtful else 0.0,
        )


def taken_back(access: Access, cursor: bytes) -> Page:
    """Return the page that removes all that was told: what a connection has to say when it ends."""
    kept = Kept.opened(cursor)
    kept.place, kept.items = {}, {}
    return kept.tell(Parsed(()), name="", access=access, modified_ms=access.now_ms)


def _ours(signal: Signal, *, name: str, access: Access) -> Signal:
    ours = Signal()
    ours.CopyFrom(signal)
    ours.user_id, ours.source = access.user_id, signal_source(name, access)
    return ours
