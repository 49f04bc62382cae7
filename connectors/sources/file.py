"""What sources that are files have in common: which file may be read, and when it is worth it.

It never watches one (connectors/watch.py): who asks says when.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from connectors.differences import Patience
from connectors.source_file import EVENT_MS_MIN, Parsed, UnreadableFile
from connectors.sources.kept import Kept
from connectors.sources.source import Access, Connect, Description, Failed, FaultKind, Field, Page, Way
from connectors.watch import Pace, Snapshot, read_file

BY_FILE: Final = (Way(Connect.FILE, (Field("path", "Path of the file", "path"),)),)


class FileSource(ABC):
    """One format of files."""

    description: ClassVar[Description]
    endings: ClassVar[tuple[str, ...]]
    """In small letters; the first is shown."""
    begins: ClassVar[bytes] = b""
    """In capital letters; what begins so is one whatever its name ends in."""

    @abstractmethod
    def parse(
        self, data: bytes, *, path: Path, user_id: str, zone: ZoneInfo, now: datetime, modified: datetime
    ) -> Parsed:
        """Return what a file says now; raises UnreadableFile. `path` gives its name, and what lies beside it."""

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield one page."""
        pace = Pace()
        kept = Kept.opened(cursor)
        path = allowed_path(access)
        try:
            snapshot = await asyncio.to_thread(read_file, path)
            signature = [snapshot.modified.timestamp(), len(snapshot.data)]
            # Days pass, start dates come, and the calendar's window moves.
            fresh = 0 <= access.now_ms - kept.place.get("read_ms", 0) < pace.reread_s * 1000
            if fresh and kept.place.get("signature") == signature and not kept.memory.doubtful:
                yield Page(cursor)
                return
            modified = plausible(snapshot, now=access.now)
            parsed = await asyncio.to_thread(
                self.parse,
                snapshot.data,
                path=path,
                user_id=access.user_id,
                zone=access.zone,
                now=access.now,
                modified=modified,
            )
        except FileNotFoundError:
            raise Failed(FaultKind.GONE, "no-file") from None
        except OSError as error:
            raise Failed(FaultKind.UNREACHABLE, type(error).__name__) from None
        except UnreadableFile as error:
            raise Failed(FaultKind.ODD_ANSWER, "unreadable", problem=str(error)) from None
        kept.place = {"signature": signature, "read_ms": access.now_ms}
        yield kept.tell(
            parsed,
            name=self.description.name,
            access=access,
            modified_ms=int(modified.timestamp() * 1000),
            patience=Patience(int(pace.absent_s * 1000), int(pace.emptied_s * 1000)),
            again_s=pace.absent_s,
        )


def allowed_path(access: Access) -> Path:
    """Return the connection's file; raises Failed where it lies outside of what may be read, links followed."""
    if access.files is None:
        raise Failed(FaultKind.GONE, "no-files-here")
    folder = access.files.resolve()
    path = (folder / access.settings.get("path", "")).resolve()
    if not path.is_relative_to(folder):
        raise Failed(FaultKind.GONE, "outside")
    return path


def plausible(snapshot: Snapshot, *, now: datetime) -> datetime:
    """Return when the file was written; now for what a clock that was never set says, and for what lies ahead."""
    known = snapshot.modified.timestamp() * 1000 >= EVENT_MS_MIN
    return min(snapshot.modified, now) if known else now


def parse_file(
    formats: Sequence[FileSource], snapshot: Snapshot, *, path: Path, user_id: str, zone: ZoneInfo, now: datetime
) -> Parsed:
    """Read the file by the format that its first line or its name tells; raises UnreadableFile."""
    first_line = snapshot.data[:64].lstrip(b"\xef\xbb\xbf \r\n").upper()
    begun = [one for one in formats if one.begins and first_line.startswith(one.begins)]
    for one in [*begun, *(one for one in formats if path.suffix.lower() in one.endings)]:
        modified = plausible(snapshot, now=now)
        return one.parse(snapshot.data, path=path, user_id=user_id, zone=zone, now=now, modified=modified)
    known = " and ".join(f"{one.description.title} ({one.endings[0]})" for one in formats)
    raise UnreadableFile(f"only {known} files can be read")
